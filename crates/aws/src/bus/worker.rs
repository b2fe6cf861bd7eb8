//! Consuming in a long-running process: long polls, a task for each of a queue's workers.

use std::sync::Arc;
use std::time::Duration;

use kernel::Problem;
use kernel::bus::Subscription;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::receive::{RECEIVE_MAX, Receive, Received};
use super::retry::Remote;
use super::work::handle;
use super::{AwsBus, Side};

/// The pause after the first failed receive; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// What is left of the visibility time-out for deleting what was done, at most.
const SETTLE_TIME: Duration = Duration::from_secs(3);

impl AwsBus {
    /// Consumes queues until `cancel`: then the batches in hand are finished, and what is done is
    /// deleted; what takes too long for a stop comes again at once. A subscription to a queue that
    /// the bus was not made with is refused.
    pub async fn run(
        self: &Arc<Self>,
        subscriptions: Vec<Subscription>,
        cancel: CancellationToken,
    ) -> Result<(), Problem> {
        let mut tasks = JoinSet::new();
        for subscription in subscriptions {
            let queue = self.index(subscription.queue)?;
            for _ in 0..subscription.workers.max(1) {
                let (bus, subscription) = (Arc::clone(self), subscription.clone());
                tasks.spawn(Worker { bus, queue, subscription }.run(cancel.clone()));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(Problem::internal)?;
        }
        cancel.cancelled().await;
        Ok(())
    }
}

struct Worker {
    bus: Arc<AwsBus>,
    queue: usize,
    subscription: Subscription,
}

impl Worker {
    async fn run(self, cancel: CancellationToken) {
        let over = async {
            cancel.cancelled().await;
            tokio::time::sleep(self.bus.config.stop_grace).await;
        };
        tokio::pin!(over);
        let mut pause = PAUSE_FIRST;
        while !cancel.is_cancelled() {
            let received = tokio::select! {
                received = self.receive() => received,
                () = &mut over => break,
            };
            match received {
                Ok(received) => {
                    pause = PAUSE_FIRST;
                    let receipts = received.iter().map(|message| message.receipt.clone());
                    let receipts: Vec<_> = receipts.collect();
                    tokio::select! {
                        biased;
                        () = self.batch(received) => {}
                        () = &mut over => return self.hide(receipts, Duration::ZERO).await,
                    }
                }
                Err(error) => {
                    let queue = self.subscription.queue;
                    tracing::warn!(queue, %error, ?pause, "the queue cannot be received from");
                    tokio::select! {
                        () = cancel.cancelled() => break,
                        () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits for messages, and takes as many as a batch may hold of those that are there.
    async fn receive(&self) -> Result<Vec<Received>, Remote> {
        let bus = &self.bus;
        let url = bus.url(self.queue, Side::Live).await?;
        let most = self.subscription.batch_max.max(1);
        let first = Receive { most, wait: bus.config.poll, hidden: None };
        let mut received = bus.receive(url, first).await?;
        bus.queues[self.queue].see(&received);
        let mut full = received.len() == RECEIVE_MAX;
        while full && received.len() < most {
            let more = Receive { most: most - received.len(), wait: Duration::ZERO, hidden: None };
            // What was received already must be handled, whatever becomes of this.
            let Ok(more) = bus.receive(url, more).await else { break };
            full = more.len() == RECEIVE_MAX;
            received.extend(more);
        }
        Ok(received)
    }

    /// Handles what came for the first time together, and each repetition alone: whichever made
    /// its first batch fail then fails no other with it.
    async fn batch(&self, received: Vec<Received>) {
        let until = self.until();
        let (first, again): (Vec<_>, Vec<_>) =
            received.into_iter().partition(|message| message.receives <= 1);
        let mut fresh = first.is_empty();
        if !first.is_empty() {
            self.settle(first, until).await;
        }
        let mut again = again.into_iter();
        while let Some(message) = again.next() {
            let mut until = until;
            if !fresh {
                let receipts = std::iter::once(&message).chain(again.as_slice());
                let receipts = receipts.map(|message| message.receipt.clone()).collect();
                self.hide(receipts, self.bus.config.policy.visibility).await;
                until = self.until();
            }
            fresh = false;
            self.settle(vec![message], until).await;
        }
    }

    /// Until when a handler may work on what was received or hidden just now.
    fn until(&self) -> Instant {
        let visibility = self.bus.config.policy.visibility;
        Instant::now() + visibility - SETTLE_TIME.min(visibility / 4)
    }

    async fn hide(&self, receipts: Vec<String>, time: Duration) {
        if let Ok(url) = self.bus.url(self.queue, Side::Live).await {
            self.bus.hide(url, receipts, time).await;
        }
    }

    async fn settle(&self, received: Vec<Received>, until: Instant) {
        let settled = handle(&*self.subscription.handler, received, until).await;
        self.delete(settled.done).await;
        self.delete(self.bus.bury(self.queue, settled.failed).await).await;
    }

    async fn delete(&self, messages: Vec<Received>) {
        if messages.is_empty() {
            return;
        }
        let queue = self.subscription.queue;
        let url = match self.bus.url(self.queue, Side::Live).await {
            Ok(url) => url,
            Err(error) => return tracing::warn!(queue, %error, "messages come again"),
        };
        let receipts = messages.into_iter().map(|message| message.receipt).collect();
        let left = self.bus.delete(url, receipts).await;
        if let Some((_, why)) = left.first() {
            tracing::warn!(queue, why, messages = left.len(), "messages that are done come again");
        }
    }
}
