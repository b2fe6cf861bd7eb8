//! The event bus in one process: a durable queue for each subscriber, on an engine of its own.
//!
//! A published event becomes one row in each queue that takes its kind, all in one synced commit;
//! the commit wakes the queue's workers. A message in hand that its handler refuses, drops (by a
//! panic) or holds longer than the visibility time-out comes again when that is over; after the
//! last receive allowed it is kept among the queue's dead letters, with the reason.
//!
//! After a restart everything not done is visible at once, whatever was hidden or in hand: waiting
//! out a time-out whose holder is dead would only delay timelines. What was in hand when the
//! process ended is handled one message at a time, and only a receive that ends the process then
//! counts: the message that ended it is found, and takes none of its neighbours along.
//!
//! Memory is bounded by [`Options`], whatever the backlog.

mod chaos;
mod committer;
mod dead;
mod hand;
mod queue;
mod stats;
mod store;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use fjall::{OwnedWriteBatch, PersistMode, Slice};
use kernel::bus::{BusError, Message, QueuePolicy, QueueSpec};
use kernel::{Clock, Event, Problem, Time};
use tokio::sync::{mpsc, oneshot, watch};

use self::chaos::Dice;
use self::committer::{Committer, Job, Row};
use self::queue::{Bounds, Queue};
use self::store::{Kind, Store, Tally, Tries};
use crate::backup::{Rows, Source, Tap};
use crate::directory::{BUS, Directory, Format, OpenError};
use crate::encryption::{Cipher, Encryption};
use crate::keep::Keep;

/// What the bus may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Messages of a queue held in memory ahead of its workers, at most.
    pub window_messages: usize,
    /// Bytes of the same, give or take one message.
    pub window_bytes: usize,
    /// Messages of a queue in hand or hidden, at most; a queue at that point waits.
    pub in_flight_max: usize,
    /// Bytes of a message, at most; a larger one is refused.
    pub message_bytes_max: usize,
    /// The engine's block cache in bytes.
    pub cache_bytes: u64,
    /// Free bytes of the file system under which nothing more is queued: the engine must never meet
    /// a full disk. What the engine may still write (flushes, a compaction) is counted on top.
    pub free_space_floor_bytes: u64,
    /// How long the bus trusts the clock not to have been moved, while it waits for a time.
    pub clock_recheck: Duration,
    /// For tests: delivers everything twice and in any order, by this seed.
    pub chaos: Option<u64>,
    /// Whether and how what is stored is encrypted.
    pub encryption: Encryption,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_messages: 512,
            window_bytes: 1 << 20,
            in_flight_max: 20_000,
            message_bytes_max: 256 << 10,
            cache_bytes: 4 << 20,
            free_space_floor_bytes: 16 << 20,
            clock_recheck: Duration::from_millis(250),
            chaos: None,
            encryption: Encryption::default(),
        }
    }
}

impl Options {
    const fn bounds(&self) -> Bounds {
        Bounds {
            messages: self.window_messages,
            bytes: self.window_bytes,
            in_flight: self.in_flight_max,
        }
    }

    const fn format(&self) -> Format {
        Format::of(self.encryption.is_on())
    }

    fn cipher(&self) -> Cipher {
        self.encryption.cipher("bus", &[])
    }
}

/// What the bus's tasks and its committer share.
struct Shared {
    /// None while the engine has failed and does not open again.
    store: RwLock<Option<Store>>,
    /// Dropped after the engine, for it holds the lock.
    directory: Directory,
    queues: Vec<Queue>,
    policy: QueuePolicy,
    options: Options,
    clock: Arc<dyn Clock>,
    /// How what is stored is written.
    cipher: Cipher,
    /// Counts commits, for those who wait for quiet.
    changes: watch::Sender<u64>,
    /// Counts the times the clock was said to have moved.
    ticks: watch::Sender<u64>,
    /// Set while a message that may have ended the last process is in hand.
    suspect: AtomicBool,
    dice: Option<Dice>,
    /// Where batches go to be copied.
    tap: RwLock<Option<Arc<Tap>>>,
}

impl Shared {
    fn tap(&self) -> Option<Arc<Tap>> {
        self.tap.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the engine; its handle never leaves, so that it can be closed and opened again.
    fn read<T>(&self, ask: impl FnOnce(&Store) -> Result<T, String>) -> Result<T, String> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        ask(store.as_ref().ok_or_else(|| "the engine is not open".to_owned())?)
    }

    /// Closes an engine that failed.
    fn close(&self) {
        let failed = self.store.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(failed);
    }

    /// Closes the engine and opens it again; answers the tallies found and the last batch's number.
    /// Meanwhile readers are refused: the async workers must not wait at the lock for the disk.
    fn reopen(&self) -> Result<(Vec<Tally>, u64), OpenError> {
        self.close();
        let (store, position) = Store::open(&self.directory, &self.options)?;
        let names = self.queues.iter().map(|queue| queue.name);
        let tallies = tallies(&store, &self.directory.path, names)?;
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
        Ok((tallies, position))
    }

    fn id(&self, queue: usize, pos: u64) -> String {
        format!("{}:{pos}", self.queues[queue].name)
    }

    /// When a message received now shows again.
    fn hidden_until(&self) -> Time {
        self.clock.now() + self.policy.visibility
    }
}

/// The embedded event bus. Dropping it waits for what it was asked to write.
pub struct Bus {
    dir: PathBuf,
    shared: Arc<Shared>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    committer: Option<JoinHandle<()>>,
}

impl Bus {
    /// Opens the queues kept in `dir`, or makes them, and takes up where they were left. Of those
    /// that are refused, every file is as it was.
    pub fn open(
        dir: &Path,
        policy: QueuePolicy,
        options: Options,
        clock: Arc<dyn Clock>,
        queues: &[QueueSpec],
    ) -> Result<Arc<Self>, OpenError> {
        let directory = Directory::open(dir, &BUS, Some(options.format()))?;
        let keep = Keep::take(&directory);
        let (store, mut position) = Store::open(&directory, &options)?;
        let mut tallies = tallies(&store, dir, queues.iter().map(|spec| spec.name))?;
        let in_hand = hand::read(dir)?;
        let counted = count_receives(&store, &policy, clock.now(), queues, &mut tallies, &in_hand);
        if counted.map_err(|what| store::damaged(dir, what))? {
            position += 1;
        }
        keep.into_iter().for_each(Keep::settle);
        hand::clear(dir)?;
        let specs = queues.iter().zip(&tallies);
        let shared = Arc::new(Shared {
            store: RwLock::new(Some(store)),
            directory,
            queues: specs.map(|(spec, tally)| Queue::new(spec.name, spec.kinds, *tally)).collect(),
            policy,
            dice: options.chaos.map(Dice::new),
            cipher: options.cipher(),
            options,
            clock,
            changes: watch::Sender::new(0),
            ticks: watch::Sender::new(0),
            suspect: AtomicBool::new(false),
            tap: RwLock::default(),
        });
        // Bounded all the same: publishers wait for their answers, and what is in hand has a limit.
        let (jobs, receiver) = mpsc::unbounded_channel();
        let committer = Committer::new(Arc::clone(&shared), receiver, tallies, position);
        let committer = std::thread::Builder::new()
            .name("bus-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| store::refused(dir, "starting its committer", source))?;
        let (jobs, committer) = (Some(jobs), Some(committer));
        Ok(Arc::new(Self { dir: dir.to_owned(), shared, jobs, committer }))
    }

    /// Says that the clock was moved, so that nobody sleeps past the time they wait for.
    pub fn tick(&self) {
        self.shared.ticks.send_modify(|tick| *tick += 1);
    }

    fn index(&self, queue: &str) -> Result<usize, Problem> {
        let found = self.shared.queues.iter().position(|known| known.name == queue);
        found.ok_or_else(|| Problem::not_found("queue"))
    }

    fn jobs(&self) -> Result<&mpsc::UnboundedSender<Job>, Problem> {
        self.jobs.as_ref().ok_or_else(|| engine("the bus is closed"))
    }

    /// Hands `job` to the committer and waits for its answer.
    async fn ask<T>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, Problem> {
        self.jobs()?.send(job).map_err(|_| engine("the committer has ended"))?;
        answer.await.map_err(engine)?.map_err(engine)
    }

    /// Appends the messages that fit, each to the queues given for it.
    async fn append(&self, messages: Vec<(Message, Vec<usize>)>) -> Result<(), BusError> {
        let queued = self.shared.clock.now();
        let all = messages.len();
        let (mut rows, mut too_large) = (Vec::new(), Vec::new());
        for (index, (message, queues)) in messages.into_iter().enumerate() {
            if queues.is_empty() {
                continue;
            }
            let body = store::row(&message, queued);
            if body.len() > self.shared.options.message_bytes_max {
                too_large.push(index);
                continue;
            }
            let message = Arc::new(message);
            rows.extend(queues.into_iter().map(|queue| Row {
                queue,
                queued,
                message: Arc::clone(&message),
                body: body.clone(),
            }));
        }
        if !rows.is_empty() {
            let (done, answer) = oneshot::channel();
            let appended = self.ask(Job::Append { rows, done }, answer).await;
            appended.map_err(|problem| refuse_all(all, &problem))?;
        }
        if too_large.is_empty() {
            return Ok(());
        }
        let most = self.shared.options.message_bytes_max;
        Err(BusError { refused: too_large, reason: format!("a message has at most {most} bytes") })
    }
}

fn tallies<'a>(
    store: &Store,
    dir: &Path,
    queues: impl Iterator<Item = &'a str>,
) -> Result<Vec<Tally>, OpenError> {
    queues.map(|name| store.tally(name).map_err(|what| store::damaged(dir, what))).collect()
}

fn refuse_all(all: usize, problem: &Problem) -> BusError {
    let cause = std::error::Error::source(problem);
    let reason = cause.map_or_else(|| problem.to_string(), ToString::to_string);
    BusError { refused: (0..all).collect(), reason }
}

/// The engine's own failure as a problem.
fn engine(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Problem {
    Problem::unavailable(std::io::Error::other(error))
}

#[async_trait]
impl kernel::bus::Bus for Bus {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        let queues = &self.shared.queues;
        let taking = |event: &Event| {
            let takes = |queue: &usize| queues[*queue].kinds.contains(&event.kind());
            (0..queues.len()).filter(takes).collect()
        };
        let messages = events.iter().map(|event| (event.clone().into(), taking(event)));
        self.append(messages.collect()).await
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let index = self.index(queue).map_err(|problem| refuse_all(messages.len(), &problem))?;
        let messages = messages.iter().map(|message| (message.clone(), vec![index]));
        self.append(messages.collect()).await
    }
}

impl Source for Bus {
    fn name(&self) -> &str {
        "bus"
    }

    fn attach(&self, tap: Option<Arc<Tap>>) {
        *self.shared.tap.write().unwrap_or_else(PoisonError::into_inner) = tap;
    }

    fn rows(&self) -> Result<Rows, String> {
        self.shared.read(|store| store.all_rows().map_err(|error| error.to_string()))
    }
}

/// The engine of the bus in `dir`, for who fills it by another way than publishing.
pub(crate) fn open_engine(
    dir: &Path,
    encryption: &Encryption,
) -> Result<(Directory, fjall::Database, fjall::Keyspace), OpenError> {
    let options = Options { encryption: encryption.clone(), ..Options::default() };
    let directory = Directory::open(dir, &BUS, Some(options.format()))?;
    let (Store { db, rows, .. }, _) = Store::open(&directory, &options)?;
    Ok((directory, db, rows))
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Without senders the committer writes what it has, syncs, and ends.
        self.jobs = None;
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the bus's committer panicked");
        }
    }
}

/// Counts the receives of what was in hand when the last process ended. What was in hand among
/// others is to be tried alone from now on, and nothing is counted; what was tried alone has had
/// that receive, and after its last it goes to the dead letters. Says whether it wrote a batch.
fn count_receives(
    store: &Store,
    policy: &QueuePolicy,
    now: Time,
    queues: &[QueueSpec],
    tallies: &mut [Tally],
    in_hand: &[(String, Vec<hand::InHand>)],
) -> Result<bool, String> {
    let reason = "the process ended while the message was in hand";
    if in_hand.iter().all(|(_, messages)| messages.is_empty()) {
        return Ok(false);
    }
    // As every other batch it has a number, so that copies know that they lack it.
    let position = store.position().map_err(|error| error.to_string())? + 1;
    let mut batch = store.db.batch().durability(Some(PersistMode::SyncData));
    let put = |batch: &mut OwnedWriteBatch, key: Vec<u8>, value: Slice| {
        let value = store::sealed(&store.cipher, position, &key, value);
        batch.insert(&store.rows, key, value);
    };
    for (name, messages) in in_hand {
        let Some(index) = queues.iter().position(|spec| spec.name == name) else { continue };
        for (pos, receives) in messages.iter().copied() {
            let Some(row) = store.get(Kind::Message, name, pos)? else { continue };
            let known = store.tries(name, pos)?.unwrap_or_default();
            if known.receives >= receives {
                continue;
            }
            if !known.alone || receives < policy.receives_max {
                let receives = if known.alone { receives } else { known.receives };
                let tries = Tries { receives, alone: true, reason: reason.to_owned() };
                let key = store::key(Kind::Tries, name, pos);
                put(&mut batch, key, store::json(&tries));
                continue;
            }
            tracing::error!(queue = name, pos, receives, reason, "to the dead letters");
            let dead = store::dead_row(&row, now, receives, reason);
            put(&mut batch, store::key(Kind::Dead, name, pos), store::json(&dead));
            batch.remove(&store.rows, store::key(Kind::Message, name, pos));
            batch.remove(&store.rows, store::key(Kind::Tries, name, pos));
            tallies[index].live -= 1;
            tallies[index].dead += 1;
            put(&mut batch, store::tally_key(name), store::json(&tallies[index]));
        }
    }
    batch.insert(&store.rows, store::POSITION_KEY, position.to_le_bytes());
    batch.commit().map(|()| true).map_err(|error| error.to_string())
}
