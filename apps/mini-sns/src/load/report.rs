//! What was measured, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::mix::Operation;

/// Longest time recorded; what takes longer counts as this long. In microseconds.
const TIME_MAX_MICROS: u64 = 120_000_000;

/// One operation's times and errors.
struct Measured {
    /// Microseconds of those that succeeded.
    times: Histogram<u64>,
    /// How often which error came.
    errors: BTreeMap<String, u64>,
}

/// Counts by operation; those of several threads are merged.
#[derive(Default)]
pub(super) struct Tally {
    measured: BTreeMap<Operation, Measured>,
}

impl Tally {
    /// One that succeeded.
    pub(super) fn took(&mut self, operation: Operation, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.of(operation).times.saturating_record(micros);
    }

    /// One that failed.
    pub(super) fn failed(&mut self, operation: Operation, error: String) {
        *self.of(operation).errors.entry(error).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (operation, measured) in other.measured {
            let mine = self.of(operation);
            // Both have the same bounds, so that adding cannot fail.
            let _ = mine.times.add(&measured.times);
            for (error, count) in measured.errors {
                *mine.errors.entry(error).or_default() += count;
            }
        }
    }

    fn of(&mut self, operation: Operation) -> &mut Measured {
        self.measured.entry(operation).or_insert_with(|| Measured {
            times: Histogram::new_with_bounds(1, TIME_MAX_MICROS, 3)
                .unwrap_or_else(|error| unreachable!("constant bounds are good: {error}")),
            errors: BTreeMap::new(),
        })
    }

    /// Operations that succeeded.
    fn succeeded(&self) -> u64 {
        self.measured.values().map(|measured| measured.times.len()).sum()
    }

    /// Those that failed otherwise than by being too fast or too many, which is the server's good
    /// right.
    fn broken(&self) -> u64 {
        let errors = self.measured.values().flat_map(|measured| &measured.errors);
        let refused = |error: &str| error.starts_with("429") || error == "503 overloaded";
        errors.filter(|(error, _)| !refused(error)).map(|(_, count)| count).sum()
    }
}

/// Resident memory of the server around the opening of idle sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) before_bytes: u64,
    pub(super) after_bytes: u64,
    pub(super) sockets: u64,
}

impl Memory {
    fn each_bytes(self) -> u64 {
        self.after_bytes.saturating_sub(self.before_bytes) / self.sockets.max(1)
    }
}

/// The result of a run.
pub(super) struct Report {
    pub(super) target: String,
    /// What was run: the scenario or the mix.
    pub(super) what: String,
    pub(super) connections: usize,
    pub(super) elapsed: Duration,
    pub(super) tally: Tally,
    pub(super) memory: Option<Memory>,
}

impl Report {
    /// Why the run counts as failed, where it does.
    pub(super) fn failure(&self) -> Option<String> {
        match (self.tally.succeeded(), self.tally.broken()) {
            (0, _) => Some("nothing succeeded".into()),
            (_, 0) => None,
            (_, broken) => Some(format!("{broken} operations failed")),
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        let secs = self.elapsed.as_secs_f64();
        // Exact up to 2^53 operations.
        if secs > 0.0 { f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / secs } else { 0.0 }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let operations: Vec<Value> = self
            .tally
            .measured
            .iter()
            .map(|(operation, Measured { times, errors })| {
                json!({
                    "operation": operation.word(),
                    "succeeded": times.len(),
                    "perSecond": self.per_second(times.len()),
                    "errors": errors,
                    "p50Ms": millis(times.value_at_quantile(0.50)),
                    "p95Ms": millis(times.value_at_quantile(0.95)),
                    "p99Ms": millis(times.value_at_quantile(0.99)),
                    "maxMs": millis(times.max()),
                })
            })
            .collect();
        let memory = self.memory.map(|memory| {
            json!({
                "beforeBytes": memory.before_bytes,
                "afterBytes": memory.after_bytes,
                "sockets": memory.sockets,
                "eachBytes": memory.each_bytes(),
            })
        });
        json!({
            "target": self.target,
            "scenario": self.what,
            "connections": self.connections,
            "seconds": self.elapsed.as_secs_f64(),
            "operations": operations,
            "memory": memory,
        })
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "operation",
            "succeeded",
            "a second",
            "p50",
            "p95",
            "p99",
            "max",
            "errors",
        ]);
        for (operation, Measured { times, errors }) in &self.tally.measured {
            let time = |micros: u64| right(format!("{:.2} ms", millis(micros)));
            let errors: Vec<_> =
                errors.iter().map(|(error, count)| format!("{count} x {error}")).collect();
            table.add_row(vec![
                Cell::new(operation.word()),
                right(times.len().to_string()),
                right(format!("{:.0}", self.per_second(times.len()))),
                time(times.value_at_quantile(0.50)),
                time(times.value_at_quantile(0.95)),
                time(times.value_at_quantile(0.99)),
                time(times.max()),
                Cell::new(errors.join("\n")),
            ]);
        }
        let mut text = format!(
            "{} at {}: {} connections, {:.1} s\n{table}\n",
            self.what,
            self.target,
            self.connections,
            self.elapsed.as_secs_f64()
        );
        if let Some(memory) = self.memory {
            text.push_str(&format!(
                "The server's resident memory: {:.1} MB, with {} idle sockets {:.1} MB: \
                 {:.1} KiB each\n",
                mega(memory.before_bytes),
                memory.sockets,
                mega(memory.after_bytes),
                kibi(memory.each_bytes()),
            ));
        }
        text
    }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn millis(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1000.0
}

fn mega(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}

fn kibi(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tally: Tally) -> Report {
        Report {
            target: "http://x".into(),
            what: "timeline".into(),
            connections: 1,
            elapsed: Duration::from_secs(2),
            tally,
            memory: None,
        }
    }

    #[test]
    fn threads_are_merged_and_percentiles_taken() {
        let mut all = Tally::default();
        for thread in 0..2 {
            let mut tally = Tally::default();
            for milli in 1..=100 {
                tally.took(Operation::Read, Duration::from_millis(milli));
            }
            tally.failed(Operation::Post, format!("50{thread}"));
            all.merge(tally);
        }
        let report = report(all);
        let json = report.json();
        let read = &json["operations"][0];
        assert_eq!(read["succeeded"], 200);
        assert!((read["perSecond"].as_f64().unwrap() - 100.0).abs() < 1e-9);
        let p50 = read["p50Ms"].as_f64().unwrap();
        assert!((49.9..50.2).contains(&p50), "{p50}");
        assert_eq!(json["operations"][1]["errors"], json!({ "500": 1, "501": 1 }));
        assert_eq!(report.failure().unwrap(), "2 operations failed");
        assert!(report.table().contains("1 x 500"));
    }

    #[test]
    fn being_too_fast_is_no_failure_but_doing_nothing_is() {
        let mut tally = Tally::default();
        tally.failed(Operation::Post, "429 post_rate_limited".into());
        assert_eq!(report(tally).failure().unwrap(), "nothing succeeded");
        let mut tally = Tally::default();
        tally.failed(Operation::Post, "429 post_rate_limited".into());
        tally.failed(Operation::Post, "503 overloaded".into());
        tally.took(Operation::Read, Duration::from_millis(1));
        assert_eq!(report(tally).failure(), None);
    }
}
