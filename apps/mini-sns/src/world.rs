//! Where a backend's seams and the services meet. Each backend fills the seams in one place:
//! [`embedded`] and [`aws`]; what is the same on both is here.

#[cfg(feature = "aws")]
mod aws;
pub(crate) mod embedded;

use std::sync::Arc;

use ::embedded::sockets::Hub;
use async_trait::async_trait;
use axum::Router;
use edge::internal::{Guard, Internal};
use futures_util::future::{try_join, try_join_all};
use kernel::bus::{Bus, QueueSpec, Subscription};
use kernel::feed::Feed;
use kernel::identity::Identity;
use kernel::identity::session::Sessions;
use kernel::internal::Service;
use kernel::limiter::Limiter;
use kernel::mail::Mailer;
use kernel::peers::Peers;
use kernel::queues::Queues;
use kernel::sockets::{CloseCode, Sockets};
use kernel::spans::Tracer;
use kernel::table::Table;
use kernel::{Clock, Code, Ids, Problem, Time, outbox};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::failure::Failure;
use crate::heartbeat::Heartbeat;
use crate::metering;
use crate::openapi;
use crate::peers::{Neighbours, Services};
use crate::settings::Settings;
use crate::trace::Tracing;
use crate::values::{Backend, ServiceName};
use crate::web;

/// The seams of one process, filled by its backend.
pub(crate) struct Seams {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    /// The table of each service that this process serves; the others have none here.
    pub(crate) tables: Vec<(ServiceName, Arc<dyn Table>)>,
    pub(crate) bus: Arc<dyn Bus>,
    /// The same bus in the operator's hand.
    pub(crate) queues: Arc<dyn Queues>,
    /// The queue that proves that messages get through to this process.
    pub(crate) heartbeat: QueueSpec,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) limiter: Arc<dyn Limiter>,
    pub(crate) feed: Arc<dyn Feed>,
    /// The services of other processes; none where all live in this one.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// How processes that share the services know each other.
pub(crate) struct Elsewhere {
    /// The services that this process does not serve.
    pub(crate) peers: Arc<dyn Peers>,
    /// Whom this process answers.
    pub(crate) guard: Guard,
    /// Which sessions are open, where this process serves people.
    pub(crate) sessions: Option<Arc<dyn Sessions>>,
}

/// What a backend does beside filling the seams.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Starts what takes events from the outboxes to the bus, and what consumes the queues.
    fn start(
        &self,
        bus: &Arc<dyn Bus>,
        subscriptions: Vec<Subscription>,
        stop: &Stop,
    ) -> JoinSet<()>;

    /// Whether the stores take writes.
    async fn check_stores(&self) -> Result<(), Problem>;

    /// Copies the data as it is now, with `base` all of it anew; gives the moment that can be had.
    async fn copy(&self, base: bool) -> Result<Time, Problem> {
        let _ = base;
        Err(keeps_no_copies())
    }

    /// Ends what has to end after everything else.
    async fn close(&self) {}

    /// Sets the gauges that are read rather than counted.
    async fn record_metrics(&self);
}

fn keeps_no_copies() -> Problem {
    Problem::new(Code::NotFound, "This server keeps no copies: start it with --backup-dir.")
}

/// How a process ends, step by step.
#[derive(Default)]
pub(crate) struct Stop {
    /// Nothing new is taken on.
    pub(crate) intake: CancellationToken,
    /// Nobody is served any more.
    pub(crate) end: CancellationToken,
}

/// Everything that serves, apart from the listeners.
pub(crate) struct World {
    pub(crate) seams: Seams,
    engine: Arc<dyn Engine>,
    hub: Arc<Hub>,
    heartbeat: Arc<Heartbeat>,
    pub(crate) peers: Arc<Neighbours>,
    pub(crate) services: Services,
    pub(crate) timeline: Option<Arc<timeline::Timeline>>,
    tracing: Option<Tracing>,
}

/// Opens the backend that was asked for.
pub(crate) async fn open(settings: &Settings) -> Result<Arc<World>, Failure> {
    match settings.backend {
        Backend::Embedded => Ok(embedded::open(settings)?.0),
        #[cfg(feature = "aws")]
        Backend::Aws => aws::open(settings).await,
        #[cfg(not(feature = "aws"))]
        Backend::Aws => {
            Err(Failure::usage("backend: this program was built without `--features aws`"))
        }
    }
}

impl World {
    /// The services that have a table, over the seams.
    fn new(
        settings: &Settings,
        seams: Seams,
        engine: Arc<dyn Engine>,
    ) -> Result<Arc<Self>, Failure> {
        let tracing = Tracing::start(settings, &seams)?;
        let seams = match &tracing {
            Some(tracing) => tracing.seams(seams),
            None => seams,
        };
        let hub = Hub::new(settings.hub());
        let elsewhere = seams.elsewhere.as_ref().map(|elsewhere| Arc::clone(&elsewhere.peers));
        let peers = Neighbours::new(elsewhere);
        let (mut sockets, mut reads) =
            (Arc::clone(&hub) as Arc<dyn Sockets>, Arc::clone(&peers) as _);
        if let Some(tracing) = &tracing {
            (sockets, reads) = (tracing.sockets(sockets), tracing.peers(reads));
        }
        let services = Services {
            users: seams.table(ServiceName::User).map(|table| {
                let identity = Arc::clone(&seams.identity);
                let mailer = Some(Arc::clone(&seams.mailer));
                let (clock, ids) = (seams.clock(), seams.ids());
                users::Users::new(table, identity, clock, ids, mailer, settings.users())
            }),
            posts: seams.table(ServiceName::Post).map(|table| {
                let (bus, peers) = (Arc::clone(&seams.bus), Arc::clone(&reads));
                let (clock, ids) = (seams.clock(), seams.ids());
                posts::Posts::new(table, bus, clock, ids, peers, settings.posts())
            }),
            social: seams.table(ServiceName::Social).map(|table| {
                let (bus, peers) = (Arc::clone(&seams.bus), Arc::clone(&reads));
                let (clock, ids) = (seams.clock(), seams.ids());
                social::Social::new(table, bus, clock, ids, peers, settings.social())
            }),
        };
        let timeline = seams.table(ServiceName::Timeline).map(|table| {
            let parts = timeline::Parts {
                table,
                bus: Arc::clone(&seams.bus),
                feed: Arc::clone(&seams.feed),
                sockets,
                connections: Arc::clone(&hub) as _,
                peers: reads,
                identity: Arc::clone(&seams.identity),
                clock: seams.clock(),
                ids: seams.ids(),
            };
            timeline::Timeline::new(parts, settings.timeline())
        });
        peers.enter(services.clone());
        let heartbeat = Heartbeat::new(&seams);
        Ok(Arc::new(Self { seams, engine, hub, heartbeat, peers, services, timeline, tracing }))
    }

    /// Starts what works in the background: the relays of the outboxes and the queues' workers.
    pub(crate) fn start(&self, stop: &Stop) -> JoinSet<()> {
        self.engine.start(&self.seams.bus, self.subscriptions(), stop)
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let Services { users, posts, social } = self.services.clone();
        let all = [
            users.map(users::Users::subscriptions),
            posts.map(posts::Posts::subscriptions),
            social.map(social::Social::subscriptions),
            self.timeline.clone().map(timeline::Timeline::subscriptions),
            Some(vec![Arc::clone(&self.heartbeat).subscription()]),
        ];
        let all = all.into_iter().flatten().flatten();
        match &self.tracing {
            Some(tracing) => all.map(|one| tracing.subscription(one)).collect(),
            None => all.collect(),
        }
    }

    /// The API with the edge around it, and beside it what other processes read here.
    pub(crate) fn router(self: &Arc<Self>, settings: &Settings) -> Router {
        let edge = edge::Edge {
            config: settings.edge(),
            identity: Arc::clone(&self.seams.identity),
            limiter: Arc::clone(&self.seams.limiter),
            ids: self.seams.ids(),
            tracer: self.tracer(),
        };
        let routes = web::beside(self.routes(), settings.web_dir.clone());
        let router = edge.wrap(routes, &openapi::document());
        let Some(elsewhere) = &self.seams.elsewhere else { return router };
        let internal = Internal {
            config: settings.edge(),
            guard: elsewhere.guard.clone(),
            peers: Arc::clone(&self.peers) as _,
            sessions: elsewhere.sessions.clone(),
            ids: self.seams.ids(),
            tracer: self.tracer(),
        };
        internal.beside(router, &self.read_by_others())
    }

    fn tracer(&self) -> Option<Arc<Tracer>> {
        self.tracing.as_ref().map(Tracing::tracer)
    }

    /// The services of this process that others read from.
    fn read_by_others(&self) -> Vec<Service> {
        let served = self.seams.tables.iter().filter_map(|(name, _)| match name {
            ServiceName::User => Some(Service::User),
            ServiceName::Post => Some(Service::Post),
            ServiceName::Social => Some(Service::Social),
            ServiceName::Timeline => None,
        });
        served.collect()
    }

    /// The routes of the services, with `/health`.
    fn routes(self: &Arc<Self>) -> Router {
        let Services { users, posts, social } = self.services.clone();
        let all = [
            users.map(users::Users::routes),
            posts.map(posts::Posts::routes),
            social.map(social::Social::routes),
            self.timeline.clone().map(timeline::Timeline::routes),
        ];
        let health = Arc::clone(self).health().routes();
        let routes = all.into_iter().flatten().fold(health, OpenApiRouter::merge);
        Router::from(routes)
    }

    fn health(self: Arc<Self>) -> edge::Health {
        let (store, bus, cache) = (Arc::clone(&self), Arc::clone(&self), self);
        edge::Health::new(env!("CARGO_PKG_VERSION"))
            .check("store", move || {
                let world = Arc::clone(&store);
                async move { world.engine.check_stores().await }
            })
            .check("bus", move || {
                let world = Arc::clone(&bus);
                async move { world.heartbeat.beat().await }
            })
            .check("cache", move || {
                let world = Arc::clone(&cache);
                async move { world.check_cache().await }
            })
    }

    /// Whether the cache works, by itself and for the timeline where it is served.
    async fn check_cache(&self) -> Result<(), Problem> {
        let of_timeline = async {
            match &self.timeline {
                Some(timeline) => timeline.heartbeat().await,
                None => Ok(()),
            }
        };
        try_join(self.seams.feed.check(), of_timeline).await.map(drop)
    }

    /// Proves that work gets through: a write and a read of a table, of the cache, and a message
    /// through the bus.
    pub(crate) async fn round_trip(&self) -> Result<(), Problem> {
        self.engine.check_stores().await?;
        self.heartbeat.beat().await?;
        self.check_cache().await
    }

    /// Sets the gauges that are read rather than counted.
    pub(crate) async fn record_metrics(&self) {
        metering::record_process();
        self.engine.record_metrics().await;
        if let Some(posts) = &self.services.posts {
            match posts.reports_waiting().await {
                Ok((open, oldest)) => {
                    let age = oldest.map(|since| self.seams.clock.now().since(since));
                    metering::record_reports(open, age.unwrap_or_default());
                }
                Err(problem) => tracing::warn!(error = ?problem, "reports cannot be counted"),
            }
        }
    }

    /// Copies the data as it is now.
    pub(crate) async fn copy(&self, base: bool) -> Result<Time, Problem> {
        self.engine.copy(base).await
    }

    /// Ends what has to end after everything else.
    pub(crate) async fn close(&self) {
        if let Some(tracing) = &self.tracing {
            tracing.finish().await;
        }
        self.engine.close().await;
    }

    /// Events that are committed and not yet on the bus.
    pub(crate) async fn outbox_rows(&self) -> Result<usize, Problem> {
        let waiting = self.seams.tables.iter().map(|(_, table)| outbox::waiting(table.as_ref()));
        Ok(try_join_all(waiting).await?.into_iter().sum())
    }

    /// Closes every socket of this process, and opens no other.
    pub(crate) async fn close_sockets(&self) {
        if let Some(timeline) = &self.timeline {
            timeline.close_sockets().await;
        }
        self.hub.close_all(CloseCode::GoingAway);
    }
}

impl Seams {
    /// The table of a service, where this process serves it.
    fn table(&self, service: ServiceName) -> Option<Arc<dyn Table>> {
        let found = self.tables.iter().find(|(name, _)| *name == service);
        found.map(|(_, table)| Arc::clone(table))
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn ids(&self) -> Arc<dyn Ids> {
        Arc::clone(&self.ids)
    }
}

/// Every queue that there is on AWS.
#[cfg(feature = "aws")]
pub(crate) fn all_queues() -> Vec<QueueSpec> {
    let each = |service: &ServiceName| [queues(*service), &[aws::heartbeat(*service)]].concat();
    ServiceName::ALL.iter().flat_map(each).collect()
}

/// The queues of a service.
fn queues(service: ServiceName) -> &'static [QueueSpec] {
    match service {
        ServiceName::User => users::QUEUES,
        ServiceName::Post => posts::QUEUES,
        ServiceName::Social => social::QUEUES,
        ServiceName::Timeline => timeline::QUEUES,
    }
}
