//! The committed outbox rows as a stream, so that the relay need not look for them. A row in the
//! table is the truth, the stream only saves looking for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::is_row;
use crate::Event;
use crate::table::Write;

#[derive(Default, Debug)]
struct Missed {
    some: AtomicBool,
    told: Notify,
}

/// The end of those who commit.
#[derive(Clone, Debug)]
pub struct Sender {
    rows: mpsc::Sender<Bytes>,
    missed: Arc<Missed>,
}

impl Sender {
    /// Hands on the rows of the outbox among `writes`, which are committed. Never waits: a slow
    /// relay finds the rest in the table.
    pub fn committed(&self, writes: &[Write]) {
        for write in writes {
            if let Write::Put { key, body, .. } = write
                && is_row(key)
            {
                self.send(body.clone());
            }
        }
    }

    /// Hands on the body of a committed row. Never waits.
    pub fn send(&self, body: Bytes) {
        if self.rows.try_send(body).is_err() {
            self.miss();
        }
    }

    /// There may be rows that were never handed on.
    pub fn miss(&self) {
        self.missed.some.store(true, Ordering::Release);
        self.missed.told.notify_one();
    }
}

/// The events of committed outbox rows, in the order in which they were handed on.
#[derive(Debug)]
pub struct OutboxStream {
    rows: mpsc::Receiver<Bytes>,
    missed: Arc<Missed>,
}

/// What the stream has.
#[derive(Debug)]
pub enum Told {
    /// Events, at least one; their rows are durable.
    Events(Vec<Event>),
    /// Rows were missed, as by an overflow: they have to be looked for in the table.
    Missed,
    /// Nobody can commit any more.
    Closed,
}

/// A stream of `rows_max` rows at most; beyond them the relay is told to sweep.
pub fn stream(rows_max: usize) -> (Sender, OutboxStream) {
    let (sender, rows) = mpsc::channel(rows_max.max(1));
    let missed = Arc::new(Missed::default());
    (Sender { rows: sender, missed: Arc::clone(&missed) }, OutboxStream { rows, missed })
}

impl OutboxStream {
    /// Waits for events, then takes all that are there, up to `events_max`. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self, events_max: usize) -> Told {
        loop {
            if self.missed.some.swap(false, Ordering::AcqRel) {
                return Told::Missed;
            }
            let mut bodies = Vec::new();
            let received = tokio::select! {
                biased;
                () = self.missed.told.notified() => continue,
                received = self.rows.recv_many(&mut bodies, events_max) => received,
            };
            if received == 0 {
                return Told::Closed;
            }
            let events: Vec<Event> = bodies.iter().filter_map(|body| parse(body)).collect();
            if !events.is_empty() {
                return Told::Events(events);
            }
        }
    }

    /// Throws away what is in the stream, before a sweep that finds it all in the table.
    pub fn drain(&mut self) {
        self.missed.some.store(false, Ordering::Release);
        while self.rows.try_recv().is_ok() {}
    }
}

fn parse(body: &[u8]) -> Option<Event> {
    serde_json::from_slice(body)
        .inspect_err(|error| tracing::error!(%error, "an outbox row is not an event"))
        .ok()
}
