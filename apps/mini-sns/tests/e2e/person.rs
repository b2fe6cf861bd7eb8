//! Somebody who uses a Mini-SNS through its API.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Server, eventually};

pub(crate) const PASSWORD: &str = "correct-horse-7";

static NUMBER: AtomicU32 = AtomicU32::new(0);

#[derive(Clone)]
pub(crate) struct Person {
    http: reqwest::Client,
    url: String,
    pub(crate) email: String,
    pub(crate) id: String,
    pub(crate) handle: String,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

/// An answer: its status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Self { status, headers, body }
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self.body
    }

    /// The body of a Problem that must have this status and code.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), &self.body["code"]),
            (status, &json!(code)),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        for field in ["type", "title", "detail", "requestId"] {
            assert!(self.body[field].is_string(), "{field} in {}", self.body);
        }
        assert_eq!(self.headers["x-request-id"].to_str().unwrap(), self.body["requestId"]);
        self.body
    }
}

impl Person {
    pub(crate) async fn register(server: &Server) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::register_as(server, &format!("person_{number}")).await
    }

    pub(crate) async fn register_as(server: &Server, handle: &str) -> Self {
        let email = format!("{handle}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "handle": handle});
        let answer = eventually("the address may register", async || {
            let request = server.http.post(format!("{}/auth/register", server.url)).json(&body);
            let answer = Answer::of(request.send().await.unwrap()).await;
            (answer.status != StatusCode::TOO_MANY_REQUESTS).then_some(answer)
        })
        .await;
        let made = answer.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            http: server.http.clone(),
            url: server.url.clone(),
            email,
            id: text(&made["user"]["userId"]),
            handle: text(&made["user"]["handle"]),
            token: text(&made["accessToken"]),
            refresh_token: text(&made["refreshToken"]),
        }
    }

    /// The same person with another access token.
    pub(crate) fn with_token(&self, token: &Value) -> Self {
        Self { token: token.as_str().unwrap().to_owned(), ..self.clone() }
    }

    /// The same person after the server moved to another address.
    pub(crate) fn at(&self, server: &Server) -> Self {
        Self { http: server.http.clone(), url: server.url.clone(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Answer {
        Answer::of(self.request(method, path).send().await.unwrap()).await
    }

    /// Writes a post and gives its id.
    pub(crate) async fn post(&self, text: &str) -> String {
        let post = self.post_to("/posts", &json!({"text": text})).await.expect(201);
        post["postId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn follow(&self, other: &Person) {
        let path = format!("/users/{}/follow", other.id);
        let answer = self.send(Method::POST, &path).await.expect(200);
        assert_eq!(answer, json!({"following": true}));
    }

    pub(crate) async fn unfollow(&self, other: &Person) {
        let path = format!("/users/{}/follow", other.id);
        let answer = self.send(Method::DELETE, &path).await.expect(200);
        assert_eq!(answer, json!({"following": false}));
    }

    /// The ids of the posts in the whole timeline, newest first, read page by page.
    pub(crate) async fn timeline(&self) -> Vec<String> {
        self.walk("/timeline?limit=100", |item| item["post"]["postId"].clone()).await
    }

    /// Walks a list to its end by `nextCursor`, taking one text from each entry.
    pub(crate) async fn walk(&self, path: &str, pick: impl Fn(&Value) -> Value) -> Vec<String> {
        let mut found = Vec::new();
        let (path, mut cursor) = match path.split_once("&cursor=") {
            Some((path, cursor)) => (path, format!("&cursor={cursor}")),
            None => (path, String::new()),
        };
        loop {
            let page = self.get(&format!("{path}{cursor}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| pick(item).as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until the timeline holds exactly these posts, newest first.
    pub(crate) async fn sees(&self, wanted: &[String]) {
        let mut newest_first = wanted.to_vec();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        eventually(&format!("{} sees {newest_first:?}", self.handle), async || {
            (self.timeline().await == newest_first).then_some(())
        })
        .await;
    }
}
