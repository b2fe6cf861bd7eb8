//! A data directory as it was at one moment, made from a base and what the log tells after it.
//!
//! Each database is restored by itself, by a thread of its own, and notes now and then in `RESTORE`
//! how far it is, so that a restore that was broken off goes on where it was. While there is a
//! `RESTORE`, the directory is not to be served.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, PersistMode, Slice};
use kernel::Time;
use serde::{Deserialize, Serialize};

use super::catalog::{LogFile, Plan, log_path, seal, unseal};
use super::chunk::{ChunkReader, Content, Kind};
use super::tap::{Batch, Row};
use super::{BackupError, names, private_dir};
use crate::directory::{Directory, OpenError, private_file, sync_dir};
use crate::encryption::{Encryption, OperatorKeys};
use crate::{bus, pace, table};

const RESTORE: &str = "RESTORE";
const PLAN: &str = "PLAN";
const COPIES: &str = "copies";
const KEYS: &str = "keys";
const BUS: &str = "bus";
const BATCH_ROWS_MAX: usize = 1000;

/// How much is done, in bytes of the copies.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
}

impl Progress {
    /// Bytes that are done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Plan {
    /// How the copies are encrypted, as far as the operator's keys open them.
    pub fn encryption(&self, operator: Option<&OperatorKeys>) -> Result<Encryption, BackupError> {
        Ok(Encryption::open(&self.copies, operator)?)
    }

    /// Bytes to read: the base, and the log once for each database.
    pub fn bytes(&self) -> u64 {
        let log: u64 = self.files.iter().map(|file| file.bytes).sum();
        self.base.bytes() + log * self.base.parts.len() as u64
    }

    /// Bytes of the files that are read.
    pub fn size(&self) -> u64 {
        self.copied().iter().map(|file| file.bytes).sum()
    }

    fn base_path(&self, part: usize) -> PathBuf {
        self.base.dir(&self.copies).join(&self.base.parts[part].name)
    }

    /// The signing keys in a chunk, where they were copied by the moment.
    pub(super) fn keys<'a>(
        &self,
        content: &'a [u8],
        path: &Path,
    ) -> Result<Option<&'a [u8]>, BackupError> {
        let (at, rows) = content.split_first_chunk::<8>().ok_or_else(|| other(path))?;
        Ok((i64::from_le_bytes(*at) <= self.at.millis()).then_some(rows))
    }

    pub(super) fn no_keys(&self) -> BackupError {
        BackupError::at(&self.copies, "its log holds no signing keys")
    }

    /// Gives the rows of each batch to `take` that comes next after `position`. Says whether later
    /// ones may be wanted too.
    pub(super) fn follow(
        &self,
        part: usize,
        position: &mut u64,
        content: &[u8],
        path: &Path,
        mut take: impl FnMut(Vec<Row>) -> Result<(), BackupError>,
    ) -> Result<bool, BackupError> {
        let mut left = Content(content);
        while !left.is_empty() {
            let Batch { position: next, at, rows } = left.batch().ok_or_else(|| other(path))?;
            if at > self.at {
                return Ok(false);
            }
            if next <= *position {
                continue;
            }
            if next != *position + 1 {
                return Err(self.gap(part, *position + 1));
            }
            *position = next;
            take(rows)?;
        }
        Ok(true)
    }

    /// Looks whether the log ends where its manifest says, of which every batch is wanted.
    pub(super) fn ended(&self, part: usize, position: u64) -> Result<(), BackupError> {
        match self.files.last().map(|file| file.positions[part]) {
            // Less than the base has is told while the base is still being taken.
            Some(wanted) if wanted > position => Err(self.gap(part, position + 1)),
            _ => Ok(()),
        }
    }

    fn gap(&self, part: usize, position: u64) -> BackupError {
        let name = &self.base.parts[part].name;
        let what = format!("its log does not hold batch {position} of {name}");
        BackupError::at(&self.copies, what)
    }
}

/// What a restore is about, for whoever goes on with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Purpose {
    format: u32,
    data: String,
    base: u64,
    at: Time,
}

impl Purpose {
    fn of(plan: &Plan) -> Self {
        Self { format: 1, data: plan.data.clone(), base: plan.base.number, at: plan.at }
    }
}

/// How far the restore of one database is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Reached {
    format: u32,
    /// Bytes of the base that are in.
    base_bytes: u64,
    /// Where in the log it goes on: a file and a place in it.
    log: (u64, u64),
    /// The last batch that is in.
    position: u64,
    done: bool,
}

/// Which data and moment an unfinished restore in `to` is of, where there is one.
pub fn unfinished(to: &Path) -> Result<Option<(String, Time)>, BackupError> {
    let path = to.join(RESTORE).join(PLAN);
    if !path.exists() {
        return Ok(None);
    }
    let Purpose { data, at, .. } = unseal(&path)?;
    Ok(Some((data, at)))
}

/// Says that everything else in `to` is in its place too, so that it may be served.
pub fn finish(to: &Path) -> Result<(), BackupError> {
    let dir = to.join(RESTORE);
    // What says that it is unfinished goes last, and at once.
    let gone = dir.with_extension("gone");
    let removed = fs::rename(&dir, &gone).and_then(|()| fs::remove_dir_all(&gone));
    removed.and_then(|()| sync_dir(to)).map_err(|error| BackupError::failed(&dir, error))
}

/// Restores into `to`, which is empty, absent, or left by the same restore. Rows are written as
/// they were copied, so the options name the plan's own encryption.
pub fn restore(
    plan: &Plan,
    to: &Path,
    options: &table::Options,
    progress: &Progress,
) -> Result<(), BackupError> {
    begin(plan, to)?;
    options.encryption.keep(to)?;
    keys(plan, &to.join(KEYS))?;
    let part = |index| Part::open(plan, index, to, options, progress)?.restore();
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            (0..plan.base.parts.len()).map(|index| scope.spawn(move || part(index))).collect();
        let ended =
            parts.into_iter().map(|part| part.join().unwrap_or_else(|it| resume_unwind(it)));
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// What is refused of a file whose chunks are whole.
pub(super) fn other(path: &Path) -> BackupError {
    BackupError::at(path, "it is not the one that its manifest tells of")
}

/// Where what is brought from elsewhere lies while a restore into `to` reads it. Nothing may be in
/// `to` but what the same left.
pub fn scratch(to: &Path) -> Result<PathBuf, BackupError> {
    if unfinished(to)?.is_none() {
        empty(to)?;
    }
    Ok(to.join(RESTORE).join(COPIES))
}

fn empty(to: &Path) -> Result<(), BackupError> {
    // Not even a plan was noted where that is all there is.
    if names(to)?.iter().any(|name| name != RESTORE) {
        return Err(BackupError::Refused(format!("{} is not empty", to.display())));
    }
    Ok(())
}

/// Looks whether the plan may be restored into `to`, and says whether that was begun already.
pub fn admits(plan: &Plan, to: &Path) -> Result<bool, BackupError> {
    let path = to.join(RESTORE).join(PLAN);
    if !path.exists() {
        return empty(to).map(|()| false);
    }
    let before: Purpose = unseal(&path)?;
    if before == Purpose::of(plan) {
        return Ok(true);
    }
    let what = format!(
        "{} holds an unfinished restore of {} from other copies: finish or remove it",
        to.display(),
        before.at
    );
    Err(BackupError::Refused(what))
}

/// Notes in `to` what is restored there: from now on nobody else uses it.
pub fn begin(plan: &Plan, to: &Path) -> Result<(), BackupError> {
    if admits(plan, to)? {
        return Ok(());
    }
    let failed = |error| BackupError::failed(to, error);
    let dir = to.join(RESTORE);
    fs::create_dir_all(to).and_then(|()| private_dir(&dir)).map_err(failed)?;
    seal(&dir.join(PLAN), &Purpose::of(plan)).and_then(|()| sync_dir(to)).map_err(failed)
}

/// The signing keys, as they were.
fn keys(plan: &Plan, to: &Path) -> Result<(), BackupError> {
    let mut found: Option<Vec<u8>> = None;
    for LogFile { number, bytes, .. } in &plan.files {
        let path = log_path(&plan.copies, *number);
        let mut chunks = ChunkReader::open(&path, *bytes)?;
        while let Some(head) = chunks.next()? {
            if head.kind != Kind::Keys {
                chunks.skip(&head)?;
                continue;
            }
            let content = chunks.read(&head)?;
            if let Some(rows) = plan.keys(&content, &path)? {
                found = Some(rows.to_owned());
            }
        }
    }
    let missing = || plan.no_keys();
    let found = found.ok_or_else(missing)?;
    let failed = |error| BackupError::failed(to, error);
    private_dir(to).map_err(failed)?;
    let mut rows = Content(&found);
    while !rows.is_empty() {
        let row = rows.row().ok_or_else(missing)?;
        let (name, bytes) = (String::from_utf8_lossy(&row.0), row.1.unwrap_or_default());
        let path = to.join(Path::new(name.as_ref()).file_name().ok_or_else(missing)?);
        let written = private_file(&path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(failed)?;
    }
    sync_dir(to).map_err(failed)
}

/// One database on its way.
struct Part<'a> {
    plan: &'a Plan,
    index: usize,
    directory: Directory,
    db: Database,
    rows: Keyspace,
    reached: Reached,
    noted: PathBuf,
    /// Rows of batches that are not written yet; of each key the last.
    waiting: HashMap<Slice, Option<Slice>>,
    /// Bytes since it was noted how far it is.
    bytes: usize,
    /// Bytes of the copies that are done.
    told: u64,
    progress: &'a Progress,
}

impl<'a> Part<'a> {
    fn open(
        plan: &'a Plan,
        index: usize,
        to: &Path,
        options: &table::Options,
        progress: &'a Progress,
    ) -> Result<Self, BackupError> {
        let name = &plan.base.parts[index].name;
        let dir = to.join(name);
        let opened = match name.as_str() {
            BUS => bus::open_engine(&dir, &options.encryption),
            _ => table::open_engine(&dir, options),
        };
        let refused = |error: OpenError| BackupError::Refused(error.to_string());
        let (directory, db, rows) = opened.map_err(refused)?;
        let noted = to.join(RESTORE).join(name);
        let reached = if noted.exists() { unseal(&noted)? } else { Reached::default() };
        Ok(Self {
            plan,
            index,
            directory,
            db,
            rows,
            reached,
            noted,
            waiting: HashMap::new(),
            bytes: 0,
            told: 0,
            progress,
        })
    }

    fn failed(&self, error: impl std::fmt::Display) -> BackupError {
        BackupError::failed(&self.directory.path, error)
    }

    fn note(&mut self) -> Result<(), BackupError> {
        self.reached.format = 1;
        self.bytes = 0;
        seal(&self.noted, &self.reached).map_err(|error| self.failed(error))
    }

    /// The copies of this part are read up to `at` in its base, or in the log behind it.
    fn tell(&mut self, at: u64) {
        self.progress.add(at.saturating_sub(self.told));
        self.told = self.told.max(at);
    }

    fn restore(mut self) -> Result<(), BackupError> {
        if !self.reached.done {
            self.base()?;
            self.log()?;
            self.write()?;
            self.persist()?;
            let position = self.reached.position;
            self.directory.position.write(position).map_err(|error| self.failed(error))?;
            sync_dir(&self.directory.path).map_err(|error| self.failed(error))?;
            self.reached.done = true;
            self.note()?;
        }
        let log: u64 = self.plan.files.iter().map(|file| file.bytes).sum();
        self.tell(self.plan.base.parts[self.index].bytes + log);
        Ok(())
    }

    /// The rows of the base come in the order of their keys, so the engine takes them as tables.
    fn base(&mut self) -> Result<(), BackupError> {
        let (plan, part) = (self.plan, &self.plan.base.parts[self.index]);
        let path = plan.base_path(self.index);
        let mut chunks = ChunkReader::open(&path, part.bytes)?;
        let rows = self.rows.clone();
        let mut tables = rows.start_ingestion().map_err(|error| self.failed(error))?;
        while let Some(head) = chunks.next()? {
            if chunks.at < self.reached.base_bytes {
                chunks.skip(&head)?;
                continue;
            }
            let content = chunks.read(&head)?;
            self.tell(chunks.at);
            let mut left = Content(&content);
            while !left.is_empty() {
                let (key, value) = left.row().ok_or_else(|| other(&path))?;
                let value = value.ok_or_else(|| other(&path))?;
                tables.write(key, value).map_err(|error| self.failed(error))?;
            }
            self.bytes += content.len();
            if self.bytes >= self.plan.noted_bytes {
                tables.finish().map_err(|error| self.failed(error))?;
                self.reached.base_bytes = chunks.at;
                self.note()?;
                pace::keep(&self.db, &self.rows).map_err(|error| self.failed(error))?;
                tables = rows.start_ingestion().map_err(|error| self.failed(error))?;
            }
        }
        if chunks.digest() != part.digest {
            return Err(other(&path));
        }
        tables.finish().map_err(|error| self.failed(error))?;
        self.reached.base_bytes = part.bytes;
        self.reached.position = self.reached.position.max(part.position);
        self.note()
    }

    fn log(&mut self) -> Result<(), BackupError> {
        let plan = self.plan;
        let mut before = plan.base.parts[self.index].bytes;
        for file in &plan.files {
            let start = before;
            before += file.bytes;
            if file.number < self.reached.log.0 {
                continue;
            }
            let path = log_path(&plan.copies, file.number);
            let mut chunks = ChunkReader::open(&path, file.bytes)?;
            if file.number == self.reached.log.0 {
                chunks.go_to(self.reached.log.1)?;
            }
            while let Some(head) = chunks.next()? {
                if head.kind != Kind::Batches || usize::from(head.part) != self.index {
                    chunks.skip(&head)?;
                    continue;
                }
                let content = chunks.read(&head)?;
                self.tell(start + chunks.at);
                if !self.batches(&content, &path)? {
                    return Ok(());
                }
                if self.bytes >= self.plan.noted_bytes {
                    self.write()?;
                    self.persist()?;
                    self.reached.log = (file.number, chunks.at);
                    self.note()?;
                }
            }
        }
        plan.ended(self.index, self.reached.position)
    }

    /// Says whether later ones may be wanted too.
    fn batches(&mut self, content: &[u8], path: &Path) -> Result<bool, BackupError> {
        let mut position = self.reached.position;
        let more = self.plan.follow(self.index, &mut position, content, path, |rows| {
            for (key, value) in rows {
                self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
                self.waiting.insert(key, value);
            }
            if self.waiting.len() >= BATCH_ROWS_MAX { self.write() } else { Ok(()) }
        });
        self.reached.position = position;
        more
    }

    fn write(&mut self) -> Result<(), BackupError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        pace::keep(&self.db, &self.rows).map_err(|error| self.failed(error))?;
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        for (key, value) in self.waiting.drain() {
            match value {
                Some(value) => batch.insert(&self.rows, key, value),
                None => batch.remove(&self.rows, key),
            }
        }
        batch.commit().map_err(|error| self.failed(error))
    }

    fn persist(&self) -> Result<(), BackupError> {
        self.db.persist(PersistMode::SyncAll).map_err(|error| self.failed(error))
    }
}
