//! Taking a request's body in, before its handler runs: whole, small and soon, or not at all.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kernel::{Code, Problem};
use tokio::time::timeout;

use crate::Config;

/// The whole body in memory; 413 at once where its declared length is over the limit.
pub(crate) async fn take(parts: &Parts, body: Body, config: &Config) -> Result<Body, Problem> {
    if body.is_end_stream() {
        return Ok(body);
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

fn too_large(config: &Config) -> Problem {
    let detail = format!("A body has at most {} bytes.", config.body_max_bytes);
    Problem::new(Code::BodyTooLarge, detail)
}
