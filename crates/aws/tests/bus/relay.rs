//! The relay of a long-running process: what it is told of, sweeps, and several relays of one table
//! at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws::bus::relay::run;
use conformance::{Oracle, TestClock};
use kernel::Event;
use kernel::bus::Bus;
use kernel::outbox::{self, Relay, Sender, stream};
use kernel::table::{Key, Table, Write};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::events::events;
use crate::taker::Taker;

const NEVER: Duration = Duration::from_hours(1);

struct Room {
    table: Arc<dyn Table>,
    bus: Arc<Taker>,
    cancel: CancellationToken,
}

impl Room {
    fn new(refused: BTreeSet<ulid::Ulid>) -> Self {
        let table = Oracle::new(TestClock::new());
        Self { table, bus: Taker::new(refused), cancel: CancellationToken::new() }
    }

    fn relay(&self, capacity: usize, sweep_every: Duration) -> (Sender, JoinHandle<()>) {
        let (hint, stream) = stream(capacity);
        let relay = Relay::new(Arc::clone(&self.table), Arc::clone(&self.bus) as Arc<dyn Bus>);
        (hint, tokio::spawn(run(relay, stream, sweep_every, self.cancel.clone())))
    }

    /// Commits rows, and hints where there is somebody to hint to.
    async fn commit(&self, events: &[Event], hint: Option<&Sender>) {
        let writes: Vec<_> = events.iter().map(outbox::write).collect();
        self.table.commit(writes.clone()).await.unwrap();
        if let Some(hint) = hint {
            hint.committed(&writes);
        }
    }

    /// Waits until no row is left.
    async fn emptied(&self) {
        while outbox::waiting(&*self.table).await.unwrap() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_is_committed_is_published_by_the_hint() {
    let room = Room::new(BTreeSet::new());
    let (hint, run) = room.relay(100, NEVER);
    let events = events(3);
    // The sweep at the start finds this one, so from here on it is the hints.
    room.commit(&events[..1], None).await;
    room.bus.took(1).await;
    room.commit(&events[1..], Some(&hint)).await;
    room.bus.took(3).await;
    room.emptied().await;
    let other = Write::put(Key::new("post#1", ""), "moon");
    hint.committed(&[
        other,
        Write::Delete {
            key: Key::new("outbox#00", "x"),
            condition: kernel::table::Condition::Always,
        },
    ]);
    drop(hint);
    run.await.unwrap();
    assert_eq!(room.bus.taken(), events);
}

#[tokio::test]
async fn rows_that_nobody_hinted_at_are_found_by_a_sweep() {
    let room = Room::new(BTreeSet::new());
    let (_hint, run) = room.relay(100, Duration::from_millis(20));
    let events = events(4);
    for (index, event) in events.iter().enumerate() {
        room.commit(std::slice::from_ref(event), None).await;
        room.bus.took(index + 1).await;
    }
    room.emptied().await;
    room.cancel.cancel();
    run.await.unwrap();
    assert_eq!(room.bus.taken(), events);
}

#[tokio::test]
async fn hints_that_overflow_lose_no_event() {
    let room = Room::new(BTreeSet::new());
    let (hint, run) = room.relay(2, NEVER);
    let events = events(50);
    room.commit(&events[..1], None).await;
    room.bus.took(1).await;
    room.commit(&events[1..], Some(&hint)).await;
    room.emptied().await;
    room.cancel.cancel();
    run.await.unwrap();
    let taken: BTreeSet<_> = room.bus.taken().iter().map(|event| event.id).collect();
    assert_eq!(taken.len(), 50);
}

#[tokio::test]
async fn what_may_have_been_missed_is_looked_for_at_once() {
    let room = Room::new(BTreeSet::new());
    let (hint, run) = room.relay(100, NEVER);
    let events = events(2);
    room.commit(&events[..1], None).await;
    room.bus.took(1).await;
    room.emptied().await;
    room.commit(&events[1..], None).await;
    hint.miss();
    room.bus.took(2).await;
    room.emptied().await;
    room.cancel.cancel();
    run.await.unwrap();
    assert_eq!(room.bus.taken(), events);
}

#[tokio::test]
async fn what_the_bus_refuses_is_tried_again_until_it_is_taken() {
    let events = events(3);
    let room = Room::new(BTreeSet::from([events[1].id]));
    let (hint, run) = room.relay(100, NEVER);
    room.commit(&events, Some(&hint)).await;
    room.bus.took(2).await;
    room.bus.called(4).await;
    assert_eq!(outbox::waiting(&*room.table).await.unwrap(), 1, "only its row stays");
    room.bus.relent();
    room.bus.took(3).await;
    room.emptied().await;
    room.cancel.cancel();
    run.await.unwrap();
    assert_eq!(room.bus.taken().len(), 3);
}

#[tokio::test]
async fn several_relays_lose_nothing() {
    let room = Room::new(BTreeSet::new());
    let (one, first) = room.relay(10, Duration::from_millis(5));
    let (two, second) = room.relay(10, Duration::from_millis(5));
    let events = events(60);
    for (index, part) in events.chunks(5).enumerate() {
        room.commit(part, Some(if index % 2 == 0 { &one } else { &two })).await;
        tokio::task::yield_now().await;
    }
    room.emptied().await;
    room.cancel.cancel();
    first.await.unwrap();
    second.await.unwrap();
    let taken: BTreeSet<_> = room.bus.taken().iter().map(|event| event.id).collect();
    assert_eq!(taken, events.iter().map(|event| event.id).collect());
}
