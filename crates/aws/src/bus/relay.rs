//! The relay of a long-running process: rows of the outbox go to the bus as soon as their commit
//! is answered.
//!
//! Whoever commits tells the stream. Rows of a process that ended before they were relayed are
//! found by the sweep that every process makes now and then. Several may relay one table at once:
//! an event may then be published twice.

use std::time::Duration;

use kernel::outbox::{self, OutboxStream, Pace, Relay};
use tokio_util::sync::CancellationToken;

/// Relays until `cancel`, or until nobody can commit any more. Sweeps at its start, after each
/// failure, and about every `sweep_every`.
pub async fn run(
    relay: Relay,
    stream: OutboxStream,
    sweep_every: Duration,
    cancel: CancellationToken,
) {
    // Not all processes at the same moment.
    let sweep_every = sweep_every.mul_f64(0.75 + fastrand::f64() / 2.0);
    let pace = Pace {
        round: Duration::ZERO,
        done_max: 0,
        done_wait: Duration::ZERO,
        sweep_every: Some(sweep_every),
    };
    outbox::run(relay, stream, pace, cancel).await;
}
