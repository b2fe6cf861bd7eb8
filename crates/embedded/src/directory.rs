//! The directory of a table or of the bus: who holds it, which format it has, and how far its data
//! reaches.
//!
//! - `LOCK` is held for as long as it is open.
//! - `FORMAT` names the format of everything else: 1, or 2 where it is encrypted.
//! - `POSITION` holds the number of the last durable batch. It is written after each such batch and
//!   not synced, so after a crash it may lag behind the data; data that lags behind it is damaged.
//! - `DOUBT` is there after the engine failed, until its journals were written again.
//! - The storage engine has a directory of its own in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::keep;

/// The newest format that this version knows.
const FORMAT: u32 = 2;

/// The formats that a directory may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// What is there is readable.
    Plain = 1,
    /// It is encrypted.
    Encrypted = 2,
}

impl Format {
    pub(crate) const fn of(is_encrypted: bool) -> Self {
        if is_encrypted { Self::Encrypted } else { Self::Plain }
    }
}

/// What a directory is for.
pub(crate) struct Kind {
    /// What its FORMAT file says before the number.
    words: &'static str,
    /// The name of the engine's directory.
    engine: &'static str,
}

/// A service's table.
pub(crate) const TABLE: Kind = Kind { words: "mini-sns table ", engine: "engine" };
/// The queues of the bus.
pub(crate) const BUS: Kind = Kind { words: "mini-sns bus ", engine: "queues" };

const DOUBT: &str = "DOUBT";
/// The file that the engine writes last when it makes a database, and what it begins with; one
/// byte for the version follows. It is synced before anything else is written.
const ENGINE_MARKER: &str = "version";
const ENGINE_MARKER_START: &[u8] = b"FJL";
/// The engine's list of keyspaces, and our one keyspace.
const ENGINE_DIRECTORIES: usize = 2;

/// Why a store cannot be opened. The data is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store in this one) holds the directory.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
    },
    /// Something is missing or cannot be read.
    #[error("{} is damaged: {what}", dir.display())]
    Damaged {
        /// Which directory.
        dir: PathBuf,
        /// What is wrong, in one line.
        what: String,
    },
    /// A newer version of this program wrote it.
    #[error("{} has format {found}; this version reads formats up to {known}", dir.display())]
    Newer {
        /// Which directory.
        dir: PathBuf,
        /// The format there.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// It is encrypted, and no key was given.
    #[error("{} is encrypted, and no key is given", dir.display())]
    Encrypted {
        /// Which directory.
        dir: PathBuf,
    },
    /// It is not encrypted, and a key was given.
    #[error("{} is not encrypted, and a key is given", dir.display())]
    NotEncrypted {
        /// Which directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("{} cannot be opened: {what}: {source}", dir.display())]
    Io {
        /// Which directory.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The refusal.
        source: io::Error,
    },
}

/// A locked directory of a known format.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// The last batch that was answered, as far as is known.
    pub(crate) position: Position,
    engine: PathBuf,
    doubted: AtomicBool,
    _lock: File,
}

/// The number of the last durable batch, in a file of its own.
pub(crate) struct Position(File);

impl Directory {
    /// Takes the directory, making it if it is not there, where it has the format `wanted`; any
    /// will do where that is none. Of one that is refused, nothing is changed.
    pub(crate) fn open(
        path: &Path,
        kind: &Kind,
        wanted: Option<Format>,
    ) -> Result<Self, OpenError> {
        let failed = |what| move |source| OpenError::Io { dir: path.to_owned(), what, source };
        std::fs::create_dir_all(path).map_err(failed("creating the directory"))?;
        let format = read_format(path, kind)?;
        match (format, wanted) {
            (Some(Format::Encrypted), Some(Format::Plain)) => {
                return Err(OpenError::Encrypted { dir: path.to_owned() });
            }
            (Some(Format::Plain), Some(Format::Encrypted)) => {
                return Err(OpenError::NotEncrypted { dir: path.to_owned() });
            }
            _ => {}
        }
        let lock = lock(path)?;
        let engine = path.join(kind.engine);
        keep::settle_leftovers(&engine).map_err(failed("putting back the engine's files"))?;
        let engine_made = is_made(&engine).map_err(failed("reading the engine's version"))?;
        if format.is_none() && engine_made {
            return Err(damaged(path, "its FORMAT file is missing"));
        }
        let position_path = path.join("POSITION");
        // An empty one was left by a first start that was cut short.
        let position_made = std::fs::metadata(&position_path).is_ok_and(|file| file.len() > 0);
        if engine_made && !position_made {
            return Err(damaged(path, "its POSITION file is missing or empty"));
        }
        let position = Position::open(&position_path).map_err(failed("opening POSITION"))?;
        if !position_made {
            position
                .write(0)
                .and_then(|()| position.0.sync_all())
                .map_err(failed("writing POSITION"))?;
            sync_dir(path).map_err(failed("syncing the directory"))?;
        }
        let doubted = AtomicBool::new(path.join(DOUBT).exists());
        let this = Self { path: path.to_owned(), position, engine, doubted, _lock: lock };
        if this.last_position()? > 0 && !engine_made {
            return Err(damaged(path, "its engine directory is missing or incomplete"));
        }
        if format.is_none() {
            let format = wanted.unwrap_or(Format::Plain);
            write_format(path, kind, format).map_err(failed("writing FORMAT"))?;
        }
        if !engine_made {
            this.clear_unfinished()?;
        }
        Ok(this)
    }

    /// Checks that the engine's own directories are there. It deletes what it cannot relate to the
    /// rest, so it must not see a half of itself.
    pub(crate) fn check_whole(&self) -> Result<(), OpenError> {
        if self.last_position()? == 0 {
            return Ok(());
        }
        let failed = |source| {
            let what = "listing the engine's directories";
            OpenError::Io { dir: self.path.clone(), what, source }
        };
        let keyspaces = self.engine().join("keyspaces");
        let mut whole = 0;
        if exists(&keyspaces)? {
            for entry in std::fs::read_dir(&keyspaces).map_err(failed)? {
                whole += usize::from(exists(&entry.map_err(failed)?.path().join("current"))?);
            }
        }
        if whole < ENGINE_DIRECTORIES {
            return Err(damaged(&self.path, "a part of its engine directory is missing"));
        }
        Ok(())
    }

    /// Where the engine lives.
    pub(crate) fn engine(&self) -> &Path {
        &self.engine
    }

    /// Says that the engine failed. After a sync that failed, files read as if it had not, so what
    /// the journals hold may not be on disk, until [they are written again](Self::trust).
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        // For the next process. Not synced: what it tells of goes with the page cache, as it does.
        if let Err(error) = File::create(self.path.join(DOUBT)) {
            tracing::error!(%error, path = %self.path.display(), "DOUBT was not written");
        }
    }

    /// Makes sure that the journals are on disk as they read, where that was doubted.
    pub(crate) fn trust(&self) -> io::Result<()> {
        if !self.doubted.load(Ordering::Relaxed) {
            return Ok(());
        }
        keep::write_journals_again(self.engine())?;
        match std::fs::remove_file(self.path.join(DOUBT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.doubted.store(false, Ordering::Relaxed),
        }
        Ok(())
    }

    /// The last batch known to be durable.
    pub(crate) fn last_position(&self) -> Result<u64, OpenError> {
        let read = self.position.read().map_err(|source| OpenError::Io {
            dir: self.path.clone(),
            what: "reading POSITION",
            source,
        })?;
        read.ok_or_else(|| damaged(&self.path, "its POSITION file cannot be read"))
    }

    /// Removes what a first start left that was cut short; nothing was ever answered from it.
    fn clear_unfinished(&self) -> Result<(), OpenError> {
        match std::fs::remove_dir_all(self.engine()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let what = "clearing an unfinished start";
                Err(OpenError::Io { dir: self.path.clone(), what, source })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that the file system still has for this program.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Position {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).open(path).map(Self)
    }

    /// Both halves lie in one sector, so a crash leaves the old number or the new one.
    pub(crate) fn write(&self, position: u64) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..].copy_from_slice(&(!position).to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    fn read(&self) -> io::Result<Option<u64>> {
        let mut bytes = Vec::with_capacity(17);
        let mut file = &self.0;
        io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
        file.take(17).read_to_end(&mut bytes)?;
        let Some((number, check)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
        let number = u64::from_le_bytes(*number);
        Ok((check == (!number).to_le_bytes()).then_some(number))
    }
}

/// Whether something was ever answered from the store in `dir`, going by its POSITION file; one
/// that makes no sense may have held any number.
pub fn was_written(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join("POSITION")) else { return false };
    let is_empty = file.metadata().is_ok_and(|file| file.len() == 0);
    !is_empty && !matches!(Position(file).read(), Ok(Some(0)))
}

/// Looks whether another process holds the store in `dir`.
pub fn check_unused(dir: &Path) -> Result<(), OpenError> {
    lock(dir).map(drop)
}

pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
    OpenError::Damaged { dir: path.to_owned(), what: what.into() }
}

/// Whether the engine's first start came to its end. A marker that was begun is none yet: the
/// engine writes it piece by piece.
fn is_made(engine: &Path) -> io::Result<bool> {
    match std::fs::read(engine.join(ENGINE_MARKER)) {
        Ok(marker) => {
            Ok(marker.starts_with(ENGINE_MARKER_START) && marker.len() > ENGINE_MARKER_START.len())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    let dir = || path.parent().unwrap_or(path).to_owned();
    path.try_exists().map_err(|source| OpenError::Io { dir: dir(), what: "looking", source })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { dir: path.to_owned(), what: "opening LOCK", source };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(path.join("LOCK")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read_format(path: &Path, kind: &Kind) -> Result<Option<Format>, OpenError> {
    let text = match std::fs::read_to_string(path.join("FORMAT")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(source) => {
            return Err(OpenError::Io { dir: path.to_owned(), what: "reading FORMAT", source });
        }
    };
    let number = text.strip_prefix(kind.words).and_then(|rest| rest.trim_end().parse().ok());
    match number {
        Some(found) if found > FORMAT => {
            Err(OpenError::Newer { dir: path.to_owned(), found, known: FORMAT })
        }
        Some(1) => Ok(Some(Format::Plain)),
        Some(2) => Ok(Some(Format::Encrypted)),
        _ => Err(damaged(path, "its FORMAT file cannot be read")),
    }
}

fn write_format(path: &Path, kind: &Kind, format: Format) -> io::Result<()> {
    let (words, format) = (kind.words, format as u32);
    let unfinished = path.join("FORMAT.new");
    std::fs::write(&unfinished, format!("{words}{format}\n"))?;
    File::open(&unfinished)?.sync_all()?;
    std::fs::rename(&unfinished, path.join("FORMAT"))?;
    sync_dir(path)
}

/// A new file that only its owner can read: passwords' hashes and keys are in it.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
