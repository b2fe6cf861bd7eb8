//! Sockets over a real listener: what they tell, how they resume, and why they close.

mod world;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use timeline::Config;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use world::World;
use world::client::{Client, entries, listen, removed, ticket};

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
    for scheme in ["bearer", "BEARER"] {
        let mut request = url.as_str().into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("{scheme} {}", ticket(user))).unwrap();
        request.headers_mut().insert("authorization", bearer);
        assert_eq!(status(connect_async(request).await.map(drop)), 101, "{scheme}");
    }
    let plain = async |query: String| {
        let request = axum::http::Request::get(format!("/ws{query}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(world.app.clone(), request).await.unwrap()
    };
    let response = plain(format!("?token={}", ticket(user))).await;
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["sec-websocket-version"], "13");
    let mut old = format!("{url}?token={}", ticket(user)).into_client_request().unwrap();
    old.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("8"));
    assert_eq!(status(connect_async(old).await.map(drop)), 426);
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
    let world = World::new(Config { resume_grace: Duration::from_secs(60), ..Config::default() });
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
    let deep = format!("{{\"type\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    for (text, code) in [
        ("{", "malformed_request"),
        ("", "malformed_request"),
        ("[1, nonsense", "malformed_request"),
        (r#"{"type":"dance"} and more"#, "malformed_request"),
        (&"[".repeat(2000), "malformed_request"),
        (&deep, "malformed_request"),
        ("7", "validation_failed"),
        (r#"{"type":["resume"]}"#, "validation_failed"),
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
async fn what_cannot_be_read_closes_with_the_reason() {
    let world = World::new(Config { close_wait: Duration::from_secs(1), ..Config::default() });
    let address = listen(&world).await;
    let user = world.user();
    // Several times: whether a reset comes before the close frame is a matter of luck.
    for bytes in [65_537, 100_000, 1024 * 1024, 1024 * 1024, 1024 * 1024] {
        let mut client = Client::open(address, user).await;
        client.stream.send(Message::text("x".repeat(bytes))).await.unwrap();
        assert_eq!(client.closed().await, 1009, "{bytes}");
        assert!(client.stream.next().await.is_none_or(|end| end.is_ok()), "no reset");
    }
    let raw = |code, bytes: &'static [u8]| Message::Frame(Frame::message(bytes, code, true));
    for (message, expected) in [
        (raw(OpCode::Data(Data::Text), b"\xff\xfe"), 1007),
        (raw(OpCode::Data(Data::Text), b"{\xe3\x81"), 1007),
        (raw(OpCode::Data(Data::Continue), b"{}"), 1002),
    ] {
        let mut client = Client::open(address, user).await;
        client.stream.send(message).await.unwrap();
        assert_eq!(client.closed().await, expected);
    }
    // A peer that never comes to an end of its message is not waited for.
    let mut client = Client::open(address, user).await;
    let head = [0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4, b'x'];
    client.stream.get_mut().write_all(&head).await.unwrap();
    assert_eq!(client.closed().await, 1009);
    world.timeline.close_sockets().await;
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
async fn an_ended_session_is_sent_nothing_more() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.post(author);
    world.settle().await;
    let start = world.read(reader, "").await.0["prevCursor"].clone();
    world.post(author);
    world.settle().await;
    let (kept, other) = (ticket(reader), format!("good:{reader}:3600001"));
    let mut open = Client::connect(address, &kept).await.unwrap();
    let (mut live, mut resuming, mut pinging) = (
        Client::connect(address, &other).await.unwrap(),
        Client::connect(address, &other).await.unwrap(),
        Client::connect(address, &other).await.unwrap(),
    );
    assert_eq!(live.until_pong().await, Vec::<Value>::new());
    world.tickets.ended.lock().unwrap().insert(other);
    resuming.say(json!({"type": "resume", "cursor": start})).await;
    pinging.say(json!({"type": "ping"})).await;
    let post = world.post(author);
    world.settle().await;
    for mut ended in [live, resuming, pinging] {
        // The very next message.
        match ended.message().await {
            Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 4401),
            unexpected => panic!("{unexpected}"),
        }
    }
    assert_eq!(entries(&open.until_pong().await), [post]);
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
