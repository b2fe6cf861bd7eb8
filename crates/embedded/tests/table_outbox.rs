//! From a committed outbox row to the bus: the stream, the relay, and what neither may lose.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use conformance::{SeededIds, TestClock};
use embedded::relay;
use embedded::table::{Options, Store};
use kernel::bus::{Bus, BusError, Message};
use kernel::event::DeletedUser;
use kernel::outbox::{self, Relay, Told};
use kernel::table::{Key, Query, Table, Write};
use kernel::{Event, EventData, Ids, UserId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

struct Room {
    store: Arc<Store>,
    clock: Arc<TestClock>,
    ids: Arc<SeededIds>,
    _dir: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let store = Store::open(dir.path(), Options::default(), clock.clone()).unwrap();
        let ids = SeededIds::new(clock.clone(), 1);
        Self { store: Arc::new(store), clock, ids, _dir: dir }
    }

    fn event(&self) -> Event {
        let user_id = UserId(self.ids.ulid());
        Event::new(&*self.ids, &*self.clock, EventData::UserDeleted(DeletedUser { user_id }))
    }

    /// Commits `count` events, each beside some data, and gives their ids.
    async fn tell(&self, count: usize) -> Vec<Ulid> {
        let mut told = Vec::new();
        for _ in 0..count {
            let event = self.event();
            let data = Write::put(Key::new("data", event.id.to_string()), "");
            self.store.commit(vec![data, outbox::write(&event)]).await.unwrap();
            told.push(event.id);
        }
        told
    }

    async fn rows(&self) -> usize {
        let mut rows = 0;
        for shard in 0..outbox::SHARDS {
            let query = Query::all(format!("outbox#{shard:02}"), 1000);
            rows += self.store.query(query).await.unwrap().items.len();
        }
        rows
    }
}

/// A bus that refuses so many events first, and remembers the others.
#[derive(Default)]
struct Recorder {
    refusals: AtomicUsize,
    taken: Mutex<Vec<Ulid>>,
    changed: Notify,
}

impl Recorder {
    fn taken(&self) -> Vec<Ulid> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until all of `wanted` have been taken.
    async fn has(&self, wanted: &[Ulid]) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let taken: BTreeSet<Ulid> = self.taken().into_iter().collect();
                if wanted.iter().all(|id| taken.contains(id)) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the events arrive");
    }
}

#[async_trait]
impl Bus for Recorder {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        let refuse = |_: &usize| {
            let left = self.refusals.load(Ordering::SeqCst);
            left > 0 && {
                self.refusals.store(left - 1, Ordering::SeqCst);
                true
            }
        };
        let refused: Vec<usize> = (0..events.len()).filter(refuse).collect();
        let taken = events.iter().enumerate().filter(|(index, _)| !refused.contains(index));
        self.taken.lock().unwrap().extend(taken.map(|(_, event)| event.id));
        self.changed.notify_waiters();
        if refused.is_empty() { Ok(()) } else { Err(BusError { refused, reason: "full".into() }) }
    }

    async fn enqueue(&self, _: &str, _: &[Message]) -> Result<(), BusError> {
        unreachable!("the relay only publishes")
    }
}

#[tokio::test]
async fn events_are_streamed_in_the_order_of_their_commits() {
    let room = Room::new();
    let mut stream = room.store.outbox().unwrap();
    assert!(room.store.outbox().is_none(), "there is one stream");
    let told = room.tell(50).await;
    let unmet = Write::check(Key::new("nothing", ""), kernel::table::Condition::Present);
    room.store.commit(vec![outbox::write(&room.event()), unmet]).await.unwrap_err();
    let last = room.tell(1).await;

    let mut seen = Vec::new();
    while seen.len() < 51 {
        match stream.next(20).await {
            Told::Events(events) => {
                assert!(events.len() <= 20);
                seen.extend(events.into_iter().map(|event| event.id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [told, last].concat(), "the unmet commit tells nothing");
}

#[tokio::test]
async fn rows_that_went_stay_away_whatever_became_of_the_memory_they_were_written_to() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    // So small that rows are in files when they are removed.
    let options = Options { memtable_bytes: 128 * 1024, ..Options::default() };
    let open = || Store::open(dir.path(), options.clone(), clock.clone()).unwrap();
    let ids = SeededIds::new(clock.clone(), 1);
    let (mut store, mut left) = (Arc::new(open()), BTreeSet::new());
    for round in 0..40_usize {
        let relay = Relay::new(store.clone(), Arc::new(Recorder::default()));
        let events: Vec<Event> = (0..200)
            .map(|_| {
                let user_id = UserId(ids.ulid());
                Event::new(&*ids, &*clock, EventData::UserDeleted(DeletedUser { user_id }))
            })
            .collect();
        let writes: Vec<Write> = events.iter().map(outbox::write).collect();
        for writes in writes.chunks(100) {
            store.commit(writes.to_vec()).await.unwrap();
        }
        // Every other time rows of this round and of the one before it go.
        left.extend(events.into_iter().map(|event| event.id));
        if round % 2 == 1 {
            relay.sweep().await.unwrap();
            left.clear();
        }
        if round % 9 == 8 {
            drop((relay, store));
            store = Arc::new(open());
        }
        let mut rows = BTreeSet::new();
        for shard in 0..outbox::SHARDS {
            let query = Query::all(format!("outbox#{shard:02}"), 1000);
            let found = store.query(query).await.unwrap().items;
            rows.extend(found.iter().map(|item| item.json::<Event>().unwrap().id));
        }
        assert_eq!(rows, left, "after round {round}");
    }
}

#[tokio::test]
async fn a_full_stream_says_that_rows_were_missed() {
    let room = Room::new();
    let mut stream = room.store.outbox().unwrap();
    let event = room.event();
    let body = kernel::table::json(&event);
    for _ in 0..100 {
        let row = |n: usize| Write::put(Key::new("outbox#00", n.to_string()), body.clone());
        room.store.commit((0..100).map(row).collect()).await.unwrap();
    }
    assert!(matches!(stream.next(10).await, Told::Missed));
    stream.drain();
    let told = room.tell(1).await;
    match stream.next(10).await {
        Told::Events(events) => assert_eq!(events[0].id, told[0]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_stream_ends_with_the_table() {
    let room = Room::new();
    let mut stream = room.store.outbox().unwrap();
    drop(room);
    assert!(matches!(stream.next(10).await, Told::Closed));
}

#[tokio::test]
async fn the_relay_takes_old_and_new_events_and_leaves_no_row() {
    let room = Room::new();
    let before = room.tell(20).await;
    let bus = Arc::new(Recorder::default());
    let cancel = CancellationToken::new();
    let relay = Relay::new(room.store.clone(), bus.clone());
    let task = tokio::spawn(relay::run(relay, room.store.outbox().unwrap(), cancel.clone()));
    bus.has(&before).await;
    let after = room.tell(200).await;
    bus.has(&after).await;
    cancel.cancel();
    task.await.unwrap();
    // The last rows may still be there when the relay is stopped between the bus and the table.
    Relay::new(room.store.clone(), bus.clone()).sweep().await.unwrap();
    assert_eq!(room.rows().await, 0);
    let order: Vec<Ulid> = bus.taken().into_iter().filter(|id| after.contains(id)).collect();
    assert!(order.len() >= 200);
}

#[tokio::test]
async fn refused_events_are_offered_again() {
    let room = Room::new();
    let bus = Arc::new(Recorder::default());
    bus.refusals.store(7, Ordering::SeqCst);
    let cancel = CancellationToken::new();
    let relay = Relay::new(room.store.clone(), bus.clone());
    let task = tokio::spawn(relay::run(relay, room.store.outbox().unwrap(), cancel.clone()));
    let told = room.tell(30).await;
    bus.has(&told).await;
    assert_eq!(bus.refusals.load(Ordering::SeqCst), 0);
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let room = Room::new();
    let row = |shard: u128| Write::put(Key::new(format!("outbox#{shard:02}"), "0"), "not an event");
    room.store.commit((0..outbox::SHARDS).map(row).collect()).await.unwrap();
    let before = room.tell(40).await;
    let bus = Arc::new(Recorder::default());
    let cancel = CancellationToken::new();
    let relay = Relay::new(room.store.clone(), bus.clone());
    let task = tokio::spawn(relay::run(relay, room.store.outbox().unwrap(), cancel.clone()));
    bus.has(&before).await;
    let after = room.tell(40).await;
    bus.has(&after).await;
    cancel.cancel();
    task.await.unwrap();
    let left = Relay::new(room.store.clone(), bus.clone()).sweep().await.unwrap();
    assert_eq!(left.len(), 16, "{left:?}");
    assert_eq!(room.rows().await, 16, "they stay to be looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_loses_no_event() {
    let room = Room::new();
    let stream = room.store.outbox().unwrap();
    // More than the stream holds, before anybody listens.
    let mut told = Vec::new();
    for _ in 0..90 {
        let events: Vec<Event> = (0..100).map(|_| room.event()).collect();
        room.store.commit(events.iter().map(outbox::write).collect()).await.unwrap();
        told.extend(events.into_iter().map(|event| event.id));
    }
    let bus = Arc::new(Recorder::default());
    let cancel = CancellationToken::new();
    let relay = Relay::new(room.store.clone(), bus.clone());
    let task = tokio::spawn(relay::run(relay, stream, cancel.clone()));
    bus.has(&told).await;
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn rows_that_nobody_relayed_are_swept_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let ids = SeededIds::new(clock.clone(), 1);
    let open = || Store::open(dir.path(), Options::default(), clock.clone()).unwrap();
    let user = DeletedUser { user_id: UserId(ids.ulid()) };
    let event = Event::new(&*ids, &*clock, EventData::UserDeleted(user));
    let store = open();
    store.commit(vec![outbox::write(&event)]).await.unwrap();
    drop(store);

    let store = Arc::new(open());
    let bus = Arc::new(Recorder::default());
    let cancel = CancellationToken::new();
    let relay = Relay::new(store.clone(), bus.clone());
    let task = tokio::spawn(relay::run(relay, store.outbox().unwrap(), cancel.clone()));
    bus.has(&[event.id]).await;
    cancel.cancel();
    task.await.unwrap();
}
