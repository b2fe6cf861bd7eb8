//! What the model is made of, as files and the document tell it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Everything that the model is made of.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) load: Load,
    pub(super) prices: Prices,
    pub(super) measured: Measured,
    pub(super) alarm_metrics: f64,
}

/// `infra/prices.toml`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    pub(super) region: String,
    pub(super) looked_up: String,
    pub(super) prices: BTreeMap<String, Price>,
}

/// What `per` units cost.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Price {
    pub(super) usd: f64,
    pub(super) per: f64,
    /// Units that cost nothing, each month and for ever.
    #[serde(default)]
    pub(super) free: f64,
    /// Above so many units a month they cost so much.
    #[serde(default)]
    pub(super) steps: Vec<(f64, f64)>,
    pub(super) source: String,
    pub(super) as_of: String,
}

impl Price {
    /// What units cost.
    pub(super) fn of(&self, units: f64) -> f64 {
        let (mut sum, mut from, mut usd) = (0.0, 0.0, self.usd);
        for (above, cheaper) in self.steps.iter().filter(|(above, _)| units > *above) {
            sum += (above - from) * usd;
            (from, usd) = (*above, *cheaper);
        }
        (sum + (units - from) * usd) / self.per
    }

    /// What they cost beyond those that are free.
    pub(super) fn beyond_free(&self, units: f64) -> f64 {
        self.of((units - self.free).max(0.0))
    }
}

/// `infra/load.toml`, which says what everything is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) people: f64,
    pub(super) days: f64,
    pub(super) monthly: f64,
    pub(super) followers: f64,
    pub(super) seed: BTreeMap<String, f64>,
    pub(super) calls: Vec<Call>,
    pub(super) limiter: Limiter,
    pub(super) sockets: Sockets,
    pub(super) functions: Functions,
    pub(super) queues: Queues,
    pub(super) watching: Watching,
    pub(super) stored: Stored,
    pub(super) cache: Vec<Cache>,
    /// Of the questions of functions to the user service for sessions, the part that is asked.
    #[serde(default = "all")]
    pub(super) sessions_asked: f64,
}

fn all() -> f64 {
    1.0
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) a_day: f64,
    pub(super) units: String,
    pub(super) motion: String,
    #[serde(default)]
    pub(super) more_reads: f64,
    pub(super) answer_kb: f64,
}

impl Call {
    /// Whether it writes a post, which is then fanned out.
    pub(super) fn is_a_post(&self) -> bool {
        self.units.contains("POST /posts`")
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limiter {
    pub(super) reads: f64,
    pub(super) writes: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sockets {
    pub(super) minutes_a_day: f64,
    pub(super) opened_a_day: f64,
    pub(super) open_share: f64,
    pub(super) ping_minutes: f64,
    pub(super) frame_kb: f64,
    pub(super) asked_opened: f64,
    pub(super) asked_ping: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Functions {
    pub(super) api: Size,
    pub(super) timeline: Size,
    pub(super) asked: Size,
    pub(super) react: Size,
    pub(super) relay: Size,
    pub(super) sockets: Size,
    pub(super) way_ms: f64,
    pub(super) new_share: f64,
    pub(super) new_ms: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Size {
    pub(super) gb: f64,
    pub(super) ms: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queues {
    pub(super) count: f64,
    pub(super) pollers: f64,
    pub(super) poll_secs: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watching {
    pub(super) metrics: f64,
    pub(super) dashboards: f64,
    pub(super) platform_bytes: f64,
    pub(super) request_bytes: f64,
    pub(super) metrics_bytes: f64,
    pub(super) access_bytes: f64,
    pub(super) kept_months: f64,
    pub(super) traced_share: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) years: f64,
    pub(super) post_kb: f64,
    pub(super) like_kb: f64,
    pub(super) feed_kb: f64,
    pub(super) feed_rows: f64,
    pub(super) event_kb: f64,
    pub(super) cached_kb: f64,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) times: f64,
    pub(super) node: String,
    pub(super) nodes: f64,
}

/// What calls cost, as docs/cost.md tells from measurements.
#[derive(Clone)]
pub(super) struct Measured {
    /// Read and write units of a call.
    pub(super) units: BTreeMap<String, Vec<f64>>,
    /// Functions asked by functions, events and messages of a call.
    pub(super) motion: BTreeMap<String, Vec<f64>>,
}

impl Measured {
    /// Reads both tables.
    pub(super) fn read(document: &str) -> Result<Self> {
        Ok(Self { units: rows(document, "measured", 2)?, motion: rows(document, "functions", 3)? })
    }
}

/// The rows of the table between the marks of that name: their first cell, their last numbers.
fn rows(document: &str, mark: &str, numbers: usize) -> Result<BTreeMap<String, Vec<f64>>> {
    let begin = format!("<!-- {mark}: begin -->");
    let (_, table) = document.split_once(&begin).with_context(|| format!("no {begin}"))?;
    let table = table.split("<!--").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let last = cells.iter().skip(cells.len().saturating_sub(numbers));
        let found: Result<Vec<f64>, _> = last.map(|cell| cell.parse()).collect();
        rows.insert(cells[0].to_owned(), found.with_context(|| format!("no numbers: {line}"))?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(free: f64, steps: &[(f64, f64)]) -> Price {
        let (source, as_of) = (String::new(), String::new());
        Price { usd: 2.0, per: 10.0, free, steps: steps.to_vec(), source, as_of }
    }

    #[test]
    fn units_above_a_step_are_cheaper() {
        let price = price(0.0, &[(100.0, 1.0), (200.0, 0.5)]);
        assert_eq!(price.of(50.0), 10.0);
        assert_eq!(price.of(150.0), 20.0 + 5.0);
        assert_eq!(price.of(300.0), 20.0 + 10.0 + 5.0);
    }

    #[test]
    fn what_is_free_is_taken_away_once() {
        let price = price(100.0, &[]);
        assert_eq!((price.beyond_free(60.0), price.beyond_free(150.0)), (0.0, 10.0));
    }

    #[test]
    fn rows_are_read_from_the_document() {
        let document = "<!-- measured: begin -->\n| call | x | a | b |\n|---|---|---|---|\n\
                        | `GET /x`, y | one: 1 | 7 | 0.5 |\n<!-- measured: end -->\n";
        let rows = rows(document, "measured", 2).unwrap();
        assert_eq!(rows["`GET /x`, y"], [7.0, 0.5]);
        assert!(super::rows(document, "functions", 3).is_err());
        assert!(super::rows(&document.replace("0.5", "half"), "measured", 2).is_err());
    }
}
