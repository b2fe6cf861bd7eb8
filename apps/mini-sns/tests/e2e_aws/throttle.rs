//! A DynamoDB that throttles while it is told to: in between, everything goes on to the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

const REFUSAL: &str = r#"{
    "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
    "message": "Rate exceeded"
}"#;

pub(crate) struct Throttle {
    pub(crate) url: String,
    inner: Arc<Inner>,
    serving: tokio::task::JoinHandle<()>,
}

struct Inner {
    behind: String,
    http: reqwest::Client,
    throttles: AtomicBool,
    refused: AtomicUsize,
}

impl Throttle {
    /// In front of the DynamoDB at this address; it lets everything through at first.
    pub(crate) async fn before(behind: &str) -> Self {
        let inner = Arc::new(Inner {
            behind: behind.to_owned(),
            http: reqwest::Client::new(),
            throttles: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, serving }
    }

    pub(crate) fn throttle(&self, throttles: bool) {
        self.inner.throttles.store(throttles, Ordering::SeqCst);
    }

    /// Requests that were refused so far.
    pub(crate) fn refused(&self) -> usize {
        self.inner.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    if inner.throttles.load(Ordering::SeqCst) {
        inner.refused.fetch_add(1, Ordering::SeqCst);
        let kind = [("content-type", "application/x-amz-json-1.0")];
        return (StatusCode::BAD_REQUEST, kind, REFUSAL).into_response();
    }
    let passed = inner.http.post(&inner.behind).headers(headers).body(body).send().await;
    let Ok(answer) = passed else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap_or_default()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
