//! Random operations, done to the table and to the oracle: both must answer the same, but for the
//! versions, which are each one's own.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernel::Clock;
use kernel::table::{Condition, Item, Key, Order, Query, Scatter, Table, Write, get_one};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::Fixture;
use crate::Oracle;

const PARTITIONS: [&str; 3] = ["a", "a#", "b"];
const SORTS: [&str; 6] = ["", "1", "10", "2", "x\0y", "ü"];

/// A place among a few, so that operations meet.
type Place = (usize, usize);

/// A body, and in how many milliseconds it expires; none deletes.
type NewRow = Option<(String, Option<u64>)>;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Place, Change, Wanted)>),
    Scatter(Vec<(Place, NewRow)>),
    Get(Vec<Place>),
    Query(usize, Bound<usize>, Bound<usize>, bool, usize),
    Advance(u64),
}

/// A condition, before the versions are known.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Plain(Condition),
    /// The version that the item has.
    Current,
    /// The version that it had when it was last read by key.
    Read,
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, Option<u64>),
    Delete,
    Add(i64),
    Check,
}

fn place() -> impl Strategy<Value = Place> {
    (0..PARTITIONS.len(), 0..SORTS.len())
}

fn expiry() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.3, 0_u64..20)
}

fn condition() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        4 => Just(Wanted::Plain(Condition::Always)),
        2 => Just(Wanted::Plain(Condition::Absent)),
        2 => Just(Wanted::Plain(Condition::Present)),
        1 => Just(Wanted::Current),
        1 => Just(Wanted::Read),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => ("[a-z]{0,5}", expiry()).prop_map(|(body, expiry)| Change::Put(body, expiry)),
        2 => Just(Change::Delete),
        2 => (-5_i64..5).prop_map(Change::Add),
        1 => Just(Change::Check),
    ]
}

fn bound() -> impl Strategy<Value = Bound<usize>> {
    prop_oneof![
        2 => Just(Bound::Unbounded),
        1 => (0..SORTS.len()).prop_map(Bound::Included),
        1 => (0..SORTS.len()).prop_map(Bound::Excluded),
    ]
}

fn step() -> BoxedStrategy<Step> {
    // Now and then two writes meet on one key, which both sides must refuse.
    let commit = prop::collection::vec((place(), change(), condition()), 1..4);
    let rows = (place(), prop::option::weighted(0.7, ("[a-z]{0,5}", expiry())));
    let scatter = prop::collection::vec(rows, 1..4);
    let query = (0..PARTITIONS.len(), bound(), bound(), any::<bool>(), 1_usize..8);
    prop_oneof![
        6 => commit.prop_map(Step::Commit),
        2 => scatter.prop_map(Step::Scatter),
        3 => prop::collection::vec(place(), 1..6).prop_map(Step::Get),
        3 => query.prop_map(|(p, from, to, down, limit)| Step::Query(p, from, to, down, limit)),
        1 => (1_u64..10).prop_map(Step::Advance),
    ]
    .boxed()
}

/// One table and its oracle, and the part of both that belongs to one run.
struct Pair<'a> {
    fixture: &'a Fixture,
    oracle: &'a Oracle,
    run: usize,
    /// The versions of items when they were last read: the table's and the oracle's.
    read: Mutex<HashMap<Key, (u64, u64)>>,
}

fn version(item: Option<&Item>) -> u64 {
    item.map_or(0, |item| item.version)
}

/// The same item in both, but for its version.
fn alike(items: Vec<Item>) -> Vec<Item> {
    items.into_iter().map(|item| Item { version: 0, ..item }).collect()
}

impl Pair<'_> {
    fn partition(&self, index: usize) -> String {
        format!("{:03}{}", self.run, PARTITIONS[index])
    }

    fn key(&self, (partition, sort): Place) -> Key {
        Key::new(self.partition(partition), SORTS[sort])
    }

    /// The versions of the item at `key`: the table's and the oracle's.
    async fn versions(&self, key: &Key) -> (u64, u64) {
        let ours = get_one(&*self.fixture.table, key.clone()).await.expect("readable");
        let theirs = get_one(self.oracle, key.clone()).await.expect("readable");
        (version(ours.as_ref()), version(theirs.as_ref()))
    }

    /// The write for the table, and that for the oracle.
    async fn write(&self, place: Place, change: Change, wanted: Wanted) -> (Write, Write) {
        let write = self.unconditional(place, change);
        let (ours, theirs) = match wanted {
            Wanted::Plain(condition) => {
                return (write.clone().when(condition), write.when(condition));
            }
            Wanted::Current => self.versions(write.key()).await,
            Wanted::Read => {
                let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                read.get(write.key()).copied().unwrap_or_default()
            }
        };
        let at = |version| write.clone().when(Condition::Version(version));
        (at(ours), at(theirs))
    }

    fn unconditional(&self, place: Place, change: Change) -> Write {
        let key = self.key(place);
        match change {
            Change::Put(body, None) => Write::put(key, body),
            Change::Put(body, Some(millis)) => {
                let at = self.fixture.clock.now() + Duration::from_millis(millis);
                Write::put(key, body).expiring(at)
            }
            Change::Delete => Write::delete(key),
            Change::Add(delta) => Write::add(key, delta),
            Change::Check => Write::check(key, Condition::Always),
        }
    }

    fn row(&self, (place, row): (Place, NewRow)) -> Scatter {
        let key = self.key(place);
        match row {
            None => Scatter::Delete(key),
            Some((body, millis)) => {
                let at = |millis| self.fixture.clock.now() + Duration::from_millis(millis);
                Scatter::Put { key, body: body.into(), expires_at: millis.map(at) }
            }
        }
    }

    async fn step(&self, step: Step) {
        let (table, oracle) = (&*self.fixture.table, self.oracle);
        match step {
            Step::Commit(writes) => {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for (place, change, wanted) in writes {
                    let (our, their) = self.write(place, change, wanted).await;
                    ours.push(our);
                    theirs.push(their);
                }
                let expected = oracle.commit(theirs).await;
                assert_eq!(table.commit(ours.clone()).await, expected, "{ours:?}");
            }
            Step::Scatter(rows) => {
                let rows: Vec<_> = rows.into_iter().map(|row| self.row(row)).collect();
                let expected = oracle.scatter(rows.clone()).await;
                assert_eq!(table.scatter(rows.clone()).await, expected, "{rows:?}");
            }
            Step::Get(places) => {
                self.same(&places.into_iter().map(|place| self.key(place)).collect::<Vec<_>>())
                    .await;
            }
            Step::Query(partition, from, to, down, limit) => {
                let sort = |index: usize| SORTS[index].to_owned();
                let query = Query {
                    from: from.map(sort),
                    to: to.map(sort),
                    order: if down { Order::Descending } else { Order::Ascending },
                    ..Query::all(self.partition(partition), limit)
                };
                self.same_walk(query).await;
            }
            Step::Advance(millis) => self.fixture.clock.advance(Duration::from_millis(millis)),
        }
    }

    async fn same(&self, keys: &[Key]) {
        let ours = self.fixture.table.get(keys).await.expect("readable");
        let theirs = self.oracle.get(keys).await.expect("readable");
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, ours), theirs) in keys.iter().zip(&ours).zip(&theirs) {
            read.insert(key.clone(), (version(ours.as_ref()), version(theirs.as_ref())));
            assert_eq!(ours.is_some(), theirs.is_some(), "{key:?}");
        }
        let found = |items: Vec<Option<Item>>| alike(items.into_iter().flatten().collect());
        assert_eq!(found(ours), found(theirs));
    }

    async fn same_walk(&self, query: Query) {
        let ours = self.fixture.table.query(query.clone()).await.expect("readable");
        let theirs = self.oracle.query(query.clone()).await.expect("readable");
        assert_eq!(ours.next, theirs.next, "{query:?}");
        assert_eq!(alike(ours.items), alike(theirs.items), "{query:?}");
    }

    async fn same_in_the_end(&self) {
        for partition in 0..PARTITIONS.len() {
            self.same_walk(Query::all(self.partition(partition), 100)).await;
            let keys: Vec<_> = (0..SORTS.len()).map(|sort| self.key((partition, sort))).collect();
            self.same(&keys).await;
        }
    }
}

/// Compares the table of one fixture with an oracle over many random runs.
pub fn agrees(make: &dyn Fn() -> Fixture) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let fixture = make();
    let oracle = Oracle::new(Arc::clone(&fixture.clock) as Arc<dyn Clock>);
    let runs = AtomicUsize::new(0);
    let config = Config { cases: fixture.runs, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..40);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        let pair = Pair { fixture: &fixture, oracle: &oracle, run, read: Mutex::default() };
        runtime.block_on(async {
            for step in steps {
                pair.step(step).await;
            }
            pair.same_in_the_end().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
