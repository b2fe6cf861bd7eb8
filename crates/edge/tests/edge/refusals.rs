//! A request that is refused before its body was read: the client writes it all and still sees the
//! answer, over real connections.

use std::net::SocketAddr;

use edge::Config;
use kernel::limiter::Rate;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::site::Site;

/// Refused for their address, their method, their missing token, their length.
const REFUSED: [(&str, u16); 4] =
    [("/nowhere", 413), ("/mine", 405), ("/hidden", 401), ("/echo", 413)];
const SIZES: [usize; 5] = [70_000, 300_000, 1_000_000, 1_100_000, 4_000_000];

struct Client(BufReader<TcpStream>);

struct Seen {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn post(&mut self, path: &str, headers: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{headers}\r\n"
        );
        self.send(head.as_bytes()).await;
    }

    /// Sends a whole request before it looks for an answer.
    async fn upload(&mut self, path: &str, bytes: usize, chunked: bool) {
        if !chunked {
            self.post(path, &format!("content-length: {bytes}\r\n")).await;
            return self.send(&vec![b'a'; bytes]).await;
        }
        self.post(path, "transfer-encoding: chunked\r\n").await;
        self.send_chunks(bytes).await;
    }

    async fn send_chunks(&mut self, bytes: usize) {
        for start in (0..bytes).step_by(10_000) {
            let size = (bytes - start).min(10_000);
            self.send(format!("{size:x}\r\n{}\r\n", "a".repeat(size)).as_bytes()).await;
        }
        self.send(b"0\r\n\r\n").await;
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.to_ascii_lowercase()
    }

    async fn answer(&mut self) -> Seen {
        let mut head = self.line().await;
        while !head.ends_with("\r\n\r\n") {
            let line = self.line().await;
            assert!(!line.is_empty(), "the connection ended in the head: {head:?}");
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Seen { status, head, body: String::from_utf8(body).unwrap() }
    }

    async fn assert_usable(&mut self) {
        self.send(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let seen = self.answer().await;
        assert_eq!((seen.status, seen.body.as_str()), (200, "nobody"));
    }
}

async fn listening() -> SocketAddr {
    let plenty = Rate { per_sec: 100_000, burst: 100_000 };
    Site::with(Config { address_rate: plenty, ..Config::default() }).listen().await
}

fn assert_refused(seen: &Seen, status: u16, what: &str) {
    assert_eq!(seen.status, status, "{what}: {}", seen.body);
    assert!(seen.body.contains("\"requestId\""), "{what}: {}", seen.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_a_large_body_sees_the_refusal_and_may_go_on() {
    let address = listening().await;
    let mut kept = Client::connect(address).await;
    for (path, status) in REFUSED {
        for bytes in SIZES {
            for chunked in [false, true] {
                let what = format!("{path} {bytes} chunked: {chunked}");
                let mut fresh = Client::connect(address).await;
                for client in [&mut fresh, &mut kept] {
                    client.upload(path, bytes, chunked).await;
                    let seen = client.answer().await;
                    assert_refused(&seen, status, &what);
                    assert!(!seen.head.contains("connection: close"), "{what}: {}", seen.head);
                    client.assert_usable().await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_body_is_read_to_its_end_too() {
    let address = listening().await;
    let mut client = Client::connect(address).await;
    for (path, status) in [("/nowhere", 404), ("/mine", 405), ("/hidden", 401), ("/echo", 400)] {
        for chunked in [false, true] {
            client.upload(path, 40_000, chunked).await;
            assert_refused(&client.answer().await, status, path);
            client.assert_usable().await;
        }
    }
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is_refused_at_once() {
    let address = listening().await;
    for (path, status) in REFUSED {
        let mut client = Client::connect(address).await;
        client.post(path, "expect: 100-continue\r\ncontent-length: 1000000\r\n").await;
        let seen = client.answer().await;
        assert_refused(&seen, status, path);
        assert!(seen.head.contains("connection: close"), "{}", seen.head);
        assert_eq!(client.line().await, "", "the connection is over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_told_to_go_on_sees_the_refusal() {
    let address = listening().await;
    let mut client = Client::connect(address).await;
    client.post("/echo", "expect: 100-continue\r\ntransfer-encoding: chunked\r\n").await;
    assert_eq!(client.answer().await.status, 100);
    client.send_chunks(3_000_000).await;
    assert_refused(&client.answer().await, 413, "/echo");
    client.assert_usable().await;
}
