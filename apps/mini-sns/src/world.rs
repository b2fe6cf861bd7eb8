//! The one place where the seams are filled: four services, each on a database of its own, over the
//! embedded backend.

use std::panic::resume_unwind;
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use embedded::feed::MemoryFeed;
use embedded::identity::EmbeddedIdentity;
use embedded::limiter::MemoryLimiter;
use embedded::sockets::Hub;
use embedded::table::Store;
use embedded::{bus, relay};
use kernel::bus::Subscription;
use kernel::clock::SystemClock;
use kernel::ids::SystemIds;
use kernel::outbox::{self, Relay};
use kernel::table::Table;
use kernel::{Clock, Ids, Problem};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::data::Data;
use crate::failure::Failure;
use crate::heartbeat::{self, Heartbeat};
use crate::peers::{InProcess, Services};
use crate::settings::Settings;
use crate::values::Backend;

/// The names of the services' databases.
pub(crate) const STORES: [&str; 4] = ["user", "post", "social", "timeline"];

/// The databases of the services, by the names of their directories.
pub(crate) struct Stores {
    pub(crate) user: Arc<Store>,
    pub(crate) post: Arc<Store>,
    pub(crate) social: Arc<Store>,
    pub(crate) timeline: Arc<Store>,
}

impl Stores {
    fn open(data: &Data, settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let open = |name: &str| {
            Store::open(data.part(name), settings.table(), Arc::clone(clock))
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

    /// Each store with its name.
    pub(crate) fn all(&self) -> [(&'static str, &Arc<Store>); 4] {
        [
            ("user", &self.user),
            ("post", &self.post),
            ("social", &self.social),
            ("timeline", &self.timeline),
        ]
    }
}

/// Everything that serves, apart from the listeners.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) bus: Arc<bus::Bus>,
    pub(crate) hub: Arc<Hub>,
    heartbeat: Arc<Heartbeat>,
    pub(crate) identity: Arc<EmbeddedIdentity>,
    pub(crate) limiter: Arc<MemoryLimiter>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) peers: Arc<InProcess>,
    pub(crate) users: Arc<users::Users>,
    pub(crate) posts: Arc<posts::Posts>,
    pub(crate) social: Arc<social::Social>,
    pub(crate) timeline: Arc<timeline::Timeline>,
}

impl World {
    /// Opens the data directory, making it if there is none, and wires the services. Of a directory
    /// that is refused, every file is as it was.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Failure> {
        // The one backend that this build has; an adapter for another is chosen here.
        let Backend::Embedded = settings.backend;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn Ids> = Arc::new(SystemIds::new(Arc::clone(&clock)));
        let data = Data::look(&settings.data)?;
        let stores = Stores::open(&data, settings, &clock)?;
        let issuer = data.issuer(|| settings.first_issuer());
        let identity = open_identity(&data, settings, &issuer, &stores, &clock, &ids)?;
        // The last of what may be refused: it counts the receives of the run before.
        let bus = open_bus(&data, settings, &clock)?;
        data.finish(&*ids, &issuer)?;
        stores.all().iter().for_each(|(_, store)| store.settle());
        let hub = Hub::new(settings.hub());
        let peers = Arc::new(InProcess::default());

        let users = users::Users::new(
            Arc::clone(&stores.user) as _,
            Arc::clone(&identity) as _,
            Arc::clone(&clock),
            Arc::clone(&ids),
            settings.users(),
        );
        let posts = posts::Posts::new(
            Arc::clone(&stores.post) as _,
            Arc::clone(&bus) as _,
            Arc::clone(&clock),
            Arc::clone(&ids),
            settings.posts(),
        );
        let social = social::Social::new(
            Arc::clone(&stores.social) as _,
            Arc::clone(&bus) as _,
            Arc::clone(&clock),
            Arc::clone(&ids),
            Arc::clone(&peers) as _,
            settings.social(),
        );
        let parts = timeline::Parts {
            table: Arc::clone(&stores.timeline) as _,
            bus: Arc::clone(&bus) as _,
            feed: MemoryFeed::new(settings.feed(), Arc::clone(&clock)),
            sockets: Arc::clone(&hub) as _,
            connections: Arc::clone(&hub) as _,
            peers: Arc::clone(&peers) as _,
            identity: Arc::clone(&identity) as _,
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
        };
        let timeline = timeline::Timeline::new(parts, settings.timeline());
        peers.enter(Services {
            users: Arc::clone(&users),
            posts: Arc::clone(&posts),
            social: Arc::clone(&social),
        });
        let limiter = MemoryLimiter::new(Arc::new(SystemClock));
        let heartbeat = Heartbeat::new(Arc::clone(&bus) as _, clock, Arc::clone(&ids));
        Ok(Self {
            stores,
            bus,
            hub,
            heartbeat,
            identity,
            limiter,
            ids,
            peers,
            users,
            posts,
            social,
            timeline,
        })
    }

    /// Starts what works in the background: the relays of the outboxes and the queues' workers.
    pub(crate) fn start(&self, cancel: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (_, store) in self.stores.all() {
            let Some(stream) = store.outbox() else { continue };
            let relay = Relay::new(Arc::clone(store) as _, Arc::clone(&self.bus) as _);
            tasks.spawn(relay::run(relay, stream, cancel.clone()));
        }
        let (bus, subscriptions) = (Arc::clone(&self.bus), self.subscriptions());
        let cancel = cancel.clone();
        tasks.spawn(async move {
            if let Err(problem) = bus.run(subscriptions, cancel).await {
                tracing::error!(error = ?problem, "the queues are not consumed");
            }
        });
        tasks
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let mut all = Arc::clone(&self.users).subscriptions();
        all.extend(Arc::clone(&self.posts).subscriptions());
        all.extend(Arc::clone(&self.social).subscriptions());
        all.extend(Arc::clone(&self.timeline).subscriptions());
        all.push(Arc::clone(&self.heartbeat).subscription());
        all
    }

    /// The routes of all services, with `/health`.
    pub(crate) fn routes(self: &Arc<Self>) -> Router {
        let health = Arc::clone(self).health();
        let all = [
            Arc::clone(&self.users).routes(),
            Arc::clone(&self.posts).routes(),
            Arc::clone(&self.social).routes(),
            Arc::clone(&self.timeline).routes(),
        ];
        let routes = all.into_iter().fold(health.routes(), OpenApiRouter::merge);
        // Until there is a client to show, the printed address leads to the API's own pages.
        Router::from(routes).route("/", get(async || Redirect::temporary("/docs")))
    }

    fn health(self: Arc<Self>) -> edge::Health {
        let (store, bus, cache) = (Arc::clone(&self), Arc::clone(&self), self);
        edge::Health::new(env!("CARGO_PKG_VERSION"))
            .check("store", move || std::future::ready(store.stores_writable()))
            .check("bus", move || {
                let heartbeat = Arc::clone(&bus.heartbeat);
                async move { heartbeat.beat().await }
            })
            .check("cache", move || {
                let timeline = Arc::clone(&cache.timeline);
                async move { timeline.heartbeat().await }
            })
    }

    /// Sets the gauges that are read rather than counted.
    pub(crate) fn record_metrics(&self) {
        self.bus.record_metrics();
    }

    /// Whether every database takes writes.
    pub(crate) fn stores_writable(&self) -> Result<(), Problem> {
        Ok(self.stores.all().iter().try_for_each(|(_, store)| store.writable())?)
    }

    /// Events that are committed and not yet on the bus.
    pub(crate) async fn outbox_rows(&self) -> Result<usize, Problem> {
        let mut rows = 0;
        for (_, store) in self.stores.all() {
            rows += outbox::waiting(store.as_ref()).await?;
        }
        Ok(rows)
    }

    /// Proves that work gets through: a write and a read of a table, of the cache, and a message
    /// through the bus.
    pub(crate) async fn round_trip(&self) -> Result<(), Problem> {
        self.stores_writable()?;
        self.heartbeat.beat().await?;
        self.timeline.heartbeat().await
    }
}

fn open_bus(
    data: &Data,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<bus::Bus>, Failure> {
    let services = [users::QUEUES, posts::QUEUES, social::QUEUES, timeline::QUEUES];
    let queues = [services.concat(), vec![heartbeat::QUEUE]].concat();
    let dir = data.part("bus");
    bus::Bus::open(&dir, settings.queues(), settings.bus(), Arc::clone(clock), &queues)
        .map_err(|error| Failure::usage(format!("data: {error}")))
}

fn open_identity(
    data: &Data,
    settings: &Settings,
    issuer: &str,
    stores: &Stores,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> Result<Arc<EmbeddedIdentity>, Failure> {
    let keys = data.keys();
    let issuer = settings.issuer.clone().unwrap_or_else(|| issuer.to_owned());
    let table = Arc::clone(&stores.user) as Arc<dyn Table>;
    let (clock, ids) = (Arc::clone(clock), Arc::clone(ids));
    EmbeddedIdentity::open(settings.identity(issuer), &keys, table, clock, ids)
        .map_err(|error| Failure::usage(format!("data: {error}")))
}
