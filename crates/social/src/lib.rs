//! The social service: who follows whom, who likes what, and who wants to see nothing of whom.
//!
//! # Keys
//! | partition | sort key | holds |
//! |---|---|---|
//! | `follow#{follower}` | followee | the edge: its version, since when, whether it is there |
//! | `followers#{followee}` | follower | an index row, empty: followers in the order of their ids |
//! | `followers-by-time#{followee}` | when | the follower |
//! | `following-by-time#{follower}` | when | the followee |
//! | `like#{post}` | user | the edge, as above |
//! | `likes-by-time#{post}` | when | the user |
//! | `likes-of#{user}` | post | an index row, empty |
//! | `block#{blocker}`, `mute#{muter}` | whom | the edge, as above |
//! | `blocked-by#{blocked}`, `muted-by#{muted}` | who | an index row, empty |
//! | `blocks-by-time#{blocker}`, `mutes-by-time#{muter}` | when | whom |
//! | `changes#{user}` | | a counter of every change of their likes and of who is hidden from them |
//! | `user#{user}` | `followers`, `following` | counters |
//! | `user#{user}` | `hidden` | a counter: whom they mute, and whom a block parts them from |
//! | `user#{user}` | `gone` | the user is deleted |
//! | `post#{post}` | `likes` | a counter |
//! | `post#{post}` | `gone` | the post is deleted |
//!
//! `when` is a ULID. An edge, its rows, both counters and the event are written in one commit, so
//! counts equal edges at every moment.
//!
//! An edge that was undone stays as a row whose version goes on growing, for good: consumers keep
//! the highest version they have seen for good too, and would take an edge that began again at 1
//! for an old one. The marks of deleted users and posts never expire either: a like or a follow
//! checked against the other services just before the deletion may be committed at any time after
//! it, and events may be handled weeks late from the dead letters; each mark is one tiny row.
//! Behind a mark no edge can be made again, so what it ends is removed whole, tombstones and all.
//!
//! A block undoes the follows of its two people in its own commit, and leaves in both follow edges
//! that they are barred. So a follow and a like, which read that edge anyway, need no further look
//! to be refused; and a follow cannot slip in beside a block, since both write the same rows.
//!
//! # Routes
//! `/users/{userId}/follow`, `/users/{userId}/followers`, `/users/{userId}/following`,
//! `/users/{userId}/block`, `/users/{userId}/mute`, `/users/me/blocks`, `/users/me/mutes`,
//! `/posts/{postId}/likes`, `/likes`; all need a token.
//!
//! # Subscriptions
//! `social-post-deleted`: PostDeleted, removes the post's likes. They end with their post, without
//! an event each. `social-user-deleted`: UserDeleted, undoes the user's follows in both directions
//! and likes, with their events, and removes blocks and mutes by and of them, which nobody is told.

mod api;
mod audit;
mod hides_api;
mod likes_api;
mod model;
mod pages;
mod react;
mod store;
mod viewer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::{Bus, Subscription};
use kernel::peers::{Followers, Peers, Viewed};
use kernel::sequence::Sequence;
use kernel::table::Table;
use kernel::{Clock, Event, EventData, Ids, Limits, PostId, Problem, UserId};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use viewer::Viewers;

pub use audit::{audit, count};
pub use react::QUEUES;

/// The limits of the social service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How much a client may ask for at once.
    pub limits: Limits,
    /// Commits (of 16 to 32 edges) that one delivery of a deletion makes before it queues the
    /// rest anew, so that it ends within the visibility time-out.
    pub commits_per_delivery: usize,
    /// Memory for what viewers are known to like and to see nothing of, in bytes.
    pub viewers_bytes_max: u64,
    /// Set where several processes serve the slice on one table: what another of them has begun
    /// to write is to be seen after this long, their clocks' difference included. None where this
    /// process is the only one, and knows what is under way.
    pub settle_lag: Option<Duration>,
}

impl Config {
    /// The same where other processes serve the slice on the same table.
    #[must_use]
    pub fn for_several_processes(self) -> Self {
        // A request ends within 3 s.
        Self { settle_lag: Some(Duration::from_secs(4)), ..self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            commits_per_delivery: 50,
            viewers_bytes_max: 8 << 20,
            settle_lag: None,
        }
    }
}

/// The social service.
pub struct Social {
    table: Arc<dyn Table>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    peers: Arc<dyn Peers>,
    config: Config,
    sequence: Sequence,
    viewers: Viewers,
}

impl Social {
    /// The service over its own table. The bus is for its own further work only: events leave by
    /// the outbox.
    pub fn new(
        table: Arc<dyn Table>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        peers: Arc<dyn Peers>,
        config: Config,
    ) -> Arc<Self> {
        let sequence =
            Sequence::new(Arc::clone(&ids)).beside_others(Arc::clone(&clock), config.settle_lag);
        let viewers = Viewers::new(config.viewers_bytes_max, config.settle_lag);
        Arc::new(Self { table, bus, clock, ids, peers, config, sequence, viewers })
    }

    /// Its routes.
    pub fn routes(self: Arc<Self>) -> OpenApiRouter {
        router().with_state(self)
    }

    /// Its reactions to events.
    pub fn subscriptions(self: Arc<Self>) -> Vec<Subscription> {
        react::subscriptions(&self)
    }

    fn event(&self, data: EventData) -> Event {
        Event::new(self.ids.as_ref(), self.clock.as_ref(), data)
    }
}

/// What other services read here.
#[async_trait]
impl Peers for Social {
    /// One read, nothing decoded.
    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        store::likes::counts(self.table.as_ref(), posts).await
    }

    /// One read of one item while nothing changed.
    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        let (table, now) = (&*self.table, self.clock.now());
        Ok(self.viewers.viewed(table, now, viewer, posts, people).await?)
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        store::follows::followers(self.table.as_ref(), user, after, limit).await
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        store::follows::following(self.table.as_ref(), user, after, limit).await
    }
}

fn router() -> OpenApiRouter<Arc<Social>> {
    api::router().merge(hides_api::router()).merge(likes_api::router())
}

/// The document of the service's routes.
pub fn openapi() -> OpenApi {
    router().into_openapi()
}
