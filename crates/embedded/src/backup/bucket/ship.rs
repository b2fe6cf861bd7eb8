//! Sends copies from the spool to the bucket, on a thread of its own, so that whatever the network
//! does, neither people nor the writer wait.
//!
//! First goes what the log has, then its manifest, and base by base what else is there; while a
//! large file is sent, the log goes between its pieces. The manifest is replaced only where it is
//! still the one that was sent last: so two processes that believe to be the same data find out.
//! What was sent last is in `SENT`, and what is being sent in `SENDING`, for after a kill nobody
//! else knows whether it arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use kernel::Time;
use object_store::UpdateVersion;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::super::catalog::{Base, Log, MANIFEST, base_dir, log_path, unseal, unseal_bytes};
use super::super::{BackupError, names, private_dir};
use super::Bucket;
use crate::directory::private_file;
use crate::encryption::{Encryption, KEY};

const SENT: &str = "SENT";
const SENDING: &str = "SENDING";
const PLACE: &str = "BUCKET";
const LOCK: &str = "LOCK";
/// After a failure it is tried again, later each time.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// How long a server that stops waits for the bucket. What was not sent is sent at the next start.
const LAST_TIMEOUT: Duration = Duration::from_secs(4);

/// How far the bucket is.
#[derive(Clone, Debug, Default)]
struct State {
    /// The last moment that can be had from it.
    until: Option<Time>,
    /// Up to here nothing is left to send, bases among it.
    all: Option<Time>,
    failures: u64,
    error: Option<BackupError>,
}

#[derive(Default)]
struct Signals {
    due: Notify,
    /// The same, for whoever is in the middle of something.
    is_due: AtomicBool,
    stop: CancellationToken,
}

impl Signals {
    fn due(&self) {
        self.is_due.store(true, Ordering::Release);
        self.due.notify_one();
    }
}

/// The thread, as others see it.
pub(in super::super) struct Shipper {
    signals: Arc<Signals>,
    state: watch::Receiver<State>,
    thread: Option<JoinHandle<()>>,
}

impl Shipper {
    /// Begins to send what is in `spool`, the folder of the data named `id`. The first time the
    /// bucket is asked whether it can be written to; later it may be away.
    pub(in super::super) fn start(
        bucket: Bucket,
        spool: &Path,
        id: &str,
        encryption: &Encryption,
    ) -> Result<Self, BackupError> {
        let failed = |error| BackupError::failed(spool, error);
        let place = spool.join(PLACE);
        if fs::read_to_string(&place).ok().as_deref() != Some(bucket.name.as_str())
            && spool.exists()
        {
            // What is here goes on from what is in another bucket.
            fs::remove_dir_all(spool).map_err(failed)?;
        }
        private_dir(spool).map_err(failed)?;
        // Before anything is sent.
        encryption.keep(spool)?;
        let (signals, (state, seen)) =
            (Arc::<Signals>::default(), watch::channel(State::default()));
        let ship = Ship {
            bucket,
            spool: spool.to_owned(),
            id: id.to_owned(),
            signals: Arc::clone(&signals),
            state,
            sent: None,
            read: Bytes::new(),
        };
        let (began, first) = mpsc::channel();
        let thread = std::thread::Builder::new().name("backup-ship".to_owned());
        let thread = thread.spawn(move || ship.work(&began)).map_err(failed)?;
        let this = Self { signals, state: seen, thread: Some(thread) };
        let ended = || BackupError::Refused("the thread that sends copies has ended".to_owned());
        first.recv().map_err(|_| ended())??;
        Ok(this)
    }

    /// Says that there is something to send.
    pub(in super::super) fn due(&self) -> impl Fn() + Send + Sync + 'static {
        let signals = Arc::clone(&self.signals);
        move || signals.due()
    }

    /// Waits until the moment `until` can be had from the bucket; with `all`, until nothing from
    /// before it is left to send.
    pub(in super::super) async fn reached(
        &self,
        until: Time,
        all: bool,
    ) -> Result<(), BackupError> {
        let mut state = self.state.clone();
        let failures = state.borrow().failures;
        self.signals.due();
        loop {
            let now = state.borrow_and_update().clone();
            if (if all { now.all } else { now.until }).is_some_and(|reached| reached >= until) {
                return Ok(());
            }
            if let Some(error) = now.error.filter(|_| now.failures > failures) {
                return Err(error);
            }
            let ended = |_| BackupError::Refused("the server stops".to_owned());
            state.changed().await.map_err(ended)?;
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.signals.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends copies panicked");
        }
    }
}

/// What the bucket has, as far as it counts.
struct Sent {
    /// The manifest that is there, for who replaces it.
    manifest: Option<(Bytes, UpdateVersion)>,
    /// Files of the log, with their lengths.
    log: BTreeMap<u64, u64>,
    bases: BTreeSet<u64>,
    /// All objects there are.
    keys: BTreeSet<String>,
}

/// The thread's own.
struct Ship {
    bucket: Bucket,
    spool: PathBuf,
    id: String,
    signals: Arc<Signals>,
    state: watch::Sender<State>,
    /// None before the bucket answered.
    sent: Option<Sent>,
    /// The spool's manifest as it was last read.
    read: Bytes,
}

impl Ship {
    fn work(mut self, began: &mpsc::Sender<Result<(), BackupError>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = began.send(Err(BackupError::failed(&self.spool, error)));
                return;
            }
        };
        runtime.block_on(async {
            let known = self.spool.join(PLACE).exists();
            let first = if known { Ok(()) } else { self.first().await };
            let goes_on = first.is_ok();
            metrics::gauge!("backup_last_success_timestamp_seconds").set(0.0);
            let _ = began.send(first);
            if goes_on {
                self.run().await;
            }
        });
    }

    async fn run(&mut self) {
        let signals = Arc::clone(&self.signals);
        let mut wait = RETRY_MIN;
        while !signals.stop.is_cancelled() {
            let outcome = tokio::select! {
                outcome = self.pass() => outcome,
                () = signals.stop.cancelled() => break,
            };
            if let Err(error) = outcome {
                self.fail(error);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = signals.due.notified() => {}
                    () = signals.stop.cancelled() => {}
                }
                wait = (wait * 2).min(RETRY_MAX);
            } else {
                wait = RETRY_MIN;
                tokio::select! {
                    () = signals.due.notified() => {}
                    () = signals.stop.cancelled() => {}
                }
            }
        }
        // A base can wait.
        match tokio::time::timeout(LAST_TIMEOUT, self.log()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.fail(error),
            Err(_) => tracing::warn!("what was not sent to the bucket is sent at the next start"),
        }
    }

    fn fail(&mut self, error: BackupError) {
        // What arrived of it is not known.
        self.sent = None;
        tracing::error!(%error, "copies were not sent to the bucket; it is tried again");
        metrics::counter!("backup_failures_total").increment(1);
        self.state.send_modify(|state| {
            state.failures += 1;
            state.error = Some(error);
        });
    }

    /// The first time: whether one may write there, and what is there already, where the spool is
    /// new and the copies are not.
    async fn first(&mut self) -> Result<(), BackupError> {
        let lock = self.key(LOCK);
        self.bucket.put(&lock, Bytes::new()).await?;
        let manifest = self.key(MANIFEST);
        if let Some((bytes, _)) = self.bucket.get(&manifest).await? {
            for (key, _) in self.bucket.list(&self.key("base")).await? {
                let local = self.spool.join(key.strip_prefix(&self.key("")).unwrap_or(&key));
                if local.file_name().is_some_and(|name| name == MANIFEST)
                    && let Some((bytes, _)) = self.bucket.get(&key).await?
                {
                    self.write(&local, &bytes)?;
                }
            }
            self.write(&self.spool.join(SENT), &bytes)?;
            self.write(&self.spool.join(MANIFEST), &bytes)?;
        }
        // Last: what comes before is done again where it was broken off.
        self.write(&self.spool.join(PLACE), self.bucket.name.as_bytes())
    }

    /// Sends all that is there, and removes what nobody needs.
    async fn pass(&mut self) -> Result<(), BackupError> {
        let Some(until) = self.log().await? else { return Ok(()) };
        let bases = self.bases()?;
        for (number, base) in &bases {
            self.base(*number, base).await?;
        }
        self.reached();
        self.state.send_modify(|state| state.all = state.all.max(Some(until)));
        self.sweep(&bases).await
    }

    /// Sends what the log has; gives the moment that it reaches.
    async fn log(&mut self) -> Result<Option<Time>, BackupError> {
        loop {
            match self.log_as_read().await {
                // The writer found that nobody needs it any more, and the manifest says so now.
                Err(BackupError::Damaged { path, .. })
                    if path.starts_with(&self.spool) && !path.exists() && self.is_outdated() => {}
                outcome => return outcome,
            }
        }
    }

    fn is_outdated(&self) -> bool {
        fs::read(self.spool.join(MANIFEST)).is_ok_and(|now| now != self.read)
    }

    async fn log_as_read(&mut self) -> Result<Option<Time>, BackupError> {
        self.signals.is_due.store(false, Ordering::Release);
        let path = self.spool.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::file(&path, &error)),
        };
        self.read = bytes.clone();
        let log: Log = unseal_bytes(&path, &bytes)?;
        if self.sent.is_none() {
            self.sent = Some(self.meet().await?);
            self.locked_key().await?;
        }
        for file in &log.files {
            let there = self.sent()?.log.get(&file.number);
            if there.is_some_and(|there| *there >= file.bytes) {
                continue;
            }
            let key = self.key(&format!("log/{:06}", file.number));
            let local = log_path(&self.spool, file.number);
            self.bucket.put_file(&key, &local, file.bytes, async || Ok(())).await?;
            let sent = self.sent()?;
            sent.log.insert(file.number, file.bytes);
            sent.keys.insert(key);
        }
        self.manifest(bytes).await?;
        // The last one may still grow.
        for file in log.files.iter().rev().skip(1) {
            remove(&log_path(&self.spool, file.number))?;
        }
        self.reached();
        Ok(Some(log.files.last().map_or(Time::from_millis(i64::MIN), |file| file.until)))
    }

    /// Sends the locked key of encrypted data: it may have been locked anew before this start.
    async fn locked_key(&self) -> Result<(), BackupError> {
        let path = self.spool.join(KEY);
        match fs::read(&path) {
            Ok(bytes) => self.bucket.put(&self.key(KEY), bytes.into()).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(BackupError::file(&path, &error)),
        }
    }

    /// Puts the manifest in the place of the one that was sent last.
    async fn manifest(&mut self, bytes: Bytes) -> Result<(), BackupError> {
        for again in [true, false] {
            let before = self.sent()?.manifest.clone();
            if before.as_ref().is_some_and(|(before, _)| *before == bytes) {
                return Ok(());
            }
            let (sending, sent) = (self.spool.join(SENDING), self.spool.join(SENT));
            self.write(&sending, &bytes)?;
            let (key, before) = (self.key(MANIFEST), before.as_ref().map(|(_, version)| version));
            if let Some(version) = self.bucket.replace(&key, bytes.clone(), before).await? {
                let renamed = fs::rename(&sending, &sent);
                renamed.map_err(|error| BackupError::failed(&sent, error))?;
                self.sent()?.manifest = Some((bytes, version));
                return Ok(());
            }
            // It may have arrived, and only the answer was lost.
            self.sent = Some(self.meet().await?);
            if !again {
                break;
            }
        }
        Err(BackupError::InUse(self.bucket.path(&self.id)))
    }

    /// Looks what is there, and whether it is what this spool sent.
    async fn meet(&self) -> Result<Sent, BackupError> {
        let key = self.key(MANIFEST);
        let manifest = self.bucket.get(&key).await?;
        let ours = [SENT, SENDING].map(|name| fs::read(self.spool.join(name)).ok());
        let path = self.bucket.path(&key);
        let mut log = BTreeMap::new();
        match &manifest {
            Some((bytes, _)) if ours.iter().flatten().any(|ours| ours == bytes) => {
                let there: Log = unseal_bytes(&path, bytes)?;
                log.extend(there.files.iter().map(|file| (file.number, file.bytes)));
            }
            Some(_) => return Err(BackupError::InUse(self.bucket.path(&self.id))),
            None if ours[0].is_some() => {
                let spool = self.spool.display();
                let what = format!("it is missing; to begin anew, stop and remove {spool}");
                return Err(BackupError::at(&path, what));
            }
            None => {}
        }
        let keys = self.bucket.list(&self.id).await?.into_iter().map(|(key, _)| key);
        let keys: BTreeSet<String> = keys.collect();
        let complete =
            |number: &u64| keys.contains(&self.key(&format!("base/{number:06}/{MANIFEST}")));
        let bases = self.bases()?.into_keys().filter(complete).collect();
        Ok(Sent { manifest, log, bases, keys })
    }

    /// The bases of the spool that are complete.
    fn bases(&self) -> Result<BTreeMap<u64, Base>, BackupError> {
        let found = names(&self.spool.join("base"))?;
        let numbers = found.iter().filter_map(|name| name.parse::<u64>().ok());
        let manifest = |number| (number, base_dir(&self.spool, number).join(MANIFEST));
        // One that the writer is removing has none.
        let there = numbers.map(manifest).filter(|(_, path)| path.exists());
        there.map(|(number, path)| Ok((number, unseal(&path)?))).collect()
    }

    async fn base(&mut self, number: u64, base: &Base) -> Result<(), BackupError> {
        if self.sent()?.bases.contains(&number) {
            return Ok(());
        }
        let dir = base_dir(&self.spool, number);
        let under = self.key(&format!("base/{number:06}"));
        let (bucket, signals) = (self.bucket.clone(), Arc::clone(&self.signals));
        for part in &base.parts {
            let between = async || match signals.is_due.load(Ordering::Acquire) {
                true => self.log().await.map(drop),
                false => Ok(()),
            };
            let (key, path) = (format!("{under}/{}", part.name), dir.join(&part.name));
            bucket.put_file(&key, &path, part.bytes, between).await?;
            self.sent()?.keys.insert(key);
        }
        let manifest = dir.join(MANIFEST);
        let bytes = fs::read(&manifest).map_err(|error| BackupError::file(&manifest, &error))?;
        let key = format!("{under}/{MANIFEST}");
        bucket.put(&key, bytes.into()).await?;
        let sent = self.sent()?;
        sent.keys.insert(key);
        sent.bases.insert(number);
        tracing::info!(base = number, bytes = base.bytes(), "a base is in the bucket");
        base.parts.iter().try_for_each(|part| remove(&dir.join(&part.name)))
    }

    /// Removes from the bucket what the spool's manifests do not tell of any more.
    async fn sweep(&mut self, bases: &BTreeMap<u64, Base>) -> Result<(), BackupError> {
        let Some((manifest, _)) = self.sent()?.manifest.clone() else { return Ok(()) };
        let log: Log = unseal_bytes(&self.spool.join(MANIFEST), &manifest)?;
        let logs = log.files.iter().map(|file| self.key(&format!("log/{:06}", file.number)));
        let mut wanted: BTreeSet<String> = logs.collect();
        for (number, base) in bases {
            let names = base.parts.iter().map(|part| part.name.as_str()).chain([MANIFEST]);
            wanted.extend(names.map(|name| self.key(&format!("base/{number:06}/{name}"))));
        }
        wanted.extend([MANIFEST, LOCK, KEY].map(|name| self.key(name)));
        let gone: Vec<String> = self.sent()?.keys.difference(&wanted).cloned().collect();
        for key in gone {
            self.bucket.delete(&key).await?;
            self.sent()?.keys.remove(&key);
        }
        let sent = self.sent()?;
        sent.bases.retain(|number| bases.contains_key(number));
        sent.log.retain(|number, _| log.files.iter().any(|file| file.number == *number));
        Ok(())
    }

    /// Tells how far one can go.
    fn reached(&self) {
        let until = (|| {
            let sent = self.sent.as_ref()?;
            let log: Log = unseal_bytes(&self.spool, &sent.manifest.as_ref()?.0).ok()?;
            let (last, bases) = (log.files.last()?, self.bases().ok()?);
            let there = |(number, base): (&u64, &Base)| {
                sent.bases.contains(number) && base.run == last.run && base.at <= last.until
            };
            bases.iter().any(there).then_some(last.until)
        })();
        let Some(until) = until else { return };
        metrics::gauge!("backup_last_success_timestamp_seconds")
            .set(until.millis().max(0) as f64 / 1000.0);
        self.state.send_modify(|state| state.until = Some(until));
    }

    fn sent(&mut self) -> Result<&mut Sent, BackupError> {
        let unmet = || BackupError::Refused("the bucket was not asked yet".to_owned());
        self.sent.as_mut().ok_or_else(unmet)
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.id)
    }

    /// Writes a file of the spool for good.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let written = private_dir(path.parent().unwrap_or(&self.spool)).and_then(|()| {
            let mut file = private_file(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|error| BackupError::failed(path, error))
    }
}

/// Removes a file of the spool, where the writer did not.
fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::failed(path, error))
        }
        _ => Ok(()),
    }
}
