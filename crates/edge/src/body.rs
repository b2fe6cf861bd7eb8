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
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// A request's body on its way in.
pub(crate) struct Upload {
    body: Body,
    rest: Rest,
}

/// What of a body has not been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// Nothing.
    Nothing,
    /// Something that may be on its way.
    Coming,
    /// Something that the client holds back: it waits to be told to go on, or has stopped.
    Withheld,
}

impl Upload {
    /// The body of the request with this head.
    pub(crate) fn new(parts: &Parts, body: Body) -> Self {
        let rest = if body.is_end_stream() {
            Rest::Nothing
        } else if parts.headers.contains_key(EXPECT) {
            Rest::Withheld
        } else {
            Rest::Coming
        };
        Self { body, rest }
    }

    /// The whole body in memory; 413 at once where its declared length is over the limit.
    pub(crate) async fn take(&mut self, parts: &Parts, config: &Config) -> Result<Body, Problem> {
        if self.rest == Rest::Nothing {
            return Ok(Body::empty());
        }
        let declared = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let declared = declared.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let least = declared.max(self.body.size_hint().lower());
        if usize::try_from(least).unwrap_or(usize::MAX) > config.body_max_bytes {
            return Err(too_large(config));
        }
        // Who waited is told to go on by the first read.
        self.rest = Rest::Coming;
        let whole = Limited::new(&mut self.body, config.body_max_bytes).collect();
        match timeout(Duration::from_secs(config.body_timeout_secs), whole).await {
            Ok(Ok(collected)) => {
                self.rest = Rest::Nothing;
                Ok(Body::from(collected.to_bytes()))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(config)),
            Ok(Err(_)) => {
                self.rest = Rest::Withheld;
                Err(Problem::new(Code::MalformedRequest, "The body did not arrive whole."))
            }
            Err(_) => {
                self.rest = Rest::Withheld;
                let detail = format!("The body took over {} seconds.", config.body_timeout_secs);
                Err(Problem::new(Code::RequestTimeout, detail))
            }
        }
    }

    /// Reads on for a moment and forgets what comes, before a refusal is sent: a client that is
    /// still writing when the connection closes would see a reset instead of the answer. Whether
    /// the end was reached, so that another request may follow on the connection.
    pub(crate) async fn drain(mut self) -> bool {
        match self.rest {
            Rest::Nothing => true,
            Rest::Coming => matches!(timeout(DRAIN_TIME_MAX, self.read_on()).await, Ok(Some(()))),
            Rest::Withheld => false,
        }
    }

    /// None where the body breaks off or goes on for too long.
    async fn read_on(&mut self) -> Option<()> {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(frame) = self.body.frame().await {
            let bytes = frame.ok()?.data_ref().map_or(0, |data| data.len());
            left = left.checked_sub(bytes)?;
        }
        Some(())
    }
}

fn too_large(config: &Config) -> Problem {
    let detail = format!("A body has at most {} bytes.", config.body_max_bytes);
    Problem::new(Code::BodyTooLarge, detail)
}
