//! Takes committed outbox rows to the bus as soon as they are durable.
//!
//! A row is the truth, the stream only a hint: after a start, an overflow or a refusal the rows are
//! looked for in the table, so a crash at any moment loses no event (and may publish one twice).

use std::time::Duration;

use kernel::Problem;
use kernel::outbox::Relay;
use tokio_util::sync::CancellationToken;

use crate::table::{OutboxStream, Told};

const EVENTS_MAX: usize = 500;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Relays until `cancel` or until the table closes.
pub async fn run(relay: Relay, mut stream: OutboxStream, cancel: CancellationToken) {
    let mut sweep_due = true;
    let mut pause = PAUSE_FIRST;
    loop {
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            outcome = step(&relay, &mut stream, sweep_due) => outcome,
        };
        match outcome {
            Ok(Next::Closed) => return,
            Ok(next) => {
                sweep_due = matches!(next, Next::Sweep);
                pause = PAUSE_FIRST;
            }
            Err(problem) => {
                tracing::warn!(error = ?problem, ?pause, "the bus did not take every event");
                sweep_due = true;
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
    Listen,
    Sweep,
    Closed,
}

async fn step(relay: &Relay, stream: &mut OutboxStream, sweep_due: bool) -> Result<Next, Problem> {
    if sweep_due {
        // Everything in the stream is in the table too; draining first saves publishing it twice.
        stream.drain();
        relay.sweep().await?;
        return Ok(Next::Listen);
    }
    match stream.next(EVENTS_MAX).await {
        Told::Events(events) => relay.publish(&events).await.map(|()| Next::Listen),
        Told::Missed => Ok(Next::Sweep),
        Told::Closed => Ok(Next::Closed),
    }
}
