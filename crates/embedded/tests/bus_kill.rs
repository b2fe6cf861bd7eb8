//! What the bus promises when its process is killed: the tests run themselves as a child.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use conformance::{SeededIds, TestClock};
use embedded::bus::{Bus, Options};
use embedded::table::OpenError;
use kernel::bus::{Bus as _, Delivery, Failed, Handler, QueuePolicy, QueueSpec, Subscription};
use kernel::clock::SystemClock;
use kernel::event::Like;
use kernel::queues::Queues as _;
use kernel::{Event, EventData, EventKind, Ids, PostId, UserId};
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "kill";
const CHILD: &str = "MINI_SNS_BUS_CHILD";
const FIRST: &str = "MINI_SNS_BUS_FIRST";
const SAFE: &str = "safe ";
const SPECS: &[QueueSpec] = &[QueueSpec { name: QUEUE, kinds: EventKind::ALL }];

/// Opens it; waits for the threads of the one before to let go of the directory.
fn open(dir: &Path) -> Arc<Bus> {
    loop {
        let clock = Arc::new(SystemClock);
        match Bus::open(dir, QueuePolicy::default(), Options::default(), clock, SPECS) {
            Ok(bus) => return bus,
            Err(OpenError::InUse { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Likes whose versions count up from `from`.
fn likes(from: u64, count: u64) -> Vec<Event> {
    let ids = SeededIds::new(TestClock::new(), from);
    let like = |version| {
        let (user_id, post_id) = (UserId(ids.ulid()), PostId(ids.ulid()));
        Event::new(&*ids, &SystemClock, EventData::LikeCreated(Like { user_id, post_id, version }))
    };
    (from..from + count).map(like).collect()
}

fn number(delivery: &Delivery) -> u64 {
    match &delivery.message.event.data {
        EventData::LikeCreated(like) => like.version,
        other => panic!("not a like: {other:?}"),
    }
}

/// Runs the test `name` of this program as a child that works on `dir`.
fn child(name: &str, dir: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}

fn consumer(handler: Arc<dyn Handler>) -> Subscription {
    Subscription { queue: QUEUE, kinds: EventKind::ALL, batch_max: 5, workers: 3, handler }
}

const POISON: u64 = 7;

/// Says what it handles, and takes the process down at the poison.
struct Poisoned;

#[async_trait]
impl Handler for Poisoned {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        for number in batch.iter().map(number) {
            if number == POISON {
                std::process::abort();
            }
        }
        Vec::new()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kills_the_process_ends_in_the_dead_letters() {
    let subscription = consumer(Arc::new(Poisoned));
    if let Some(dir) = std::env::var_os(CHILD) {
        let bus = open(Path::new(&dir));
        return bus.run(vec![subscription], CancellationToken::new()).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "a_message_that_kills_the_process_ends_in_the_dead_letters";
    let bus = open(dir.path());
    bus.publish(&likes(0, 40)).await.unwrap();
    drop(bus);
    // Once among others, which does not count, and twice alone, which does.
    for _ in 0..3 {
        let status = child(name, dir.path(), 0).wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "{status}");
    }
    let bus = open(dir.path());
    let cancel = CancellationToken::new();
    let run = {
        let (bus, cancel) = (Arc::clone(&bus), cancel.clone());
        tokio::spawn(async move { bus.run(vec![subscription], cancel).await })
    };
    bus.drain().await;
    cancel.cancel();
    run.await.unwrap().unwrap();
    let dead = bus.dead_list(QUEUE, None, 100).await.unwrap().items;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let message = dead[0].message.clone().unwrap();
    let delivery = Delivery { id: dead[0].id.clone(), receives: dead[0].receives, message };
    assert_eq!((number(&delivery), delivery.receives), (POISON, 2));
    assert!(dead[0].reason.contains("process ended"), "{}", dead[0].reason);
}

const HELD: &str = "holds ";

/// Says how many messages it holds, and never lets them go.
struct Holding;

#[async_trait]
impl Handler for Holding {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        let line = format!("\n{HELD}{}\n", batch.len());
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_quick_kills_put_nothing_that_was_in_hand_to_the_dead_letters() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let bus = open(Path::new(&dir));
        let subscription = Subscription { workers: 1, ..consumer(Arc::new(Holding)) };
        return bus.run(vec![subscription], CancellationToken::new()).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "two_quick_kills_put_nothing_that_was_in_hand_to_the_dead_letters";
    let bus = open(dir.path());
    bus.publish(&likes(0, 5)).await.unwrap();
    drop(bus);
    for held in [5, 1] {
        let mut child = child(name, dir.path(), 0);
        let told = lines(&mut child).find_map(|line| line.strip_prefix(HELD)?.parse().ok());
        assert_eq!(told, Some(held), "all at once, and after a kill one at a time");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let bus = open(dir.path());
    let handler = Arc::new(Numbers::default());
    let subscription = consumer(Arc::clone(&handler) as Arc<dyn Handler>);
    tokio::select! {
        ended = bus.run(vec![subscription], CancellationToken::new()) => panic!("{ended:?}"),
        () = bus.drain() => {}
    }
    assert!(bus.dead_list(QUEUE, None, 100).await.unwrap().items.is_empty());
    assert_eq!(handler.0.lock().unwrap().len(), 5);
}

/// Publishes without end, and tells what was answered.
async fn publish_for_ever(dir: &Path) -> ! {
    let bus = open(dir);
    let mut next = std::env::var(FIRST).unwrap().parse().unwrap();
    loop {
        bus.publish(&likes(next, 10)).await.unwrap();
        next += 10;
        // A line of its own, whatever the test runner has written before it.
        let line = format!("\n{SAFE}{next}\n");
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
    }
}

/// Remembers the numbers it has handled.
#[derive(Default)]
struct Numbers(Mutex<HashSet<u64>>);

#[async_trait]
impl Handler for Numbers {
    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Failed> {
        self.0.lock().unwrap().extend(batch.iter().map(number));
        Vec::new()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_a_kill() {
    if let Some(dir) = std::env::var_os(CHILD) {
        publish_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut safe: u64 = 0;
    for round in 1..=3 {
        let mut child = child("what_was_answered_outlives_a_kill", dir.path(), safe);
        let told = lines(&mut child);
        let mut told = told.filter_map(|line| line.strip_prefix(SAFE)?.parse().ok());
        safe = told.find(|number| *number >= round * 300).expect("the child goes on");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had still written down is answered too.
        safe = told.last().unwrap_or(safe);
    }
    let bus = open(dir.path());
    let handler = Arc::new(Numbers::default());
    let subscription = consumer(Arc::clone(&handler) as Arc<dyn Handler>);
    let cancel = CancellationToken::new();
    tokio::select! {
        ended = bus.run(vec![subscription], cancel) => panic!("{ended:?}"),
        () = bus.drain() => {}
    }
    let handled = handler.0.lock().unwrap();
    let lost: Vec<u64> = (0..safe).filter(|number| !handled.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?} of {safe}");
}
