//! What another function invokes this one with ([`Invocation`]), as a request for the router of the
//! internal reads, and the answer to it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use edge::internal::Until;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use kernel::Time;
use kernel::internal::{INVOCATION_VERSION, Invocation, Reply};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::Failure;

/// The request, as a process that serves the reads would have received it.
pub(crate) fn request(asked: Invocation, now: Time) -> Result<Request<Body>, Failure> {
    let Invocation { internal, path, body, traceparent, deadline } = asked;
    if internal != INVOCATION_VERSION {
        return Err(Failure::unreadable(format!("invocations of version {internal}")));
    }
    let left = deadline.saturating_sub(now.millis()).clamp(0, LEFT_MAX_MILLIS);
    let left = Duration::from_millis(left.unsigned_abs());
    let mut request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .extension(Until(Instant::now() + left));
    if let Some(trace) = traceparent {
        request = request.header("traceparent", trace);
    }
    let body: Box<str> = body.into();
    request.body(Body::from(String::from(body))).map_err(Failure::unreadable)
}

/// More time than any function waits for another.
const LEFT_MAX_MILLIS: i64 = 60_000;

/// Bytes of an answer that Lambda passes on, what is around it left out.
const REPLY_MAX_BYTES: usize = 6 * 1024 * 1024 - 64;

/// The router's answer; that there is too much of it, where Lambda would break it off.
pub(crate) fn reply(status: StatusCode, body: Bytes) -> Result<Reply, Failure> {
    let (status, body) = match body.len() {
        // No route took it.
        0 => (status, Bytes::from_static(b"null")),
        1..=REPLY_MAX_BYTES => (status, body),
        _ => (StatusCode::PAYLOAD_TOO_LARGE, Bytes::from_static(b"null")),
    };
    let body = String::from_utf8(body.into()).map_err(Failure::unreadable)?;
    let body = RawValue::from_string(body).map_err(Failure::unreadable)?;
    Ok(Reply { status: status.as_u16(), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reply_is_larger_than_lambda_passes_on() {
        let text = |len: usize| Bytes::from(format!("\"{}\"", "x".repeat(len - 2)));
        let most = reply(StatusCode::OK, text(REPLY_MAX_BYTES)).unwrap();
        assert_eq!(most.status, 200);
        assert!(serde_json::to_vec(&most).unwrap().len() <= 6 * 1024 * 1024);
        let more = reply(StatusCode::OK, text(REPLY_MAX_BYTES + 1)).unwrap();
        assert_eq!((more.status, more.body.get()), (413, "null"));
    }
}
