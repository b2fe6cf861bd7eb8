//! Takes committed outbox rows to the bus as soon as they are durable.

use std::time::Duration;

use kernel::outbox::{self, OutboxStream, Pace, Relay};
use tokio_util::sync::CancellationToken;

const PACE: Pace = Pace {
    // Each round is a batch that the bus syncs, and sets off another in the timeline's table: where
    // posts come fast, a few larger ones leave the disk and the processors to those who write.
    round: Duration::from_millis(4),
    // Each removal is a batch that the table syncs, so removing many at once leaves the disk to
    // those who write.
    done_max: 2000,
    done_wait: Duration::from_millis(100),
    // Whatever this process did not commit was there at its start.
    sweep_every: None,
};

/// Relays until `cancel` or until the table closes.
pub async fn run(relay: Relay, stream: OutboxStream, cancel: CancellationToken) {
    outbox::run(relay, stream, PACE, cancel).await;
}
