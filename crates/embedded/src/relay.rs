//! Takes committed outbox rows to the bus as soon as they are durable.
//!
//! A row is the truth, the stream only a hint: after a start, an overflow or a refusal the rows are
//! looked for in the table, so a crash at any moment loses no event (and may publish one twice).

use std::time::Duration;

use kernel::Problem;
use kernel::outbox::Relay;
use kernel::table::Scatter;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::table::{OutboxStream, Told};

const EVENTS_MAX: usize = 500;
/// Published events whose rows may still be there, at most.
const DONE_MAX: usize = 2000;
/// How long rows of published events may stay. Each removal is a batch that the table syncs, so
/// removing many at once leaves the disk to those who write.
const DONE_WAIT: Duration = Duration::from_millis(100);
/// How often events are published, at most. Each round is a batch that the bus syncs, and sets off
/// another in the timeline's table: where posts come fast, a few larger ones leave the disk and the
/// processors to those who write.
const ROUND: Duration = Duration::from_millis(4);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Relays until `cancel` or until the table closes.
pub async fn run(relay: Relay, stream: OutboxStream, cancel: CancellationToken) {
    let mut work = Work { relay, stream, done: Vec::new(), sweep_due: true, round: Instant::now() };
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
                work.sweep_due = true;
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
    // What stays after all is only published once more.
    let _ = work.relay.forget(work.done).await;
}

enum Next {
    GoOn,
    Closed,
}

struct Work {
    relay: Relay,
    stream: OutboxStream,
    /// Rows of published events, to be removed.
    done: Vec<Scatter>,
    sweep_due: bool,
    /// When the next round of publishing may begin.
    round: Instant,
}

impl Work {
    async fn step(&mut self) -> Result<Next, Problem> {
        if self.sweep_due {
            // All in the stream is in the table too; draining first saves publishing it twice.
            self.stream.drain();
            self.relay.forget(std::mem::take(&mut self.done)).await?;
            for error in self.relay.sweep().await? {
                tracing::error!(%error, "a row of the outbox cannot be published");
            }
            self.sweep_due = false;
            return Ok(Next::GoOn);
        }
        if self.done.len() >= DONE_MAX {
            self.relay.forget(std::mem::take(&mut self.done)).await?;
        }
        let gathered = async {
            sleep_until(self.round).await;
            self.stream.next(EVENTS_MAX).await
        };
        let told = tokio::select! {
            told = gathered => told,
            () = tokio::time::sleep(DONE_WAIT), if !self.done.is_empty() => {
                self.relay.forget(std::mem::take(&mut self.done)).await?;
                return Ok(Next::GoOn);
            }
        };
        match told {
            Told::Events(events) => {
                self.round = Instant::now() + ROUND;
                self.relay.publish(&events, &mut self.done).await?;
            }
            Told::Missed => self.sweep_due = true,
            Told::Closed => return Ok(Next::Closed),
        }
        Ok(Next::GoOn)
    }
}
