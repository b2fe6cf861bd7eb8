//! The embedded table: one storage engine and one writing thread a service.
//!
//! A commit is durable when it answers: the committer gathers what is waiting, syncs once, then
//! answers everybody. Reads go to a cache of rows first, then to the engine on the caller's own
//! thread. Nothing that is not durable can be read.

mod cache;
mod codec;
mod committer;
mod engine;
mod queue;
mod snapshot;
mod sweep;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use kernel::Clock;
use kernel::outbox::{self, OutboxStream};
use kernel::sequence::Ticket;
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write, check};
use tokio::sync::oneshot;

use crate::backup::{Rows, Source, Tap};
use crate::directory::{Directory, Format, TABLE};
pub use crate::directory::{OpenError, check_unused, was_written};
use crate::encryption::{Cipher, Encryption};
use crate::keep::Keep;
use cache::{Lookup, RowCache};
use codec::Row;
use committer::Committer;
use engine::Engine;
use queue::{CHUNK_ROWS_MAX, Queue};
pub use snapshot::StoreSnapshot;

/// Outbox rows that wait for their relay, at most; beyond them it is told to sweep.
const OUTBOX_ROWS_MAX: usize = 8192;
/// Bytes of items in one answer to a query, about; a longer walk goes on at `next`.
const QUERY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How a store uses memory and disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Memory for rows that are read by key, in bytes.
    pub cache_bytes: u64,
    /// Memory for the engine's blocks, in bytes: what queries and missed reads use.
    pub block_cache_bytes: u64,
    /// Memory for writes before they become a file, in bytes. Fixed when the store is made.
    pub memtable_bytes: u64,
    /// Journal on disk, at most, in bytes; never less than 64 MiB. Replay takes 7 ms a megabyte.
    pub journal_bytes_max: u64,
    /// Free disk space, in bytes, below which writes are refused while reads go on. What the engine
    /// has still to flush, and what it may write to compact its tables, is kept free on top of it.
    pub free_space_floor_bytes: u64,
    /// Threads that flush and compact.
    pub engine_threads: usize,
    /// Whether and how what is stored is encrypted.
    pub encryption: Encryption,
    /// Beginnings of partitions whose sort keys are hidden as well, where it is: they hold names.
    /// A query there reads all that may be meant, however few it wants.
    pub hidden_sorts: &'static [&'static str],
}

impl Options {
    fn cipher(&self, dir: &Path) -> Cipher {
        self.encryption.cipher(&name_of(dir), self.hidden_sorts)
    }

    const fn format(&self) -> Format {
        Format::of(self.encryption.is_on())
    }
}

/// What a store is called: as its directory is.
fn name_of(dir: &Path) -> String {
    let name = dir.file_name();
    name.map_or_else(|| "table".to_owned(), |name| name.to_string_lossy().into_owned())
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            cache_bytes: 32 * MIB,
            block_cache_bytes: 16 * MIB,
            memtable_bytes: 16 * MIB,
            journal_bytes_max: 128 * MIB,
            free_space_floor_bytes: 16 * MIB,
            engine_threads: 3,
            encryption: Encryption::default(),
            hidden_sorts: &[],
        }
    }
}

/// What callers and the committer share.
struct Shared {
    /// None only while the engine is being opened again. Readers hold the lock while they load and
    /// fill the cache.
    engine: RwLock<Option<Engine>>,
    /// The files as they were before the start, until it is settled. Dropped after the engine, for
    /// it puts them back, and before the directory's lock.
    keep: Mutex<Option<Keep>>,
    directory: Directory,
    options: Options,
    /// How what is stored is written.
    cipher: Cipher,
    clock: Arc<dyn Clock>,
    cache: RowCache,
    queue: Queue,
    outbox: OnceLock<outbox::Sender>,
    /// Where batches go to be copied.
    tap: RwLock<Option<Arc<Tap>>>,
    free_space_floor_bytes: AtomicU64,
    /// The engine takes no more writes, and reads go on, until it is opened again.
    failed: AtomicBool,
    name: String,
}

fn failed() -> TableError {
    TableError::Unavailable("the storage engine failed and is to be opened again".to_owned())
}

impl Shared {
    fn engine(&self) -> Result<Engine, TableError> {
        self.with_engine(|engine| Ok(engine.clone()))
    }

    fn with_engine<T>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let open = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || TableError::Unavailable("the storage engine is not open".to_owned());
        read(open.as_ref().ok_or_else(closed)?)
    }

    fn tap(&self) -> Option<Arc<Tap>> {
        self.tap.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_settled(&self) -> bool {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn settle(&self) {
        let keep = self.keep.lock().unwrap_or_else(PoisonError::into_inner).take();
        keep.into_iter().for_each(Keep::settle);
    }

    /// Refuses while the disk is nearly full: a full one would stop the engine.
    fn room(&self, engine: &Engine) -> Result<(), TableError> {
        let (free, needed) = self.space(engine)?;
        if free < needed {
            let what = format!("{free} bytes of disk space are left, {needed} are needed");
            return Err(TableError::Unavailable(what));
        }
        Ok(())
    }

    /// Bytes of disk space that are free, and that must be for a write to be taken.
    fn space(&self, engine: &Engine) -> Result<(u64, u64), TableError> {
        let floor = self.free_space_floor_bytes.load(Ordering::Relaxed);
        let free = self.directory.free_bytes();
        let free =
            free.map_err(|error| TableError::Unavailable(format!("free disk space: {error}")))?;
        Ok((free, floor.saturating_add(engine.owed_bytes())))
    }

    fn row(&self, key: &Key) -> Result<Option<Row>, TableError> {
        if let Some(known) = self.cache.get(key) {
            return Ok(known);
        }
        self.with_engine(|engine| match self.cache.look_up(key) {
            Lookup::Known(known) => Ok(known),
            Lookup::LoadOnly => engine.load(key),
            Lookup::Load(guard) => {
                let row = engine.load(key)?;
                guard.remember(row.clone());
                Ok(row)
            }
        })
    }
}

/// One service's table in a directory of its own.
pub struct Store {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store in `dir`, making it if there is none. Items expire by `clock`. Its files are
    /// put back as they were when it is dropped before anything was written or it was [settled];
    /// so a start that fails for another reason changes nothing here.
    ///
    /// [settled]: Self::settle
    pub fn open(
        dir: impl AsRef<Path>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let directory = Directory::open(dir, &TABLE, Some(options.format()))?;
        let keep = Keep::take(&directory);
        let cipher = options.cipher(dir);
        let (engine, position) = Engine::open(&directory, &options, &cipher)?;
        let name = name_of(dir);
        let shared = Arc::new(Shared {
            cache: RowCache::new(options.cache_bytes),
            free_space_floor_bytes: AtomicU64::new(options.free_space_floor_bytes),
            engine: RwLock::new(Some(engine)),
            failed: AtomicBool::new(false),
            keep: Mutex::new(keep),
            queue: Queue::default(),
            outbox: OnceLock::new(),
            tap: RwLock::default(),
            directory,
            options,
            cipher,
            clock,
            name,
        });
        let committer = Committer::new(Arc::clone(&shared), position);
        let thread = std::thread::Builder::new().name(format!("{}-commit", shared.name));
        let committer = thread.spawn(|| committer.run()).map_err(|source| OpenError::Io {
            dir: dir.to_owned(),
            what: "starting the committer's thread",
            source,
        })?;
        Ok(Self { shared, committer: Some(committer) })
    }

    /// Says that the whole start went well: what opening made of the files stays.
    pub fn settle(&self) {
        self.shared.settle();
    }

    /// The stream of committed outbox rows; there is one, so only the first call gets it. Rows that
    /// were committed before have to be swept.
    pub fn outbox(&self) -> Option<OutboxStream> {
        let (sender, stream) = outbox::stream(OUTBOX_ROWS_MAX);
        self.shared.outbox.set(sender).ok().map(|()| stream)
    }

    /// Everything as it is now, whole batches only, for audits and copies. It keeps old data on
    /// disk, and a failed engine closed, for as long as it lives.
    pub fn snapshot(&self) -> Result<StoreSnapshot, TableError> {
        let now = self.shared.clock.now();
        self.shared.with_engine(|engine| Ok(StoreSnapshot::new(engine, now)))
    }

    /// Whether a write would be taken now: somebody writes, the engine is open and well, and the
    /// disk has room.
    pub fn writable(&self) -> Result<(), TableError> {
        self.shared.queue.check(Instant::now())?;
        if self.shared.failed.load(Ordering::Relaxed) {
            return Err(failed());
        }
        self.shared.with_engine(|engine| self.shared.room(engine))
    }

    /// Sets the gauges `table_writable` (1 or 0) and `table_spare_disk_bytes`: how much may still
    /// be written before the floor is reached.
    pub fn record_metrics(&self) {
        let table = || self.shared.name.clone();
        let writable = if self.writable().is_ok() { 1.0 } else { 0.0 };
        metrics::gauge!("table_writable", "table" => table()).set(writable);
        if let Ok((free, needed)) = self.shared.with_engine(|engine| self.shared.space(engine)) {
            let spare = free.saturating_sub(needed) as f64;
            metrics::gauge!("table_spare_disk_bytes", "table" => table()).set(spare);
        }
    }

    /// Changes the free disk space, in bytes, below which writes are refused.
    pub fn set_free_space_floor_bytes(&self, bytes: u64) {
        self.shared.free_space_floor_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Hands a commit to the committer; gives where its outcome will be.
    fn queued(
        &self,
        writes: Vec<Write>,
        ticket: Option<Ticket>,
    ) -> Result<oneshot::Receiver<Result<(), TableError>>, TableError> {
        check::commit(&writes)?;
        let (answer, outcome) = oneshot::channel();
        self.shared.queue.commit(writes, ticket, answer)?;
        Ok(outcome)
    }

    /// Removes every expired item from the disk at once rather than bit by bit; returns how many.
    pub async fn sweep(&self) -> Result<usize, TableError> {
        let (answer, outcome) = oneshot::channel();
        self.shared.queue.sweep(answer)?;
        outcome.await.unwrap_or_else(|_| Err(queue::closed()))
    }
}

impl Source for Store {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn attach(&self, tap: Option<Arc<Tap>>) {
        *self.shared.tap.write().unwrap_or_else(PoisonError::into_inner) = tap;
    }

    fn rows(&self) -> Result<Rows, String> {
        self.shared.with_engine(Engine::rows).map_err(|error| error.to_string())
    }
}

/// The engine of the table in `dir`, for who fills it by another way than commits.
pub(crate) fn open_engine(
    dir: &Path,
    options: &Options,
) -> Result<(Directory, fjall::Database, fjall::Keyspace), OpenError> {
    let directory = Directory::open(dir, &TABLE, Some(options.format()))?;
    let (engine, _) = Engine::open(&directory, options, &options.cipher(dir))?;
    let (db, items) = engine.into_parts();
    Ok((directory, db, items))
}

/// Finishes what is waiting, then closes the directory.
impl Drop for Store {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(committer) = self.committer.take() {
            // It panicked or it did not; either way it is gone.
            let _ = committer.join();
        }
    }
}

#[async_trait]
impl Table for Store {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        check::get(keys)?;
        let now = self.shared.clock.now();
        let found = keys.iter().map(|key| {
            let row = self.shared.row(key)?.filter(|row| row.is_live(now));
            Ok(row.map(|row| row.into_item(key.clone())))
        });
        found.collect()
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        check::query(&query)?;
        let now = self.shared.clock.now();
        let walk = self.shared.with_engine(|engine| Ok(engine.walk(&query, now)))?;
        let mut found = Items::default();
        let mut bytes = 0;
        for pair in walk {
            let (key, row) = pair?;
            if found.items.len() == query.limit || bytes > QUERY_BYTES_MAX {
                found.next = found.items.last().map(|item: &Item| item.key.sort.clone());
                break;
            }
            bytes += key.len() + row.body.len();
            let key = codec::decode_key(&self.shared.cipher, &key)?;
            found.items.push(row.into_item(key));
        }
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        self.queued(writes, None)?.await.unwrap_or_else(|_| Err(queue::closed()))
    }

    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        let outcome = self.queued(writes, Some(ticket.clone()))?;
        outcome.await.unwrap_or_else(|_| Err(queue::closed()))
    }

    async fn scatter(&self, mut writes: Vec<Scatter>) -> Result<(), TableError> {
        check::scatter(&writes)?;
        let mut chunks = Vec::with_capacity(writes.len().div_ceil(CHUNK_ROWS_MAX));
        let mut outcomes = Vec::with_capacity(chunks.capacity());
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(CHUNK_ROWS_MAX));
            let (answer, outcome) = oneshot::channel();
            chunks.push((std::mem::replace(&mut writes, rest), answer));
            outcomes.push(outcome);
        }
        self.shared.queue.scatter(chunks)?;
        for outcome in outcomes {
            outcome.await.unwrap_or_else(|_| Err(queue::closed()))?;
        }
        Ok(())
    }
}
