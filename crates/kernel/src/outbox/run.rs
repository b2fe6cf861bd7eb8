//! Relaying in a long-running process: committed outbox rows go to the bus as soon as they are
//! durable.
//!
//! At the start, after an overflow or a refusal, and now and then where the pace says so, the rows
//! are looked for in the table, so a crash at any moment loses no event (and may publish one
//! twice).

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{OutboxStream, Relay, Told};
use crate::Problem;
use crate::table::Scatter;

const EVENTS_MAX: usize = 500;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a relay goes about its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Between two rounds of publishing, at least.
    pub round: Duration,
    /// Published events whose rows may still be there, at most; with 0 they go at once.
    pub done_max: usize,
    /// How long they may be there.
    pub done_wait: Duration,
    /// Between two sweeps, where rows may come from others than this stream's; else none.
    pub sweep_every: Option<Duration>,
}

/// Relays until `cancel`, or until nobody can commit any more.
pub async fn run(relay: Relay, stream: OutboxStream, pace: Pace, cancel: CancellationToken) {
    let now = Instant::now();
    let mut work =
        Work { relay, stream, pace, done: Vec::new(), sweep_at: Some(now), round_at: now };
    let mut pause = PAUSE_FIRST;
    loop {
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            outcome = work.step() => outcome,
        };
        match outcome {
            Ok(Next::Closed) => return,
            Ok(Next::GoOn) => pause = PAUSE_FIRST,
            Err(problem) => {
                tracing::warn!(error = ?problem, ?pause, "the bus did not take every event");
                work.sweep_at = Some(Instant::now());
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
    // What stays after all is only published once more.
    let _ = work.forget().await;
}

enum Next {
    GoOn,
    Closed,
}

struct Work {
    relay: Relay,
    stream: OutboxStream,
    pace: Pace,
    /// Rows of published events, to be removed.
    done: Vec<Scatter>,
    /// When the next sweep is due.
    sweep_at: Option<Instant>,
    /// When the next round of publishing may begin.
    round_at: Instant,
}

impl Work {
    async fn step(&mut self) -> Result<Next, Problem> {
        if self.sweep_at.is_some_and(|at| at <= Instant::now()) {
            // All in the stream is in the table too; draining first saves publishing it twice.
            self.stream.drain();
            self.forget().await?;
            for error in self.relay.sweep().await? {
                tracing::error!(%error, "a row of the outbox cannot be published");
            }
            self.sweep_at = self.pace.sweep_every.map(|every| Instant::now() + every);
            return Ok(Next::GoOn);
        }
        if self.done.len() > self.pace.done_max {
            self.forget().await?;
        }
        let gathered = async {
            sleep_until(self.round_at).await;
            self.stream.next(EVENTS_MAX).await
        };
        let told = tokio::select! {
            told = gathered => told,
            () = due(self.sweep_at) => return Ok(Next::GoOn),
            () = sleep(self.pace.done_wait), if !self.done.is_empty() => {
                self.forget().await?;
                return Ok(Next::GoOn);
            }
        };
        match told {
            Told::Events(events) => {
                self.round_at = Instant::now() + self.pace.round;
                self.relay.publish(&events, &mut self.done).await?;
            }
            Told::Missed => self.sweep_at = Some(Instant::now()),
            Told::Closed => return Ok(Next::Closed),
        }
        Ok(Next::GoOn)
    }

    async fn forget(&mut self) -> Result<(), Problem> {
        self.relay.forget(std::mem::take(&mut self.done)).await
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
