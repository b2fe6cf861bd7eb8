//! An engine's files as they were before it was opened, kept until it is clear that the start is
//! no refusal: opening cuts what it cannot read off a journal, and removes files that it cannot
//! relate to the rest.
//!
//! Journals are the only files that the engine changes in place, so they are copied (sparse, and by
//! reference where the file system can); all others are kept as second names of the same file. A
//! copy is complete once it has its name; it is synced only when it is put back, so one that a
//! killed start left is trusted only where the journals at work hold nothing that it does not hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::directory::{Directory, sync_dir};

/// Free disk space that copies leave to others, in bytes.
const ROOM_LEFT: u64 = 64 << 20;
const BLOCK_BYTES: usize = 64 << 10;

/// What is kept of one engine. Dropped, it puts the files back, so the engine has to be closed
/// before; what is to stay as the engine left it has to be settled.
pub(crate) struct Keep {
    engine: PathBuf,
    settled: bool,
}

impl Keep {
    /// Keeps the engine's files; none when there are none, or when the disk has no room for it.
    pub(crate) fn take(directory: &Directory) -> Option<Self> {
        let engine = directory.engine();
        match take(directory, engine) {
            Ok(taken) => taken.then(|| Self { engine: engine.to_owned(), settled: false }),
            Err(error) => {
                // The start goes on: it only could not be undone.
                tracing::warn!(%error, engine = %engine.display(), "no copy of the journals");
                let _ = fs::remove_dir_all(beside(engine, UNFINISHED));
                None
            }
        }
    }

    /// Forgets what was kept: the engine is good.
    pub(crate) fn settle(mut self) {
        self.settled = true;
        if let Err(error) = forget(&self.engine) {
            tracing::warn!(%error, engine = %self.engine.display(), "a copy could not be removed");
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        // Somebody who still reads from the engine keeps it open, and this lock.
        let lock = File::open(self.engine.join("lock"));
        if self.settled || lock.is_ok_and(|lock| lock.try_lock().is_err()) {
            return;
        }
        if let Err(error) = put_back(&self.engine) {
            tracing::error!(%error, engine = %self.engine.display(), "its files are not put back");
        }
    }
}

const KEPT: &str = ".kept";
const UNFINISHED: &str = ".kept-unfinished";
const REFUSED: &str = ".refused";

fn beside(engine: &Path, ending: &str) -> PathBuf {
    let mut name = engine.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn is_journal(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("jnl"))
}

fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let found: io::Result<Vec<_>> = entries.collect();
    Ok(found?.into_iter().filter(|path| is_journal(path)).collect())
}

fn take(directory: &Directory, engine: &Path) -> io::Result<bool> {
    if !engine.is_dir() {
        return Ok(false);
    }
    let mut bytes = ROOM_LEFT;
    for journal in journals(engine)? {
        bytes = bytes.saturating_add(fs::metadata(journal)?.len());
    }
    if directory.free_bytes()? < bytes {
        tracing::warn!(engine = %engine.display(), "no room for a copy of the journals");
        return Ok(false);
    }
    let unfinished = beside(engine, UNFINISHED);
    copy_dir(engine, &unfinished)?;
    fs::rename(&unfinished, beside(engine, KEPT))?;
    Ok(true)
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_dir(&path, &to)?;
        } else if is_journal(&path) {
            copy_sparse(&path, &to)?;
        } else {
            fs::hard_link(&path, &to)?;
        }
    }
    Ok(())
}

/// Copies what a file holds and leaves its holes: a new journal is one of 64 MiB.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{SeekFrom as At, seek};
    let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
    let metadata = from.metadata()?;
    to.set_permissions(metadata.permissions())?;
    to.set_len(metadata.len())?;
    let mut end = 0;
    while end < metadata.len() {
        let start = match seek(&from, At::Data(end)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        end = seek(&from, At::Hole(start))?;
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        // The system's own copying, which shares blocks where the file system can.
        io::copy(&mut from.by_ref().take(end - start), &mut to)?;
    }
    Ok(())
}

fn forget(engine: &Path) -> io::Result<()> {
    let unfinished = beside(engine, UNFINISHED);
    fs::rename(beside(engine, KEPT), &unfinished)?;
    fs::remove_dir_all(unfinished)
}

/// Syncs the names in `dir` and below, and the journals; all other files are synced already.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            sync_tree(&path)?;
        } else if is_journal(&path) {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// Writes into the journals of a closed engine what they hold, and syncs that. A sync that failed
/// leaves them reading well and not on disk, and a second one finds nothing to do; what is written
/// again, it has to write. In place, for that takes no room, and the same bytes can be torn
/// without harm. Tables need none of this: the engine uses none whose sync failed.
pub(crate) fn write_journals_again(engine: &Path) -> io::Result<()> {
    for journal in journals(engine)? {
        let file = File::options().read(true).write(true).open(journal)?;
        let (mut block, mut at) = (vec![0; BLOCK_BYTES], 0);
        loop {
            let length = file.read_at(&mut block, at)?;
            if length == 0 {
                break;
            }
            // Holes stay holes.
            if block[..length].iter().any(|byte| *byte != 0) {
                file.write_all_at(&block[..length], at)?;
            }
            at += u64::try_from(length).map_err(io::Error::other)?;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// Puts what was kept in the place of what the engine made of it.
fn put_back(engine: &Path) -> io::Result<()> {
    sync_tree(&beside(engine, KEPT))?;
    let refused = beside(engine, REFUSED);
    if engine.exists() {
        fs::rename(engine, &refused)?;
    }
    fs::rename(beside(engine, KEPT), engine)?;
    if let Some(parent) = engine.parent() {
        sync_dir(parent)?;
    }
    remove(&refused)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Clears up after a start that was killed before it was clear whether it is refused.
pub(crate) fn settle_leftovers(engine: &Path) -> io::Result<()> {
    remove(&beside(engine, UNFINISHED))?;
    if beside(engine, KEPT).exists() {
        if !engine.exists() || holds_nothing_new(engine)? {
            put_back(engine)?;
        } else {
            forget(engine)?;
        }
    }
    remove(&beside(engine, REFUSED))
}

/// Whether the journals at work are beginnings of those that were kept.
fn holds_nothing_new(engine: &Path) -> io::Result<bool> {
    let kept = beside(engine, KEPT);
    let name = |path: &PathBuf| path.file_name().map(OsStr::to_owned);
    let (works, copies) = (journals(engine)?, journals(&kept)?);
    let names: Vec<_> = works.iter().map(name).collect();
    if copies.iter().any(|copy| !names.contains(&name(copy))) {
        // It was written into the engine's tables and removed.
        return Ok(false);
    }
    for work in works {
        let copy = kept.join(name(&work).unwrap_or_default());
        let same = if copy.exists() {
            is_beginning(File::open(&work)?, File::open(copy)?)?
        } else {
            // A new journal is nothing but zeros.
            is_beginning(File::open(&work)?, io::repeat(0))?
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_beginning(mut short: impl Read, mut long: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    loop {
        let length = short.read(&mut left)?;
        if length == 0 {
            return Ok(true);
        }
        match long.read_exact(&mut right[..length]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn journals_are_written_again_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("3.jnl");
        let file = File::create_new(&path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        file.write_all_at(b"end", (64 << 20) - 3).unwrap();
        let (before, blocks) = (fs::read(&path).unwrap(), file.metadata().unwrap().blocks());
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        write_journals_again(dir.path()).unwrap();
        assert!(fs::read(&path).unwrap() == before);
        let after = file.metadata().unwrap();
        assert!(after.modified().unwrap() > SystemTime::UNIX_EPOCH, "it was written");
        assert!(after.blocks() < blocks + 1024, "its hole is still one");
    }
}
