//! Somebody who uses Mini-SNS through the deployed doors.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::World;

/// Longer than any event takes on its way, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Person<'a> {
    world: &'a World,
    http: reqwest::Client,
    pub(crate) id: String,
    pub(crate) token: String,
}

impl<'a> Person<'a> {
    pub(crate) async fn register(world: &'a World, handle: &str) -> Self {
        let http = reqwest::Client::new();
        let body = json!({
            "email": format!("{handle}@example.com"), "password": "correct-horse-7",
            "handle": handle,
        });
        let url = format!("{}/auth/register", world.outputs["RestApiUrl"]);
        let answer = http.post(url).json(&body).send().await.unwrap();
        let (status, made) = read(answer).await;
        assert_eq!(status, 201, "{made}\n{}", world.log("users").await);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, token) = (text(&made["user"]["userId"]), text(&made["accessToken"]));
        Self { world, http, id, token }
    }

    /// An answer, whatever its status.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let url = format!("{}{path}", self.world.outputs["RestApiUrl"]);
        let mut asked = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        asked.send().await.unwrap()
    }

    /// What is told at a path, which must be 200 or 201.
    pub(crate) async fn told(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, told) = read(self.ask(method, path, body).await).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {told}");
        told
    }

    /// Writes a post; its id.
    pub(crate) async fn post(&self, text: &str) -> String {
        let made = self.told(Method::POST, "/posts", Some(json!({"text": text}))).await;
        made["postId"].as_str().unwrap().to_owned()
    }

    /// The ids in the timeline, newest first.
    pub(crate) async fn timeline(&self) -> Vec<String> {
        let page = self.told(Method::GET, "/timeline", None).await;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["post"]["postId"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the timeline is this.
    pub(crate) async fn sees(&self, expected: &[&str]) {
        let mut seen = Vec::new();
        let seeing = async {
            while seen != expected {
                tokio::time::sleep(Duration::from_millis(200)).await;
                seen = self.timeline().await;
            }
        };
        if tokio::time::timeout(PATIENCE, seeing).await.is_err() {
            let log = self.world.log("react-timeline").await;
            panic!("{expected:?} does not come; {seen:?} is there\n{log}");
        }
    }

    /// Opens a socket.
    pub(crate) async fn open(&self) -> Socket {
        let url = format!("{}?token={}", self.world.outputs["WebSocketUrl"], self.token);
        match connect_async(url).await {
            Ok((socket, _)) => Socket(socket),
            Err(error) => {
                let log = self.world.log("authorizer").await;
                panic!("no socket: {error}\n{log}\n{}", self.world.log("socket-connect").await)
            }
        }
    }
}

/// Status and body.
pub(crate) async fn read(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(json!(text)))
}

/// The status with which a socket is refused.
pub(crate) async fn refused(url: &str) -> u16 {
    match connect_async(url).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("it is not refused: {other:?}"),
    }
}

/// An open socket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        let frame = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes");
        let frame = frame.expect("the socket is open").unwrap();
        serde_json::from_str(frame.to_text().unwrap()).unwrap()
    }
}
