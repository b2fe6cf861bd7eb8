//! The post service: writing, reading and deleting posts, and the timeline of everybody.
//!
//! # Keys
//! | partition | sort key | holds |
//! |---|---|---|
//! | `post#{post}` | | the post as the JSON that clients see |
//! | `author#{user}` | post | an index row: the post's shard in `public` |
//! | `public#{day}#{shard}` | post | an index row, empty; days are numbered from 1970 |
//! | `days` | day | over how many shards that day's posts are spread |
//! | `deletions#{replica}` | | a counter of every deletion |
//! | `suspended` | user | whether the user is suspended, and by which event |
//! | `suspensions#{replica}` | | a counter of every suspension and restoration |
//! | `acts` | when | what operators did ([`kernel::acts`]) |
//! | `user#{user}` | `state` | when the user's last posts were written; or that the user is gone |
//! | `user#{user}` | `key#{key}` | which post an idempotency key made; expires |
//! | `user#{user}` | `report#{subject}` | which report of a post or a person the user made last |
//! | `user#{user}` | `report#closed#{report}` | which they made before, as long as that is kept |
//! | `reports` | report | the report with a copy of what it is about; expires once it is closed |
//! | `open-reports` | report | an index row, empty |
//! | `count-of-open-reports` | | their number, as a counter |
//!
//! A post and all rows about it are written, and removed, in one commit with its event. The mark
//! of a deleted user never expires: it is one small row, and whatever the lifetime of access
//! tokens is, a late request of theirs meets it.
//!
//! # Routes
//! `POST /posts`, `GET /posts` (by ids, by author, everybody's), `GET /posts/{postId}`,
//! `DELETE /posts/{postId}`, `POST /reports`; all need a token.
//!
//! # Subscriptions
//! `post-user-deleted`: UserDeleted, removes everything of that user, and their name from what they
//! reported, while reports about them stay; EmailConfirmed, lets them
//! post as often as others; UserSuspended and UserRestored, hides and shows what they wrote, which
//! stays where it is and is left out by every read.

mod api;
mod audit;
mod existing;
mod list;
mod model;
mod operate;
mod react;
mod reports;
mod reports_api;
mod shown;
mod store;
mod suspended;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::{Bus, Subscription};
use kernel::mail::EmailConfirmation;
use kernel::peers::Peers;
use kernel::sequence::Sequence;
use kernel::table::Table;
use kernel::{Clock, Ids, Limits, Post, PostId, Problem, UserId};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use existing::Existing;
use model::Allowance;
use suspended::Suspended;

pub use audit::{audit, count};
pub use react::QUEUES;
pub use reports::{Closing, Copied, Reason, Report, ReportId, Verdict};

/// Posts a day (UTC) of who has not confirmed the e-mail address, where they are limited.
const UNCONFIRMED_POSTS_PER_DAY: usize = 3;

/// The limits of the post service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How much a client may ask for at once.
    pub limits: Limits,
    /// Posts that one user may write in any minute.
    pub posts_per_minute: usize,
    /// Posts that one user may write on a day before their e-mail address is confirmed; none where
    /// that does not matter.
    pub unconfirmed_posts_per_day: Option<usize>,
    /// Length of a post in user-perceived characters, at most.
    pub text_characters_max: usize,
    /// Visible characters of an idempotency key, at most.
    pub idempotency_key_characters_max: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_secs: u64,
    /// Reports that one user may make on a day (UTC).
    pub reports_per_day: usize,
    /// What a reporter may say in user-perceived characters, at most.
    pub report_characters_max: usize,
    /// Over how many partitions a day's posts are spread, 1 to 64. May be changed at any time:
    /// reads go by what was in force on that day.
    pub public_shards: u32,
    /// Commits (of up to 24 posts) that one delivery of UserDeleted makes before it queues the
    /// rest anew, so that it ends within the visibility time-out.
    pub commits_per_delivery: usize,
    /// How long a reading waits to be told of blocks, before it goes on without.
    pub blocks_wait: Duration,
    /// Posts that are remembered to exist; about 50 bytes each.
    pub existing_posts_max: usize,
    /// Set where several processes serve the slice on one table: what another of them has begun
    /// to write is to be seen after this long, their clocks' difference included. None where this
    /// process is the only one, and knows what is under way.
    pub settle_lag: Option<Duration>,
}

impl Config {
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance {
            posts_per_minute: self.posts_per_minute,
            unconfirmed_posts_per_day: self.unconfirmed_posts_per_day,
        }
    }

    /// The same with what people may do before they have confirmed their e-mail address.
    #[must_use]
    pub fn confirming(self, confirmation: EmailConfirmation) -> Self {
        let unconfirmed_posts_per_day = match confirmation {
            EmailConfirmation::Off => None,
            EmailConfirmation::Limit => Some(UNCONFIRMED_POSTS_PER_DAY),
            EmailConfirmation::Require => Some(0),
        };
        Self { unconfirmed_posts_per_day, ..self }
    }

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
            posts_per_minute: 10,
            unconfirmed_posts_per_day: None,
            text_characters_max: 500,
            idempotency_key_characters_max: 255,
            idempotency_secs: 24 * 60 * 60,
            reports_per_day: 20,
            report_characters_max: 1000,
            public_shards: 8,
            commits_per_delivery: 50,
            blocks_wait: Duration::from_secs(1),
            existing_posts_max: 100_000,
            settle_lag: None,
        }
    }
}

/// The post service.
pub struct Posts {
    table: Arc<dyn Table>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    peers: Arc<dyn Peers>,
    config: Config,
    sequence: Sequence,
    /// The day whose row in `days` this process knows to be written; zero at first. No process
    /// takes such a row away or makes it smaller, so what one knows of it stays true.
    known_day: AtomicU64,
    existing: Existing,
    suspended: Suspended,
}

impl Posts {
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
        Arc::new(Self {
            table,
            bus,
            clock,
            ids,
            peers,
            config,
            sequence,
            known_day: AtomicU64::new(0),
            existing: Existing::new(config.existing_posts_max, config.settle_lag),
            suspended: Suspended::new(config.settle_lag),
        })
    }

    /// Its routes.
    pub fn routes(self: Arc<Self>) -> OpenApiRouter {
        api::router().with_state(self)
    }

    /// Its reactions to events.
    pub fn subscriptions(self: Arc<Self>) -> Vec<Subscription> {
        vec![react::subscription(self)]
    }
}

/// What other services read here.
#[async_trait]
impl Peers for Posts {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        let items = store::items(self, ids).await?;
        let posts = items.iter().map(|item| item.as_ref().map(|item| item.json()).transpose());
        Ok(posts.collect::<Result<_, _>>()?)
    }

    /// One read of one item while nothing is deleted.
    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        Ok(self.existing.check(self, ids).await?)
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        list::newest(self, author, before, limit).await
    }
}

/// The document of the service's routes.
pub fn openapi() -> OpenApi {
    api::router().into_openapi()
}
