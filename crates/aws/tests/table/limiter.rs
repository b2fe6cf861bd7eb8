//! The limiter on a table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws::dynamodb::{DynamoTable, Meter};
use aws::limiter::{Config, TableLimiter};
use conformance::faulty::{Faults, Faulty};
use conformance::{Oracle, TestClock};
use kernel::Clock;
use kernel::limiter::{Bucket, Limiter, Rate};
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write};
use tokio::time::Instant;

use crate::bed;
use crate::stage::{Stage, client, client_at};

const USER: Bucket = Bucket { name: "user", rate: Rate { per_sec: 100, burst: 200 } };
const AUTH: Bucket = Bucket { name: "auth", rate: Rate { per_sec: 5, burst: 20 } };

/// A limiter that waits for a slow emulator.
fn patient(table: Arc<dyn Table>, clock: Arc<dyn Clock>) -> Arc<TableLimiter> {
    let config = Config { lease_timeout: Duration::from_mins(1), ..Config::default() };
    TableLimiter::new(table, clock, config)
}

async fn allowed(limiter: &TableLimiter, bucket: Bucket, key: &str, tries: u32) -> u32 {
    let mut allowed = 0;
    for _ in 0..tries {
        allowed += u32::from(limiter.take(bucket, key).await.expect("it answers").allowed);
    }
    allowed
}

#[tokio::test]
async fn it_is_a_limiter_on_any_table() {
    conformance::limiter::suite(|clock| patient(Oracle::new(clock.clone()), clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_a_limiter_on_dynamodb() {
    let (stage, client, made) = (Stage::new(), client(), AtomicUsize::new(0));
    conformance::limiter::suite_at_a_distance(|clock| {
        let table = DynamoTable::new(client.clone(), &stage.name, Arc::clone(&clock));
        let part = made.fetch_add(1, Ordering::Relaxed).to_string();
        patient(Arc::new(Part { table: Arc::new(table), part }), clock)
    })
    .await;
}

#[tokio::test]
async fn it_is_a_limiter_on_a_table_with_a_bad_day() {
    conformance::limiter::suite(|clock| {
        let oracle = Oracle::new(Arc::clone(&clock));
        patient(Faulty::new(oracle, Faults::all(200), 3), clock)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_share_one_bucket() {
    let stage = Stage::new();
    let (one, other) =
        (patient(stage.table(), stage.clock.clone()), patient(stage.table(), stage.clock.clone()));
    let mut total = 0;
    for _ in 0..60 {
        total += allowed(&one, AUTH, "a", 1).await + allowed(&other, AUTH, "a", 1).await;
    }
    assert_eq!(total, 20);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(allowed(&one, AUTH, "a", 3).await, 3);
    assert_eq!(allowed(&other, AUTH, "a", 9).await + allowed(&one, AUTH, "a", 9).await, 2);
    let together = (0..2).map(|n| {
        let limiter = Arc::clone(if n == 0 { &one } else { &other });
        tokio::spawn(async move { allowed(&limiter, USER, "b", 200).await })
    });
    let mut total = 0;
    for task in together.collect::<Vec<_>>() {
        total += task.await.unwrap();
    }
    assert_eq!(total, 200);
}

#[tokio::test]
async fn one_process_does_not_sit_on_what_anothers_caller_is_due() {
    let clock = TestClock::new();
    let table = Oracle::new(clock.clone());
    // One request at each of eight processes is eight requests, far from twenty.
    for _ in 0..8 {
        let limiter = patient(table.clone(), clock.clone());
        assert_eq!(allowed(&limiter, AUTH, "a", 1).await, 1);
    }
}

#[tokio::test]
async fn ten_requests_cost_one_read_and_one_write() {
    let (stage, meter) = (Stage::new(), Arc::new(Meter::default()));
    let table = stage.table_at(client()).metered(Arc::clone(&meter));
    let limiter = patient(Arc::new(table), stage.clock.clone());
    assert_eq!(allowed(&limiter, USER, "a", 150).await, 150);
    let used = meter.take();
    let requests = |operation: &str| used.get(operation).map_or(0, |usage| usage.requests);
    assert_eq!((requests("GetItem"), requests("PutItem")), (15, 15), "{used:?}");
    // Where there can be no token nobody is asked.
    assert_eq!(allowed(&limiter, USER, "a", 1000).await, 50);
    let writes = meter.take()["PutItem"].requests;
    assert_eq!(allowed(&limiter, USER, "a", 1000).await, 0);
    assert!(writes < 25 && meter.take().is_empty(), "{writes} writes");
}

#[tokio::test]
async fn a_full_bucket_is_no_item() {
    let stage = Stage::new();
    let limiter = patient(stage.table(), stage.clock.clone());
    assert_eq!(allowed(&limiter, AUTH, "a", 20).await, 20);
    let found = client().scan().table_name(&stage.name).send().await.unwrap();
    assert_eq!(found.items().len(), 1);
    let expiry = found.items()[0]["expms"].as_n().unwrap();
    assert_eq!(*expiry, stage.in_millis(4000).millis().to_string());
}

#[tokio::test]
async fn a_table_that_fails_stops_nobody_and_is_left_alone_for_a_second() {
    let clock = TestClock::new();
    let faults = Faults { unavailable_permille: 1000, ..Faults::default() };
    let faulty = Faulty::new(Oracle::new(clock.clone()), faults, 1);
    let limiter = patient(faulty.clone(), clock.clone());
    assert_eq!(allowed(&limiter, AUTH, "a", 50).await, 20, "the rate holds in each process");
    assert_eq!(allowed(&limiter, AUTH, "b", 50).await, 20);
    assert_eq!(faulty.happened(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(allowed(&limiter, AUTH, "a", 50).await, 5);
    assert_eq!(faulty.happened(), 2);
}

#[tokio::test]
async fn a_table_that_does_not_answer_costs_little_time() {
    let silent = crate::server::Server::start(|_, _| crate::server::Reply::Hang).await;
    let clock = TestClock::new();
    let client = client_at(&bed::sdk(), &silent.url);
    let table = DynamoTable::new(client, "t", clock.clone());
    let limiter = TableLimiter::new(Arc::new(table), clock, Config::default());
    let began = Instant::now();
    assert_eq!(allowed(&limiter, AUTH, "a", 50).await, 20);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_was_given_while_the_table_was_away_counts_when_it_is_back() {
    let clock = TestClock::new();
    let oracle = Oracle::new(clock.clone());
    let faults = Faults { unavailable_permille: 1000, ..Faults::default() };
    let away = Switch::new(Faulty::new(oracle.clone(), faults, 1), oracle.clone());
    let limiter = patient(away.clone(), clock.clone());
    assert_eq!(allowed(&limiter, AUTH, "a", 18).await, 18);
    away.back();
    clock.advance(Duration::from_secs(1));
    assert_eq!(allowed(&limiter, AUTH, "a", 50).await, 7);
    let other = patient(oracle, clock.clone());
    assert_eq!(allowed(&other, AUTH, "a", 50).await, 0, "and others learn of it");
}

/// A table that is away until it is back.
struct Switch {
    away: Arc<dyn Table>,
    there: Arc<dyn Table>,
    is_back: AtomicBool,
}

impl Switch {
    fn new(away: Arc<dyn Table>, there: Arc<dyn Table>) -> Arc<Self> {
        Arc::new(Self { away, there, is_back: false.into() })
    }

    fn back(&self) {
        self.is_back.store(true, Ordering::Release);
    }

    fn table(&self) -> &dyn Table {
        if self.is_back.load(Ordering::Acquire) { &*self.there } else { &*self.away }
    }
}

#[async_trait]
impl Table for Switch {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.table().get(keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.table().query(query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.table().commit(writes).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.table().scatter(writes).await
    }
}

/// A part of a table, so that many limiters can use one and not meet. Only what a limiter asks for
/// is kept apart.
struct Part {
    table: Arc<dyn Table>,
    part: String,
}

impl Part {
    fn key(&self, key: &Key) -> Key {
        Key::new(&*key.partition, format!("{}#{}", self.part, key.sort))
    }
}

#[async_trait]
impl Table for Part {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        let keys: Vec<Key> = keys.iter().map(|key| self.key(key)).collect();
        self.table.get(&keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.table.query(query).await
    }

    async fn commit(&self, mut writes: Vec<Write>) -> Result<(), TableError> {
        for write in &mut writes {
            if let Write::Put { key, .. } = write {
                *key = self.key(key);
            }
        }
        self.table.commit(writes).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.table.scatter(writes).await
    }
}
