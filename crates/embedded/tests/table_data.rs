//! What the embedded table adds to the seam: sweeps, snapshots, and a cache that stays coherent.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conformance::TestClock;
use embedded::table::{Options, Store};
use kernel::Clock;
use kernel::audit::Snapshot;
use kernel::table::{Item, Key, Scatter, Table, Write, get_one};

const HOUR: Duration = Duration::from_hours(1);

fn open(options: Options) -> (Store, Arc<TestClock>, tempfile::TempDir) {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = Store::open(dir.path(), options, clock.clone()).unwrap();
    (store, clock, dir)
}

fn key(sort: impl Display) -> Key {
    Key::new("p", format!("{sort}"))
}

#[tokio::test]
async fn a_sweep_removes_what_expired_and_nothing_else() {
    let (store, clock, _dir) = open(Options::default());
    let at = clock.now() + HOUR;
    let rows = (0..1200).map(|n| Scatter::Put {
        key: Key::new("many", format!("{n:04}")),
        body: "x".into(),
        expires_at: Some(at),
    });
    store.scatter(rows.collect()).await.unwrap();
    let put = |sort| Write::put(key(sort), "x").expiring(at);
    store.commit(vec![put("expires"), put("lifted"), put("moved"), put("gone")]).await.unwrap();
    let lifted = Write::put(key("lifted"), "y");
    let moved = Write::put(key("moved"), "y").expiring(at + HOUR);
    store.commit(vec![lifted, moved, Write::delete(key("gone"))]).await.unwrap();
    assert_eq!(store.sweep().await, Ok(0));

    clock.advance(HOUR);
    assert_eq!(store.sweep().await, Ok(1201));
    assert_eq!(store.sweep().await, Ok(0));
    assert_eq!(get_one(&store, key("lifted")).await.unwrap().unwrap().body, "y");
    assert_eq!(get_one(&store, key("moved")).await.unwrap().unwrap().body, "y");
    clock.advance(HOUR);
    assert_eq!(store.sweep().await, Ok(1));
    // An expiry earlier than what has been swept is found too.
    let late = Write::put(key("late"), "").expiring(clock.now() - HOUR * 2);
    store.commit(vec![late]).await.unwrap();
    assert_eq!(store.sweep().await, Ok(1));
}

#[tokio::test]
async fn a_sweep_goes_on_after_reopening() {
    let (store, clock, dir) = open(Options::default());
    let write = |n: usize| Write::put(key(n), "x").expiring(clock.now() + HOUR);
    store.commit((0..10).map(write).collect()).await.unwrap();
    drop(store);
    clock.advance(HOUR);
    let store = Store::open(dir.path(), Options::default(), clock.clone()).unwrap();
    assert_eq!(store.sweep().await, Ok(10));
}

#[tokio::test]
async fn a_snapshot_stands_still() {
    let (store, clock, _dir) = open(Options::default());
    let put = |partition: &str, sort: &str| Write::put(Key::new(partition, sort), "1");
    let expiring = put("b", "expires").expiring(clock.now() + HOUR);
    store.commit(vec![put("a", "2"), put("a", "1"), put("b", ""), expiring]).await.unwrap();
    let snapshot = store.snapshot().unwrap();
    store.commit(vec![Write::delete(Key::new("a", "1")), put("a", "3")]).await.unwrap();

    let places = |source: &dyn Snapshot, prefix: &str| -> Vec<String> {
        let items = source.items(prefix).map(|item| item.unwrap().key);
        items.map(|key| format!("{}/{}", key.partition, key.sort)).collect()
    };
    for _ in 0..2 {
        assert_eq!(places(&snapshot, ""), ["a/1", "a/2", "b/", "b/expires"]);
    }
    assert_eq!(places(&snapshot, "b"), ["b/", "b/expires"]);
    assert_eq!(places(&store, "a"), ["a/2", "a/3"]);
    clock.advance(HOUR);
    assert_eq!(places(&store, "b"), ["b/"]);
    assert!(places(&store, "c").is_empty());
}

fn number(item: Option<Item>) -> u64 {
    item.map_or(0, |item| std::str::from_utf8(&item.body).unwrap().trim().parse().unwrap())
}

/// Writers give each of their keys growing numbers; readers must never miss one that was answered,
/// whatever the cache keeps, evicts, refuses as too heavy, or is about to load.
async fn stays_coherent(cache_bytes: u64) {
    const KEYS: usize = 40;
    let options = Options { cache_bytes, memtable_bytes: 256 * 1024, ..Options::default() };
    let (store, _, _dir) = open(options);
    let store = Arc::new(store);
    let answered: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..3 {
        let (store, answered) = (Arc::clone(&store), Arc::clone(&answered));
        let (stop, reads) = (Arc::clone(&stop), Arc::clone(&reads));
        readers.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let first = usize::try_from(reads.fetch_add(1, Ordering::AcqRel)).unwrap() + reader;
                let asked: Vec<usize> = (0..8).map(|step| (first + step * 5) % KEYS).collect();
                let least: Vec<u64> =
                    asked.iter().map(|&n| answered[n].load(Ordering::Acquire)).collect();
                let keys: Vec<Key> = asked.iter().map(key).collect();
                for (item, least) in store.get(&keys).await.unwrap().into_iter().zip(least) {
                    assert!(number(item) >= least, "the cache kept an old row");
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (store, answered) = (Arc::clone(&store), Arc::clone(&answered));
        writers.spawn(async move {
            for round in 1..=25 {
                for n in (writer..KEYS).step_by(4) {
                    // Now small, now too heavy for the cache.
                    let width = if (round + n as u64).is_multiple_of(3) { 20_000 } else { 1 };
                    let body = format!("{round:>width$}");
                    if round % 5 == 0 {
                        let (key, body) = (key(n), body.into());
                        let row = Scatter::Put { key, body, expires_at: None };
                        store.scatter(vec![row]).await.unwrap();
                    } else {
                        store.commit(vec![Write::put(key(n), body)]).await.unwrap();
                    }
                    answered[n].store(round, Ordering::Release);
                }
            }
        });
    }
    writers.join_all().await;
    stop.store(true, Ordering::Release);
    readers.join_all().await;
    for n in 0..KEYS {
        assert_eq!(number(get_one(&*store, key(n)).await.unwrap()), 25);
    }
    assert!(reads.load(Ordering::Acquire) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_cache_stays_coherent() {
    stays_coherent(8 * 1024 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_small_cache_stays_coherent() {
    stays_coherent(64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_cache_at_all_is_coherent() {
    stays_coherent(0).await;
}
