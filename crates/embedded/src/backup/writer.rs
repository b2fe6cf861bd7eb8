//! The one writer of backups: a thread that appends to the log what committers hand over, syncs it,
//! takes bases ([`base`](super::base)), and deletes what nobody needs any more.
//!
//! Whatever goes wrong begins a new run; nothing is ever copied with a gap in it.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kernel::Time;
use tokio::sync::oneshot;

use super::catalog::{Log, LogFile, MANIFEST, Shelf, base_dir, log_path, seal};
use super::chunk::{CONTENT_BYTES, ChunkWriter, Kind, put_batch, put_row};
use super::tap::{Batch, Moments, Taken, Tap};
use super::{BackupError, Options, Source, names, private_dir};
use crate::directory::sync_dir;

/// How often waiting batches are taken, at least.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// When a file of the log is closed, so that what is copied from here to elsewhere rarely changes.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// The same where it is sent to a bucket as a whole each time that it grew.
const SENT_LOG_BYTES_MAX: u64 = 8 << 20;
const LOG_AGE_MAX: Duration = Duration::from_hours(1);
/// How long a batch in the making is waited for, where somebody asked for a copy of now.
const BATCH_WAIT: Duration = Duration::from_secs(5);
const LOCK: &str = "LOCK";

/// Where the outcome of a copy goes: the moment that copies reach.
pub(super) type Answer = oneshot::Sender<Result<Time, BackupError>>;

/// What the writer is asked to do.
pub(crate) enum Command {
    /// Take what waits.
    Drain,
    /// Copy all that is there now.
    Copy { base: bool, answer: Answer },
    /// Copy what is left, and end.
    Stop,
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) options: Options,
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) moments: Arc<Moments>,
    pub(super) commands: Receiver<Command>,
    pub(super) shelf: Shelf,
    /// Asked for while a base was taken.
    pub(super) asked: Vec<(bool, Answer)>,
    pub(super) stopped: bool,
    /// Counts the stretches of the log without a gap.
    pub(super) run: u64,
    /// Whether the run has a base, so that its moments can be had.
    pub(super) based: bool,
    /// The last batch of each part in this run.
    pub(super) positions: Vec<Option<u64>>,
    /// The same in its base.
    pub(super) base_positions: Vec<u64>,
    taps: Vec<Arc<Tap>>,
    keys: PathBuf,
    keys_copied: Vec<u8>,
    file: Option<Open>,
    /// Every batch up to here is in the log.
    pub(super) until: Time,
    pub(super) drained: Instant,
    pub(super) synced: Instant,
    /// Says that there is something to send to a bucket, where copies go there.
    ship: Option<Box<dyn Fn() + Send>>,
    /// After a failure nothing is tried before this.
    not_before: Option<Instant>,
    _lock: File,
}

/// The file of the log that is written to.
struct Open {
    chunks: ChunkWriter,
    number: u64,
    since: Instant,
}

impl Writer {
    pub(super) fn open(
        options: Options,
        id: &str,
        keys: &Path,
        sources: Vec<Arc<dyn Source>>,
        moments: Arc<Moments>,
        sender: &Sender<Command>,
        commands: Receiver<Command>,
    ) -> Result<Self, BackupError> {
        let dir = options.dir.join(id);
        let failed = |error| BackupError::failed(&dir, error);
        for dir in [&dir, &dir.join("log"), &dir.join("base")] {
            private_dir(dir).map_err(|error| BackupError::failed(dir, error))?;
        }
        let lock = lock(&dir)?;
        let parts: Vec<_> = sources.iter().map(|source| source.name().to_owned()).collect();
        options.encryption.keep(&dir)?;
        let manifest = dir.join(MANIFEST);
        if !manifest.exists() {
            seal(&manifest, &Log::new(id.to_owned(), parts.clone())).map_err(failed)?;
        }
        let shelf = Shelf::read(&dir)?;
        if shelf.log.parts != parts {
            return Err(BackupError::at(&manifest, "it tells of other databases"));
        }
        let tap = |source: &Arc<dyn Source>| {
            let tap = Tap::new(Arc::clone(&moments), options.queue_bytes_max, sender.clone());
            source.attach(Some(Arc::clone(&tap)));
            tap
        };
        let taps: Vec<_> = sources.iter().map(tap).collect();
        let now = Instant::now();
        let mut this = Self {
            positions: vec![None; sources.len()],
            base_positions: vec![0; sources.len()],
            options,
            sources,
            moments,
            commands,
            shelf,
            asked: Vec::new(),
            stopped: false,
            run: 0,
            based: false,
            taps,
            keys: keys.to_owned(),
            keys_copied: Vec::new(),
            file: None,
            until: Time::from_millis(i64::MIN),
            drained: now,
            synced: now,
            ship: None,
            not_before: None,
            _lock: lock,
        };
        this.clear_leftovers()?;
        this.take_up()?;
        // Before the first copy: nothing can be restored, however long ago.
        this.tell_success();
        Ok(this)
    }

    /// From now on a bucket is told of what is written, and tells itself how far it is.
    pub(super) fn shipped_by(&mut self, ship: Option<Box<dyn Fn() + Send>>) {
        self.ship = ship;
    }

    pub(super) fn dir(&self) -> &Path {
        &self.shelf.dir
    }

    /// Removes what was begun and never finished, and what a manifest does not need any more.
    fn clear_leftovers(&self) -> Result<(), BackupError> {
        let bases = self.dir().join("base");
        for name in names(&bases)?.iter().filter(|name| name.parse::<u64>().is_err()) {
            let path = bases.join(name);
            fs::remove_dir_all(&path).map_err(|error| BackupError::failed(&path, error))?;
        }
        let listed = |number: u64| self.shelf.log.files.iter().any(|file| file.number == number);
        let log = self.dir().join("log");
        for name in names(&log)?.iter().filter(|name| !name.parse().is_ok_and(listed)) {
            let path = log.join(name);
            fs::remove_file(&path).map_err(|error| BackupError::failed(&path, error))?;
        }
        Ok(())
    }

    /// Goes on with the last run where the databases are exactly as it left them.
    fn take_up(&mut self) -> Result<(), BackupError> {
        let Some(last) = self.shelf.log.files.last() else { return Ok(()) };
        (self.run, self.until) = (last.run, last.until);
        let mut found = Vec::new();
        for source in &self.sources {
            let rows = source.rows();
            found.push(rows.map_err(|error| BackupError::failed(self.dir(), error))?.position);
        }
        let has_base = self.shelf.bases.iter().any(|base| base.run == last.run);
        if has_base && found == last.positions && self.moments.next() >= last.until {
            self.moments.pass(last.until);
            self.positions = found.into_iter().map(Some).collect();
            self.based = true;
        } else {
            self.run += 1;
        }
        Ok(())
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        // The first base does not wait for the first interval.
        let mut outcome = if self.based { Ok(()) } else { self.round() };
        loop {
            if let Err(error) = outcome {
                self.fail(&error);
            }
            for (base, answer) in std::mem::take(&mut self.asked) {
                let _ = answer.send(self.copy(base));
            }
            if self.stopped {
                break;
            }
            match self.commands.recv_timeout(TICK) {
                Ok(Command::Copy { base, answer }) => drop(answer.send(self.copy(base))),
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopped = true,
                Ok(Command::Drain) | Err(RecvTimeoutError::Timeout) => {}
            }
            outcome = self.step();
        }
        self.sources.iter().for_each(|source| source.attach(None));
    }

    fn step(&mut self) -> Result<(), BackupError> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            // It cannot be written down, so there will be a gap.
            self.taps.iter().for_each(|tap| drop(tap.take()));
            return Ok(());
        }
        self.not_before = None;
        if self.stopped || self.synced.elapsed() >= self.options.interval {
            return self.round();
        }
        self.drain()
    }

    /// Brings copies up to now, and deletes old ones.
    fn round(&mut self) -> Result<(), BackupError> {
        self.drain()?;
        self.sync()?;
        let age = self.shelf.bases.last().map(|base| self.until.since(base.at));
        if !self.stopped
            && (!self.based || age.is_some_and(|age| age >= self.options.base_interval))
        {
            self.base()?;
        }
        self.thin()
    }

    fn copy(&mut self, base: bool) -> Result<Time, BackupError> {
        let asked = self.moments.next();
        self.not_before = None;
        let begun = Instant::now();
        let copied = (|| {
            self.drain()?;
            if base || !self.based {
                self.base()?;
            }
            while self.until < asked && begun.elapsed() < BATCH_WAIT {
                std::thread::sleep(Duration::from_millis(1));
                self.drain()?;
            }
            self.sync()
        })();
        copied.inspect_err(|error| self.fail(error))?;
        if self.based && self.until >= asked {
            return Ok(self.until);
        }
        Err(BackupError::Refused("the copy was broken off, and begins anew".to_owned()))
    }

    fn fail(&mut self, error: &BackupError) {
        tracing::error!(%error, "the backup failed; it is tried again");
        metrics::counter!("backup_failures_total").increment(1);
        self.begin_run();
        self.not_before = Some(Instant::now() + self.options.interval);
    }

    /// What comes now does not follow on what was copied.
    fn begin_run(&mut self) {
        if self.based {
            tracing::warn!(until = %self.until, "the backup has a gap; a new base is taken");
            metrics::counter!("backup_gaps_total").increment(1);
        }
        self.run += 1;
        self.file = None;
        self.based = false;
        self.positions.fill(None);
    }

    /// Appends to the log what was handed over.
    pub(super) fn drain(&mut self) -> Result<(), BackupError> {
        self.drained = Instant::now();
        let bytes_max = if self.ship.is_some() { SENT_LOG_BYTES_MAX } else { LOG_BYTES_MAX };
        let is_full =
            |open: &Open| open.chunks.bytes >= bytes_max || open.since.elapsed() >= LOG_AGE_MAX;
        if self.file.as_ref().is_some_and(is_full) {
            self.close_file()?;
        }
        let taken: Vec<Taken> = self.taps.iter().map(|tap| tap.take()).collect();
        let gap = |(taken, last): (&Taken, &Option<u64>)| {
            taken.lost || !follow(*last, taken.batches.iter())
        };
        if taken.iter().zip(&self.positions).any(gap) {
            self.close_file()?;
            self.begin_run();
        }
        let until = taken.iter().map(|taken| taken.until).min();
        for (part, taken) in taken.into_iter().enumerate() {
            let last = taken.batches.back().map(|batch| batch.position);
            self.append(part, taken.batches)?;
            self.positions[part] = last.or(self.positions[part]);
        }
        self.until = until.unwrap_or(self.until);
        Ok(())
    }

    fn append(
        &mut self,
        part: usize,
        batches: impl IntoIterator<Item = Batch>,
    ) -> Result<(), BackupError> {
        let mut content = Vec::new();
        for batch in batches {
            put_batch(&mut content, &batch);
            if content.len() >= CONTENT_BYTES {
                self.write(Kind::Batches, part, &content)?;
                content.clear();
            }
        }
        if content.is_empty() { Ok(()) } else { self.write(Kind::Batches, part, &content) }
    }

    fn write(&mut self, kind: Kind, part: usize, content: &[u8]) -> Result<(), BackupError> {
        self.open_file()?;
        let Some(open) = &mut self.file else { return Ok(()) };
        let part = u8::try_from(part).unwrap_or(u8::MAX);
        let written = open.chunks.write(kind, part, content);
        written.map_err(|error| BackupError::failed(&open.chunks.path, error))
    }

    /// Makes sure that there is a file of the log to write to; each begins with the keys.
    fn open_file(&mut self) -> Result<(), BackupError> {
        if self.file.is_some() {
            return Ok(());
        }
        self.room()?;
        let number = self.shelf.log.files.last().map_or(1, |file| file.number + 1);
        let path = log_path(self.dir(), number);
        let failed = |error| BackupError::failed(&path, error);
        let chunks = ChunkWriter::create(&path).map_err(failed)?;
        sync_dir(&self.dir().join("log")).map_err(failed)?;
        self.file = Some(Open { chunks, number, since: Instant::now() });
        self.keys_copied.clear();
        self.copy_keys()
    }

    fn copy_keys(&mut self) -> Result<(), BackupError> {
        let keys = self.read_keys()?;
        if keys == self.keys_copied {
            return Ok(());
        }
        let at = self.moments.next().millis().to_le_bytes();
        self.write(Kind::Keys, 0, &[&at[..], &keys].concat())?;
        self.keys_copied = keys;
        Ok(())
    }

    /// The signing keys' files as rows.
    fn read_keys(&self) -> Result<Vec<u8>, BackupError> {
        let mut content = Vec::new();
        let mut names = names(&self.keys)?;
        names.sort_unstable();
        for name in names {
            let path = self.keys.join(&name);
            let bytes = fs::read(&path).map_err(|error| BackupError::failed(&path, error))?;
            put_row(&mut content, name.as_bytes(), Some(&bytes));
        }
        Ok(content)
    }

    /// Syncs the present file and notes how far it reaches.
    fn note_file(&mut self) -> Result<(), BackupError> {
        let Some(open) = &mut self.file else { return Ok(()) };
        let synced = open.chunks.sync();
        synced.map_err(|error| BackupError::failed(&open.chunks.path, error))?;
        let last = self.positions.iter().zip(&self.base_positions);
        let file = LogFile {
            number: open.number,
            run: self.run,
            bytes: open.chunks.bytes,
            until: self.until,
            positions: last.map(|(logged, base)| logged.unwrap_or(*base)).collect(),
        };
        let files = &mut self.shelf.log.files;
        files.retain(|known| known.number != file.number);
        files.push(file);
        Ok(())
    }

    /// The next batch goes to another file.
    pub(super) fn close_file(&mut self) -> Result<(), BackupError> {
        self.note_file()?;
        self.file = None;
        Ok(())
    }

    /// The number of the file that the next batch goes to.
    pub(super) fn file_number(&mut self) -> Result<u64, BackupError> {
        self.open_file()?;
        Ok(self.file.as_ref().map_or(0, |open| open.number))
    }

    /// From here on copies reach to the last drain.
    pub(super) fn sync(&mut self) -> Result<(), BackupError> {
        self.room()?;
        self.open_file()?;
        self.copy_keys()?;
        self.note_file()?;
        let manifest = self.dir().join(MANIFEST);
        seal(&manifest, &self.shelf.log).map_err(|error| BackupError::failed(&manifest, error))?;
        self.synced = Instant::now();
        if self.based {
            self.tell_success();
        }
        self.ship.iter().for_each(|ship| ship());
        Ok(())
    }

    fn tell_success(&self) {
        if self.options.bucket.is_some() {
            return;
        }
        let secs = self.until.millis().max(0) as f64 / 1000.0;
        metrics::gauge!("backup_last_success_timestamp_seconds").set(secs);
    }

    /// Leaves the copies' disk some room: the data may be on it too.
    pub(super) fn room(&self) -> Result<(), BackupError> {
        let failed = |error| BackupError::failed(self.dir(), error);
        let stat = rustix::fs::statvfs(self.dir()).map_err(failed)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let floor = self.options.free_space_floor_bytes;
        if free < floor {
            let what = format!("{free} bytes of disk space are left, {floor} are needed");
            return Err(BackupError::failed(self.dir(), what));
        }
        Ok(())
    }

    /// Deletes what no moment within the retention needs.
    fn thin(&mut self) -> Result<(), BackupError> {
        let since = self.until - self.options.retention;
        let (bases, files) = self.shelf.thin(since);
        if bases.is_empty() && files.is_empty() {
            return Ok(());
        }
        // First nothing tells of them any more.
        self.sync()?;
        for number in bases {
            let dir = base_dir(self.dir(), number);
            let gone = dir.with_extension("gone");
            let removed = fs::rename(&dir, &gone).and_then(|()| fs::remove_dir_all(&gone));
            removed.map_err(|error| BackupError::failed(&dir, error))?;
        }
        for number in files {
            let path = log_path(self.dir(), number);
            match fs::remove_file(&path) {
                // What is in the bucket need not be here.
                Err(error) if self.ship.is_some() && error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(|error| BackupError::failed(&path, error))?,
            }
        }
        Ok(())
    }
}

/// Whether batches have the numbers after `last`, one by one.
fn follow<'a>(mut last: Option<u64>, batches: impl Iterator<Item = &'a Batch>) -> bool {
    for batch in batches {
        if last.is_some_and(|last| batch.position != last + 1) {
            return false;
        }
        last = Some(batch.position);
    }
    true
}

fn lock(dir: &Path) -> Result<File, BackupError> {
    let failed = |error| BackupError::failed(dir, error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(dir.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BackupError::InUse(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
