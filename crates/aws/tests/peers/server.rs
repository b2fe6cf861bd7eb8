//! A service's process as seen from another, and what can be wrong with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::peers::{Addresses, Functions, PeersLimits, RemotePeers, ServiceToken, SigV4};
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use conformance::TestClock;
use kernel::Clock;
use serde_json::Value;

pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes, ok!";

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// How the next question is answered; the last way stands for all that follow.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// With this status, media type and body.
    With(u16, &'static str, String),
    /// With this status, a header beside it, and the body.
    Saying(u16, (&'static str, &'static str), String),
    /// Never.
    Never,
}

impl Way {
    pub(crate) fn json(value: &Value) -> Self {
        Self::With(200, "application/json", value.to_string())
    }

    pub(crate) fn problem(status: u16, code: &str) -> Self {
        let problem = serde_json::json!({"type": "urn:mini-sns:problem", "title": "No",
            "status": status, "detail": "Not so.", "code": code, "requestId": "r",
            "errors": [{"field": "ids", "message": "too many"}]});
        Self::With(status, "application/problem+json", problem.to_string())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Server {
    ways: Arc<Mutex<VecDeque<Way>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Listens on loopback, behind a path as a proxy may have one.
    pub(crate) async fn start() -> (Self, String) {
        let server = Self::default();
        let routes = Router::new().fallback(answer).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/stage/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (server, address)
    }

    /// From now on, this.
    pub(crate) fn answers(&self, ways: impl IntoIterator<Item = Way>) {
        *self.ways.lock().unwrap() = ways.into_iter().collect();
        self.asked.lock().unwrap().clear();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn next(&self) -> Way {
        let mut ways = self.ways.lock().unwrap();
        let next = if ways.len() > 1 { ways.pop_front() } else { ways.front().cloned() };
        next.expect("the test says how it answers")
    }
}

async fn answer(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap();
    let path = uri.path().to_owned();
    server.asked.lock().unwrap().push(Asked { path, headers, body });
    match server.next() {
        Way::With(status, media_type, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("content-type", media_type)], body).into_response()
        }
        Way::Saying(status, header, body) => {
            (StatusCode::from_u16(status).unwrap(), [header], body).into_response()
        }
        Way::Never => std::future::pending().await,
    }
}

/// Pauses and time-outs that a test can wait for.
pub(crate) fn limits() -> PeersLimits {
    PeersLimits {
        retries: Vec::new(),
        attempt_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        ..PeersLimits::default()
    }
}

/// Every service's process at one address.
pub(crate) fn peers(address: &str, limits: PeersLimits) -> (Arc<RemotePeers>, Arc<TestClock>) {
    let clock = TestClock::new();
    let shared: Arc<dyn Clock> = clock.clone();
    let at = || address.to_owned();
    let addresses = Addresses { user: at(), post: at(), social: at() };
    let token = ServiceToken::new(SECRET, clock.clone()).unwrap();
    (RemotePeers::over_http(addresses, token, limits, &shared), clock)
}

/// The functions of the environment `test`, of Lambda at that address.
pub(crate) fn functions(
    address: &str,
    credentials: SharedCredentialsProvider,
) -> (Arc<RemotePeers>, Arc<TestClock>) {
    let clock = TestClock::new();
    let shared: Arc<dyn Clock> = clock.clone();
    let functions = Functions { url: address.to_owned(), env: "test".to_owned() };
    let signature = SigV4::new(credentials, "eu-west-1", clock.clone());
    (RemotePeers::by_invoke(functions, signature, limits(), &shared), clock)
}
