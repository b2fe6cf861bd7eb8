//! Sockets over a real listener: what they tell, how they resume, and why they close.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kernel::{PostId, UserId};
use serde_json::{Value, json};
use timeline::Config;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use world::World;

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn listen(world: &World) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = world.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn ticket(user: UserId) -> String {
    format!("good:{user}:3600000")
}

struct Client {
    stream: Stream,
    hello: Value,
}

impl Client {
    async fn connect(address: SocketAddr, token: &str) -> Result<Self, Error> {
        let (stream, _) = connect_async(format!("ws://{address}/ws?token={token}")).await?;
        let mut client = Self { stream, hello: Value::Null };
        client.hello = client.next().await;
        assert_eq!(client.hello["type"], "hello");
        Ok(client)
    }

    async fn open(address: SocketAddr, user: UserId) -> Self {
        Self::connect(address, &ticket(user)).await.unwrap()
    }

    async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(10), self.stream.next());
        next.await.expect("a frame in time").expect("not the end").unwrap()
    }

    /// The next JSON frame.
    async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("not a frame: {other:?}"),
            }
        }
    }

    async fn say(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Everything that was on its way: a ping's answer comes after it.
    async fn until_pong(&mut self) -> Vec<Value> {
        self.say(json!({"type": "ping"})).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            if frame["type"] == "pong" {
                return frames;
            }
            frames.push(frame);
        }
    }

    async fn resume(&mut self, cursor: &Value) -> Vec<Value> {
        self.say(json!({"type": "resume", "cursor": cursor})).await;
        self.until_pong().await
    }

    /// The close code that ends the socket.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Message::Close(frame) => return frame.expect("a reason").code.into(),
                _ => continue,
            }
        }
    }
}

fn entries(frames: &[Value]) -> Vec<PostId> {
    let entries = frames.iter().filter(|frame| frame["type"] == "timeline.entry");
    entries
        .map(|frame| frame["data"]["post"]["postId"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn removed(frames: &[Value]) -> Vec<PostId> {
    let removed = frames.iter().filter(|frame| frame["type"] == "timeline.removed");
    removed.map(|frame| frame["data"]["postId"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn the_door_checks_token_origin_and_upgrade() {
    let config = Config { origins: vec!["https://app.example".into()], ..Config::default() };
    let world = World::new(config);
    let address = listen(&world).await;
    let user = world.user();
    let refused = |result: Result<Client, Error>| match result.err().expect("refused") {
        Error::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    };
    assert_eq!(refused(Client::connect(address, "bad").await), 401);
    let url = format!("ws://{address}/ws");
    let status = |result: Result<_, Error>| match result {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(status(connect_async(&url).await.map(drop)), 401);
    for (origin, expected) in [
        (Some("https://evil.example".to_owned()), 403),
        (Some("https://app.example".to_owned()), 101),
        (Some(format!("http://{address}")), 101),
        (None, 101),
    ] {
        let mut request = url.as_str().into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("Bearer {}", ticket(user))).unwrap();
        request.headers_mut().insert("authorization", bearer);
        if let Some(origin) = &origin {
            request.headers_mut().insert("origin", HeaderValue::try_from(origin).unwrap());
        }
        assert_eq!(status(connect_async(request).await.map(drop)), expected, "{origin:?}");
    }
    let plain = async |query: String| {
        let request = axum::http::Request::get(format!("/ws{query}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(world.app.clone(), request).await.unwrap()
    };
    let response = plain(format!("?token={}", ticket(user))).await;
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(plain("?token=bad".into()).await.status(), 401);
}

#[tokio::test]
async fn the_subprotocol_is_taken_when_offered() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let url = format!("ws://{address}/ws?token={}", ticket(world.user()));
    let mut request = url.into_client_request().unwrap();
    let offered = HeaderValue::from_static("other, mini-sns.v1");
    request.headers_mut().insert("sec-websocket-protocol", offered);
    let (_, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mini-sns.v1");
}

#[tokio::test]
async fn the_twenty_first_socket_is_refused() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let (user, other) = (world.user(), world.user());
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(Client::open(address, user).await);
    }
    match Client::connect(address, &ticket(user)).await.err().expect("refused") {
        Error::Http(response) => assert_eq!(response.status(), 429),
        unexpected => panic!("{unexpected}"),
    }
    Client::open(address, other).await;
    drop(open);
    // The places come free as the server sees the sockets go.
    while world.hub.open() > 0 {
        tokio::task::yield_now().await;
    }
    Client::open(address, user).await;
}

#[tokio::test]
async fn what_arrives_and_what_goes_is_told_live() {
    let world = World::new(Config { fanout_page: 2, ..Config::default() });
    let address = listen(&world).await;
    let (author, reader) = (world.user(), world.user());
    for follower in world.users(5).into_iter().chain([reader]) {
        world.follow(follower, author);
    }
    world.settle().await;
    let (mut one, mut two) =
        (Client::open(address, reader).await, Client::open(address, author).await);
    assert_eq!(one.hello["heartbeatSeconds"], 30);
    let posts: Vec<_> = (0..3).map(|_| world.post(author)).collect();
    world.settle().await;
    for client in [&mut one, &mut two] {
        let frames = client.until_pong().await;
        let mut told = entries(&frames);
        told.sort();
        assert_eq!(told, posts, "each once, though every event comes twice");
        let frame = frames.iter().find(|frame| frame["type"] == "timeline.entry").unwrap();
        assert_eq!(frame["data"]["liked"], false);
        assert_eq!(frame["data"]["author"]["userId"], author.to_string());
    }
    world.delete(posts[1]);
    world.settle().await;
    let mut gone = removed(&one.until_pong().await);
    gone.dedup();
    assert_eq!(gone, [posts[1]]);
}

#[tokio::test]
async fn a_resume_brings_the_gap_without_loss_or_repeat() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    let early: Vec<_> = (0..3).map(|_| world.post(author)).collect();
    world.settle().await;
    let (page, _) = world.read(reader, "").await;
    let mut first = Client::open(address, reader).await;
    assert_eq!(first.resume(&page["prevCursor"]).await, Vec::<Value>::new());
    let seen = world.post(author);
    world.settle().await;
    let frames = first.until_pong().await;
    assert_eq!(entries(&frames), [seen]);
    drop(first);
    // Away: 150 posts come, two go, one of them never seen.
    let missed: Vec<_> = (0..150).map(|_| world.post(author)).collect();
    world.settle().await;
    world.delete(early[0]);
    world.delete(missed[7]);
    world.settle().await;
    let mut again = Client::open(address, reader).await;
    let live = world.post(author);
    world.settle().await;
    let resumed = again.resume(&frames[0]["cursor"]).await;
    let mut told = entries(&resumed);
    assert_eq!(told.iter().filter(|post| **post == live).count(), 1);
    told.retain(|post| *post != live);
    told.sort();
    let mut expected = missed.clone();
    expected.remove(7);
    assert_eq!(told, expected);
    assert!(removed(&resumed).contains(&early[0]));
    // What had come before the socket is told once; the hello's cursor is where live begins.
    assert_eq!(entries(&again.resume(&again.hello["cursor"].clone()).await), []);
}

#[tokio::test]
async fn a_gap_too_wide_or_too_old_is_a_resync() {
    let config = Config { resume_entries_max: 10, ..Config::default() };
    let world = World::new(config);
    let address = listen(&world).await;
    let author = world.user();
    let start = Client::open(address, author).await.hello["cursor"].clone();
    for _ in 0..10 {
        world.post(author);
    }
    world.settle().await;
    let mut client = Client::open(address, author).await;
    assert_eq!(client.resume(&start).await.len(), 10);
    world.post(author);
    world.settle().await;
    let mut client = Client::open(address, author).await;
    assert_eq!(client.resume(&start).await, [json!({"type": "resync"})]);
    let now = client.hello["cursor"].clone();
    world.clock.advance(Duration::from_hours(24) + Duration::from_secs(1));
    assert_eq!(client.resume(&now).await, [json!({"type": "resync"})]);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_the_socket_stays() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let mut client = Client::open(address, world.user()).await;
    let posts = kernel::Cursor::older("x").render("posts");
    let long = format!("\"{}\"", "x".repeat(5000));
    for (text, code) in [
        ("{", "malformed_request"),
        ("[]", "validation_failed"),
        (r#"{"type":"dance"}"#, "validation_failed"),
        (r#"{"type":"resume"}"#, "validation_failed"),
        (r#"{"type":"resume","cursor":"x"}"#, "invalid_cursor"),
        (&json!({"type": "resume", "cursor": posts}).to_string(), "invalid_cursor"),
        (&long, "body_too_large"),
    ] {
        client.stream.send(Message::text(text)).await.unwrap();
        let frame = client.next().await;
        assert_eq!((frame["type"].as_str(), frame["code"].as_str()), (Some("error"), Some(code)));
        assert!(frame["detail"].is_string());
    }
    client.stream.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(client.next().await["code"], "malformed_request");
    assert!(client.until_pong().await.is_empty());
}

#[tokio::test]
async fn an_expired_token_closes_with_4401() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let token = format!("good:{}:300", world.user());
    let mut client = Client::connect(address, &token).await.unwrap();
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn an_ended_session_closes_with_4401() {
    let config = Config { heartbeat: Duration::from_millis(50), ..Config::default() };
    let world = World::new(config);
    let address = listen(&world).await;
    let user = world.user();
    let (mut ended, mut other) =
        (Client::open(address, user).await, Client::open(address, world.user()).await);
    world.tickets.ended.lock().unwrap().insert(ticket(user));
    assert_eq!(ended.closed().await, 4401);
    assert_eq!(other.until_pong().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_silent_peer_closes_with_4408_and_one_that_pongs_does_not() {
    let config = Config { idle: Duration::from_millis(400), ..Config::default() };
    let world = World::new(Config { heartbeat: Duration::from_secs(9), ..config.clone() });
    let mut silent = Client::open(listen(&world).await, world.user()).await;
    assert_eq!(silent.closed().await, 4408);

    let world = World::new(Config { heartbeat: Duration::from_millis(50), ..config });
    let mut client = Client::open(listen(&world).await, world.user()).await;
    let until = tokio::time::Instant::now() + Duration::from_millis(900);
    let mut pings = 0;
    while tokio::time::Instant::now() < until {
        // Reading answers pings.
        assert!(matches!(client.message().await, Message::Ping(_)));
        pings += 1;
    }
    assert!(pings > 5);
}

#[tokio::test]
async fn too_many_messages_close_with_4429() {
    let world = World::new(Config { messages_per_sec: 20, ..Config::default() });
    let mut client = Client::open(listen(&world).await, world.user()).await;
    for _ in 0..21 {
        client.say(json!({"type": "ping"})).await;
    }
    assert_eq!(client.closed().await, 4429);
    // A resume costs as much as many pings.
    let mut client = Client::open(listen(&world).await, world.user()).await;
    let cursor = client.hello["cursor"].clone();
    for _ in 0..11 {
        client.say(json!({"type": "resume", "cursor": cursor})).await;
    }
    assert_eq!(client.closed().await, 4429);
}

#[tokio::test]
async fn a_slow_reader_closes_with_4413() {
    let config = Config {
        close_wait: Duration::from_secs(20),
        resume_grace: Duration::ZERO,
        ..Config::default()
    };
    let world = World::new(config);
    let address = listen(&world).await;
    let user = world.user();
    let (mut slow, mut quick) =
        (Client::open(address, user).await, Client::open(address, user).await);
    let reading = tokio::spawn(async move {
        let mut frames = 0;
        while frames < 400 {
            quick.next().await;
            frames += 1;
        }
    });
    // Far more than the kernel's buffers and a mailbox hold, while nobody reads; the one who does
    // is waited for, so that only the slow one is slow.
    let frame = bytes::Bytes::from(format!("{{\"type\":\"{}\"}}", "x".repeat(100_000)));
    let sockets: &dyn kernel::sockets::Sockets = &*world.hub;
    for _ in 0..400 {
        sockets.send(&[user], frame.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(slow.closed().await, 4413);
    reading.await.unwrap();
}

#[tokio::test]
async fn shutdown_closes_with_1001_and_waits() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let user = world.user();
    let (mut one, mut two) = (Client::open(address, user).await, Client::open(address, user).await);
    let timeline = world.timeline.clone();
    let closing = tokio::spawn(async move { timeline.close_sockets().await });
    assert_eq!(one.closed().await, 1001);
    assert_eq!(two.closed().await, 1001);
    // Reading on sends the answer to the close.
    assert!(one.stream.next().await.is_none());
    assert!(two.stream.next().await.is_none());
    closing.await.unwrap();
    assert_eq!(world.hub.open(), 0);
    match Client::connect(address, &ticket(user)).await.err().expect("refused") {
        Error::Http(response) => assert_eq!(response.status(), 503),
        unexpected => panic!("{unexpected}"),
    }
}

#[tokio::test]
async fn a_deleted_account_closes_its_sockets() {
    let world = World::new(Config::default());
    let user = world.user();
    let mut client = Client::open(listen(&world).await, user).await;
    world.delete_user(user);
    world.settle().await;
    assert_eq!(client.closed().await, 4401);
}
