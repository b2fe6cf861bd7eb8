//! Spans in OpenTelemetry's protocol (OTLP).

use kernel::spans::{Kind, Span, Traced, Value};
use kernel::trace::TraceId;
use kernel::{Clock, Time};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans, Status};
use prost::Message;
use tokio::time::Instant;

const NAME: &str = "mini-sns";
/// By how much the machine's clock may have been set before it is looked at anew.
const ASTRAY_MILLIS: i64 = 1_000;

/// Which time of day a moment of this process was.
pub(crate) struct Dial {
    moment: Instant,
    time: Time,
}

impl Dial {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { moment: Instant::now(), time: clock.now() }
    }

    /// Sets it anew where the clock has been set meanwhile. Else spans of a trace keep the distance
    /// that they have.
    pub(crate) fn follow(&mut self, clock: &dyn Clock) {
        let now = Self::of(clock);
        let shown = self.unix_nanos(now.moment) / 1_000_000;
        if now.time.millis().abs_diff(i64::try_from(shown).unwrap_or(0))
            > ASTRAY_MILLIS.unsigned_abs()
        {
            *self = now;
        }
    }

    fn unix_nanos(&self, moment: Instant) -> u64 {
        let base = u64::try_from(self.time.millis()).unwrap_or(0) * 1_000_000;
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match moment.checked_duration_since(self.moment) {
            Some(later) => base.saturating_add(nanos(later)),
            None => base.saturating_sub(nanos(self.moment.duration_since(moment))),
        }
    }
}

/// Who tells of the spans.
pub(crate) fn resource(instance: &str) -> Resource {
    let attributes = [
        ("service.name", NAME),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
    ];
    let attributes = attributes.map(|(key, value)| attribute(key, text(value))).into();
    Resource { attributes, ..Resource::default() }
}

/// A request that exports `spans`.
pub(crate) fn request(resource: &Resource, spans: &[Traced], dial: &Dial) -> Vec<u8> {
    let spans = spans.iter().map(|(trace, span)| convert(*trace, span, dial)).collect();
    let scope = InstrumentationScope { name: NAME.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    let spans = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec()
}

fn convert(trace: TraceId, span: &Span, dial: &Dial) -> proto::Span {
    let attributes = span.attributes.iter().map(|(key, value)| {
        attribute(
            key,
            match value {
                Value::Text(words) => text(words),
                Value::Number(number) => any_value::Value::IntValue(*number),
            },
        )
    });
    let failed = span.failed.as_deref();
    let why = failed.map(|why| attribute("error.type", text(why)));
    let status =
        failed.map(|why| Status { message: why.to_owned(), code: StatusCode::Error.into() });
    proto::Span {
        trace_id: trace.0.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec()),
        name: span.name.clone().into_owned(),
        kind: kind(span.kind).into(),
        start_time_unix_nano: dial.unix_nanos(span.start),
        end_time_unix_nano: dial.unix_nanos(span.end),
        attributes: attributes.chain(why).collect(),
        status,
        ..proto::Span::default()
    }
}

const fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
