//! What the embedded table's writing thread promises to those who do not wait for it.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use conformance::{SeededIds, TestClock};
use embedded::table::{Options, Store};
use kernel::sequence::Sequence;
use kernel::table::{Key, Table, TableError, Write, get_one};
use kernel::{Clock, Time};

/// A clock that stops the committer in the midst of a batch, where it asks for the time.
struct Stopping {
    clock: Arc<TestClock>,
    armed: AtomicBool,
    reached: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

/// The test's end of it.
struct Stop {
    clock: Arc<Stopping>,
    reached: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

fn stopping() -> Stop {
    let (reached, at_stop) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let armed = AtomicBool::new(false);
    let clock = Stopping { clock: TestClock::new(), armed, reached, go_on: Mutex::new(told) };
    Stop { clock: Arc::new(clock), reached: at_stop, go_on }
}

impl Clock for Stopping {
    fn now(&self) -> Time {
        let is_committer =
            std::thread::current().name().is_some_and(|name| name.ends_with("-commit"));
        if is_committer && self.armed.swap(false, Ordering::SeqCst) {
            self.reached.send(()).unwrap();
            self.go_on.lock().unwrap().recv().expect("the test is there");
        }
        self.clock.now()
    }
}

fn open(dir: &tempfile::TempDir, clock: &Arc<Stopping>) -> Store {
    Store::open(dir.path().join("user"), Options::default(), clock.clone()).unwrap()
}

#[tokio::test]
async fn a_row_whose_asker_went_away_is_in_flight_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stopping();
    let store = Arc::new(open(&dir, &stop.clock));
    // Dropped before the store, whose committer waits for it.
    let Stop { clock, reached, go_on } = stop;
    let sequence = Sequence::new(SeededIds::new(clock.clock.clone(), 1));
    let ticket = sequence.take();
    let (id, key) = (ticket.id(), Key::new("list", ticket.id().to_string()));
    clock.armed.store(true, Ordering::SeqCst);
    let asking = tokio::spawn({
        let (store, write) = (store.clone(), Write::put(key.clone(), ""));
        async move { store.commit_ordered(vec![write], &ticket).await }
    });
    tokio::task::spawn_blocking(move || reached.recv()).await.unwrap().unwrap();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());

    assert!(sequence.settled().await < id, "a reader would pass it");
    assert!(get_one(&*store, key.clone()).await.unwrap().is_none());
    go_on.send(()).unwrap();
    while sequence.settled().await < id {}
    assert!(get_one(&*store, key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_committer_that_is_gone_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let stop = stopping();
    let store = open(&dir, &stop.clock);
    assert_eq!(store.writable(), Ok(()));
    stop.clock.armed.store(true, Ordering::SeqCst);
    // Nobody will let it go on: it panics.
    drop(stop.go_on);
    let write = Write::put(Key::new("p", "s"), "");
    let refusal = store.commit(vec![write]).await;
    assert!(matches!(refusal, Err(TableError::Unavailable(_))), "{refusal:?}");
    while store.writable().is_ok() {
        tokio::task::yield_now().await;
    }
}
