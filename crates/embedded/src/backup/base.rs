//! A base: all rows of all databases, while they go on changing.
//!
//! Each database is walked over as it was at one batch, and what is committed meanwhile goes to the
//! log as ever. A base counts once its directory has its name.

use std::fs;
use std::path::Path;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

use fjall::Readable;

use super::catalog::{Base, BasePart, MANIFEST, base_dir, seal};
use super::chunk::{CONTENT_BYTES, ChunkWriter, Kind, put_row};
use super::writer::{Command, Writer};
use super::{BackupError, Rows, private_dir};
use crate::directory::sync_dir;

impl Writer {
    /// Takes a base. Of one that was broken off, by a gap or the end, nothing is left.
    pub(super) fn base(&mut self) -> Result<(), BackupError> {
        self.drain()?;
        // All that is in a file before this one is in the snapshots.
        self.close_file()?;
        let log = self.file_number()?;
        let failed = |error: String| BackupError::Refused(format!("a base: {error}"));
        let snapshots = self.sources.iter().map(|source| source.rows());
        let snapshots: Vec<Rows> = snapshots.collect::<Result<_, _>>().map_err(failed)?;
        // Whatever is in them was written before.
        let at = self.moments.next();
        let number = self.shelf.next_base();
        let mut base = Base::new(number, self.run, at, log);
        let dir = base_dir(self.dir(), number).with_extension("unfinished");
        private_dir(&dir).map_err(|error| BackupError::failed(&dir, error))?;
        let began = Instant::now();
        let finished = self.fill(&dir, &mut base, snapshots);
        if !matches!(finished, Ok(true)) {
            // Where even this fails, the next start clears it.
            let _ = fs::remove_dir_all(&dir);
            return finished.map(drop);
        }
        let name = base_dir(self.dir(), number);
        let named = fs::rename(&dir, &name).and_then(|()| sync_dir(&self.dir().join("base")));
        named.map_err(|error| BackupError::failed(&name, error))?;
        tracing::info!(base = number, bytes = base.bytes(), took = ?began.elapsed(), "a base");
        self.base_positions = base.parts.iter().map(|part| part.position).collect();
        self.shelf.bases.push(base);
        self.based = true;
        self.drain()?;
        self.sync()
    }

    /// Says whether it came to its end.
    fn fill(
        &mut self,
        dir: &Path,
        base: &mut Base,
        snapshots: Vec<Rows>,
    ) -> Result<bool, BackupError> {
        for (index, rows) in snapshots.into_iter().enumerate() {
            let name = self.sources[index].name().to_owned();
            match self.part(dir, index, name, &rows)? {
                Some(part) => base.parts.push(part),
                None => return Ok(false),
            }
        }
        let sealed = seal(&dir.join(MANIFEST), base);
        sealed.map_err(|error| BackupError::failed(dir, error))?;
        Ok(true)
    }

    /// Copies one database; none where it has to end before.
    fn part(
        &mut self,
        dir: &Path,
        index: usize,
        name: String,
        rows: &Rows,
    ) -> Result<Option<BasePart>, BackupError> {
        let path = dir.join(&name);
        let failed = |error| BackupError::failed(&path, error);
        let unread = |error: fjall::Error| BackupError::failed(&path, error);
        let mut file = ChunkWriter::create(&path).map_err(failed)?;
        let (number, run) = (u8::try_from(index).unwrap_or(u8::MAX), self.run);
        let (mut content, mut count, mut since) = (Vec::new(), 0, Instant::now());
        for guard in rows.snapshot.iter(&rows.keyspace) {
            let (key, value) = guard.into_inner().map_err(unread)?;
            put_row(&mut content, &key, Some(&value));
            count += 1;
            if content.len() < CONTENT_BYTES {
                continue;
            }
            file.write(Kind::Rows, number, &content).map_err(failed)?;
            content.clear();
            let worked = since.elapsed();
            self.meanwhile()?;
            if self.stopped || self.run != run {
                return Ok(None);
            }
            std::thread::sleep(worked * self.options.base_rests);
            since = Instant::now();
        }
        if !content.is_empty() {
            file.write(Kind::Rows, number, &content).map_err(failed)?;
        }
        file.sync().map_err(failed)?;
        self.meanwhile()?;
        if self.stopped || self.run != run {
            return Ok(None);
        }
        let (position, bytes, digest) = (rows.position, file.bytes, file.digest());
        Ok(Some(BasePart { name, position, bytes, rows: count, digest }))
    }

    /// Looks after the log between two chunks, and after the disk.
    fn meanwhile(&mut self) -> Result<(), BackupError> {
        self.room()?;
        let mut wanted = self.drained.elapsed() >= super::writer::TICK;
        loop {
            match self.commands.try_recv() {
                Ok(Command::Drain) => wanted = true,
                Ok(Command::Copy { base, answer }) => self.asked.push((base, answer)),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => self.stopped = true,
                Err(TryRecvError::Empty) => break,
            }
            if self.stopped {
                break;
            }
        }
        if self.synced.elapsed() >= self.options.interval {
            self.drain()?;
            self.sync()
        } else if wanted {
            self.drain()
        } else {
            Ok(())
        }
    }
}
