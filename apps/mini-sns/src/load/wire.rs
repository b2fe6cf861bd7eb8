//! HTTP/1.1 as a load generator wants it: requests rendered once and sent many times over a kept
//! connection, and of an answer only what is needed. It shares its processors with the server it
//! measures, so it must cost little.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::target::{Stream, Target};

/// Room for an answer at first, in bytes; a page of 20 posts fits.
const BUFFER_START_BYTES: usize = 16 * 1024;
/// The longest answer taken.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Headers taken of one answer.
const HEADERS_MAX: usize = 64;
/// Longest wait that a `Retry-After` is believed.
const RETRY_AFTER_MAX_SECS: u64 = 120;

/// A request as it goes over the wire.
pub(super) fn render(
    target: &Target,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> Vec<u8> {
    let mut text = format!(
        "{method} {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: mini-sns-load\r\n",
        target.prefix,
        target.authority()
    );
    if !token.is_empty() {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(self.body).context("the answer is not the JSON that was expected")
    }

    /// `429 too_many_requests`: the status and, where the answer is a problem, its code.
    pub(super) fn error(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(self.body).ok();
        match problem.as_ref().and_then(|problem| problem["code"].as_str()) {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    bytes: usize,
    body: Length,
    closes: bool,
    retry_after: Option<Duration>,
}

enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

/// A kept connection; it is opened when first used and again after it broke.
pub(super) struct Connection {
    target: Target,
    stream: Option<Box<dyn Stream>>,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that hold what has come.
    filled: usize,
}

impl Connection {
    pub(super) fn new(target: &Target) -> Self {
        let buffer = vec![0; BUFFER_START_BYTES];
        Self { target: target.clone(), stream: None, buffer, filled: 0 }
    }

    /// Sends a request and waits for its answer. After an error the next one opens a new
    /// connection.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.target.connect().await?,
        };
        self.filled = 0;
        stream.write_all(request).await.context("the connection broke")?;
        let head = self.head(&mut stream).await?;
        let body = self.body(&mut stream, &head).await?;
        if !head.closes {
            self.stream = Some(stream);
        }
        let body = &self.buffer[body];
        Ok(Answer { status: head.status, retry_after: head.retry_after, body })
    }

    /// Like [`Self::exchange`], but waits as long as a refusal asks and sends the request again.
    pub(super) async fn patiently(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        loop {
            let answer = self.exchange(request).await?;
            let wait = match (answer.status, answer.retry_after) {
                (429 | 503, Some(wait)) => wait,
                (429, None) => Duration::from_secs(1),
                _ => break,
            };
            tokio::time::sleep(wait).await;
        }
        // The borrow of a loop's answer cannot leave the loop, so it is read again from the buffer.
        let head = parse(&self.buffer[..self.filled])?.context("the answer is incomplete")?;
        let end = match head.body {
            Length::Bytes(bytes) => head.bytes + bytes,
            Length::Chunked | Length::UntilClose => self.filled,
        };
        let body = &self.buffer[head.bytes..end];
        Ok(Answer { status: head.status, retry_after: head.retry_after, body })
    }

    async fn head(&mut self, stream: &mut Box<dyn Stream>) -> Result<Head> {
        loop {
            if self.more(stream).await? == 0 {
                bail!("the connection was closed before an answer came");
            }
            if let Some(head) = parse(&self.buffer[..self.filled])? {
                return Ok(head);
            }
        }
    }

    /// Reads the body to its end; the range is where it stands in the buffer.
    async fn body(
        &mut self,
        stream: &mut Box<dyn Stream>,
        head: &Head,
    ) -> Result<std::ops::Range<usize>> {
        let start = head.bytes;
        match head.body {
            Length::Bytes(bytes) => {
                while self.filled < start + bytes {
                    if self.more(stream).await? == 0 {
                        bail!("the connection was closed within an answer");
                    }
                }
                Ok(start..start + bytes)
            }
            Length::UntilClose => {
                while self.more(stream).await? > 0 {}
                Ok(start..self.filled)
            }
            Length::Chunked => loop {
                if let Some(body) = unchunk(&self.buffer[start..self.filled])? {
                    self.filled = start + body.len();
                    self.buffer[start..self.filled].copy_from_slice(&body);
                    return Ok(start..self.filled);
                }
                if self.more(stream).await? == 0 {
                    bail!("the connection was closed within an answer");
                }
            },
        }
    }

    async fn more(&mut self, stream: &mut Box<dyn Stream>) -> Result<usize> {
        if self.filled == self.buffer.len() {
            if self.filled >= ANSWER_MAX_BYTES {
                bail!("an answer is longer than {ANSWER_MAX_BYTES} bytes");
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        let room = &mut self.buffer[self.filled..];
        let read = stream.read(room).await.context("the connection broke")?;
        self.filled += read;
        Ok(read)
    }
}

/// The head of an answer, or none while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).context("the answer is not HTTP")?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.context("the answer has no status")?;
    let mut head = Head {
        status,
        bytes: length,
        body: if matches!(status, 204 | 304) { Length::Bytes(0) } else { Length::UntilClose },
        closes: false,
        retry_after: None,
    };
    for header in response.headers.iter() {
        match header.name.len() {
            10 if header.name.eq_ignore_ascii_case("connection") => {
                head.closes = header.value.eq_ignore_ascii_case(b"close");
            }
            11 if header.name.eq_ignore_ascii_case("retry-after") => {
                let secs = number(header.value).context("Retry-After is no number of seconds")?;
                let secs = u64::try_from(secs)?.min(RETRY_AFTER_MAX_SECS);
                head.retry_after = Some(Duration::from_secs(secs));
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                head.body = Length::Bytes(number(header.value).context("no content-length")?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                head.body = Length::Chunked;
            }
            _ => {}
        }
    }
    head.closes |= matches!(head.body, Length::UntilClose);
    Ok(Some(head))
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The bytes of a chunked body, or none while its last chunk has not come.
fn unchunk(mut bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::with_capacity(bytes.len());
    loop {
        let size = httparse::parse_chunk_size(bytes);
        let Ok(size) = size else { bail!("the answer has a broken chunk") };
        let httparse::Status::Complete((start, size)) = size else { return Ok(None) };
        let end = start + usize::try_from(size)?;
        let Some(chunk) = bytes.get(start..end) else { return Ok(None) };
        let Some(rest) = bytes.get(end + 2..) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_rendered_whole() {
        let target: Target = "http://localhost:1/api".parse().unwrap();
        let text = String::from_utf8(render(&target, "POST", "/posts", "t", "{}")).unwrap();
        assert!(text.starts_with("POST /api/posts HTTP/1.1\r\nhost: localhost:1\r\n"), "{text}");
        assert!(text.contains("authorization: Bearer t\r\n"), "{text}");
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"), "{text}");
        let text = String::from_utf8(render(&target, "GET", "/timeline", "", "")).unwrap();
        assert!(!text.contains("authorization") && !text.contains("content-length"), "{text}");
    }

    #[test]
    fn heads_are_read() {
        let head = parse(b"HTTP/1.1 429 X\r\nRetry-After: 3\r\nContent-Length: 5\r\n\r\n").unwrap();
        let head = head.unwrap();
        assert_eq!((head.status, head.retry_after), (429, Some(Duration::from_secs(3))));
        assert!(matches!(head.body, Length::Bytes(5)) && !head.closes);
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-").unwrap().is_none());
        let head = parse(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
        assert!(head.closes, "without a length the body ends with the connection");
        assert!(parse(b"SMTP\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_are_joined() {
        let whole = b"4\r\nMini\r\n4\r\n-SNS\r\n0\r\n\r\n";
        assert_eq!(unchunk(whole).unwrap().unwrap(), b"Mini-SNS");
        for cut in 0..whole.len() - 2 {
            assert!(unchunk(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        assert!(unchunk(b"no\r\n").is_err());
    }
}
