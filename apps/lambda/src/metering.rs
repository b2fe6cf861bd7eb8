//! A function's metrics, in its log, from where CloudWatch takes them (the embedded metric format).
//!
//! They have the names that `mini-sns serve` gives them at `/metrics`. CloudWatch bills each name
//! by the month, and again for each value of a label, so only those of [`PUBLISHED`] leave the
//! process; nobody hears of the others. Requests, errors, durations and throttles are not among
//! them: API Gateway, Lambda and the queues count those themselves, for nothing.
//!
//! Between two events Lambda stops the process. So what was recorded for an event is written when
//! the event has been answered: one line, and one more for each value of a label.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernel::Time;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use serde_json::{Map, Value, json};

use crate::settings::{Refused, Settings};

/// What CloudWatch is told of, and the label by which it tells them apart. Values of labels must be
/// few, and none must come from a client.
const PUBLISHED: [(&str, Option<&str>); 10] = [
    ("timeline_update_delay_seconds", None),
    ("websocket_connections", None),
    ("websocket_disconnects_total", Some("kind")),
    ("timeline_degraded_total", None),
    ("frames_refused_total", None),
    ("frames_unsent_total", None),
    ("limiter_failures_total", None),
    ("limiter_alone_total", None),
    ("redis_failures_total", None),
    ("peer_failures_total", Some("target")),
];
const NAMESPACE: &str = "MiniSNS";
/// As many values as the format lets a metric have in a line.
const VALUES_MAX: usize = 100;

/// A label and its value.
type Tag = Option<(&'static str, String)>;

/// What has been recorded since the last line.
pub(crate) struct Meters {
    environment: String,
    meters: Mutex<BTreeMap<(Tag, &'static str), Arc<Meter>>>,
}

/// Starts recording for the whole process.
pub(crate) fn start(settings: &Settings) -> Result<&'static Meters, Refused> {
    let environment = settings.get("MINI_SNS_ENV_NAME").unwrap_or_default();
    let meters: &Meters = Box::leak(Box::new(Meters::new(environment)));
    metrics::set_global_recorder(meters).map_err(|error| Refused(error.to_string()))?;
    Ok(meters)
}

impl Meters {
    fn new(environment: &str) -> Self {
        Self { environment: environment.to_owned(), meters: Mutex::default() }
    }

    /// The meter of a metric that is published.
    fn meter(&self, key: &Key) -> Option<Arc<Meter>> {
        let (name, label) = PUBLISHED.iter().find(|(name, _)| *name == key.name())?;
        let tag = label.and_then(|label| {
            let found = key.labels().find(|other| other.key() == label)?;
            Some((label, found.value().to_owned()))
        });
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(meters.entry((tag, name)).or_default()))
    }

    /// Writes what was recorded for an event.
    pub(crate) fn write(&self, request_id: &str, now: Time) {
        let mut lines = String::new();
        for line in self.lines(request_id, now) {
            lines.push_str(&format!("{line}\n"));
        }
        // At once, so that no other line comes between. Whoever reads no log reads no metrics.
        let _ = std::io::stdout().lock().write_all(lines.as_bytes());
    }

    /// A line for each tag under which something was recorded since the last time.
    fn lines(&self, request_id: &str, now: Time) -> Vec<Value> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recorded: BTreeMap<&Tag, Vec<(&str, Vec<f64>)>> = BTreeMap::new();
        for ((tag, name), meter) in meters.iter() {
            let values = std::mem::take(&mut meter.state().values);
            if !values.is_empty() {
                recorded.entry(tag).or_default().push((name, values));
            }
        }
        let line = |(tag, metrics)| self.line(tag, metrics, request_id, now);
        recorded.into_iter().map(line).collect()
    }

    fn line(
        &self,
        tag: &Tag,
        metrics: Vec<(&str, Vec<f64>)>,
        request_id: &str,
        now: Time,
    ) -> Value {
        let mut dimensions = vec!["environment"];
        let mut line = Map::new();
        line.insert("level".to_owned(), json!("INFO"));
        line.insert("aws_request_id".to_owned(), json!(request_id));
        line.insert("environment".to_owned(), json!(self.environment));
        if let Some((label, value)) = tag {
            dimensions.push(label);
            line.insert((*label).to_owned(), json!(value));
        }
        let mut definitions = Vec::with_capacity(metrics.len());
        for (name, values) in metrics {
            let unit = if name.ends_with("_seconds") { "Seconds" } else { "Count" };
            definitions.push(json!({"Name": name, "Unit": unit}));
            line.insert(name.to_owned(), json!(values));
        }
        let directive = json!({
            "Timestamp": now.millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": definitions,
            }],
        });
        line.insert("_aws".to_owned(), directive);
        Value::Object(line)
    }
}

/// One metric: a counter has one value, the sum; a gauge one, the last; a histogram all of them.
#[derive(Default)]
struct Meter(Mutex<State>);

#[derive(Default)]
struct State {
    values: Vec<f64>,
    /// Where a gauge stands, from one event to the next.
    level: f64,
}

impl Meter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand(&self, at: impl FnOnce(f64) -> f64) {
        let mut state = self.state();
        state.level = at(state.level);
        state.values = vec![state.level];
    }
}

impl CounterFn for Meter {
    /// Nothing counted is nothing to tell.
    fn increment(&self, value: u64) {
        if value > 0 {
            let mut state = self.state();
            let sum = state.values.first().copied().unwrap_or_default();
            state.values = vec![sum + value as f64];
        }
    }

    /// Counts what has come since the last time.
    fn absolute(&self, value: u64) {
        let mut state = self.state();
        let more = (value as f64 - state.level).max(0.0);
        state.level += more;
        let sum = state.values.first().copied().unwrap_or_default();
        state.values = vec![sum + more];
    }
}

impl GaugeFn for Meter {
    fn increment(&self, value: f64) {
        self.stand(|level| level + value);
    }

    fn decrement(&self, value: f64) {
        self.stand(|level| level - value);
    }

    fn set(&self, value: f64) {
        self.stand(|_| value);
    }
}

impl HistogramFn for Meter {
    /// An event has a few values. Where it has more than go into a line, those say enough.
    fn record(&self, value: f64) {
        let mut state = self.state();
        if state.values.len() < VALUES_MAX {
            state.values.push(value);
        }
    }
}

impl Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.meter(key).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.meter(key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.meter(key).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, gauge, histogram, with_local_recorder};

    use super::*;

    fn lines(meters: &Meters) -> Vec<Value> {
        meters.lines("an-event", Time::from_millis(1_700_000_000_000))
    }

    #[test]
    fn an_event_is_one_line_that_cloudwatch_reads() {
        let meters = Meters::new("prod");
        with_local_recorder(&meters, || {
            histogram!("timeline_update_delay_seconds").record(0.25);
            histogram!("timeline_update_delay_seconds").record(0.5);
            counter!("redis_failures_total").increment(1);
            counter!("redis_failures_total").increment(2);
            gauge!("websocket_connections").set(4.0);
            gauge!("websocket_connections").set(7.0);
        });
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "MiniSNS",
                    "Dimensions": [["environment"]],
                    "Metrics": [
                        {"Name": "redis_failures_total", "Unit": "Count"},
                        {"Name": "timeline_update_delay_seconds", "Unit": "Seconds"},
                        {"Name": "websocket_connections", "Unit": "Count"},
                    ],
                }],
            },
            "level": "INFO",
            "aws_request_id": "an-event",
            "environment": "prod",
            "redis_failures_total": [3.0],
            "timeline_update_delay_seconds": [0.25, 0.5],
            "websocket_connections": [7.0],
        });
        assert_eq!(lines(&meters), [expected]);
        assert_eq!(lines(&meters), Vec::<Value>::new(), "told once");
    }

    #[test]
    fn each_value_of_a_label_is_a_line_of_its_own() {
        let meters = Meters::new("prod");
        with_local_recorder(&meters, || {
            for target in ["user", "post"] {
                counter!("peer_failures_total", "target" => target).increment(1);
            }
        });
        let lines = lines(&meters);
        let targets: Vec<_> = lines.iter().map(|line| &line["target"]).collect();
        assert_eq!(targets, ["post", "user"]);
        let dimensions = &lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!(dimensions, &json!([["environment", "target"]]));
    }

    #[test]
    fn what_is_not_published_leaves_no_trace() {
        let meters = Meters::new("prod");
        with_local_recorder(&meters, || {
            counter!("http_requests_total", "route" => "/posts").increment(1);
            histogram!("http_request_duration_seconds").record(0.1);
            // A label that is not told apart does not multiply what is billed.
            counter!("timeline_degraded_total", "without" => "users").increment(1);
            counter!("timeline_degraded_total", "without" => "social").increment(1);
            counter!("websocket_disconnects_total", "kind" => "lost").increment(0);
        });
        let lines = lines(&meters);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["timeline_degraded_total"], json!([2.0]));
        let names = lines[0].as_object().unwrap().keys().filter(|name| name.contains('_'));
        assert_eq!(names.count(), 3, "{lines:?}");
    }

    #[test]
    fn a_line_is_bounded_and_handles_outlive_it() {
        let meters = Meters::new("prod");
        let (delays, open) = with_local_recorder(&meters, || {
            (histogram!("timeline_update_delay_seconds"), gauge!("websocket_connections"))
        });
        for _ in 0..1_000 {
            delays.record(1.0);
        }
        open.set(3.0);
        let told = lines(&meters);
        assert_eq!(told[0]["timeline_update_delay_seconds"].as_array().unwrap().len(), 100);
        delays.record(2.0);
        open.decrement(1.0);
        let told = lines(&meters);
        assert_eq!(told[0]["timeline_update_delay_seconds"], json!([2.0]));
        assert_eq!(told[0]["websocket_connections"], json!([2.0]));
    }
}
