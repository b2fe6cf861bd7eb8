//! The bus on the test bed's EventBridge and SQS, as the tests open it: each stage in an
//! environment of its own, with queues that hide a message for two seconds only, since their time
//! cannot be moved.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws::bus::{AwsBus, Config};
use conformance::TestClock;
use conformance::bus::{Dead, Opened, Pace, Queues, Stage};
use conformance::testbed::Testbed;
use kernel::bus::{
    Bus, BusError, Delivery, Failed, Handler, Message, QueuePolicy, QueueSpec, Subscription,
};
use kernel::clock::SystemClock;
use kernel::queues::{PAGE_MAX, Queues as _, Which};
use kernel::{Event, Problem};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bed::sdk;

pub(crate) fn policy() -> QueuePolicy {
    QueuePolicy { visibility: Duration::from_secs(2), ..QueuePolicy::default() }
}

/// Bus and queues on the test bed, in an environment that nobody else has.
pub(crate) fn config() -> Config {
    Config {
        env: format!("t{:016x}", fastrand::u64(..)),
        services_url: Some(Testbed::up().services),
        policy: policy(),
        poll: Duration::from_secs(1),
        ..Config::default()
    }
}

/// A bus with its queues made.
pub(crate) async fn opened(config: &Config, queues: Queues) -> Arc<AwsBus> {
    let specs: Vec<_> = queues.iter().map(|(name, kinds)| QueueSpec { name, kinds }).collect();
    let bus = AwsBus::new(&sdk(), config.clone(), Arc::new(SystemClock), &specs);
    bus.create().await.unwrap();
    bus
}

pub(crate) struct Aws {
    pub(crate) config: Config,
    clock: Arc<TestClock>,
}

/// A fresh one.
pub(crate) fn stage() -> Aws {
    Aws { config: config(), clock: TestClock::new() }
}

#[async_trait]
impl Stage for Aws {
    fn clock(&self) -> Arc<TestClock> {
        Arc::clone(&self.clock)
    }

    fn pace(&self) -> Pace {
        Pace {
            policy: policy(),
            grain: Duration::from_millis(1_000),
            patience: Duration::from_secs(120),
        }
    }

    async fn open(&self, queues: Queues, chaos: Option<u64>) -> Box<dyn Opened> {
        let bus = opened(&self.config, queues).await;
        let (cancel, run, busy) = (CancellationToken::new(), Mutex::new(None), Arc::default());
        Box::new(Open { bus, chaos, cancel, run, busy })
    }
}

pub(crate) struct Open {
    bus: Arc<AwsBus>,
    chaos: Option<u64>,
    cancel: CancellationToken,
    run: Mutex<Option<JoinHandle<Result<(), Problem>>>>,
    busy: Arc<AtomicUsize>,
}

/// Delivers everything twice and shuffled.
struct Chaos {
    bus: Arc<AwsBus>,
    seed: u64,
}

#[async_trait]
impl Bus for Chaos {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        let mut twice = [events, events].concat();
        fastrand::Rng::with_seed(self.seed).shuffle(&mut twice);
        self.bus.publish(&twice).await
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let mut twice = [messages, messages].concat();
        fastrand::Rng::with_seed(self.seed).shuffle(&mut twice);
        self.bus.enqueue(queue, &twice).await
    }
}

/// Counts the batches in work.
struct Busy(Arc<dyn Handler>, Arc<AtomicUsize>);

struct InWork<'a>(&'a AtomicUsize);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler for Busy {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let _in_work = InWork(&self.1);
        self.0.handle(batch).await
    }
}

impl Open {
    /// Waits until the queues' numbers are so twice in a row: what was received a moment ago is not
    /// in a handler's hand yet.
    async fn wait_for(&self, reached: impl Fn(u64, u64) -> bool) {
        let mut times = 0;
        while times < 2 {
            let stats = self.bus.stats().await.unwrap();
            let waiting = stats.iter().map(|queue| queue.waiting).sum();
            let in_flight = stats.iter().map(|queue| queue.in_flight).sum();
            times = if reached(waiting, in_flight) { times + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[async_trait]
impl Opened for Open {
    fn bus(&self) -> Arc<dyn Bus> {
        match self.chaos {
            Some(seed) => Arc::new(Chaos { bus: Arc::clone(&self.bus), seed }),
            None => Arc::clone(&self.bus) as Arc<dyn Bus>,
        }
    }

    fn start(&self, mut subscriptions: Vec<Subscription>) {
        for subscription in &mut subscriptions {
            let handler = Arc::clone(&subscription.handler);
            subscription.handler = Arc::new(Busy(handler, Arc::clone(&self.busy)));
        }
        let (bus, cancel) = (Arc::clone(&self.bus), self.cancel.clone());
        let run = tokio::spawn(async move { bus.run(subscriptions, cancel).await });
        assert!(self.run.lock().unwrap().replace(run).is_none(), "started once");
    }

    async fn stop(self: Box<Self>) {
        self.cancel.cancel();
        let run = self.run.lock().unwrap().take();
        if let Some(run) = run {
            run.await.unwrap().unwrap();
        }
    }

    async fn crash(self: Box<Self>) {
        let run = self.run.lock().unwrap().take();
        if let Some(run) = run {
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
        }
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn drained(&self) {
        self.wait_for(|waiting, in_flight| waiting + in_flight == 0).await;
    }

    async fn idle(&self) {
        self.wait_for(|waiting, _| waiting == 0 && self.busy.load(Ordering::SeqCst) == 0).await;
    }

    async fn dead(&self, queue: &str) -> Vec<Dead> {
        let page = self.bus.dead_list(queue, None, PAGE_MAX).await.unwrap();
        let dead = page.items.into_iter().map(|letter| Dead {
            id: letter.id,
            receives: letter.receives,
            reason: letter.reason,
            message: letter.message.unwrap(),
        });
        dead.collect()
    }

    async fn redrive(&self, queue: &str) -> u64 {
        self.bus.dead_redrive(Which::Queue(queue)).await.unwrap()
    }

    async fn redrive_one(&self, id: &str) -> Result<u64, Problem> {
        self.bus.dead_redrive(Which::One(id)).await
    }

    async fn purge(&self, queue: &str) -> u64 {
        self.bus.dead_purge(Which::Queue(queue)).await.unwrap()
    }
}
