//! The names of a request: its id, and its place in a trace (W3C Trace Context, AWS X-Ray).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::request::Scope;
use kernel::spans::{Recording, Tracer};
use kernel::trace::{SpanId, TraceContext, TraceId, XRay};
use tokio::time::Instant;
use ulid::Ulid;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

const REQUEST_ID_MAX_BYTES: usize = 64;

/// How a request is called, and what is recorded of it.
pub(crate) struct Names {
    /// The caller's, or ours.
    pub(crate) request_id: String,
    /// The trace, and our span in it.
    pub(crate) trace: TraceContext,
    /// The caller's span; none where the trace begins here.
    pub(crate) parent: Option<SpanId>,
    /// The trace that the caller named in X-Ray's words.
    amzn: Option<TraceId>,
    /// Its spans; none where nobody records them.
    pub(crate) recording: Option<Arc<Recording>>,
}

impl Names {
    /// Takes over the caller's names where they are sane, makes them where not.
    pub(crate) fn of(headers: &HeaderMap, fresh: Ulid, sample_percent: u8) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let request_id = text(X_REQUEST_ID).filter(|id| is_sane(id));
        let amzn = text(X_AMZN_TRACE_ID).and_then(XRay::parse);
        let given = text(TRACEPARENT).and_then(TraceContext::parse);
        let (trace_id, parent, sampled) = match (given, amzn) {
            (Some(given), _) => (given.trace_id, Some(given.span_id), Some(given.sampled)),
            (None, Some(amzn)) => (amzn.trace_id, amzn.parent, amzn.sampled),
            (None, None) => (begin(fresh), None, None),
        };
        let sampled = sampled.unwrap_or_else(|| trace_id.is_in_share(sample_percent));
        Self {
            request_id: request_id.map_or_else(|| ulid_text(fresh), str::to_owned),
            trace: TraceContext { trace_id, span_id: span_of(fresh), sampled },
            parent,
            amzn: amzn.map(|amzn| amzn.trace_id),
            recording: None,
        }
    }

    /// The same, recorded where there is a tracer.
    pub(crate) fn recorded(self, tracer: Option<&Arc<Tracer>>) -> Self {
        Self { recording: tracer.map(|tracer| tracer.begin(self.trace.span_id)), ..self }
    }

    /// The scope of what is done for the request until `deadline`.
    pub(crate) fn scope(&self, deadline: Instant) -> Scope {
        let recorder = self.recording.clone().map(Into::into);
        Scope { trace: Some(self.trace), recorder, deadline }
    }

    /// What everything that is logged on the way belongs to.
    pub(crate) fn span(&self) -> tracing::Span {
        let trace_id = self.trace.trace_id;
        tracing::info_span!("request", request_id = self.request_id, %trace_id)
    }

    /// Tells the names in an answer.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put(X_REQUEST_ID, &self.request_id);
        put(TRACEPARENT, &self.trace.to_string());
        if let Some(trace_id) = self.amzn {
            put(X_AMZN_TRACE_ID, &TraceContext { trace_id, ..self.trace }.x_ray());
        }
    }
}

/// A trace that begins here. X-Ray wants the first eight digits to be the seconds since 1970.
fn begin(fresh: Ulid) -> TraceId {
    const REST: u128 = u128::MAX >> 32;
    let secs = u128::from(fresh.timestamp_ms() / 1000);
    TraceId(secs << 96 | fresh.0 & REST)
}

/// Ids grow by at least one each, so their low half names a span among its siblings.
fn span_of(fresh: Ulid) -> SpanId {
    let low = fresh.0 & u128::from(u64::MAX);
    SpanId(u64::try_from(low).unwrap_or(1).max(1))
}

/// This text is made for every request, so it does without the formatting machinery.
fn ulid_text(id: Ulid) -> String {
    let mut text = [0; ulid::ULID_LEN];
    id.array_to_str(&mut text).to_owned()
}

fn is_sane(id: &str) -> bool {
    (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}
