//! Sockets: what a client that stays open sees.

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::person::Person;
use crate::server::{PATIENCE, Server};

pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) hello: Value,
}

impl Socket {
    pub(crate) async fn open(server: &Server, person: &Person) -> Self {
        Self::try_open(server, &person.token, &[]).await.unwrap()
    }

    /// Opens a socket, or gives the HTTP status of the refusal.
    pub(crate) async fn try_open(
        server: &Server,
        token: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        Self::try_open_at(&server.url, token, headers).await
    }

    pub(crate) async fn try_open_at(
        url: &str,
        token: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let url = format!("{}/ws?token={token}", url.replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((stream, _)) => {
                let mut socket = Self { stream, hello: Value::Null };
                socket.hello = socket.next("hello").await;
                Ok(socket)
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("the socket opens or is refused: {other}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame, which must be of this type.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            let message = message.unwrap_or_else(|_| panic!("a {kind} frame arrives")).unwrap();
            if let Message::Text(text) = message.unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(frame["type"], kind, "{frame}");
                return frame;
            }
        }
    }

    /// The code that the server closes with.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match message.expect("the server closes").expect("with a close frame").unwrap() {
                Message::Close(Some(frame)) => return frame.code.into(),
                _ => continue,
            }
        }
    }
}

#[tokio::test]
async fn a_socket_is_refused_before_the_upgrade() {
    let server = Server::start(&["--sockets-per-user", "2"]).await;
    let person = Person::register(&server).await;
    assert_eq!(Socket::try_open(&server, "nonsense", &[]).await.err(), Some(401));
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(Socket::try_open(&server, &person.token, &foreign).await.err(), Some(403));
    let _first = Socket::open(&server, &person).await;
    let _second = Socket::open(&server, &person).await;
    assert_eq!(Socket::try_open(&server, &person.token, &[]).await.err(), Some(429));
}

#[tokio::test]
async fn a_client_that_was_away_resumes_without_loss_or_repeat() {
    let server = Server::start(&["--posts-per-minute", "100"]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    let seen = author.post("seen live").await;
    let frame = socket.next("timeline.entry").await;
    assert_eq!(frame["data"]["post"]["postId"], seen);
    drop(socket);
    let mut missed = Vec::new();
    for number in 0..5 {
        missed.push(author.post(&format!("missed {number}")).await);
    }
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    socket.send(&json!({"type": "resume", "cursor": frame["cursor"]})).await;
    let live = author.post("live again").await;
    let mut arrived = Vec::new();
    for _ in 0..6 {
        let entry = socket.next("timeline.entry").await;
        arrived.push(entry["data"]["post"]["postId"].as_str().unwrap().to_owned());
    }
    // Deliveries are shuffled, so posts arrive in any order, but each once.
    arrived.sort_unstable();
    missed.push(live);
    assert_eq!(arrived, missed);
    socket.send(&json!({"type": "ping"})).await;
    socket.next("pong").await;
    server.verified().await;
}

/// Whoever keeps the cursor of each frame and is cut off again and again is given every post once.
#[tokio::test(flavor = "multi_thread")]
async fn a_flickering_connection_misses_nothing() {
    let server = Server::start(&["--posts-per-minute", "100000"]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    let mut cursor = socket.hello["cursor"].clone();
    let writer = tokio::spawn(async move {
        let mut posts = Vec::new();
        for number in 0..200 {
            posts.push(author.post(&format!("number {number}")).await);
        }
        posts
    });
    let mut seen = Vec::new();
    while seen.len() < 200 {
        socket.send(&json!({"type": "resume", "cursor": cursor})).await;
        for _ in 0..7.min(200 - seen.len()) {
            let frame = socket.next("timeline.entry").await;
            seen.push(frame["data"]["post"]["postId"].as_str().unwrap().to_owned());
            cursor = frame["cursor"].clone();
        }
        socket = Socket::open(&server, &reader).await;
    }
    seen.sort_unstable();
    assert_eq!(seen, writer.await.unwrap(), "each post once");
    server.verified().await;
}

#[tokio::test]
async fn a_deleted_post_is_taken_off_open_pages() {
    let server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    let post = author.post("gone soon").await;
    socket.next("timeline.entry").await;
    author.send(Method::DELETE, &format!("/posts/{post}")).await.expect(204);
    assert_eq!(socket.next("timeline.removed").await["data"], json!({"postId": post}));
    server.verified().await;
}

#[tokio::test]
async fn a_frame_that_is_not_understood_is_answered_not_punished() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let mut socket = Socket::open(&server, &person).await;
    for frame in [json!({"type": "shout"}), json!([1]), json!({"type": "resume", "cursor": "x"})] {
        socket.send(&frame).await;
        let error = socket.next("error").await;
        assert!(error["code"].is_string() && error["detail"].is_string(), "{error}");
    }
    socket.send(&json!({"type": "ping"})).await;
    socket.next("pong").await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_why_and_a_plain_request_what_to_send() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    for _ in 0..5 {
        let mut socket = Socket::open(&server, &person).await;
        let _ = socket.stream.send(Message::text("x".repeat(1024 * 1024))).await;
        assert_eq!(socket.closed().await, 1009);
    }
    let mut request =
        format!("{}/ws", server.url.replace("http", "ws")).into_client_request().unwrap();
    let bearer = format!("bearer {}", person.token);
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    connect_async(request).await.unwrap();
    let answer = person.send(Method::GET, "/ws").await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.headers["sec-websocket-version"], "13");
    assert_eq!(answer.headers["upgrade"], "websocket");
}

#[tokio::test]
async fn sockets_are_closed_with_the_code_that_says_why() {
    let short = ["--socket-idle-timeout", "1s", "--socket-heartbeat", "60s"];
    let server = Server::start(&short).await;
    let person = Person::register(&server).await;
    assert_eq!(Socket::open(&server, &person).await.closed().await, 4408);

    let mut chatty = Socket::open(&server, &person).await;
    // Of messages that are answered a slow machine may not take a hundred in a second. The
    // protocol's own pings count as well, and so many of them come in a second, wherever it begins.
    let messages = (0..600).map(|number| match number {
        0..150 => Message::text(r#"{"type":"ping"}"#),
        _ => Message::Ping(Bytes::new()),
    });
    for message in messages {
        // The server may close before the last one is sent.
        let _ = chatty.stream.send(message).await;
    }
    assert_eq!(chatty.closed().await, 4429);

    let server = Server::start(&["--access-token-ttl", "2s"]).await;
    let person = Person::register(&server).await;
    assert_eq!(Socket::open(&server, &person).await.closed().await, 4401);

    let mut server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let mut socket = Socket::open(&server, &person).await;
    server.terminate();
    assert_eq!(socket.closed().await, 1001);
    assert_eq!(server.exited().await.code(), Some(0));
}
