//! What the documents show is what the program does.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::live::Socket;
use crate::person::Person;
use crate::server::Server;

/// The frames of the session in `docs/websocket.md`, in their order, without the upgrade request.
fn session() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/websocket.md");
    let document = fs::read_to_string(path).unwrap();
    let (_, rest) = document.split_once("```text\n> GET /ws").unwrap();
    let (session, _) = rest.split_once("```").unwrap();
    let mut frames: Vec<String> = Vec::new();
    for line in session.lines().skip(1) {
        match line.strip_prefix("> ").or_else(|| line.strip_prefix("< ")) {
            Some(start) => frames.push(start.to_owned()),
            None => frames.last_mut().unwrap().push_str(line.trim()),
        }
    }
    frames.iter().map(|frame| frame.parse().unwrap()).collect()
}

/// The same with every value that is not a member's name replaced by its kind.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), shape(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(entries) => entries.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("bool"),
        Value::Null => Value::Null,
    }
}

#[track_caller]
fn same(documented: &Value, sent: &Value) {
    assert_eq!(documented["type"], sent["type"]);
    assert_eq!(shape(documented), shape(sent));
}

#[tokio::test]
async fn the_documented_session_goes_as_documented() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let before = Socket::open(&server, &person).await.hello["cursor"].clone();
    let gone = person.post("one").await;
    person.post("two").await;
    server.settled().await;
    person.send(reqwest::Method::DELETE, &format!("/posts/{gone}")).await.expect(204);
    server.settled().await;

    let frames = session();
    let [hello, resume, ping, entry, removed, pong] = &frames[..] else {
        panic!("six frames: {frames:?}");
    };
    let mut socket = Socket::open(&server, &person).await;
    same(hello, &socket.hello);
    let mut resume = resume.clone();
    resume["cursor"] = before;
    socket.send(&resume).await;
    socket.send(ping).await;
    for documented in [entry, removed, pong] {
        same(documented, &socket.next(documented["type"].as_str().unwrap()).await);
    }
}
