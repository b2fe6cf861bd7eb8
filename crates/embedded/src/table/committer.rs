//! The one thread that writes: it takes the jobs that are waiting, decides each against what is
//! durable and what this batch changes already, writes one batch, syncs once, and answers them all.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::Slice;
use kernel::sequence::Ticket;
use kernel::table::{Condition, Key, Scatter, TableError, Write};
use kernel::{Time, outbox};
use quick_cache::DefaultHashBuilder;

use crate::backup::Row as RawRow;
use crate::opening::Backoff;

use super::Shared;
use super::codec::{self, Row};
use super::engine::{self, Engine};
use super::queue::{Answer, Job, Work};
use super::sweep::Sweep;

/// How often an idle committer looks after the engine.
const TICK: Duration = Duration::from_secs(1);

/// The thread's own.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// The number of the last batch in the data.
    position: u64,
    sweep: Sweep,
    backoff: Backoff,
    checked: Instant,
}

/// Drops waiting jobs when the thread ends, however it does.
struct Abandon(Arc<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.queue.abandon();
    }
}

/// What one batch changes.
type Changes = HashMap<Key, Change, DefaultHashBuilder>;

/// What becomes of one key.
struct Change {
    row: Option<Row>,
    /// Whether readers may ask for it by its key. Scattered rows are many and mostly read by query,
    /// and nobody but the relay asks for an event's.
    sought: bool,
    /// Whether it was written once, and is never written again: an event's row that is removed.
    spent: bool,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, position: u64) -> Self {
        let (sweep, backoff) = Default::default();
        Self { shared, position, sweep, backoff, checked: Instant::now() }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _abandon = Abandon(Arc::clone(&self.shared));
        while let Some(mut work) = self.shared.queue.take(self.sweep.wait().min(TICK)) {
            let sweeps = std::mem::take(&mut work.sweeps);
            self.batch(work);
            for answer in sweeps {
                let swept = self.sweep_all();
                let _ = answer.send(swept);
            }
            if self.sweep.is_due() {
                if self.shared.is_settled() {
                    let _ = self.sweep_some();
                } else {
                    // A start that may still be refused: then every file has to be as it was.
                    self.sweep.put_off();
                }
            }
            if self.checked.elapsed() >= TICK {
                self.check_engine();
            }
        }
    }

    /// Does the jobs whose askers still wait.
    fn batch(&mut self, mut work: Work) {
        work.commits.retain(|job| !job.answer.is_closed());
        work.chunks.retain(|job| !job.answer.is_closed());
        if work.commits.is_empty() && work.chunks.is_empty() {
            return;
        }
        let began = Instant::now();
        let jobs = work.commits.len() + work.chunks.len();
        let shared = Arc::clone(&self.shared);
        let engine = match self.writable(&shared) {
            Ok(engine) => engine,
            Err(error) => return refuse(work, &error),
        };
        shared.settle();
        let mut stage = Stage::new(&shared, &engine, self.position + 1);
        let commits: Vec<_> = work.commits.into_iter().map(|job| stage.commit(job)).collect();
        let chunks: Vec<_> = work.chunks.into_iter().map(|job| stage.scatter(job)).collect();
        let Stage { changes, events, .. } = stage;
        let rows = changes.len();
        let begin = |(key, change): (&Key, &Change)| shared.cache.begin(key, change.sought);
        let cached: Vec<bool> = changes.iter().map(begin).collect();
        let written = self.write(&engine, &changes);
        drop(engine);
        if written.is_ok() {
            for ((key, Change { row, sought, .. }), cached) in changes.into_iter().zip(cached) {
                if sought && cached {
                    shared.cache.put(key, row);
                } else {
                    shared.cache.forget(&key);
                }
            }
        }
        let failed = written.map_err(|error| self.fail(&error)).err();
        // The relay is told before the askers: whoever has an answer knows the event is on its way.
        if failed.is_none() {
            if let Some(sender) = shared.outbox.get() {
                events.into_iter().for_each(|body| sender.send(body));
            }
            record(&shared.name, jobs, rows, began.elapsed());
        }
        for Decided { answer, ticket, outcome } in commits.into_iter().chain(chunks) {
            // Readers may go past the row from here on, also those whom the answer wakes.
            drop(ticket);
            // An asker that went away meanwhile needs no answer.
            let _ = answer.send(failed.clone().map_or(outcome, Err));
        }
    }

    /// The engine, if it is well (or opens again) and the disk has room.
    fn writable(&mut self, shared: &Shared) -> Result<Engine, TableError> {
        if let Ok(engine) = shared.engine() {
            // Where there is none, opening again would only fail again, and stop readers as well.
            shared.room(&engine)?;
            if !shared.failed.load(Ordering::Relaxed) {
                return Ok(engine);
            }
        }
        if !self.backoff.allows(Instant::now()) {
            return Err(super::failed());
        }
        let engine = self.reopen()?;
        shared.room(&engine)?;
        Ok(engine)
    }

    fn write(&mut self, engine: &Engine, changes: &Changes) -> fjall::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<RawRow> = Vec::with_capacity(changes.len() + 1);
        let mut spent = Vec::new();
        for (key, change) in changes {
            let key = Slice::from(codec::encode_key(&self.shared.cipher, key));
            let Some(row) = &change.row else {
                if change.spent {
                    spent.push(key);
                } else {
                    rows.push((key, None));
                }
                continue;
            };
            if let Some(at) = row.expires_at {
                let index_key = codec::expiry_key(at, &key);
                self.sweep.note(&index_key);
                rows.push((index_key.into(), Some(Slice::from(&b""[..]))));
            }
            let value = row.stored(&self.shared.cipher, &key);
            rows.push((key, Some(value.into())));
        }
        let position = self.position + 1;
        rows.push((codec::POSITION_KEY.into(), Some(position.to_le_bytes().into())));
        let tapped = self.shared.tap().map(|tap| {
            let gone = spent.iter().map(|key| (key.clone(), None));
            (tap.begin(), rows.iter().cloned().chain(gone).collect(), tap)
        });
        engine.write(rows, spent)?;
        if let Some((at, rows, tap)) = tapped {
            tap.written(position, at, rows);
        }
        self.position = position;
        if let Err(error) = self.shared.directory.position.write(position) {
            // The data is safe; only a later loss of its tail might go unnoticed.
            tracing::error!(%error, table = %self.shared.name, "POSITION was not written");
        }
        Ok(())
    }

    /// The engine failed: opens it again, at once where that may do, so that the next batch finds
    /// it well.
    fn fail(&mut self, error: &fjall::Error) -> TableError {
        let shared = Arc::clone(&self.shared);
        tracing::error!(?error, table = %shared.name, "the storage engine failed");
        metrics::counter!("table_engine_failures_total", "table" => shared.name.clone())
            .increment(1);
        shared.failed.store(true, Ordering::Relaxed);
        shared.directory.doubt();
        shared.tap().into_iter().for_each(|tap| tap.failed());
        if let Err(error) = self.writable(&shared) {
            tracing::error!(%error, table = %shared.name, "the engine is not open again");
        }
        engine::unavailable(error)
    }

    /// Closing and opening take as long as the disk does, so readers are refused meanwhile: they
    /// run on the async workers, and must not wait at the lock.
    fn reopen(&mut self) -> Result<Engine, TableError> {
        let mut slot = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner);
        let failed = slot.take();
        // No reader is inside, so no guard of the cache is out.
        self.shared.cache.clear();
        drop(slot);
        drop(failed);
        let opened = {
            let Shared { directory, options, cipher, .. } = &*self.shared;
            Engine::open(directory, options, cipher)
        };
        let (engine, position) =
            opened.map_err(|error| TableError::Unavailable(error.to_string()))?;
        self.position = position;
        self.sweep = Sweep::default();
        let mut slot = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(engine.clone());
        drop(slot);
        self.shared.failed.store(false, Ordering::Relaxed);
        if let Some(sender) = self.shared.outbox.get() {
            // The batch that failed may have reached the disk all the same.
            sender.miss();
        }
        tracing::warn!(table = %self.shared.name, position, "the storage engine is open again");
        Ok(engine)
    }

    /// Notices an engine that failed in the background, also when nobody writes.
    fn check_engine(&mut self) {
        self.checked = Instant::now();
        let shared = Arc::clone(&self.shared);
        let checked = match shared.engine() {
            Ok(engine) if !shared.failed.load(Ordering::Relaxed) => engine.check(),
            _ => {
                if let Err(error) = self.writable(&shared) {
                    tracing::warn!(%error, table = %shared.name, "still not open again");
                }
                return;
            }
        };
        if let Err(error) = checked {
            self.fail(&error);
        }
    }

    fn sweep_some(&mut self) -> Result<usize, TableError> {
        let shared = Arc::clone(&self.shared);
        let engine = self.writable(&shared)?;
        shared.settle();
        let swept = self.sweep.run(&engine, &shared.cache, shared.clock.now());
        drop(engine);
        swept.inspect_err(|_| self.check_engine())
    }

    fn sweep_all(&mut self) -> Result<usize, TableError> {
        let mut all = 0;
        loop {
            all += self.sweep_some()?;
            if !self.sweep.has_more() {
                return Ok(all);
            }
        }
    }
}

fn refuse(work: Work, error: &TableError) {
    let commits = work.commits.into_iter().map(|job| job.answer);
    for answer in commits.chain(work.chunks.into_iter().map(|job| job.answer)) {
        let _ = answer.send(Err(error.clone()));
    }
}

fn record(name: &str, jobs: usize, rows: usize, took: Duration) {
    let name = || name.to_owned();
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    metrics::histogram!("table_batch_jobs", "table" => name()).record(count(jobs));
    metrics::histogram!("table_batch_rows", "table" => name()).record(count(rows));
    metrics::histogram!("table_batch_seconds", "table" => name()).record(took.as_secs_f64());
}

/// A job whose writes are staged or refused; its answer waits for the batch.
struct Decided {
    answer: Answer<()>,
    ticket: Option<Ticket>,
    outcome: Result<(), TableError>,
}

/// A batch in the making.
struct Stage<'a> {
    shared: &'a Shared,
    engine: &'a Engine,
    now: Time,
    /// The batch's number, which no row has had before.
    version: u64,
    /// What each key holds after the jobs so far; one entry a key, for within a batch the engine
    /// does not tell two writes of the same key apart.
    changes: Changes,
    /// The bodies of outbox rows, in the jobs' order.
    events: Vec<Bytes>,
}

impl<'a> Stage<'a> {
    fn new(shared: &'a Shared, engine: &'a Engine, version: u64) -> Self {
        let now = shared.clock.now();
        Self { shared, engine, now, version, changes: Changes::default(), events: Vec::new() }
    }

    /// The live row at `key`, with what this batch did to it.
    fn before(&self, key: &Key) -> Result<Option<Row>, TableError> {
        let changed = self.changes.get(key).map(|change| change.row.clone());
        let known = changed.or_else(|| self.shared.cache.peek(key));
        let row = match known {
            Some(row) => row,
            None => self.engine.load(key)?,
        };
        Ok(row.filter(|row| row.is_live(self.now)))
    }

    fn commit(&mut self, job: Job<Write>) -> Decided {
        let Job { writes, answer, ticket, .. } = job;
        Decided { answer, ticket, outcome: self.decide(writes) }
    }

    /// All conditions first, then all writes.
    fn decide(&mut self, writes: Vec<Write>) -> Result<(), TableError> {
        let mut before = Vec::with_capacity(writes.len());
        for (index, write) in writes.iter().enumerate() {
            let row = match (write, write.condition()) {
                (Write::Add { .. }, _) => self.before(write.key())?,
                (_, Condition::Always) => None,
                _ => self.before(write.key())?,
            };
            if !holds(write.condition(), row.as_ref()) {
                return Err(TableError::Unmet(index));
            }
            before.push(row);
        }
        writes.into_iter().zip(before).for_each(|(write, row)| self.apply(write, row));
        Ok(())
    }

    fn apply(&mut self, write: Write, before: Option<Row>) {
        let version = self.version;
        let (key, row) = match write {
            Write::Put { key, body, expires_at, .. } => {
                if outbox::is_row(&key) {
                    self.events.push(body.clone());
                }
                (key, Some(Row { body, count: 0, version, expires_at }))
            }
            Write::Delete { key, .. } => (key, None),
            Write::Add { key, delta, .. } => {
                let fresh = Row { body: Bytes::new(), count: 0, version, expires_at: None };
                let row = before.unwrap_or(fresh);
                (key, Some(Row { count: row.count.saturating_add(delta), version, ..row }))
            }
            Write::Check { .. } => return,
        };
        let sought = !outbox::is_row(&key);
        self.changes.insert(key, Change { row, sought, spent: false });
    }

    fn scatter(&mut self, job: Job<Scatter>) -> Decided {
        let Job { writes, answer, ticket, .. } = job;
        for write in writes {
            let is_event = outbox::is_row(write.key());
            let (key, row) = match write {
                Scatter::Put { key, body, expires_at } => {
                    if is_event {
                        self.events.push(body.clone());
                    }
                    (key, Some(Row { body, count: 0, version: self.version, expires_at }))
                }
                Scatter::Delete(key) => (key, None),
            };
            let spent = is_event && row.is_none();
            self.changes.insert(key, Change { row, sought: false, spent });
        }
        Decided { answer, ticket, outcome: Ok(()) }
    }
}

fn holds(condition: Condition, row: Option<&Row>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => row.is_none(),
        Condition::Present => row.is_some(),
        Condition::Version(version) => row.is_some_and(|row| row.version == version),
    }
}
