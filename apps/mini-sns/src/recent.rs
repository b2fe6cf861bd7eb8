//! The last warnings and errors of the log, kept for the console.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use kernel::clock::SystemClock;
use kernel::{Clock, Time};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept.
const KEPT: usize = 100;
/// Characters of a field that are kept.
const FIELD_CHARACTERS_MAX: usize = 300;

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// A line of the log.
#[derive(Clone, Serialize)]
pub(crate) struct Line {
    time: Time,
    level: &'static str,
    #[serde(flatten)]
    fields: BTreeMap<&'static str, String>,
}

/// The lines that are kept, the newest first.
pub(crate) fn lines() -> Vec<Line> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// Keeps what passes the log's filter.
pub(crate) struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Errors are the least of levels.
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        let line = Line { time: SystemClock.now(), level, fields: fields.0 };
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text: String = format!("{value:?}").chars().take(FIELD_CHARACTERS_MAX).collect();
        self.0.insert(field.name(), text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.chars().take(FIELD_CHARACTERS_MAX).collect());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    #[test]
    fn warnings_are_kept_with_their_fields_and_only_so_many() {
        let subscriber = tracing_subscriber::registry().with(Recent);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not kept");
            for number in 0..KEPT {
                tracing::warn!(number, "an earlier one");
            }
            tracing::error!(code = "internal", cause = "x".repeat(1000), "problem");
        });
        let kept = serde_json::to_value(lines()).unwrap();
        assert_eq!(kept.as_array().unwrap().len(), KEPT);
        assert_eq!(kept[0]["level"], "ERROR");
        assert_eq!(kept[0]["message"], "problem");
        assert_eq!(kept[0]["code"], "internal");
        assert_eq!(kept[0]["cause"].as_str().unwrap().len(), FIELD_CHARACTERS_MAX);
        assert_eq!(kept[KEPT - 1]["number"], "1");
    }
}
