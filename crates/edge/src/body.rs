//! Taking a request's body in, before its handler runs: whole, small and soon, or not at all.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kernel::{Code, Problem};
use tokio::time::timeout;

use crate::Config;

/// Bytes that are read only to be forgotten, at most.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// How long.
const LINGER: Duration = Duration::from_secs(1);

/// The whole body in memory; 413 at once where its declared length is over the limit.
pub(crate) async fn take(parts: &Parts, body: &mut Body, config: &Config) -> Result<Body, Problem> {
    if body.is_end_stream() {
        return Ok(Body::empty());
    }
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let least = declared.max(body.size_hint().lower());
    if usize::try_from(least).unwrap_or(usize::MAX) > config.body_max_bytes {
        return Err(too_large(config));
    }
    let whole = Limited::new(body, config.body_max_bytes).collect();
    match timeout(Duration::from_secs(config.body_timeout_secs), whole).await {
        Ok(Ok(collected)) => Ok(Body::from(collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(config)),
        Ok(Err(_)) => Err(Problem::new(Code::MalformedRequest, "The body did not arrive whole.")),
        Err(_) => {
            let detail = format!("The body took over {} seconds.", config.body_timeout_secs);
            Err(Problem::new(Code::RequestTimeout, detail))
        }
    }
}

/// Reads on for a moment and forgets what comes, before a refusal is sent: a client that is still
/// writing when the connection closes would see a reset instead of the answer. One that waits to
/// be told to go on is not told.
pub(crate) async fn linger(waits: bool, body: Body) {
    if waits || body.is_end_stream() {
        return;
    }
    let rest = Limited::new(body, LINGER_BYTES_MAX).collect();
    // What is left after that is not worth waiting for.
    let _ = timeout(LINGER, rest).await;
}

/// Whether the client waits for `100 Continue` before it sends the body.
pub(crate) fn waits(parts: &Parts) -> bool {
    parts.headers.contains_key(EXPECT)
}

fn too_large(config: &Config) -> Problem {
    let detail = format!("A body has at most {} bytes.", config.body_max_bytes);
    Problem::new(Code::BodyTooLarge, detail)
}
