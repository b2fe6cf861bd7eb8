//! The embedded backend: every seam in this process, over one data directory, with a database for
//! each service.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use embedded::backup::{self, Backup, BackupError};
use embedded::encryption::Encryption;
use embedded::feed::MemoryFeed;
use embedded::identity::{self, EmbeddedIdentity};
use embedded::limiter::MemoryLimiter;
use embedded::table::{self, Store};
use embedded::{bus, relay};
use kernel::bus::{Bus, QueueSpec, Subscription};
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;
use kernel::outbox::Relay;
use kernel::table::Table;
use kernel::{Clock, Code, Ids, Problem, Time};
use tokio::task::JoinSet;

use super::{Engine, Seams, Stop, World, queues};
use crate::data::Data;
use crate::failure::Failure;
use crate::mail;
use crate::settings::Settings;
use crate::values::ServiceName;

/// The names of the services' databases.
pub(crate) const STORES: [&str; 4] = ["user", "post", "social", "timeline"];

/// The queue of heartbeats; no event of a service comes to it.
const HEARTBEAT: QueueSpec = QueueSpec { name: "heartbeat", kinds: &[] };

/// The databases of the services, by the names of their directories.
pub(crate) struct Stores {
    pub(crate) user: Arc<Store>,
    pub(crate) post: Arc<Store>,
    pub(crate) social: Arc<Store>,
    pub(crate) timeline: Arc<Store>,
}

impl Stores {
    fn open(
        data: &Data,
        options: &table::Options,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let open = |name: &str| {
            Store::open(data.part(name), options.clone(), Arc::clone(clock))
                .map(Arc::new)
                .map_err(|error| Failure::usage(format!("data: {error}")))
        };
        // Each replays its journal, which is most of the time that a start takes: side by side.
        let [user, post, social, timeline] = std::thread::scope(|scope| {
            STORES
                .map(|name| scope.spawn(move || open(name)))
                .map(|opening| opening.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        Ok(Self { user: user?, post: post?, social: social?, timeline: timeline? })
    }

    /// Each store with whose it is.
    pub(crate) fn all(&self) -> [(ServiceName, &Arc<Store>); 4] {
        [
            (ServiceName::User, &self.user),
            (ServiceName::Post, &self.post),
            (ServiceName::Social, &self.social),
            (ServiceName::Timeline, &self.timeline),
        ]
    }
}

/// The backend as it runs.
pub(crate) struct Embedded {
    pub(crate) stores: Stores,
    pub(crate) bus: Arc<bus::Bus>,
    pub(crate) identity: Arc<EmbeddedIdentity>,
    /// Whether and how all of it is encrypted.
    pub(crate) encryption: Encryption,
    data: Data,
    clock: Arc<dyn Clock>,
    /// None where no copies are kept.
    backup: Mutex<Option<Arc<Backup>>>,
}

impl Embedded {
    /// Keeps copies from now on.
    pub(crate) fn back_up(&self, options: backup::Options) -> Result<(), Failure> {
        let stores = self.stores.all().map(|(_, store)| store);
        let (id, keys) = (self.data.id().unwrap_or_default(), self.data.keys());
        let begun = Backup::start(options, id, &keys, &stores, &self.bus, Arc::clone(&self.clock));
        let begun = begun.map_err(|error| Failure::usage(format!("backup_dir: {error}")))?;
        *self.backup.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(begun));
        Ok(())
    }

    fn backup(&self) -> Option<Arc<Backup>> {
        self.backup.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Opens the data directory, making it if there is none, and wires the services. Of a directory
/// that is refused, every file is as it was.
pub(crate) fn open(settings: &Settings) -> Result<(Arc<World>, Arc<Embedded>), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock)));
    let mut data = Data::look(&settings.data)?;
    let encryption = data.encryption(settings.operator_keys()?.as_ref(), &*ids)?;
    let stores = Stores::open(&data, &settings.table(&encryption), &clock)?;
    let issuer = data.issuer(|| settings.first_issuer());
    let config = {
        let issuer = settings.issuer.clone().unwrap_or_else(|| issuer.clone());
        settings.identity(issuer, &encryption)
    };
    let identity = open_identity(&data, config, &stores, &clock, &ids)?;
    // The last of what may be refused: it counts the receives of the run before.
    let bus = open_bus(&data, settings, &encryption, &clock)?;
    data.finish(&*ids, &issuer)?;
    data.settle(&encryption)?;
    stores.all().iter().for_each(|(_, store)| store.settle());
    let seams = Seams {
        tables: stores.all().map(|(name, store)| (name, Arc::clone(store) as _)).to_vec(),
        bus: Arc::clone(&bus) as _,
        queues: Arc::clone(&bus) as _,
        heartbeat: HEARTBEAT,
        identity: Arc::clone(&identity) as _,
        mailer: mail::mailer(settings)?,
        limiter: MemoryLimiter::new(Arc::clone(&clock)),
        feed: MemoryFeed::new(settings.feed(), Arc::clone(&clock)),
        elsewhere: None,
        clock: Arc::clone(&clock),
        ids,
    };
    let backup = Mutex::default();
    let engine = Arc::new(Embedded { stores, bus, identity, encryption, data, clock, backup });
    if let Some(options) = settings.backup(&engine.encryption)? {
        engine.back_up(options)?;
    }
    Ok((World::new(settings, seams, Arc::clone(&engine) as _)?, engine))
}

#[async_trait]
impl Engine for Embedded {
    fn start(
        &self,
        bus: &Arc<dyn Bus>,
        subscriptions: Vec<Subscription>,
        stop: &Stop,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (_, store) in self.stores.all() {
            let Some(stream) = store.outbox() else { continue };
            let relay = Relay::new(Arc::clone(store) as _, Arc::clone(bus));
            tasks.spawn(relay::run(relay, stream, stop.end.clone()));
        }
        let (bus, end) = (Arc::clone(&self.bus), stop.end.clone());
        tasks.spawn(async move {
            if let Err(problem) = bus.run(subscriptions, end).await {
                tracing::error!(error = ?problem, "the queues are not consumed");
            }
        });
        tasks
    }

    async fn check_stores(&self) -> Result<(), Problem> {
        Ok(self.stores.all().iter().try_for_each(|(_, store)| store.writable())?)
    }

    async fn copy(&self, base: bool) -> Result<Time, Problem> {
        let Some(backup) = self.backup() else { return Err(super::keeps_no_copies()) };
        // Operators ask, and they can do something about it.
        let told = |error: BackupError| Problem::new(Code::Unavailable, error.to_string());
        backup.copy(base).await.map_err(told)
    }

    async fn close(&self) {
        let backup = self.backup.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It copies what is left.
        let _ = tokio::task::spawn_blocking(move || drop(backup)).await;
    }

    async fn record_metrics(&self) {
        self.bus.record_metrics();
        self.stores.all().iter().for_each(|(_, store)| store.record_metrics());
    }
}

fn open_bus(
    data: &Data,
    settings: &Settings,
    encryption: &Encryption,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<bus::Bus>, Failure> {
    let services = ServiceName::ALL.iter().flat_map(|service| queues(*service));
    let queues: Vec<_> = services.copied().chain([HEARTBEAT]).collect();
    let dir = data.part("bus");
    let options = settings.bus(encryption);
    bus::Bus::open(&dir, settings.queues(), options, Arc::clone(clock), &queues)
        .map_err(|error| Failure::usage(format!("data: {error}")))
}

fn open_identity(
    data: &Data,
    config: identity::Config,
    stores: &Stores,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> Result<Arc<EmbeddedIdentity>, Failure> {
    let keys = data.keys();
    let table = Arc::clone(&stores.user) as Arc<dyn Table>;
    let (clock, ids) = (Arc::clone(clock), Arc::clone(ids));
    EmbeddedIdentity::open(config, &keys, table, clock, ids)
        .map_err(|error| Failure::usage(format!("data: {error}")))
}
