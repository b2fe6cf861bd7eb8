//! A bus's queues as their operator sees them: their numbers, and the messages that could not be
//! handled.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::bus::Message;
use crate::{Problem, Time};

/// Dead letters on a page, at most.
pub const PAGE_MAX: usize = 500;

/// Bytes of a failure's reason that are kept.
pub const REASON_BYTES_MAX: usize = 2_000;

/// One queue's numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    /// The queue.
    pub queue: &'static str,
    /// Messages that wait to be received.
    pub waiting: u64,
    /// Messages in a handler's hand, or hidden until they are tried again.
    pub in_flight: u64,
    /// How long ago the oldest message was queued; zero where there is none.
    pub oldest_age: Duration,
    /// Dead letters.
    pub dead: u64,
}

impl QueueStats {
    /// Sets the gauges `queue_depth` (by `queue` and `state`), `queue_oldest_age_seconds` and
    /// `queue_dead_letters`.
    pub fn record(&self) {
        let queue = self.queue;
        for (state, number) in [("waiting", self.waiting), ("in_flight", self.in_flight)] {
            metrics::gauge!("queue_depth", "queue" => queue, "state" => state).set(gauge(number));
        }
        metrics::gauge!("queue_oldest_age_seconds", "queue" => queue)
            .set(self.oldest_age.as_secs_f64());
        metrics::gauge!("queue_dead_letters", "queue" => queue).set(gauge(self.dead));
    }
}

/// A count as a gauge takes it; above 2^32 it no longer matters how many there are.
fn gauge(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A message that its handler could not do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Queue and the bus's name for the message, such as `timeline-fanout:42`.
    pub id: String,
    /// The queue it died in.
    pub queue: String,
    /// Why its last receive failed.
    pub reason: String,
    /// How often it was received.
    pub receives: u32,
    /// When it was first queued; its retention counts from here.
    pub queued_at: Time,
    /// When it came to the dead letters; none where the bus did not note it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub died_at: Option<Time>,
    /// The trace of the request that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The message; none when this release cannot read it (see `body`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// The message as it was stored.
    #[serde(skip)]
    pub body: String,
}

/// Some dead letters, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DeadPage {
    /// The letters.
    pub items: Vec<DeadLetter>,
    /// The id after which to go on, where there may be more.
    pub next: Option<String>,
}

/// Which dead letters are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which<'a> {
    /// All of a queue.
    Queue(&'a str),
    /// One, by its id.
    One(&'a str),
}

/// The operator's hand on the queues.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Every queue's numbers.
    async fn stats(&self) -> Result<Vec<QueueStats>, Problem>;

    /// Up to `limit` dead letters of a queue, going on behind the id `after`.
    async fn dead_list(
        &self,
        queue: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DeadPage, Problem>;

    /// One dead letter.
    async fn dead_show(&self, id: &str) -> Result<DeadLetter, Problem>;

    /// Queues dead letters again, as new messages; answers how many. Those that this release cannot
    /// read stay.
    async fn dead_redrive(&self, which: Which<'_>) -> Result<u64, Problem>;

    /// Drops dead letters for good; answers how many.
    async fn dead_purge(&self, which: Which<'_>) -> Result<u64, Problem>;
}
