//! One person of the demo world, signed in: a client of the server's own API like any other.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::people::Profile;

/// Password of everybody in the demo world.
pub(super) const PASSWORD: &str = "demo-demo-1!";
/// Longest wait that a `Retry-After` is believed, in seconds.
const RETRY_AFTER_MAX_SECS: u64 = 300;
/// Idle time after which a connection is not used again; the server closes it a little later.
const POOL_IDLE: Duration = Duration::from_secs(5);

/// The server, as the demo reaches it.
#[derive(Clone)]
pub(super) struct Door {
    http: Client,
    base: String,
}

impl Door {
    /// The server at an address of this very process, which may have a certificate that only the
    /// outside knows.
    pub(super) fn new(base: &str) -> Result<Self> {
        let http = Client::builder()
            .timeout(Duration::from_secs(30))
            .pool_idle_timeout(POOL_IDLE)
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request; on 429 waits as long as it is asked and sends it again.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        loop {
            let again = request.try_clone().context("a request can be sent once only")?;
            let response = again.send().await?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                return Ok(response);
            }
            let after = response.headers().get("retry-after");
            let secs = after.and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(secs.min(RETRY_AFTER_MAX_SECS))).await;
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    user: User,
    access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: String,
}

/// A post that somebody of the demo world wrote.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post {
    pub(super) post_id: String,
    pub(super) text: String,
}

/// A page of posts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posts {
    pub(super) items: Vec<Post>,
    pub(super) next_cursor: Option<String>,
}

/// Somebody signed in.
pub(super) struct Member {
    door: Door,
    pub(super) profile: &'static Profile,
    pub(super) user_id: String,
    token: String,
}

impl Member {
    /// Signs in; none where nobody has this address yet.
    pub(super) async fn sign_in(door: &Door, profile: &'static Profile) -> Result<Option<Self>> {
        let body = json!({ "email": profile.email(), "password": PASSWORD });
        let response = door.send(door.request(Method::POST, "/auth/login").json(&body)).await?;
        match response.status() {
            StatusCode::OK => Self::entered(door, profile, response).await.map(Some),
            StatusCode::UNAUTHORIZED => Ok(None),
            status => bail!("{} cannot sign in: {status}", profile.handle),
        }
    }

    /// Registers; none where somebody has this address already. Where a stranger took the handle,
    /// the server makes one up.
    pub(super) async fn register(door: &Door, profile: &'static Profile) -> Result<Option<Self>> {
        let mut body = json!({
            "email": profile.email(),
            "password": PASSWORD,
            "handle": profile.handle,
            "displayName": profile.name,
        });
        loop {
            let request = door.request(Method::POST, "/auth/register").json(&body);
            let response = door.send(request).await?;
            match response.status() {
                StatusCode::CREATED => {
                    let member = Self::entered(door, profile, response).await?;
                    let bio = json!({ "bio": profile.bio });
                    member.done(Method::PATCH, "/users/me", Some(&bio)).await?;
                    return Ok(Some(member));
                }
                StatusCode::CONFLICT => {
                    let problem: Value = response.json().await?;
                    if problem["code"] != "handle_taken" {
                        return Ok(None);
                    }
                    ensure!(body["handle"].is_string(), "no handle is free");
                    body["handle"].take();
                    if let Some(fields) = body.as_object_mut() {
                        fields.remove("handle");
                    }
                }
                status => bail!("{} cannot register: {status}", profile.handle),
            }
        }
    }

    async fn entered(door: &Door, profile: &'static Profile, response: Response) -> Result<Self> {
        let session: Session = response.json().await?;
        let user_id = session.user.user_id;
        Ok(Self { door: door.clone(), profile, user_id, token: session.access_token })
    }

    /// Signs in again, for access tokens end and the demo goes on.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let member = Self::sign_in(&self.door, self.profile).await?;
        self.token = member.context("somebody's account is gone")?.token;
        Ok(())
    }

    /// Posts; the answer is the post.
    pub(super) async fn post(&self, text: &str) -> Result<Post> {
        let response = self.call(Method::POST, "/posts", Some(&json!({ "text": text }))).await?;
        Ok(response.json().await?)
    }

    /// Their newest posts.
    pub(super) async fn posts(&self) -> Result<Posts> {
        let path = format!("/posts?authorId={}&limit=100", self.user_id);
        Ok(self.call(Method::GET, &path, None).await?.json().await?)
    }

    pub(super) async fn follow(&self, user_id: &str) -> Result<()> {
        self.done(Method::POST, &format!("/users/{user_id}/follow"), None).await
    }

    pub(super) async fn like(&self, post_id: &str) -> Result<()> {
        self.done(Method::POST, &format!("/posts/{post_id}/likes"), None).await
    }

    async fn done(&self, method: Method, path: &str, body: Option<&Value>) -> Result<()> {
        self.call(method, path, body).await.map(|_| ())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response> {
        let mut request = self.door.request(method, path).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.door.send(request).await?;
        match response.status() {
            StatusCode::UNAUTHORIZED => Err(Expired.into()),
            status if status.is_success() => Ok(response),
            status => bail!("{} at {path}: {status}", self.profile.handle),
        }
    }
}

/// The access token counts no more: sign in again.
#[derive(Debug, thiserror::Error)]
#[error("the access token has expired")]
pub(super) struct Expired;
