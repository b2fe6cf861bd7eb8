//! From a request to a socket: the handshake of RFC 6455, and the end of a socket.
//!
//! The sockets keep their raw stream within reach. A peer that is in the middle of a message that
//! nobody wants is read to its end: a connection that is dropped with unread bytes is reset, and
//! with it goes the close frame that says why.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kernel::{Code, Problem};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// An open socket.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The one subprotocol, for clients that must name one.
const PROTOCOL: &str = "mini-sns.v1";
/// The one version of the WebSocket protocol.
const VERSION: &str = "13";
const READ_BUFFER_BYTES: usize = 4 * 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// One frame at a time waits here: the largest is two JSON objects of bounded text.
const WRITE_BUFFER_BYTES_MAX: usize = 1024 * 1024;
/// A peer that sends more at once is not one of ours.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A request that asks for a socket as it should.
pub(crate) struct Upgrade {
    accept: HeaderValue,
    protocol: bool,
    on_upgrade: OnUpgrade,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let upgrade = Self::of(parts);
        upgrade.ok_or_else(|| {
            Problem::new(Code::UpgradeRequired, "Open this address as a WebSocket (version 13).")
        })
    }
}

impl Upgrade {
    fn of(parts: &mut Parts) -> Option<Self> {
        let headers = &parts.headers;
        let asked = parts.method == Method::GET
            && names(headers, &CONNECTION, "upgrade")
            && names(headers, &UPGRADE, "websocket")
            && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION);
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| asked)?;
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
        let protocol = names(headers, &SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        let on_upgrade = parts.extensions.remove::<OnUpgrade>()?;
        Some(Self { accept, protocol, on_upgrade })
    }

    /// Answers 101 and lets a task serve the socket once it is there.
    pub(crate) fn accept<F>(self, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { accept, protocol, on_upgrade } = self;
        tokio::spawn(async move {
            // The peer has gone before the answer reached it: there is nobody to serve.
            let Ok(upgraded) = on_upgrade.await else { return };
            let (io, config) = (TokioIo::new(upgraded), Some(config()));
            serve(WebSocketStream::from_raw_socket(io, Role::Server, config).await).await;
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        response
    }
}

/// What a refusal for want of an upgrade must say beside its problem.
pub(crate) fn wanted() -> [(HeaderName, HeaderValue); 2] {
    let value = HeaderValue::from_static;
    [(UPGRADE, value("websocket")), (SEC_WEBSOCKET_VERSION, value(VERSION))]
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}

/// Whether a header that is a list names `wanted`.
fn names(headers: &HeaderMap, header: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(wanted))
}

/// What to close with when a message cannot be read; none when the peer has gone.
pub(crate) fn unreadable(error: &Error) -> Option<(u16, &'static str)> {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => Some((1009, "too big")),
        Error::Utf8(_) => Some((1007, "text that is not UTF-8")),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some((1002, "not the WebSocket protocol")),
        _ => None,
    }
}

/// Says why we close, unless the peer has, and waits for the peer to agree. Reads on all the while,
/// so that the peer comes to see it.
pub(crate) async fn finish(mut socket: Socket, close: Option<(u16, &'static str)>) {
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
    }
    let mut agreed = close.is_none();
    while let Some(Ok(message)) = socket.next().await {
        agreed |= message.is_close();
    }
    if !agreed {
        // A message could not be read, so nobody knows where the next one starts.
        let io = socket.get_mut();
        let _ = io.shutdown().await;
        let _ = tokio::io::copy(io, &mut tokio::io::sink()).await;
    }
}
