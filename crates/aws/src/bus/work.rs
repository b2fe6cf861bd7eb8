//! Handling a batch, however it was received: in a handler's trace and time, each failure with its
//! reason, the last one of a message with a place among the dead letters.

use std::collections::HashMap;

use kernel::bus::{Delivery, Handler, attempt};
use tokio::time::Instant;

use super::message::{Note, read};
use super::receive::Received;
use super::send::Parcel;
use super::{AwsBus, Side};

/// A batch after its handler.
#[derive(Default)]
pub(super) struct Settled {
    /// To be deleted.
    pub(super) done: Vec<Received>,
    /// To come again, or to the dead letters, and why.
    pub(super) failed: Vec<(Received, String)>,
}

/// Reads messages as deliveries; those that cannot be read have failed.
fn deliveries(received: Vec<Received>) -> (Vec<(Delivery, Received)>, Settled) {
    let (mut readable, mut settled) = (Vec::new(), Settled::default());
    for message in received {
        match read(&message.body) {
            Ok(content) => {
                let (id, receives) = (message.id.clone(), message.receives);
                readable.push((Delivery { id, receives, message: content }, message));
            }
            Err(reason) => settled.failed.push((message, reason)),
        }
    }
    (readable, settled)
}

/// Has a handler do a batch until `until`; past that, and after a panic, every message has failed.
pub(super) async fn handle(
    handler: &dyn Handler,
    received: Vec<Received>,
    until: Instant,
) -> Settled {
    let (readable, mut settled) = deliveries(received);
    if readable.is_empty() {
        return settled;
    }
    let (deliveries, messages): (Vec<_>, Vec<_>) = readable.into_iter().unzip();
    let over = tokio::time::sleep_until(until);
    let outcome = attempt(handler, deliveries, until, over).await;
    for message in messages {
        let reason = match &outcome {
            Ok(failed) => failed.get(&message.id).cloned(),
            Err(reason) => Some(reason.clone()),
        };
        match reason {
            Some(reason) => settled.failed.push((message, reason)),
            None => settled.done.push(message),
        }
    }
    settled
}

impl AwsBus {
    /// Takes what failed for the last time to the dead letters, with the reason, which SQS's own
    /// move would lose; answers those, to be deleted. The others, and those for which this fails,
    /// come again or are moved by SQS.
    pub(super) async fn bury(
        &self,
        index: usize,
        failed: Vec<(Received, String)>,
    ) -> Vec<Received> {
        let queue = self.queues[index].spec.name;
        let mut last = Vec::new();
        for (message, reason) in failed {
            let (id, receives) = (&message.id, message.receives);
            let trace = read(&message.body).ok().and_then(|content| content.event.trace());
            let trace_id = trace.map(|trace| tracing::field::display(trace.trace_id));
            if receives < self.config.policy.receives_max {
                let again = "a message failed and comes again";
                tracing::warn!(queue, id, receives, trace_id, reason, "{again}");
                continue;
            }
            let dead = "a message goes to the dead letters";
            tracing::error!(queue, id, receives, trace_id, reason, "{dead}");
            last.push((message, reason));
        }
        if last.is_empty() {
            return Vec::new();
        }
        let url = match self.url(index, Side::Dead).await {
            Ok(url) => url,
            Err(error) => {
                tracing::warn!(queue, %error, "left to SQS to move");
                return Vec::new();
            }
        };
        let died_at = self.clock.now();
        let parcels = last.iter().enumerate().map(|(index, (message, reason))| Parcel {
            index,
            body: message.body.clone(),
            trace: None,
            note: Some(Note {
                reason: reason.clone(),
                receives: message.receives,
                queued_at: message.sent,
                died_at,
            }),
        });
        let refused: HashMap<usize, String> =
            self.send(url, parcels.collect()).await.into_iter().collect();
        if let Some(why) = refused.values().next() {
            tracing::warn!(queue, why, messages = refused.len(), "left to SQS to move");
        }
        let taken = last.into_iter().enumerate();
        let taken = taken.filter(|(index, _)| !refused.contains_key(index));
        taken.map(|(_, (message, _))| message).collect()
    }
}
