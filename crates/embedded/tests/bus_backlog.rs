//! A backlog of any length: drained steadily, in bounded memory. Alone in its program, for it looks
//! at the memory of the whole process.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use conformance::{SeededIds, TestClock};
use embedded::bus::{Bus, Options};
use kernel::bus::{Bus as _, Delivery, Failed, Handler, QueuePolicy, QueueSpec, Subscription};
use kernel::event::Like;
use kernel::{Event, EventData, EventKind, Ids, PostId, UserId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "backlog";
const EVENTS: usize = 100_000;
/// What the process may grow by: memtables of the engine and one window, not the backlog, which is
/// some 40 MiB on disk and several times that in memory.
const GROWTH_BYTES_MAX: usize = 80 << 20;

/// Counts, and looks at the clock on the wall in between.
#[derive(Default)]
struct Counter {
    handled: AtomicUsize,
    memory_peak: AtomicUsize,
}

#[async_trait]
impl Handler for Counter {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let before = self.handled.fetch_add(batch.len(), Ordering::Relaxed);
        if before % 1_000 < batch.len() {
            self.memory_peak.fetch_max(memory_bytes(), Ordering::Relaxed);
        }
        Vec::new()
    }
}

fn memory_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn events(ids: &SeededIds, clock: &TestClock, count: usize) -> Vec<Event> {
    let like = |_| {
        let (user_id, post_id) = (UserId(ids.ulid()), PostId(ids.ulid()));
        Event::new(ids, clock, EventData::LikeCreated(Like { user_id, post_id, version: 1 }))
    };
    (0..count).map(like).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_backlog_is_drained_steadily_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let ids = SeededIds::new(Arc::clone(&clock), 1);
    let specs = [QueueSpec { name: QUEUE, kinds: EventKind::ALL }];
    let (policy, options) = (QueuePolicy::default(), Options::default());
    let before = memory_bytes();
    let bus = Bus::open(dir.path(), policy, options.clone(), clock.clone(), &specs).unwrap();
    let filling = Instant::now();
    for _ in 0..EVENTS / 1_000 {
        bus.publish(&events(&ids, &clock, 1_000)).await.unwrap();
    }
    let filled = filling.elapsed();
    let filled_bytes = memory_bytes().saturating_sub(before);
    assert_eq!(bus.stats()[0].waiting, u64::try_from(EVENTS).unwrap());
    drop(bus);

    let opening = Instant::now();
    let bus = Bus::open(dir.path(), policy, options.clone(), clock.clone(), &specs).unwrap();
    let opened = opening.elapsed();
    assert_eq!(bus.stats()[0].waiting, u64::try_from(EVENTS).unwrap());
    let counter = Arc::new(Counter::default());
    let handler = Arc::clone(&counter) as Arc<dyn Handler>;
    let (kinds, batch_max, workers) = (EventKind::ALL, 100, 1);
    let subscription = Subscription { queue: QUEUE, kinds, batch_max, workers, handler };
    let draining = Instant::now();
    let half = async {
        let mut halfway = None;
        loop {
            tokio::select! {
                () = bus.drain() => return halfway.unwrap_or_default(),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if halfway.is_none() && counter.handled.load(Ordering::Relaxed) >= EVENTS / 2 {
                halfway = Some(draining.elapsed());
            }
        }
    };
    let halfway = tokio::select! {
        ended = bus.run(vec![subscription], CancellationToken::new()) => panic!("{ended:?}"),
        halfway = half => halfway,
    };
    let drained = draining.elapsed();
    let peak = counter.memory_peak.load(Ordering::Relaxed).saturating_sub(before);
    let told = format!(
        "filled in {filled:?} (+{} MiB), opened in {opened:?}, first half {halfway:?}, all \
         {drained:?}, peak +{} MiB",
        filled_bytes >> 20,
        peak >> 20
    );
    assert_eq!(counter.handled.load(Ordering::Relaxed), EVENTS);
    assert!(peak.max(filled_bytes) < GROWTH_BYTES_MAX, "{told}");
    // Were deletions walked over again and again, the second half would take many times as long.
    assert!(drained < halfway * 4, "{told}");
}
