//! Consuming: a task for each of a queue's workers, asleep until the commit of a message wakes it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kernel::bus::{Delivery, Message, Subscription, attempt};
use kernel::queues::REASON_BYTES_MAX;
use kernel::trace::TraceId;
use kernel::{Problem, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::committer::{Done, Failure, Job};
use super::hand::{InHand, Slot};
use super::queue::{Ask, Take, Taken};
use super::store::Tries;
use super::{Bus, Shared};

/// How often dead letters past their time are dropped.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// How long to wait before reading again what could not be read.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Bus {
    /// Consumes queues until `cancel`: then the batches in hand are finished, and everything done
    /// is synced. A subscription to a queue that the bus was not opened with is refused.
    pub async fn run(
        self: &Arc<Self>,
        subscriptions: Vec<Subscription>,
        cancel: CancellationToken,
    ) -> Result<(), Problem> {
        let mut tasks = JoinSet::new();
        for subscription in subscriptions {
            let queue = self.index(subscription.queue)?;
            for index in 0..subscription.workers.max(1) {
                let slot = Slot::create(&self.dir, subscription.queue, index);
                let worker = Worker {
                    shared: Arc::clone(&self.shared),
                    jobs: self.jobs()?.downgrade(),
                    queue,
                    subscription: subscription.clone(),
                    slot: slot.map_err(Problem::internal)?,
                };
                tasks.spawn(worker.run(cancel.clone()));
            }
        }
        let workers = async {
            while let Some(ended) = tasks.join_next().await {
                ended.map_err(Problem::internal)?;
            }
            cancel.cancelled().await;
            Ok::<_, Problem>(())
        };
        tokio::select! {
            ended = workers => ended?,
            never = self.sweep() => match never {},
        }
        self.flush().await
    }

    async fn flush(&self) -> Result<(), Problem> {
        let (done, answer) = oneshot::channel();
        self.ask(Job::Flush { done }, answer).await
    }

    /// Drops dead letters whose time is over, now and then.
    async fn sweep(&self) -> Infallible {
        loop {
            if let Err(problem) = self.expire_dead().await {
                tracing::warn!(%problem, "dead letters past their time could not be dropped");
            }
            let next = self.shared.clock.now() + SWEEP_EVERY;
            self.shared.until(Some(next)).await;
        }
    }
}

impl Shared {
    /// Waits until the clock shows `time`; for ever without one. The clock is asked again after
    /// each tick and now and then, since it may be moved (a test does, and so does the operator of
    /// a machine).
    pub(super) async fn until(&self, time: Option<Time>) {
        let Some(time) = time else { return std::future::pending().await };
        let mut ticks = self.ticks.subscribe();
        loop {
            let now = self.clock.now();
            if now >= time {
                return;
            }
            tokio::select! {
                _ = ticks.changed() => {}
                () = tokio::time::sleep(time.since(now).min(self.options.clock_recheck)) => {}
            }
        }
    }
}

/// A message in hand that could be read.
struct Known {
    id: String,
    taken: Taken,
    /// Of the request that caused it.
    trace: Option<TraceId>,
}

struct Worker {
    shared: Arc<Shared>,
    /// Weak: the bus alone decides when its committer may end.
    jobs: mpsc::WeakUnboundedSender<Job>,
    queue: usize,
    subscription: Subscription,
    slot: Slot,
}

impl Worker {
    async fn run(mut self, cancel: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let queue = &shared.queues[self.queue];
        while !cancel.is_cancelled() {
            if let Some(dice) = &shared.dice {
                tokio::time::sleep(dice.dawdle()).await;
            }
            match self.take() {
                Take::Batch { epoch, taken, expired } => self.batch(epoch, taken, expired).await,
                Take::Load { epoch, from, to } => self.load(epoch, from, to).await,
                Take::Wait(until) => tokio::select! {
                    () = cancel.cancelled() => break,
                    () = queue.wake.notified() => {}
                    () = shared.until(until) => {}
                },
            }
        }
    }

    fn take(&self) -> Take {
        let shared = &self.shared;
        let now = shared.clock.now();
        let dice = shared.dice.as_ref();
        let most = self.subscription.batch_max.max(1);
        shared.queues[self.queue].take(&Ask {
            now,
            batch_max: dice.map_or(most, |dice| dice.batch(most)),
            expired: now - shared.policy.retention,
            bounds: shared.options.bounds(),
            suspect: &shared.suspect,
            dice,
        })
    }

    /// Reads a stretch of the backlog into the window.
    async fn load(&self, epoch: u64, from: u64, to: u64) {
        let queue = &self.shared.queues[self.queue];
        let bounds = self.shared.options.bounds();
        // Warm rows are read at some microseconds each, less than a change of threads costs.
        let read = self
            .shared
            .read(|store| store.messages(queue.name, (from, to), bounds.messages, bounds.bytes));
        match read {
            Ok(stored) => {
                let bytes: usize = stored.iter().map(|stored| stored.bytes).sum();
                let full = stored.len() >= bounds.messages || bytes >= bounds.bytes;
                queue.state().loaded(epoch, stored, to, full);
                queue.wake.notify_one();
                self.shared.changes.send_modify(|change| *change += 1);
            }
            Err(error) => {
                tracing::error!(queue = queue.name, error, "the backlog cannot be read");
                queue.state().not_loaded(epoch);
                self.settle(epoch, Vec::new(), Vec::new());
                tokio::time::sleep(READ_AGAIN_AFTER).await;
            }
        }
    }

    async fn batch(&mut self, epoch: u64, taken: Vec<Taken>, expired: Vec<Done>) {
        let until = self.shared.hidden_until();
        let (mut settled, mut failed) = (expired, Vec::new());
        let suspect = taken.iter().any(|taken| taken.alone);
        let (mut deliveries, mut known) = (Vec::new(), Vec::new());
        for mut taken in taken {
            match self.body(&mut taken) {
                Ok(Some(Ok(message))) => {
                    let (id, receives) = (self.shared.id(self.queue, taken.pos), taken.receives);
                    let trace = message.event.trace().map(|trace| trace.trace_id);
                    deliveries.push(Delivery { id: id.clone(), receives, message });
                    known.push(Known { id, taken, trace });
                }
                Ok(None) => settled.push(done(&taken)),
                Ok(Some(Err(reason))) => failed.push(self.failure(&taken, None, reason, None)),
                // The engine's failure, not the message's: this receive does not count.
                Err(reason) => failed.push(unread(&taken, reason, until)),
            }
        }
        if !deliveries.is_empty() {
            let outcome = self.handle(deliveries, &known, until).await;
            for Known { id, taken, trace } in known {
                let reason = match &outcome {
                    Ok(failed) => failed.get(&id).cloned(),
                    Err(reason) => Some(reason.clone()),
                };
                match reason {
                    Some(reason) => {
                        failed.push(self.failure(&taken, trace, reason, Some(until)));
                    }
                    None if self.doubled(epoch, taken.pos) => {}
                    None => settled.push(done(&taken)),
                }
            }
        }
        if suspect {
            self.shared.suspect.store(false, Ordering::Release);
            self.shared.queues.iter().for_each(|queue| queue.wake.notify_one());
        }
        if !settled.is_empty() || !failed.is_empty() {
            self.settle(epoch, settled, failed);
        }
    }

    fn settle(&self, epoch: u64, done: Vec<Done>, failed: Vec<Failure>) {
        let job = Job::Settle { queue: self.queue, epoch, done, failed };
        // Where the bus is gone, the messages come again at the next start.
        let _ = self.jobs.upgrade().map(|jobs| jobs.send(job));
    }

    /// A message's content, or why it makes no sense; none where it is gone.
    fn body(&self, taken: &mut Taken) -> Result<Option<Result<Message, String>>, String> {
        if let Some(message) = taken.message.take() {
            return Ok(Some(Ok(Arc::unwrap_or_clone(message))));
        }
        let name = self.shared.queues[self.queue].name;
        self.shared.read(|store| store.message(name, taken.pos))
    }

    fn doubled(&self, epoch: u64, pos: u64) -> bool {
        self.shared.dice.is_some() && self.shared.queues[self.queue].state().doubled(epoch, pos)
    }

    fn failure(
        &self,
        taken: &Taken,
        trace: Option<TraceId>,
        mut reason: String,
        until: Option<Time>,
    ) -> Failure {
        let trace_id = trace.map(tracing::field::display);
        let queue = self.subscription.queue;
        let until = until.filter(|_| taken.receives < self.shared.policy.receives_max);
        let (pos, receives) = (taken.pos, taken.receives);
        if until.is_some() {
            tracing::warn!(
                queue,
                pos,
                receives,
                trace_id,
                reason,
                "a message failed and comes again"
            );
        } else {
            tracing::error!(
                queue,
                pos,
                receives,
                trace_id,
                reason,
                "a message goes to the dead letters"
            );
        }
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        Failure { pos, tries: Tries { receives, alone: taken.alone, reason }, until }
    }

    /// Runs the handler for as long as the messages stay hidden.
    async fn handle(
        &mut self,
        deliveries: Vec<Delivery>,
        known: &[Known],
        until: Time,
    ) -> Result<HashMap<String, String>, String> {
        self.note(known.iter().map(|known| (known.taken.pos, known.taken.receives)));
        let deadline = Instant::now() + self.shared.policy.visibility;
        let over = self.shared.until(Some(until));
        let outcome = attempt(&*self.subscription.handler, deliveries, deadline, over).await;
        // Whatever ends the process from here on, it is none of these.
        self.note(std::iter::empty());
        outcome
    }

    fn note(&mut self, in_hand: impl Iterator<Item = InHand>) {
        if let Err(error) = self.slot.write(in_hand) {
            // Only a crash just now would be counted wrongly: no reason to stop the queue.
            tracing::warn!(queue = self.subscription.queue, %error, "receives are not noted");
        }
    }
}

const fn done(taken: &Taken) -> Done {
    Done { pos: taken.pos, tried: taken.receives > 1 || taken.alone }
}

fn unread(taken: &Taken, reason: String, until: Time) -> Failure {
    let receives = taken.receives - 1;
    let tries = Tries { receives, alone: taken.alone, reason };
    Failure { pos: taken.pos, tries, until: Some(until) }
}
