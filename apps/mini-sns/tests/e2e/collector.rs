//! An OpenTelemetry collector of the test's own: takes traces over HTTP and keeps them.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

use crate::server::eventually;

/// A span as it was exported.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty where there is none.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) failed: bool,
    pub(crate) attributes: Vec<(String, String)>,
    /// The process that exported it.
    pub(crate) process: String,
}

impl Span {
    /// What it tells under this name; empty where nothing.
    pub(crate) fn told(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { url, ..Self::default() };
        let router = collector.router();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        collector
    }

    /// What takes the traces.
    pub(crate) fn router(&self) -> Router {
        Router::new().route("/v1/traces", post(take)).with_state(self.clone())
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of a trace.
    pub(crate) fn trace(&self, trace: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Waits for a span.
    pub(crate) async fn find(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        eventually(what, async || self.spans().into_iter().find(&is_it)).await
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut taken = collector.spans.lock().unwrap();
    for resource in request.resource_spans {
        let of_process = attributes(&resource.resource.unwrap().attributes);
        let told = |name: &str| of_process.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(told("service.name"), "mini-sns");
        let process = told("service.instance.id");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.push(Span {
                trace: hex(&span.trace_id, 16),
                id: hex(&span.span_id, 8),
                parent: hex(&span.parent_span_id, 8),
                name: span.name,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: attributes(&span.attributes),
                process: process.clone(),
            });
        }
    }
}

fn attributes(pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> Vec<(String, String)> {
    let text = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| match pair
        .value
        .as_ref()
        .unwrap()
        .value
        .as_ref()
        .unwrap()
    {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("not told here: {other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

/// An id of this length, or none.
fn hex(bytes: &[u8], len: usize) -> String {
    assert!(bytes.is_empty() || bytes.len() == len, "{bytes:?}");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
