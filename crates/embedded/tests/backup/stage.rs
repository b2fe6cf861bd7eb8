//! Two tables, a bus and signing keys, with their copies beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conformance::{SeededIds, TestClock};
use embedded::backup::{self, Backup, BackupError, Catalog, Options, Plan, Progress, Reader};
use embedded::bus::{self, Bus};
use embedded::encryption::{Encryption, OperatorKeys};
use embedded::table::{self, Store};
use kernel::audit::Snapshot;
use kernel::bus::{Bus as _, QueuePolicy, QueueSpec};
use kernel::event::Like;
use kernel::table::{Item, Key, Table, Write};
use kernel::{Clock, Event, EventData, EventKind, Ids, PostId, Time, UserId};

pub(crate) const ID: &str = "data-1";
const SPECS: &[QueueSpec] = &[QueueSpec { name: "likes", kinds: EventKind::ALL }];
const KEYS: &str = "signing.json";

/// All that a data directory holds, as a reader sees it.
pub(crate) type Content = (Vec<Item>, Vec<Item>, u64, String);

/// Open databases.
pub(crate) struct Data {
    pub(crate) left: Arc<Store>,
    pub(crate) right: Arc<Store>,
    pub(crate) bus: Arc<Bus>,
    dir: PathBuf,
}

impl Data {
    pub(crate) fn open(dir: &Path, encryption: &Encryption, clock: &Arc<dyn Clock>) -> Self {
        let store = |name| {
            let store = Store::open(dir.join(name), small(encryption), Arc::clone(clock));
            Arc::new(store.unwrap())
        };
        let (left, right) = (store("left"), store("right"));
        let policy = QueuePolicy::default();
        let options = bus::Options { encryption: encryption.clone(), ..bus::Options::default() };
        let bus = Bus::open(&dir.join("bus"), policy, options, Arc::clone(clock), SPECS).unwrap();
        Self { left, right, bus, dir: dir.to_owned() }
    }

    pub(crate) async fn content(&self) -> Content {
        let items = |store: &Store| store.items("").map(Result::unwrap).collect();
        let waiting = self.bus.stats()[0].waiting;
        let keys = std::fs::read_to_string(self.dir.join("keys").join(KEYS)).unwrap();
        (items(&self.left), items(&self.right), waiting, keys)
    }

    pub(crate) async fn put(&self, key: &str, body: String) {
        self.left.commit(vec![Write::put(Key::new("p", key), body)]).await.unwrap();
    }
}

fn small(encryption: &Encryption) -> table::Options {
    let encryption = encryption.clone();
    table::Options { memtable_bytes: 256 << 10, encryption, ..table::Options::default() }
}

/// A place for data and copies.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    pub(crate) test_clock: Arc<TestClock>,
    clock: Arc<dyn Clock>,
    ids: Arc<SeededIds>,
    restored: std::sync::atomic::AtomicUsize,
    pub(crate) encryption: Encryption,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        Self::with(Arc::clone(&clock) as _, clock)
    }

    /// One whose time passes by itself.
    pub(crate) fn in_real_time() -> Self {
        Self::with(Arc::new(kernel::clock::SystemClock), TestClock::new())
    }

    fn with(clock: Arc<dyn Clock>, test_clock: Arc<TestClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/keys")).unwrap();
        let ids = SeededIds::new(Arc::clone(&test_clock), 1);
        let (restored, encryption) = Default::default();
        let this = Self { dir, test_clock, clock, ids, restored, encryption };
        this.write_keys("first keys");
        this
    }

    pub(crate) fn write_keys(&self, text: &str) {
        std::fs::write(self.dir.path().join("data/keys").join(KEYS), text).unwrap();
    }

    /// One whose data is encrypted with the operator's keys.
    pub(crate) fn encrypted(operator: &OperatorKeys) -> Self {
        let mut this = Self::new();
        let dir = this.dir.path().join("data");
        this.encryption = Encryption::begin(&dir, Some(operator), &*this.ids).unwrap();
        this
    }

    pub(crate) fn open(&self) -> Data {
        Data::open(&self.dir.path().join("data"), &self.encryption, &self.clock)
    }

    /// What was restored there.
    pub(crate) fn open_at(&self, dir: &Path) -> Data {
        Data::open(dir, &self.encryption, &self.clock)
    }

    pub(crate) fn options(&self) -> Options {
        let options = Options { dir: self.copies(), base_rests: 0, ..Options::default() };
        let encryption = self.encryption.clone();
        Options { free_space_floor_bytes: 0, encryption, ..options }
    }

    pub(crate) fn copies(&self) -> PathBuf {
        self.dir.path().join("copies")
    }

    pub(crate) fn shelf(&self) -> PathBuf {
        self.copies().join(ID)
    }

    pub(crate) fn back_up(&self, data: &Data) -> Backup {
        self.try_back_up(data, self.options()).unwrap()
    }

    pub(crate) fn try_back_up(&self, data: &Data, options: Options) -> Result<Backup, BackupError> {
        let keys = self.dir.path().join("data/keys");
        let stores = [&data.left, &data.right];
        Backup::start(options, ID, &keys, &stores, &data.bus, Arc::clone(&self.clock))
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::read(&self.copies(), None).unwrap()
    }

    pub(crate) fn plan(&self, at: Time) -> Result<Plan, BackupError> {
        self.catalog().plan(Some(at))
    }

    /// A directory that nothing was restored to yet.
    pub(crate) fn place(&self) -> PathBuf {
        let number = self.restored.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.dir.path().join(format!("restored-{number}"))
    }

    pub(crate) fn restore(&self, plan: &Plan, to: &Path) -> Result<(), BackupError> {
        backup::restore(plan, to, &small(&self.encryption), &Progress::default())?;
        backup::finish(to)
    }

    /// The same with nothing written.
    pub(crate) async fn try_out(&self, plan: &Plan) -> Result<(), BackupError> {
        let (reader, progress) = (Reader::of_dir(self.copies()), Progress::default());
        reader.check_plan(plan, &progress).await?;
        assert_eq!(progress.done(), plan.size());
        Ok(())
    }

    /// What is there after the moment was restored.
    pub(crate) async fn content_at(&self, at: Time) -> Content {
        let to = self.place();
        self.restore(&self.plan(at).unwrap(), &to).unwrap();
        embedded::intact::table(to.join("left")).unwrap();
        embedded::intact::bus(to.join("bus")).unwrap();
        self.open_at(&to).content().await
    }

    pub(crate) async fn publish(&self, data: &Data, count: usize) {
        let like = |_| {
            let (user_id, post_id) = (UserId(self.ids.ulid()), PostId(self.ids.ulid()));
            let like = Like { user_id, post_id, version: 1 };
            Event::new(&*self.ids, &*self.test_clock, EventData::LikeCreated(like))
        };
        let events: Vec<_> = (0..count).map(like).collect();
        data.bus.publish(&events).await.unwrap();
    }

    /// A moment after all that was written, which is over when this returns. While the clock stands
    /// still, each look of the writer's makes what comes next a little later than it says.
    pub(crate) fn mark(&self) -> Time {
        self.test_clock.advance(Duration::from_millis(500));
        let now = self.test_clock.now();
        self.test_clock.advance(Duration::from_millis(500));
        now
    }
}
