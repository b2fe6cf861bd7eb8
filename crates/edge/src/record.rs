//! What is left of a request when it is over: one log line, two metrics, and its spans where they
//! are worth keeping.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use kernel::Principal;
use kernel::spans::{Kind, Recording, Root, Span};
use kernel::trace::TraceContext;
use metrics::{Counter, Histogram, counter, histogram};

use crate::routes::{Class, Route};
use crate::trace::Names;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::PATCH,
    Method::DELETE,
    Method::PUT,
    Method::HEAD,
    Method::OPTIONS,
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One route's metrics, registered when they are first needed: looking one up by its labels costs
/// more than all the rest of the record.
#[derive(Default)]
pub(crate) struct Meters([[OnceLock<(Counter, Histogram)>; CLASSES.len()]; METHODS.len() + 1]);

impl Meters {
    fn count(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let row = METHODS.iter().position(|known| known == method);
        let column = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let (requests, duration) = self.0[row.unwrap_or(METHODS.len())][column].get_or_init(|| {
            let labels = [
                ("method", row.map_or("other", |row| METHODS[row].as_str()).to_owned()),
                ("route", route.to_owned()),
                ("status", CLASSES[column].to_owned()),
            ];
            let requests = counter!("http_requests_total", &labels);
            (requests, histogram!("http_request_duration_seconds", &labels))
        });
        requests.increment(1);
        duration.record(took.as_secs_f64());
    }
}

/// Writes the line and counts. The path's parameters and the query stay out: they are unbounded,
/// and the query of a WebSocket holds its token.
pub(crate) fn record(
    route: &Route,
    method: &Method,
    names: &Names,
    principal: Option<&Principal>,
    status: StatusCode,
    took: Duration,
) {
    route.meters.count(&route.name, method, status, took);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                method = method.as_str(),
                route = route.name,
                status = status.as_u16(),
                duration_ms = took.as_secs_f64() * 1000.0,
                request_id = names.request_id,
                trace_id = %names.trace.trace_id,
                user_id = principal.map(|principal| tracing::field::display(principal.user_id)),
                "request"
            )
        };
    }
    if route.class == Class::Exempt && status.is_success() {
        line!(debug);
        return;
    }
    line!(info);
    if let Some(recording) = &names.recording
        && recording.is_worth(names.trace.sampled, status.is_server_error(), took)
    {
        recording.end(vec![root(recording, route, method, names, status)]);
    }
}

/// The outermost span, by OpenTelemetry's names.
fn root(
    recording: &Recording,
    route: &Route,
    method: &Method,
    names: &Names,
    status: StatusCode,
) -> Root {
    let known = METHODS.contains(method);
    let method = if known { method.as_str() } else { "HTTP" };
    let name = format!("{method} {}", route.name);
    let mut span = Span::new(names.trace.span_id, name, Kind::Server, recording.begun());
    span.parent = names.parent;
    span.failed = status.is_server_error().then(|| status.as_str().to_owned().into());
    span.tell("http.request.method", if known { method } else { "_OTHER" }.to_owned());
    span.tell("http.route", route.name.clone());
    span.tell("http.response.status_code", usize::from(status.as_u16()));
    span.tell("request_id", names.request_id.clone());
    let TraceContext { trace_id, sampled, .. } = names.trace;
    Root { trace_id, sampled, waited: Duration::ZERO, span }
}
