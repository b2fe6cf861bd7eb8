//! The embedded bus in a directory of its own, as the tests open it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use conformance::TestClock;
use conformance::bus::{Dead, Opened, Queues, Stage};
use embedded::bus::{Bus, Options};
use embedded::encryption::Encryption;
use embedded::table::OpenError;
use kernel::Problem;
use kernel::bus::{QueuePolicy, QueueSpec, Subscription};
use kernel::queues::{PAGE_MAX, Queues as _, Which};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A directory and a clock.
pub(crate) struct Embedded {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) encryption: Encryption,
}

/// A fresh one.
pub(crate) fn stage() -> Embedded {
    let (dir, encryption) = (tempfile::tempdir().expect("a directory"), Encryption::default());
    Embedded { dir, clock: TestClock::new(), encryption }
}

/// A bus and its consumer.
pub(crate) struct Open {
    pub(crate) bus: Arc<Bus>,
    clock: Arc<TestClock>,
    cancel: CancellationToken,
    run: Mutex<Option<JoinHandle<Result<(), Problem>>>>,
}

impl Embedded {
    /// Opens it; waits for the tasks of the one before to let go of the directory.
    pub(crate) async fn opened(&self, queues: Queues, options: Options) -> Open {
        let specs: Vec<_> = queues.iter().map(|(name, kinds)| QueueSpec { name, kinds }).collect();
        let bus = loop {
            let clock = Arc::clone(&self.clock) as Arc<dyn kernel::Clock>;
            let options = Options { encryption: self.encryption.clone(), ..options.clone() };
            match Bus::open(self.dir.path(), QueuePolicy::default(), options, clock, &specs) {
                Ok(bus) => break bus,
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        let (clock, cancel) = (Arc::clone(&self.clock), CancellationToken::new());
        Open { bus, clock, cancel, run: Mutex::new(None) }
    }
}

#[async_trait]
impl Stage for Embedded {
    fn clock(&self) -> Arc<TestClock> {
        Arc::clone(&self.clock)
    }

    async fn open(&self, queues: Queues, chaos: Option<u64>) -> Box<dyn Opened> {
        Box::new(self.opened(queues, Options { chaos, ..Options::default() }).await)
    }
}

#[async_trait]
impl Opened for Open {
    fn bus(&self) -> Arc<dyn kernel::bus::Bus> {
        Arc::clone(&self.bus) as Arc<dyn kernel::bus::Bus>
    }

    fn start(&self, subscriptions: Vec<Subscription>) {
        let (bus, cancel) = (Arc::clone(&self.bus), self.cancel.clone());
        let run = tokio::spawn(async move { bus.run(subscriptions, cancel).await });
        assert!(self.run.lock().expect("no panic").replace(run).is_none(), "started once");
    }

    async fn stop(self: Box<Self>) {
        self.cancel.cancel();
        let run = self.run.lock().expect("no panic").take();
        if let Some(run) = run {
            run.await.expect("it ends").expect("in good order");
        }
    }

    async fn crash(self: Box<Self>) {
        let run = self.run.lock().expect("no panic").take();
        if let Some(run) = run {
            run.abort();
            assert!(run.await.expect_err("it is broken off").is_cancelled());
        }
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.bus.tick();
    }

    async fn drained(&self) {
        self.bus.drain().await;
    }

    async fn idle(&self) {
        self.bus.idle().await;
    }

    async fn dead(&self, queue: &str) -> Vec<Dead> {
        let page = self.bus.dead_list(queue, None, PAGE_MAX).await.expect("a page");
        let dead = page.items.into_iter().map(|letter| Dead {
            id: letter.id,
            receives: letter.receives,
            reason: letter.reason,
            message: letter.message.expect("one that can be read"),
        });
        dead.collect()
    }

    async fn redrive(&self, queue: &str) -> u64 {
        self.bus.dead_redrive(Which::Queue(queue)).await.expect("they go")
    }

    async fn redrive_one(&self, id: &str) -> Result<u64, Problem> {
        self.bus.dead_redrive(Which::One(id)).await
    }

    async fn purge(&self, queue: &str) -> u64 {
        self.bus.dead_purge(Which::Queue(queue)).await.expect("they go")
    }
}
