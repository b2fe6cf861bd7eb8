//! What the queues keep on disk, and how: one engine, one keyspace.
//!
//! | key                     | holds                                                        |
//! |-------------------------|--------------------------------------------------------------|
//! | `m` queue NUL position  | a message and when it was first queued                       |
//! | `t` queue NUL position  | its tries, where it failed or was in hand at a crash         |
//! | `d` queue NUL position  | a dead letter                                                |
//! | `q` queue               | the queue's [`Tally`], written with every change of the queue |
//! | `p`                     | the number of the last batch                                 |
//!
//! Where the bus is encrypted, every value but the number of the last batch is sealed by its
//! [`Cipher`]; keys, which hold queues' names and numbers, are as they are.
//!
//! Positions are big-endian and never given twice in a queue, so a queue is read in order from its
//! head, and the head's place is kept: nobody ever walks over the deletions before it.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, Slice};
use kernel::Time;
use kernel::bus::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Options;
use crate::backup::Rows;
use crate::directory::{Directory, OpenError};
use crate::encryption::Cipher;
use crate::{opening, pace};

/// Where the number of the last batch is kept.
pub(super) const POSITION_KEY: &[u8] = b"p";
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const MEMTABLE_BYTES_MAX: u64 = 8 << 20;
const FILES_OPEN_MAX: usize = 64;
/// Stands for a sealed row that cannot be opened.
const NOT_WRITTEN: &[u8] = b"a sealed row that is not what was written";

/// Which kind of row a key leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Message,
    Tries,
    Dead,
}

impl Kind {
    const fn tag(self) -> u8 {
        match self {
            Self::Message => b'm',
            Self::Tries => b't',
            Self::Dead => b'd',
        }
    }
}

/// A queue's numbers, exact because each batch that changes the queue writes them too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// No message is below this position.
    pub head: u64,
    /// The next position to give.
    pub next: u64,
    /// Messages in the queue.
    pub live: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A message as it lies in the queue.
#[derive(Serialize)]
struct RowOut<'a> {
    queued: i64,
    message: &'a Message,
}

/// A message as it comes back; its text is read only where it is needed.
#[derive(Deserialize)]
pub(super) struct RowIn<'a> {
    queued: i64,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// What is known of a message that was received before and is not done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tries {
    /// Receives that count, so far.
    pub receives: u32,
    /// It was in hand when the process ended, so it may be what ended it: it is handled alone.
    #[serde(default)]
    pub alone: bool,
    /// Why the last one failed.
    #[serde(default)]
    pub reason: String,
}

/// A dead letter as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct DeadRow {
    pub queued: i64,
    pub died: i64,
    pub receives: u32,
    pub reason: String,
    pub message: Box<RawValue>,
}

/// A message row read back.
pub(super) struct Stored {
    pub pos: u64,
    pub bytes: usize,
    pub queued: Time,
    /// The message, or why it cannot be read.
    pub message: Result<Message, String>,
    pub tries: Tries,
}

/// The engine's handles.
pub(super) struct Store {
    pub db: Database,
    pub rows: Keyspace,
    pub cipher: Cipher,
}

/// The key of a row.
pub(super) fn key(kind: Kind, queue: &str, pos: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(queue.len() + 10);
    key.push(kind.tag());
    key.extend_from_slice(queue.as_bytes());
    key.push(0);
    key.extend_from_slice(&pos.to_be_bytes());
    key
}

/// The key of a queue's tally.
pub(super) fn tally_key(queue: &str) -> Vec<u8> {
    [b"q", queue.as_bytes()].concat()
}

/// The operating system's refusal at `dir`.
pub(super) fn refused(dir: &Path, what: &'static str, source: std::io::Error) -> OpenError {
    OpenError::Io { dir: dir.to_owned(), what, source }
}

/// Content of `dir` that cannot be understood.
pub(super) fn damaged(dir: &Path, what: String) -> OpenError {
    OpenError::Damaged { dir: dir.to_owned(), what }
}

/// A value as it is stored under `key` by batch `position`.
pub(super) fn sealed(cipher: &Cipher, position: u64, key: &[u8], value: Slice) -> Slice {
    if !cipher.is_on() {
        return value;
    }
    cipher.seal(position, key, value.to_vec()).into()
}

/// The value again. One that was not written so is as good as one that is no JSON: a message goes
/// to the dead letters, and its neighbours on.
fn opened(cipher: &Cipher, key: &[u8], value: Slice) -> Slice {
    if !cipher.is_on() {
        return value;
    }
    cipher.open(key, &value).map_or_else(|| NOT_WRITTEN.into(), |value| Slice::from(&*value))
}

fn pos_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// A message's bytes as a row, shared by all queues that get it.
pub(super) fn row(message: &Message, queued: Time) -> Slice {
    json(&RowOut { queued: queued.millis(), message })
}

/// A stored type's bytes; such types cannot fail to be written.
pub(super) fn json(value: &impl Serialize) -> Slice {
    Slice::from(serde_json::to_vec(value).expect("stored types serialise"))
}

/// The row of a dead letter made from a message's row, however little of it can be read.
pub(super) fn dead_row(row: &[u8], died: Time, receives: u32, reason: &str) -> DeadRow {
    let reason = reason.to_owned();
    let died = died.millis();
    match serde_json::from_slice::<RowIn<'_>>(row) {
        Ok(RowIn { queued, message }) => {
            DeadRow { queued, died, receives, reason, message: message.to_owned() }
        }
        Err(_) => {
            let text = serde_json::value::to_raw_value(&String::from_utf8_lossy(row));
            let message = text.unwrap_or_else(|_| RawValue::NULL.to_owned());
            DeadRow { queued: died, died, receives, reason, message }
        }
    }
}

fn read_row(row: &[u8]) -> (Time, Result<Message, String>) {
    match serde_json::from_slice::<RowIn<'_>>(row) {
        Ok(RowIn { queued, message }) => {
            let message = serde_json::from_str(message.get()).map_err(|error| error.to_string());
            (Time::from_millis(queued), message)
        }
        // Of unknown age, so not too old: it is for the operator to look at.
        Err(error) => (Time::from_millis(i64::MAX), Err(error.to_string())),
    }
}

impl Store {
    /// Opens or makes the engine in `directory`; also gives the number of its last batch.
    pub(super) fn open(directory: &Directory, options: &Options) -> Result<(Self, u64), OpenError> {
        opening::open(directory, |path| Self::start(path, options), Self::position)
    }

    fn start(path: &Path, options: &Options) -> fjall::Result<Self> {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            .worker_threads(1)
            .max_cached_files(Some(FILES_OPEN_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .open()?;
        let create = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES_MAX)
                .compaction_strategy(pace::strategy())
        };
        let rows = db.keyspace("queues", create)?;
        Ok(Self { db, rows, cipher: options.cipher() })
    }

    /// The number of the last batch.
    pub(super) fn position(&self) -> fjall::Result<u64> {
        let stored = self.rows.get(POSITION_KEY)?;
        let bytes = stored.and_then(|bytes| bytes.first_chunk::<8>().copied());
        Ok(bytes.map_or(0, u64::from_le_bytes))
    }

    /// All rows, as they are now.
    pub(super) fn all_rows(&self) -> fjall::Result<Rows> {
        Rows::new(&self.db, &self.rows, POSITION_KEY)
    }

    fn get_raw(&self, key: &[u8]) -> Result<Option<Slice>, String> {
        let found = self.rows.get(key).map_err(|error| error.to_string())?;
        Ok(found.map(|value| opened(&self.cipher, key, value)))
    }

    fn get_json<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, String> {
        let found = self.get_raw(key)?;
        found.map(|value| serde_json::from_slice(&value).map_err(|e| e.to_string())).transpose()
    }

    /// Bytes that the file system has to spare: free, without what the engine may still write.
    pub(super) fn spare_bytes(&self, directory: &Directory) -> std::io::Result<u64> {
        Ok(directory.free_bytes()?.saturating_sub(pace::owed_bytes(&self.db, &self.rows)))
    }

    /// A queue's tally; zeros for a new queue.
    pub(super) fn tally(&self, queue: &str) -> Result<Tally, String> {
        Ok(self.get_json(&tally_key(queue))?.unwrap_or_default())
    }

    /// A message's failed tries.
    pub(super) fn tries(&self, queue: &str, pos: u64) -> Result<Option<Tries>, String> {
        self.get_json(&key(Kind::Tries, queue, pos))
    }

    /// A row's bytes.
    pub(super) fn get(&self, kind: Kind, queue: &str, pos: u64) -> Result<Option<Slice>, String> {
        self.get_raw(&key(kind, queue, pos))
    }

    /// A message, or why it cannot be read; none where it is gone.
    pub(super) fn message(
        &self,
        queue: &str,
        pos: u64,
    ) -> Result<Option<Result<Message, String>>, String> {
        Ok(self.get(Kind::Message, queue, pos)?.map(|row| read_row(&row).1))
    }

    /// Up to `limit` messages or a little more than `bytes_max` bytes of positions `from..to`.
    pub(super) fn messages(
        &self,
        queue: &str,
        (from, to): (u64, u64),
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Stored>, String> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for (pos, value) in self.walk(Kind::Message, queue, (from, to)).take(limit) {
            let value = value?;
            let (queued, message) = read_row(&value);
            let tries = Tries::default();
            found.push(Stored { pos, bytes: value.len(), queued, message, tries });
            bytes += value.len();
            if bytes >= bytes_max {
                break;
            }
        }
        let Some(end) = found.last().map(|last| last.pos + 1) else { return Ok(found) };
        for (pos, value) in self.walk(Kind::Tries, queue, (from, end)) {
            if let Ok(index) = found.binary_search_by_key(&pos, |stored| stored.pos) {
                found[index].tries = serde_json::from_slice(&value?).map_err(|e| e.to_string())?;
            }
        }
        Ok(found)
    }

    /// The rows of a queue at positions `from..to`, ascending.
    pub(super) fn walk(
        &self,
        kind: Kind,
        queue: &str,
        (from, to): (u64, u64),
    ) -> impl Iterator<Item = (u64, Result<Slice, String>)> + use<> {
        let range = key(kind, queue, from)..key(kind, queue, to);
        let cipher = self.cipher.clone();
        self.rows.range(range).map(move |guard| match guard.into_inner() {
            Ok((key, value)) => (pos_of(&key), Ok(opened(&cipher, &key, value))),
            Err(error) => (0, Err(error.to_string())),
        })
    }
}
