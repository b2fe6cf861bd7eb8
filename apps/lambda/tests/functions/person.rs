//! Somebody who uses Mini-SNS through its API and a socket.

use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::events;
use crate::stage::Stage;

pub(crate) const PASSWORD: &str = "correct-horse-7";

pub(crate) struct Person<'a> {
    stage: &'a Stage,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

impl<'a> Person<'a> {
    pub(crate) async fn register(stage: &'a Stage, handle: &str) -> Self {
        let body = json!({
            "email": format!("{handle}@example.com"), "password": PASSWORD, "handle": handle,
        });
        let asked = stage.http.post(format!("{}/auth/register", stage.url)).json(&body);
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        let made: Value = answer.json().await.unwrap();
        assert_eq!(
            status,
            StatusCode::CREATED,
            "{made}\n{}",
            stage.functions().log().await.join("\n")
        );
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            stage,
            id: text(&made["user"]["userId"]),
            token: text(&made["accessToken"]),
            refresh_token: text(&made["refreshToken"]),
        }
    }

    /// Asks, and gives the body of an answer that must have this status.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Value {
        let url = format!("{}{path}", self.stage.url);
        let mut asked = self.stage.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        let answer = asked.send().await.unwrap();
        let got = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(got, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None, 200).await
    }

    /// Writes a post; its id.
    pub(crate) async fn post(&self, text: &str) -> String {
        let made = self.ask(Method::POST, "/posts", Some(json!({"text": text})), 201).await;
        made["postId"].as_str().unwrap().to_owned()
    }

    /// The ids of the posts in the timeline, newest first.
    pub(crate) async fn timeline(&self) -> Vec<String> {
        let page = self.get("/timeline").await;
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["post"]["postId"].as_str().unwrap().to_owned()).collect()
    }

    /// Opens a socket as the WebSocket API does; else the status with which it refuses.
    pub(crate) async fn open(&self, id: &str) -> Result<Socket<'a>, u16> {
        let question = events::may_open(Some(&self.token), Some("https://app.example"));
        let authorizer = self.stage.functions().get("authorizer").await;
        let allowed = authorizer.invoke(&question).await.map_err(|_| 401_u16)?;
        if allowed["policyDocument"]["Statement"][0]["Effect"] != "Allow" {
            return Err(403);
        }
        let mut known = allowed["context"].clone();
        known["principalId"] = allowed["principalId"].clone();
        let connect = self.stage.functions().get("socket-connect").await;
        let answer = connect.invoke(&events::socket("$connect", id, &known)).await.unwrap();
        match answer["statusCode"].as_u64().unwrap() {
            200 => {
                let frames = self.stage.connections.open(id);
                Ok(Socket { stage: self.stage, id: id.to_owned(), known, frames })
            }
            other => Err(u16::try_from(other).unwrap()),
        }
    }
}

/// A socket that a client holds open.
pub(crate) struct Socket<'a> {
    stage: &'a Stage,
    id: String,
    /// What the authorizer has said of it.
    pub(crate) known: Value,
    frames: UnboundedReceiver<Bytes>,
}

impl Socket<'_> {
    /// Says something.
    pub(crate) async fn say(&self, frame: &Value) {
        let function = self.stage.functions().get("socket-message").await;
        let said = events::said(&self.id, &self.known, &frame.to_string());
        assert_eq!(function.invoke(&said).await.unwrap()["statusCode"], 200);
    }

    /// The next frame, which must have come by now or come soon.
    pub(crate) async fn frame(&mut self) -> Value {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.frames.recv()).await;
        serde_json::from_slice(&frame.expect("a frame comes").expect("the socket is open")).unwrap()
    }

    /// The kinds of all frames that have come.
    pub(crate) fn kinds(&mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Ok(frame) = self.frames.try_recv() {
            let frame: Value = serde_json::from_slice(&frame).unwrap();
            kinds.push(frame["type"].as_str().unwrap().to_owned());
        }
        kinds
    }

    /// Whether the server has closed it, all frames read.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.frames.is_closed() && self.frames.is_empty()
    }

    /// Ends it at the client's side.
    pub(crate) async fn end(self) {
        self.end_with(1001).await;
    }

    /// Ends it with this close code, as API Gateway tells it.
    pub(crate) async fn end_with(self, code: u16) {
        self.stage.connections.end(&self.id);
        let function = self.stage.functions().get("socket-disconnect").await;
        let mut ended = events::socket("$disconnect", &self.id, &self.known);
        ended["requestContext"]["disconnectStatusCode"] = json!(code);
        assert_eq!(function.invoke(&ended).await.unwrap()["statusCode"], 200);
    }
}
