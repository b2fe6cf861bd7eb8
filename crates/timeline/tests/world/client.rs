//! A client of a socket, and a listener for it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use kernel::{PostId, UserId};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::World;

pub(crate) type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn listen(world: &World) -> SocketAddr {
    listen_at(world.app.clone()).await
}

pub(crate) async fn listen_at(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

pub(crate) fn ticket(user: UserId) -> String {
    format!("good:{user}:3600000")
}

pub(crate) struct Client {
    pub(crate) stream: Stream,
    pub(crate) hello: Value,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Result<Self, Error> {
        let (stream, _) = connect_async(format!("ws://{address}/ws?token={token}")).await?;
        let mut client = Self { stream, hello: Value::Null };
        client.hello = client.next().await;
        assert_eq!(client.hello["type"], "hello");
        Ok(client)
    }

    pub(crate) async fn open(address: SocketAddr, user: UserId) -> Self {
        Self::connect(address, &ticket(user)).await.unwrap()
    }

    pub(crate) async fn message(&mut self) -> Message {
        let next = tokio::time::timeout(Duration::from_secs(10), self.stream.next());
        next.await.expect("a frame in time").expect("not the end").unwrap()
    }

    /// The next JSON frame.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match self.message().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("not a frame: {other:?}"),
            }
        }
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Everything that was on its way: a ping's answer comes after it.
    pub(crate) async fn until_pong(&mut self) -> Vec<Value> {
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

    pub(crate) async fn resume(&mut self, cursor: &Value) -> Vec<Value> {
        self.say(json!({"type": "resume", "cursor": cursor})).await;
        self.until_pong().await
    }

    /// The close code that ends the socket.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Message::Close(frame) => return frame.expect("a reason").code.into(),
                _ => continue,
            }
        }
    }
}

pub(crate) fn entries(frames: &[Value]) -> Vec<PostId> {
    let entries = frames.iter().filter(|frame| frame["type"] == "timeline.entry");
    entries
        .map(|frame| frame["data"]["post"]["postId"].as_str().unwrap().parse().unwrap())
        .collect()
}

pub(crate) fn removed(frames: &[Value]) -> Vec<PostId> {
    let removed = frames.iter().filter(|frame| frame["type"] == "timeline.removed");
    removed.map(|frame| frame["data"]["postId"].as_str().unwrap().parse().unwrap()).collect()
}
