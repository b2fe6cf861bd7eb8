//! The event bus as a service sees it: publish facts, and consume them from a queue of one's own.
//!
//! Delivery is at least once and in any order. A message that is not done when its visibility
//! time-out (30 s) ends, or that its handler refused, comes again; after two receives it goes to
//! that queue's dead letters. Nothing but the outbox relay and event handlers may publish.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::problem::{panic_text, told};
use crate::trace::TraceContext;
use crate::{Event, EventKind, Problem, request};

/// What a queue holds: an event, and how far its handling has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The fact.
    pub event: Event,
    /// Where a handler that works in pages goes on; none at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self { event, cursor: None }
    }
}

/// One receive of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The queue's name for the message.
    pub id: String,
    /// How many times it has been received, this one included.
    pub receives: u32,
    /// The message.
    pub message: Message,
}

/// A delivery that was not handled.
#[derive(Debug)]
pub struct Failed {
    /// Which delivery.
    pub id: String,
    /// Why.
    pub problem: Problem,
}

/// A service's reaction to events.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Handles a batch; deliveries not named in the answer are done for good.
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed>;
}

/// A service's reaction to events that come one at a time; it is a [`Handler`] for batches.
#[async_trait]
pub trait Reaction: Send + Sync {
    /// Handles one message.
    async fn react(&self, message: &Message) -> Result<(), Problem>;
}

#[async_trait]
impl<T: Reaction> Handler for T {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let mut failed = Vec::new();
        for Delivery { id, message, .. } in batch {
            if let Err(problem) = request::about(&message.event, self.react(&message)).await {
                failed.push(Failed { id, problem });
            }
        }
        failed
    }
}

/// Has a handler do a batch in the batch's trace, until `over`; calls on the way are to end by
/// `deadline`. Answers why deliveries failed, by their ids; or why all of them did, after a panic
/// and where time was over.
pub async fn attempt(
    handler: &dyn Handler,
    batch: Vec<Delivery>,
    deadline: Instant,
    over: impl Future<Output = ()>,
) -> Result<HashMap<String, String>, String> {
    let scope = request::Scope { trace: trace(&batch), ..request::Scope::until(deadline) };
    let work = request::within(scope, handler.handle(batch));
    tokio::select! {
        biased;
        answered = AssertUnwindSafe(work).catch_unwind() => match answered {
            Ok(failed) => {
                Ok(failed.into_iter().map(|failed| (failed.id, told(&failed.problem))).collect())
            }
            Err(panic) => Err(format!("the handler panicked: {}", panic_text(&*panic))),
        },
        () = over => {
            Err("the handler took longer than the visibility time-out allows".to_owned())
        }
    }
}

/// The trace of the deliveries, where it is one; a batch of many has none.
fn trace(batch: &[Delivery]) -> Option<TraceContext> {
    let mut traces = batch.iter().map(|delivery| delivery.message.event.trace());
    let first = traces.next()??;
    traces.all(|other| other == Some(first)).then_some(first)
}

/// A queue that the bus keeps for a service, whether or not anybody consumes it just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueSpec {
    /// The queue's name: lower case, digits and hyphens, such as `timeline-fanout`.
    pub name: &'static str,
    /// The kinds of events it receives.
    pub kinds: &'static [EventKind],
}

impl QueueSpec {
    /// A consumer of this queue: `batch_max` messages at a time, `workers` batches at once.
    pub fn consumed_by(
        self,
        handler: Arc<dyn Handler>,
        batch_max: usize,
        workers: usize,
    ) -> Subscription {
        Subscription { queue: self.name, kinds: self.kinds, batch_max, workers, handler }
    }
}

/// A queue that a service consumes.
#[derive(Clone)]
pub struct Subscription {
    /// The queue's name, such as `timeline-fanout`.
    pub queue: &'static str,
    /// The kinds of events it receives.
    pub kinds: &'static [EventKind],
    /// Messages in a batch, at most.
    pub batch_max: usize,
    /// Batches in work at the same moment; 1 keeps the order of arrival within this process.
    pub workers: usize,
    /// What to do with them.
    pub handler: Arc<dyn Handler>,
}

/// How every queue behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuePolicy {
    /// How long a received message stays hidden before it comes again.
    pub visibility: Duration,
    /// Receives before a message goes to the dead letters.
    pub receives_max: u32,
    /// How long messages and dead letters are kept, from when they were first queued.
    pub retention: Duration,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            receives_max: 2,
            retention: Duration::from_hours(14 * 24),
        }
    }
}

/// The bus did not take everything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the bus refused {} of the messages: {reason}", refused.len())]
pub struct BusError {
    /// Indexes of the messages it did not take; the others are safe.
    pub refused: Vec<usize>,
    /// Why.
    pub reason: String,
}

impl From<BusError> for Problem {
    fn from(error: BusError) -> Self {
        Problem::unavailable(error)
    }
}

/// The event bus.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Hands each event to every queue subscribed to its kind; durable when answered.
    async fn publish(&self, events: &[Event]) -> Result<(), BusError>;

    /// Puts messages on one queue: a handler's own further work; durable when answered.
    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError>;
}
