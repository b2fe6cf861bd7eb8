//! Restarts that nobody notices: the listening socket is handed from process to process, as a
//! service manager does it.

use std::collections::HashSet;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::live::Socket;
use crate::person::{Answer, Person};
use crate::server::{PATIENCE, Server, program};

const RESTARTS: usize = 20;
const WRITERS: usize = 4;
const OPTIONS: [&str; 4] = ["--posts-per-minute", "1000000", "--user-rate-per-sec", "1000000"];

/// The program with the socket as its third file, which is where `LISTEN_FDS` begins.
fn handed(socket: &TcpListener) -> Command {
    let whole = program();
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.arg(whole.get_program()).env_clear().env("LISTEN_FDS", "1");
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

/// Posts and reads over kept connections until it is told to end; the ids of its posts.
async fn write(person: Person, end: CancellationToken) -> Vec<String> {
    let mut posts = Vec::new();
    while !end.is_cancelled() {
        let text = json!({"text": format!("number {}", posts.len())});
        let sent = person.request(Method::POST, "/posts").json(&text).send().await;
        let answer = Answer::of(sent.expect("no post fails on its way")).await;
        posts.push(answer.expect(201)["postId"].as_str().unwrap().to_owned());
        let read = person.request(Method::GET, "/timeline").send().await;
        Answer::of(read.expect("no read fails on its way")).await.expect(200);
    }
    posts
}

impl Socket {
    /// The next frame, or none where the connection ends.
    async fn frame(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match message.expect("a frame or the end arrives")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Follows the frames of one person from socket to socket, each resumed where the last one ended.
async fn listen(
    url: String,
    token: String,
    mut cursor: Value,
    mut socket: Socket,
    seen: mpsc::UnboundedSender<String>,
) {
    loop {
        socket.send(&json!({"type": "resume", "cursor": cursor})).await;
        while let Some(frame) = socket.frame().await {
            assert_eq!(frame["type"], "timeline.entry", "{frame}");
            cursor = frame["cursor"].clone();
            let post = frame["data"]["post"]["postId"].as_str().unwrap();
            if seen.send(post.to_owned()).is_err() {
                return;
            }
        }
        socket = Socket::try_open_at(&url, &token, &[]).await.expect("a socket opens again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_under_load_fail_no_request_and_lose_no_frame() {
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_by(handed(&public), &dir.path().join("data"), &OPTIONS).await;
    assert_eq!(server.url, format!("http://{}", public.local_addr().unwrap()));

    let reader = Person::register(&server).await;
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let writer = Person::register(&server).await;
        reader.follow(&writer).await;
        writers.push(writer);
    }
    server.settled().await;
    let socket = Socket::open(&server, &reader).await;
    let (seen, mut frames) = mpsc::unbounded_channel();
    let cursor = socket.hello["cursor"].clone();
    let listening =
        tokio::spawn(listen(server.url.clone(), reader.token.clone(), cursor, socket, seen));
    let end = CancellationToken::new();
    let writing: JoinSet<_> =
        writers.into_iter().map(|writer| write(writer, end.clone())).collect();

    for _ in 0..RESTARTS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.terminate();
        assert_eq!(server.exited().await.code(), Some(0), "a clean stop");
        server.start_again(handed(&public)).await;
    }
    end.cancel();
    let posts: HashSet<String> = writing.join_all().await.into_iter().flatten().collect();
    assert!(posts.len() >= RESTARTS, "{} posts were written", posts.len());
    let mut missing = posts;
    while !missing.is_empty() {
        let frame = tokio::time::timeout(crate::server::PATIENCE, frames.recv()).await;
        let post = frame.unwrap_or_else(|_| panic!("no frame came of {missing:?}")).unwrap();
        missing.remove(&post);
    }
    listening.abort();
    server.verified().await;
}
