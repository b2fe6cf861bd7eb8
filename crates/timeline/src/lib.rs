//! The timeline service: every person's feed, and the sockets it is pushed to.
//!
//! A feed is derived data, written by reactions to other services' events and always rebuildable
//! from them. Posts are fanned out to the feeds of their author's followers when they are written;
//! authors with very many followers keep one row instead, which readers merge. What is shown is
//! hydrated from the other services at reading time, and what is gone there is never shown here.
//!
//! # Key layout
//!
//! | partition | sort | body |
//! |---|---|---|
//! | `feed#U` | post | author, arrival, gone? (24 h) |
//! | `author#A` | post | the same, for authors above the fan-out threshold |
//! | `big` | author | authors that have `author#A` rows |
//! | `mark#U` | | the feed holds everything from this post on; older pages are pulled |
//! | `cut#U` | | the last arrival among the rows that were cut off the feed |
//! | `follower#A` | user | version and state of the edge (a tombstone when off); muted? |
//! | `following#U` | author | the same edge seen from the other end |
//! | `followers#A` | | counter of followers |
//! | `gone#P` | | tombstone of a post |
//! | `left#U` | | tombstone of a person |
//! | `turn` | | the last arrival given, where one process serves |
//! | `turn` | `lease` | whose turn it is and what can be read, where several do |
//!
//! # Arrival
//!
//! Every row carries the number of the turn in which it arrived, growing in the order in
//! which rows became visible and frames were sent. Cursors carry it, so that a reader who comes
//! back is given what arrived since, also where fan-out finished out of the order of ids.
//! Zero stands for what was there from the start: a back-fill or a pull.
//!
//! # Routes
//!
//! `GET /timeline`, `GET /ws`.
//!
//! # Subscriptions
//!
//! `timeline-fanout` (PostCreated), `timeline-removal` (PostDeleted), `timeline-follow`
//! (FollowCreated, FollowDeleted, MuteCreated, MuteDeleted), `timeline-user` (UserProfileUpdated,
//! UserDeleted, UserSuspended, UserRestored).

mod api;
pub mod audit;
mod config;
mod fanout;
mod follow;
mod gap;
mod live;
mod model;
mod objects;
mod pages;
mod pull;
mod react;
mod read;
mod rebuild;
mod remote;
mod removal;
mod skeleton;
mod store;
mod turn;
mod upgrade;
mod user;
mod ws;

use std::sync::Arc;

use kernel::bus::Bus;
use kernel::feed::{Feed, Skeleton};
use kernel::identity::Identity;
use kernel::peers::Peers;
use kernel::sockets::{Connections, Sockets};
use kernel::table::{Table, Write, get_one};
use kernel::{Clock, Ids, Problem, UserId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use config::Config;
pub use live::RESYNC;
pub use react::QUEUES;

use objects::Objects;
use turn::Turns;

/// The seams that the timeline stands on.
#[derive(Clone)]
pub struct Parts {
    /// The service's own store.
    pub table: Arc<dyn Table>,
    /// For the further pages of a fan-out.
    pub bus: Arc<dyn Bus>,
    /// The cache of skeletons.
    pub feed: Arc<dyn Feed>,
    /// Sends frames.
    pub sockets: Arc<dyn Sockets>,
    /// Enters the sockets of this process.
    pub connections: Arc<dyn Connections>,
    /// The other services.
    pub peers: Arc<dyn Peers>,
    /// Verifies the tokens of sockets.
    pub identity: Arc<dyn Identity>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Names connections.
    pub ids: Arc<dyn Ids>,
}

/// The timeline service.
pub struct Timeline {
    parts: Parts,
    config: Config,
    objects: Objects,
    turns: Turns,
    loads: std::sync::atomic::AtomicU64,
    closing: CancellationToken,
    open: TaskTracker,
}

impl Timeline {
    /// The service on `parts`.
    pub fn new(parts: Parts, config: Config) -> Arc<Self> {
        metrics::describe_histogram!(
            "timeline_update_delay_seconds",
            metrics::Unit::Seconds,
            "From the writing of a post to the sending of its frames."
        );
        metrics::describe_counter!(
            "timeline_degraded_total",
            "Answers and frames that went without an author or likes, by what was missing."
        );
        Arc::new(Self {
            objects: Objects::new(&config, Arc::clone(&parts.clock)),
            turns: Turns::new(
                &config,
                Arc::clone(&parts.table),
                Arc::clone(&parts.clock),
                &*parts.ids,
            ),
            loads: std::sync::atomic::AtomicU64::new(0),
            closing: CancellationToken::new(),
            open: TaskTracker::new(),
            parts,
            config,
        })
    }

    /// Its routes, with their part of the OpenAPI document.
    pub fn routes(self: Arc<Self>) -> OpenApiRouter {
        router().with_state(self)
    }

    /// Closes every socket with 1001 and answers when the last is gone; sockets that do not finish
    /// the closing handshake are dropped after `Config::close_wait`. No socket opens any more.
    pub async fn close_sockets(&self) {
        self.closing.cancel();
        self.open.close();
        self.open.wait().await;
    }

    /// Proves that the store and the cache work: one round trip through each.
    pub async fn heartbeat(&self) -> Result<(), Problem> {
        let key = store::heartbeat_key();
        let beat = self.parts.clock.now();
        self.parts.table.commit(vec![Write::put_json(key.clone(), &beat)]).await?;
        get_one(&*self.parts.table, key).await?.ok_or_else(|| {
            kernel::table::TableError::Unavailable("the heartbeat was not kept".into())
        })?;
        // Nobody has this id.
        let nobody = UserId(ulid::Ulid(0));
        self.parts.feed.forget(&[nobody]).await?;
        let load = Box::pin(async { Ok(Skeleton::default()) });
        self.parts.feed.get_or_load(nobody, load).await?;
        // A cache that is away fails no reading, so it must be asked.
        self.parts.feed.check().await
    }
}

fn router() -> OpenApiRouter<Arc<Timeline>> {
    OpenApiRouter::new().routes(routes!(api::timeline)).routes(routes!(api::socket))
}

/// The document of the service's routes.
pub fn openapi() -> OpenApi {
    router().into_openapi()
}
