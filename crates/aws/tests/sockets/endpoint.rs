//! A WebSocket API's `@connections`, as AWS documents it: POST sends, DELETE closes, 410 for what
//! has ended; and its faults, injected for one connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What goes wrong with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// So many posts are throttled.
    Throttled(usize),
    /// Every post fails.
    Broken,
    /// Nothing that is asked about it works.
    Denied,
    /// Posts are never answered.
    Stuck,
}

#[derive(Default)]
pub(crate) struct Endpoint {
    open: Mutex<HashMap<String, UnboundedSender<Bytes>>>,
    faults: Mutex<HashMap<String, Fault>>,
    pub(crate) posts: AtomicUsize,
    at_once: AtomicUsize,
    pub(crate) at_once_max: AtomicUsize,
}

impl Endpoint {
    /// Listens; the address holds a stage, as the real ones do.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let endpoint = Arc::new(Self::default());
        let routes = Router::new()
            .route("/prod/@connections/{id}", post(send).delete(close))
            .with_state(Arc::clone(&endpoint));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/prod", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (endpoint, address)
    }

    /// A socket opens; what is sent to it.
    pub(crate) fn connect(&self, id: &str) -> UnboundedReceiver<Bytes> {
        let (sender, receiver) = unbounded_channel();
        self.open.lock().unwrap().insert(id.to_owned(), sender);
        receiver
    }

    pub(crate) fn disconnect(&self, id: &str) {
        self.open.lock().unwrap().remove(id);
    }

    pub(crate) fn inject(&self, id: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(id.to_owned(), fault);
    }

    fn fault(&self, id: &str) -> Option<Fault> {
        self.faults.lock().unwrap().get(id).copied()
    }
}

fn refuse(status: u16, kind: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("x-amzn-errortype", kind)], "{\"message\":\"no\"}").into_response()
}

fn is_signed(headers: &HeaderMap) -> bool {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    value.is_some_and(|text| {
        text.starts_with("AWS4-HMAC-SHA256") && text.contains("/execute-api/aws4_request")
    })
}

async fn send(
    State(endpoint): State<Arc<Endpoint>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    frame: Bytes,
) -> Response {
    endpoint.posts.fetch_add(1, Ordering::SeqCst);
    let at_once = endpoint.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    endpoint.at_once_max.fetch_max(at_once, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2)).await;
    endpoint.at_once.fetch_sub(1, Ordering::SeqCst);
    match endpoint.fault(&id) {
        _ if !is_signed(&headers) => return refuse(403, "MissingAuthenticationTokenException"),
        Some(Fault::Throttled(0)) | None => {}
        Some(Fault::Throttled(left)) => {
            endpoint.inject(&id, Fault::Throttled(left - 1));
            return refuse(429, "LimitExceededException");
        }
        Some(Fault::Broken) => return refuse(500, "InternalServerError"),
        Some(Fault::Denied) => return refuse(403, "ExpiredTokenException"),
        Some(Fault::Stuck) => std::future::pending().await,
    }
    match endpoint.open.lock().unwrap().get(&id) {
        Some(socket) if socket.send(frame).is_ok() => StatusCode::OK.into_response(),
        _ => refuse(410, "GoneException"),
    }
}

async fn close(
    State(endpoint): State<Arc<Endpoint>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_signed(&headers) || endpoint.fault(&id) == Some(Fault::Denied) {
        return refuse(403, "ExpiredTokenException");
    }
    match endpoint.open.lock().unwrap().remove(&id) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => refuse(410, "GoneException"),
    }
}
