//! Copies of a running server's databases, from which every moment can be had again.
//!
//! A **log** holds every batch of every database, as its committer wrote it; a **base** holds all
//! rows of all databases, each as of one batch. To restore a moment is to take the newest base from
//! before it, and of the log what follows until then. Why this cuts no cause from its effect is in
//! docs/adr/0016.
//!
//! ```text
//! DIR/{id of the data}/LOCK
//!                      MANIFEST           which files the log has, and how far each reaches
//!                      KEY                the locked data key, where the data is encrypted
//!                      log/{number}       chunks: the signing keys, batches
//!                      base/{number}/MANIFEST
//!                                    {part}     chunks: rows
//! ```
//!
//! Chunks (`chunk`) carry their hashes. Manifests (`catalog`) are replaced as a whole, and only
//! once what they tell of is on disk, so whatever they do not tell of does not count. Files of the
//! log that belong to one *run* follow each other without a gap; a gap (a kill before the last
//! batches were copied, a writer that could not keep up, a full disk) begins a new run, with a new
//! base.

mod base;
mod bucket;
mod catalog;
mod check;
mod chunk;
mod restore;
mod tap;
mod writer;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use fjall::{Keyspace, Readable};
use kernel::{Clock, Time};
use tokio::sync::oneshot;

use self::bucket::Shipper;
pub use self::bucket::{Bucket, Reader};
pub use self::catalog::{Catalog, Listing, Plan};
pub use self::restore::{Progress, admits, begin, finish, restore, scratch, unfinished};
pub(crate) use self::tap::{Row, Tap};
use self::writer::{Command, Writer};
use crate::bus::Bus;
use crate::encryption::{Encryption, EncryptionError};
use crate::table::Store;

/// How copies are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where; each data directory has a folder of its own there.
    pub dir: PathBuf,
    /// Where copies are kept in the end, where `dir` is only what they wait in.
    pub bucket: Option<Bucket>,
    /// Time between two moments at which all that was written is on the copies' disk.
    pub interval: Duration,
    /// Time between two bases: a restore reads so much of the log, at most.
    pub base_interval: Duration,
    /// How far back one can go, at least.
    pub retention: Duration,
    /// Batches of one database that may wait to be copied, in bytes.
    pub queue_bytes_max: usize,
    /// How much longer than it works the making of a base rests, to leave the machine to people.
    pub base_rests: u32,
    /// Free bytes of the copies' file system under which nothing more is written there.
    pub free_space_floor_bytes: u64,
    /// Whether the data is encrypted. Its copies are then as well, by the same key, since rows are
    /// copied as they are stored; the locked key is kept with them.
    pub encryption: Encryption,
}

impl Default for Options {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            dir: PathBuf::from("backup"),
            bucket: None,
            interval: Duration::from_mins(1),
            base_interval: 7 * DAY,
            retention: 35 * DAY,
            queue_bytes_max: 16 << 20,
            base_rests: 3,
            free_space_floor_bytes: 64 << 20,
            encryption: Encryption::default(),
        }
    }
}

/// Why copies cannot be written or read. The text is one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackupError {
    /// Another process writes there.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Something is missing, or is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no such moment, or no room for it, or more than one.
    #[error("{0}")]
    Refused(String),
    /// Their key is missing or another one, or they have none.
    #[error("{0}")]
    Encryption(String),
    /// The operating system or the storage engine refused.
    #[error("{}: {what}", path.display())]
    Failed {
        /// Where.
        path: PathBuf,
        /// The refusal.
        what: String,
    },
}

impl From<EncryptionError> for BackupError {
    fn from(error: EncryptionError) -> Self {
        Self::Encryption(error.to_string())
    }
}

impl BackupError {
    fn at(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// A file that has to be there cannot be read.
    fn file(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::at(path, "it is missing"),
            io::ErrorKind::UnexpectedEof => Self::at(path, "it ends too early"),
            _ => Self::failed(path, error),
        }
    }

    fn failed(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::Failed { path: path.to_owned(), what: error.to_string() }
    }
}

/// What a database is to its copies.
pub(crate) trait Source: Send + Sync {
    /// Its name, which its directory has too.
    fn name(&self) -> &str;

    /// Sends every batch through `tap` from now on, or through none.
    fn attach(&self, tap: Option<Arc<Tap>>);

    /// All rows as they are now.
    fn rows(&self) -> Result<Rows, String>;
}

/// All rows of a database at one moment, its own bookkeeping included.
pub(crate) struct Rows {
    snapshot: fjall::Snapshot,
    keyspace: Keyspace,
    position: u64,
}

impl Rows {
    pub(crate) fn new(
        db: &fjall::Database,
        keyspace: &Keyspace,
        position_key: &[u8],
    ) -> fjall::Result<Self> {
        let (snapshot, keyspace) = (db.snapshot(), keyspace.clone());
        let stored = snapshot.get(&keyspace, position_key)?;
        let bytes = stored.and_then(|bytes| bytes.first_chunk::<8>().copied());
        let position = bytes.map_or(0, u64::from_le_bytes);
        Ok(Self { snapshot, keyspace, position })
    }
}

/// Copies the databases of a running server until it is dropped, which copies what is left.
pub struct Backup {
    commands: mpsc::Sender<Command>,
    writer: Option<JoinHandle<()>>,
    /// Where copies go to a bucket. It ends after the writer.
    shipper: Option<Shipper>,
}

impl Backup {
    /// Goes on with the copies of the data named `id`, or begins them. The databases have to be
    /// open already, and `keys` is where the signing keys are.
    pub fn start(
        options: Options,
        id: &str,
        keys: &Path,
        stores: &[&Arc<Store>],
        bus: &Arc<Bus>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BackupError> {
        let (commands, receiver) = mpsc::channel();
        let mut sources: Vec<Arc<dyn Source>> =
            stores.iter().map(|store| Arc::clone(store) as _).collect();
        sources.push(Arc::clone(bus) as _);
        let dir = options.dir.clone();
        let moments = tap::Moments::new(clock);
        let shipper = options.bucket.clone();
        let shipper =
            shipper.map(|bucket| Shipper::start(bucket, &dir.join(id), id, &options.encryption));
        let shipper = shipper.transpose()?;
        let mut writer = Writer::open(options, id, keys, sources, moments, &commands, receiver)?;
        writer.shipped_by(shipper.as_ref().map(|shipper| Box::new(shipper.due()) as _));
        let thread = std::thread::Builder::new().name("backup".to_owned());
        let writer = thread.spawn(move || writer.run());
        let writer = Some(writer.map_err(|error| BackupError::failed(&dir, error))?);
        Ok(Self { commands, writer, shipper })
    }

    /// Copies everything that was written until now; with `base` all rows anew. Gives the moment
    /// up to which copies reach then.
    pub async fn copy(&self, base: bool) -> Result<Time, BackupError> {
        let (answer, outcome) = oneshot::channel();
        let ended = |_| BackupError::Refused("the writer of backups has ended".to_owned());
        self.commands.send(Command::Copy { base, answer }).map_err(|_| ended(()))?;
        let until = outcome.await.map_err(|_| ended(()))??;
        if let Some(shipper) = &self.shipper {
            shipper.reached(until, base).await?;
        }
        Ok(until)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of backups panicked");
        }
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The files of `dir` by their names; none where there is no `dir`.
fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| BackupError::failed(dir, error))?,
    };
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<_>> = entries.map(name).collect();
    names.map_err(|error| BackupError::failed(dir, error))
}
