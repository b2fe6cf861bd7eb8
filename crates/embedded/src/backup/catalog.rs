//! The manifests of a backup: which copies there are, which moments they reach, and which of them
//! are no longer needed.
//!
//! A manifest is one line of JSON and one line `sha256 {hash of the first}`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use kernel::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chunk::hex;
use super::{BackupError, names};
use crate::directory::{private_file, sync_dir};

const FORMAT: u32 = 1;
const NOTED_BYTES: usize = 128 << 20;
pub(super) const MANIFEST: &str = "MANIFEST";

/// A file of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct LogFile {
    pub(super) number: u64,
    /// Which run it belongs to.
    pub(super) run: u64,
    /// How much of it counts.
    pub(super) bytes: u64,
    /// Every batch up to here is in it or in those before it.
    pub(super) until: Time,
    /// The last batch of each part, in the parts' order.
    pub(super) positions: Vec<u64>,
}

/// The log, as its manifest tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Log {
    pub(super) format: u32,
    /// The id of the data.
    pub(super) data: String,
    pub(super) parts: Vec<String>,
    pub(super) files: Vec<LogFile>,
}

/// One part of a base.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct BasePart {
    pub(super) name: String,
    /// The last batch that is in it.
    pub(super) position: u64,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// SHA-256 of the hashes of its chunks.
    pub(super) digest: String,
}

/// A base, as its manifest tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) format: u32,
    pub(super) number: u64,
    pub(super) run: u64,
    /// From this moment on it can be used.
    pub(super) at: Time,
    /// The first file of the log that it needs.
    pub(super) log: u64,
    pub(super) parts: Vec<BasePart>,
}

impl Log {
    pub(super) const fn new(data: String, parts: Vec<String>) -> Self {
        Self { format: FORMAT, data, parts, files: Vec::new() }
    }
}

impl Base {
    pub(super) const fn new(number: u64, run: u64, at: Time, log: u64) -> Self {
        Self { format: FORMAT, number, run, at, log, parts: Vec::new() }
    }

    pub(super) fn dir(&self, copies: &Path) -> PathBuf {
        base_dir(copies, self.number)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

pub(super) fn base_dir(copies: &Path, number: u64) -> PathBuf {
    copies.join("base").join(format!("{number:06}"))
}

pub(super) fn log_path(copies: &Path, number: u64) -> PathBuf {
    copies.join("log").join(format!("{number:06}"))
}

/// Writes a manifest as a whole and for good.
pub(super) fn seal(path: &Path, manifest: &impl Serialize) -> std::io::Result<()> {
    let line = serde_json::to_string(manifest).map_err(std::io::Error::other)?;
    let hash = hex(&Sha256::digest(line.as_bytes()));
    let fresh = path.with_extension("new");
    let mut file = private_file(&fresh)?;
    file.write_all(format!("{line}\nsha256 {hash}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Reads a manifest that [`seal`] wrote.
pub(super) fn unseal<T: DeserializeOwned>(path: &Path) -> Result<T, BackupError> {
    let bytes = fs::read(path).map_err(|error| BackupError::file(path, &error))?;
    unseal_bytes(path, &bytes)
}

/// The same of what was read from there.
pub(super) fn unseal_bytes<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
) -> Result<T, BackupError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = || BackupError::at(path, "it is not what was written");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let (line, hash) = text.split_once('\n').ok_or_else(damaged)?;
    if hash != format!("sha256 {}\n", hex(&Sha256::digest(line.as_bytes()))) {
        return Err(damaged());
    }
    let Format { format } = serde_json::from_str(line).map_err(|_| damaged())?;
    if format > FORMAT {
        let what = format!("it has format {format}; this version reads formats up to {FORMAT}");
        return Err(BackupError::Refused(format!("{}: {what}", path.display())));
    }
    serde_json::from_str(line).map_err(|_| damaged())
}

/// All that is in the folder of one data directory.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) dir: PathBuf,
    pub(super) log: Log,
    /// In the order in which they were made.
    pub(super) bases: Vec<Base>,
    /// Those whose manifests cannot be read, by their numbers.
    unread: Vec<(u64, BackupError)>,
}

impl Shelf {
    pub(super) fn read(dir: &Path) -> Result<Self, BackupError> {
        let log: Log = unseal(&dir.join(MANIFEST))?;
        // One that has no number was begun and never finished.
        let number = |name: &String| name.parse::<u64>().ok();
        let mut numbers: Vec<u64> = names(&dir.join("base"))?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let (mut bases, mut unread) = (Vec::new(), Vec::new());
        for number in numbers {
            match unseal(&base_dir(dir, number).join(MANIFEST)) {
                Ok(base) => bases.push(base),
                Err(error) => unread.push((number, error)),
            }
        }
        Ok(Self { dir: dir.to_owned(), log, bases, unread })
    }

    /// The number of the next base.
    pub(super) fn next_base(&self) -> u64 {
        let read = self.bases.iter().map(|base| base.number);
        read.chain(self.unread.iter().map(|(number, _)| *number)).max().unwrap_or(0) + 1
    }

    /// The files that lead on from a base, and how far.
    fn after(&self, base: &Base) -> Vec<LogFile> {
        let files = self.log.files.iter();
        files.filter(|file| file.run == base.run && file.number >= base.log).cloned().collect()
    }

    /// The last moment that can be reached from a base; none when its log tells of none yet.
    fn until(&self, base: &Base) -> Option<Time> {
        self.after(base).last().map(|file| file.until).filter(|until| *until >= base.at)
    }

    /// What to read for the moment `at`, or the last one, from a base; none where it has not that.
    fn plan(&self, base: &Base, at: Option<Time>) -> Option<Plan> {
        let until = self.until(base)?;
        let at = at.unwrap_or(until);
        if at < base.at || at > until {
            return None;
        }
        let mut files = self.after(base);
        // What comes after the file that reaches it is not needed.
        let needed = files.iter().position(|file| file.until >= at)?;
        files.truncate(needed + 1);
        let (copies, data) = (self.dir.clone(), self.log.data.clone());
        Some(Plan { at, noted_bytes: NOTED_BYTES, copies, data, base: base.clone(), files })
    }

    /// Removes from the manifests' view what is not needed to reach any moment since `since`, and
    /// gives the numbers of the bases and of the log's files that may be deleted.
    pub(super) fn thin(&mut self, since: Time) -> (Vec<u64>, Vec<u64>) {
        // The last one that `since` itself can be reached from, and what came after.
        let reached = self.bases.iter().rposition(|base| base.at <= since).unwrap_or(0);
        // Of a run that ended before, nothing leads to `since`: but the newest that reaches any
        // moment at all always stays.
        let newest = self.bases.iter().rposition(|base| self.until(base).is_some());
        let first = reached.min(newest.unwrap_or(0));
        let mut gone: Vec<u64> = self.bases.drain(..first).map(|base| base.number).collect();
        let Some(first) = self.bases.first() else { return (gone, Vec::new()) };
        self.unread.retain(|(number, _)| {
            let kept = *number > first.number;
            if !kept {
                gone.push(*number);
            }
            kept
        });
        let (log, mut old) = (first.log, Vec::new());
        self.log.files.retain(|file| {
            let needed = file.number >= log;
            if !needed {
                old.push(file.number);
            }
            needed
        });
        (gone, old)
    }
}

/// A base with what leads on from it, as one lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// The id of the data that was copied.
    pub data: String,
    /// The base's number.
    pub base: u64,
    /// The first moment that can be restored from it.
    pub from: Option<Time>,
    /// The last one.
    pub until: Option<Time>,
    /// Size of the base.
    pub base_bytes: u64,
    /// Size of the log that follows it, up to the next base.
    pub log_bytes: u64,
    /// What is missing, where something is.
    pub missing: Option<String>,
}

/// All copies in a directory.
pub struct Catalog {
    dir: PathBuf,
    /// How long files are that are not here.
    lengths: Option<BTreeMap<PathBuf, u64>>,
    pub(super) shelves: Vec<Shelf>,
}

/// What to read to have a moment back.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The moment.
    pub at: Time,
    /// Bytes of content after which a restore notes how far it is.
    pub noted_bytes: usize,
    /// The id of the data that was copied.
    pub data: String,
    pub(super) copies: PathBuf,
    pub(super) base: Base,
    pub(super) files: Vec<LogFile>,
}

impl Catalog {
    /// Reads the manifests in `dir`, all or those of one data directory.
    pub fn read(dir: &Path, data: Option<&str>) -> Result<Self, BackupError> {
        let mut ids = names(dir)?;
        ids.retain(|id| data.is_none_or(|data| data == id));
        ids.retain(|id| dir.join(id).join(MANIFEST).exists());
        ids.sort_unstable();
        if ids.is_empty() {
            let whose = data.map_or_else(String::new, |data| format!(" of {data}"));
            let what = format!("there is no backup{whose} in {}", dir.display());
            return Err(BackupError::Refused(what));
        }
        let shelves = ids.iter().map(|id| Shelf::read(&dir.join(id)));
        let shelves = shelves.collect::<Result<_, _>>()?;
        Ok(Self { dir: dir.to_owned(), lengths: None, shelves })
    }

    /// The same where only manifests are here: the name of the place, and its files' lengths.
    pub(super) fn listed(self, dir: &Path, lengths: BTreeMap<PathBuf, u64>) -> Self {
        Self { dir: dir.to_owned(), lengths: Some(lengths), ..self }
    }

    /// All files.
    pub(super) fn copied(&self) -> Vec<Copied> {
        let each = |shelf: &Shelf| -> Vec<Copied> {
            let bases = shelf.bases.iter().flat_map(|base| copied_base(&shelf.dir, base));
            bases.chain(copied_log(&shelf.dir, &shelf.log.files)).collect()
        };
        self.shelves.iter().flat_map(each).collect()
    }

    /// Bytes of all copies.
    pub fn bytes(&self) -> u64 {
        let bases = |shelf: &Shelf| -> u64 { shelf.bases.iter().map(Base::bytes).sum() };
        let log = |shelf: &Shelf| -> u64 { shelf.log.files.iter().map(|file| file.bytes).sum() };
        self.shelves.iter().map(|shelf| bases(shelf) + log(shelf)).sum()
    }

    /// All copies, oldest first for each data directory.
    pub fn copies(&self) -> Vec<Listing> {
        let each = |shelf: &Shelf| -> Vec<Listing> {
            let next = |base: &Base| {
                let later = shelf.bases.iter().find(|later| later.number > base.number);
                later.map_or(u64::MAX, |later| later.log)
            };
            let copy = |base: &Base| {
                let files = shelf.after(base);
                let own = files.iter().filter(|file| file.number < next(base));
                Listing {
                    data: shelf.log.data.clone(),
                    base: base.number,
                    from: Some(base.at),
                    until: shelf.until(base),
                    base_bytes: base.bytes(),
                    log_bytes: own.map(|file| file.bytes).sum(),
                    missing: self.missing(&shelf.dir, base, &files).err().map(|it| it.to_string()),
                }
            };
            let unread = |(number, error): &(u64, BackupError)| Listing {
                data: shelf.log.data.clone(),
                base: *number,
                from: None,
                until: None,
                base_bytes: 0,
                log_bytes: 0,
                missing: Some(error.to_string()),
            };
            let read = shelf.bases.iter().map(copy);
            let mut copies: Vec<_> = read.chain(shelf.unread.iter().map(unread)).collect();
            copies.sort_by_key(|copy| copy.base);
            copies
        };
        self.shelves.iter().flat_map(each).collect()
    }

    /// What to read for the moment `at`, or for the last one that there is.
    pub fn plan(&self, at: Option<Time>) -> Result<Plan, BackupError> {
        let mut whole: Vec<Plan> = Vec::new();
        let mut broken = self.shelves.iter().flat_map(|shelf| &shelf.unread);
        let mut broken = broken.next().map(|(_, error)| error.clone());
        for shelf in &self.shelves {
            // An older base and more of the log will do where a newer one is not whole.
            for plan in shelf.bases.iter().rev().filter_map(|base| shelf.plan(base, at)) {
                match self.missing(&plan.copies, &plan.base, &plan.files) {
                    Ok(()) => {
                        whole.push(plan);
                        break;
                    }
                    Err(error) => broken = Some(error),
                }
            }
        }
        match (whole.pop(), whole.is_empty(), broken) {
            (Some(plan), true, _) => Ok(plan),
            (None, _, Some(error)) => Err(error),
            _ => Err(BackupError::Refused(self.refusal(at))),
        }
    }

    fn refusal(&self, at: Option<Time>) -> String {
        let dir = self.dir.display();
        if self.shelves.len() > 1 && at.is_none_or(|at| self.nearest(at) == (Some(at), Some(at))) {
            let ids: Vec<_> = self.shelves.iter().map(|shelf| shelf.log.data.as_str()).collect();
            return format!("{dir} has that moment of more than one data: {}", ids.join(", "));
        }
        let Some(at) = at else { return format!("there is no complete backup in {dir} yet") };
        let nearest = match self.nearest(at) {
            (Some(before), Some(after)) => format!("the nearest are {before} and {after}"),
            (Some(one), None) => format!("the last is {one}"),
            (None, Some(one)) => format!("the first is {one}"),
            (None, None) => "there is no complete one".to_owned(),
        };
        format!("no backup in {dir} has the moment {at}: {nearest}")
    }

    /// The last moment not after `at` and the first not before it that can be restored.
    fn nearest(&self, at: Time) -> (Option<Time>, Option<Time>) {
        let ranges = self.shelves.iter().flat_map(|shelf| {
            let range = |base: &Base| Some((base.at, shelf.until(base)?));
            shelf.bases.iter().filter_map(range).collect::<Vec<_>>()
        });
        let (mut before, mut after) = (None, None);
        for (from, until) in ranges {
            if from <= at {
                before = before.max(Some(until.min(at)));
            }
            if until >= at {
                let first = from.max(at);
                after = Some(after.map_or(first, |after: Time| after.min(first)));
            }
        }
        (before, after)
    }

    /// Looks whether the files are there and as long as they have to be.
    fn missing(&self, copies: &Path, base: &Base, files: &[LogFile]) -> Result<(), BackupError> {
        let has = |path: &Path, bytes: u64| {
            let found = self.length(path)?;
            if found < bytes {
                let what = format!("it has {found} bytes, and its manifest tells of {bytes}");
                return Err(BackupError::at(path, what));
            }
            Ok(())
        };
        let dir = base.dir(copies);
        for part in &base.parts {
            has(&dir.join(&part.name), part.bytes)?;
        }
        for (index, file) in files.iter().enumerate() {
            let expected = base.log + index as u64;
            if file.number != expected {
                return Err(BackupError::at(&log_path(copies, expected), "it is missing"));
            }
            has(&log_path(copies, file.number), file.bytes)?;
        }
        Ok(())
    }

    fn length(&self, path: &Path) -> Result<u64, BackupError> {
        if let Some(lengths) = &self.lengths {
            let length = lengths.get(path).copied();
            return length.ok_or_else(|| BackupError::at(path, "it is missing"));
        }
        let file = File::open(path).and_then(|file| file.metadata());
        Ok(file.map_err(|error| BackupError::file(path, &error))?.len())
    }
}

/// A file of the copies, and how much of it counts.
pub(super) struct Copied {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Of a base's: SHA-256 of the hashes of its chunks.
    pub(super) digest: Option<String>,
}

impl Plan {
    /// All files that a restore reads.
    pub(super) fn copied(&self) -> Vec<Copied> {
        copied_base(&self.copies, &self.base).chain(copied_log(&self.copies, &self.files)).collect()
    }
}

fn copied_base(copies: &Path, base: &Base) -> impl Iterator<Item = Copied> {
    let dir = base.dir(copies);
    base.parts.iter().map(move |part| Copied {
        path: dir.join(&part.name),
        bytes: part.bytes,
        digest: Some(part.digest.clone()),
    })
}

fn copied_log(copies: &Path, files: &[LogFile]) -> impl Iterator<Item = Copied> {
    let path = |file: &LogFile| log_path(copies, file.number);
    files.iter().map(move |file| Copied { path: path(file), bytes: file.bytes, digest: None })
}
