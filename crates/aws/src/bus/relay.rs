//! The relay of a long-running process: rows of the outbox go to the bus as soon as their commit
//! is answered.
//!
//! Whoever commits hints; a row is the truth, the hint only saves looking for it. Rows of a process
//! that ended before its hint was followed are found by the sweep that every process makes now and
//! then. Several may relay one table at once: an event may then be published twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::outbox::{Relay, is_row};
use kernel::table::Write;
use kernel::{Event, Problem};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const EVENTS_MAX: usize = 500;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Told of every commit that holds rows of the outbox.
#[derive(Clone, Debug)]
pub struct Hint {
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicBool>,
}

/// The relay's end of a [`Hint`].
#[derive(Debug)]
pub struct Hints {
    events: mpsc::Receiver<Event>,
    missed: Arc<AtomicBool>,
}

/// Hints that hold `capacity` events; what comes on top makes the relay sweep.
pub fn hints(capacity: usize) -> (Hint, Hints) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let missed = Arc::new(AtomicBool::new(false));
    let hint = Hint { events: sender, missed: Arc::clone(&missed) };
    (hint, Hints { events: receiver, missed })
}

impl Hint {
    /// Says that `writes` are committed. Never waits.
    pub fn committed(&self, writes: &[Write]) {
        for write in writes {
            let Write::Put { key, body, .. } = write else { continue };
            if !is_row(key) {
                continue;
            }
            let sent = serde_json::from_slice(body)
                .is_ok_and(|event: Event| self.events.try_send(event).is_ok());
            if !sent {
                self.missed.store(true, Ordering::Release);
            }
        }
    }
}

enum Told {
    Events(Vec<Event>),
    Closed,
}

impl Hints {
    /// Waits for some events.
    async fn next(&mut self) -> Told {
        let mut events = Vec::new();
        match self.events.recv_many(&mut events, EVENTS_MAX).await {
            0 => Told::Closed,
            _ => Told::Events(events),
        }
    }

    /// Whether events were lost since it was last asked.
    fn missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// Forgets what is waiting, before a sweep that finds it in the table.
    fn drain(&mut self) {
        while self.events.try_recv().is_ok() {}
    }
}

/// Relays until `cancel`, or until nobody can commit any more. Sweeps at its start, after each
/// failure, and about every `sweep_every`.
pub async fn run(relay: Relay, hints: Hints, sweep_every: Duration, cancel: CancellationToken) {
    let mut work = Work { relay, hints, sweep_every, sweep_at: Instant::now() };
    let mut pause = PAUSE_FIRST;
    loop {
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            outcome = work.step() => outcome,
        };
        match outcome {
            Ok(Next::Closed) => return,
            Ok(Next::GoOn) => pause = PAUSE_FIRST,
            Err(problem) => {
                tracing::warn!(error = ?problem, ?pause, "the bus did not take every event");
                work.sweep_at = Instant::now();
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

enum Next {
    GoOn,
    Closed,
}

struct Work {
    relay: Relay,
    hints: Hints,
    sweep_every: Duration,
    sweep_at: Instant,
}

impl Work {
    async fn step(&mut self) -> Result<Next, Problem> {
        if Instant::now() >= self.sweep_at || self.hints.missed() {
            self.hints.drain();
            for error in self.relay.sweep().await? {
                tracing::error!(%error, "a row of the outbox cannot be published");
            }
            // Not all processes at the same moment.
            let every = self.sweep_every.mul_f64(0.75 + fastrand::f64() / 2.0);
            self.sweep_at = Instant::now() + every;
            return Ok(Next::GoOn);
        }
        let told = tokio::select! {
            told = self.hints.next() => told,
            () = tokio::time::sleep_until(self.sweep_at) => return Ok(Next::GoOn),
        };
        let events = match told {
            Told::Closed => return Ok(Next::Closed),
            Told::Events(events) => events,
        };
        let mut done = Vec::with_capacity(events.len());
        let published = self.relay.publish(&events, &mut done).await;
        self.relay.forget(done).await?;
        published?;
        Ok(Next::GoOn)
    }
}
