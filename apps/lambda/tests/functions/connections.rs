//! A WebSocket API's `@connections`, as AWS documents it: POST sends, DELETE closes, 410 for what
//! has ended. Requests must be signed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The sockets that are open.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<String, UnboundedSender<Bytes>>>,
}

impl Connections {
    /// Listens; the address holds a stage, as the real ones do.
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let connections = Arc::new(Self::default());
        let routes = Router::new()
            .route("/prod/@connections/{id}", post(send).delete(close))
            .with_state(Arc::clone(&connections));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/prod", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (connections, address)
    }

    /// A socket opens; what is sent to it.
    pub(crate) fn open(&self, id: &str) -> UnboundedReceiver<Bytes> {
        let (sender, frames) = unbounded_channel();
        self.open.lock().unwrap().insert(id.to_owned(), sender);
        frames
    }

    /// A socket ends at its client's side.
    pub(crate) fn end(&self, id: &str) {
        self.open.lock().unwrap().remove(id);
    }
}

/// Whether a request carries a signature for a service of AWS.
pub(crate) fn is_signed(headers: &HeaderMap, service: &str) -> bool {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    value.is_some_and(|text| {
        text.starts_with("AWS4-HMAC-SHA256") && text.contains(&format!("/{service}/aws4_request"))
    })
}

fn refuse(status: StatusCode, kind: &'static str) -> Response {
    (status, [("x-amzn-errortype", kind)], "{\"message\":\"no\"}").into_response()
}

async fn send(
    State(connections): State<Arc<Connections>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    frame: Bytes,
) -> Response {
    if !is_signed(&headers, "execute-api") {
        return refuse(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException");
    }
    match connections.open.lock().unwrap().get(&id) {
        Some(socket) if socket.send(frame).is_ok() => StatusCode::OK.into_response(),
        _ => refuse(StatusCode::GONE, "GoneException"),
    }
}

async fn close(
    State(connections): State<Arc<Connections>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !is_signed(&headers, "execute-api") {
        return refuse(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException");
    }
    match connections.open.lock().unwrap().remove(&id) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => refuse(StatusCode::GONE, "GoneException"),
    }
}
