//! One request, one answer, over plain sockets: enough to know whether a part works.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Patience with one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls an operation that needs no input, of a service that speaks AWS's JSON protocol, and gives
/// back the answer's body. The signature is not checked by emulators, but has to be there.
pub(super) fn aws_call(port: u16, service: &str, target: &str) -> Result<String> {
    let mut stream = connect(port)?;
    let scope = format!("test/20260101/us-east-1/{service}/aws4_request");
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         X-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential={scope}, SignedHeaders=host, Signature=0\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    )
    .context("cannot send")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("cannot receive")?;
    body(&answer).map(str::to_owned)
}

/// The body of an HTTP answer whose status is 200.
fn body(answer: &str) -> Result<&str> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of head")?;
    let status = head.split(' ').nth(1).unwrap_or("");
    if status != "200" {
        bail!("answered {status}: {body}");
    }
    Ok(body)
}

/// Sends a command to Redis and gives back its answer, which must be a string.
pub(super) fn redis_call(port: u16, command: &str) -> Result<String> {
    let mut stream = connect(port)?;
    write!(stream, "{command}\r\n").context("cannot send")?;
    reply(&mut BufReader::new(stream))
}

/// A simple or a bulk string in Redis's protocol.
fn reply(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line).context("cannot receive")?;
    let line = line.trim_end();
    if let Some(text) = line.strip_prefix('+') {
        return Ok(text.to_owned());
    }
    if let Some(length) = line.strip_prefix('$') {
        let length: usize = length.parse().context("not a length")?;
        let mut text = vec![0; length];
        from.read_exact(&mut text).context("cannot receive")?;
        return String::from_utf8(text).context("not UTF-8");
    }
    bail!("answered {line:?}")
}

fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, REQUEST_TIMEOUT)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_200_is_an_answer() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}");
        let error = body("HTTP/1.1 500 Oops\r\n\r\nwhy").unwrap_err().to_string();
        assert_eq!(error, "answered 500: why");
        assert!(body("HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn redis_answers_are_read_and_its_errors_are_errors() {
        assert_eq!(reply(&mut &b"+PONG\r\n"[..]).unwrap(), "PONG");
        assert_eq!(reply(&mut &b"$4\r\na:\r\n\r\n"[..]).unwrap(), "a:\r\n");
        assert!(reply(&mut &b"-ERR no\r\n"[..]).unwrap_err().to_string().contains("ERR no"));
        assert!(reply(&mut &b"$4\r\na"[..]).is_err());
        assert!(reply(&mut &b""[..]).is_err());
    }
}
