//! The user service: accounts, sign-in and profiles.
//!
//! Credentials and sessions are [`kernel::identity::Identity`]'s affair; this service keeps what
//! people show of themselves.
//!
//! # Keys
//! | partition | sort key | holds |
//! |---|---|---|
//! | `profile#{user}` | | the public profile, as clients see it |
//! | `handle#{handle}` | | whose it is; expires while a registration is under way |
//! | `search#{first character}` | `{folded text}\u{1}{user}{h or n}` | the profile, for each text |
//! | `gone#{user}` | | the mark of a deleted user, for good; or a suspended one's profile |
//! | `care#{user}` | `confirm`, `reset` | the digest of a code that was sent; expires |
//! | `care#{user}` | `confirmed` | when the e-mail address was confirmed |
//! | `standing#{user}` | | how often they were suspended and restored: events' version |
//! | `acts` | when | what operators did ([`kernel::acts`]) |
//!
//! A profile, its handle, its search rows and its event are written in one commit, and removed in
//! one.
//!
//! # Registration and deletion
//! An identity and a profile cannot be written together, for on AWS they live in two systems. A
//! registration holds the handle first (for ten minutes), then makes the identity, then writes the
//! profile; a crash on the way leaves an identity that the next sign-in, or registering again with
//! the same password, completes. A deletion removes the profile first, with its event; the identity
//! goes right after, and once more when the event comes round, should the first try have failed.
//!
//! # Suspension
//! A suspended profile is put away with its search rows, in one commit with the act and the event;
//! its handle stays theirs. So nothing that reads profiles needs to know of suspensions. The
//! identity follows, as in a deletion.
//!
//! # Routes
//! `/auth/*`, `/.well-known/*` and `/users*`. Public are registering, signing in, refreshing,
//! asking for another password and choosing it, and the two well-known documents.
//!
//! # Subscriptions
//! `user-erasure`: its own UserDeleted, UserSuspended and UserRestored, to finish what they began.

mod account;
mod api;
mod audit;
mod auth;
mod care;
mod care_api;
mod model;
mod operate;
mod react;
mod search;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::bus::Subscription;
use kernel::identity::Identity;
use kernel::mail::Mailer;
use kernel::peers::Peers;
use kernel::table::Table;
use kernel::{Clock, Event, EventData, Ids, Limits, Problem, Profile, UserId};
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use audit::{audit, count, repair};
pub use model::MADE_UP_HANDLE_CHARACTERS;
pub use operate::{Account, Outcome, Reset};
pub use react::QUEUES;
pub use store::SEARCH as SORTED_BY_NAMES;

/// The limits of the user service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How much a client may ask for at once.
    pub limits: Limits,
    /// Characters of a handle, at least; not more than [`MADE_UP_HANDLE_CHARACTERS`].
    pub handle_characters_min: usize,
    /// Characters of a handle, at most; not fewer than [`MADE_UP_HANDLE_CHARACTERS`]. Longer ones
    /// that were taken before stay good.
    pub handle_characters_max: usize,
    /// Characters of a new password, at least.
    pub password_characters_min: usize,
    /// Characters of a new password, at most.
    pub password_characters_max: usize,
    /// Length of a display name in user-perceived characters, at most.
    pub display_name_characters_max: usize,
    /// Length of a bio in user-perceived characters, at most.
    pub bio_characters_max: usize,
    /// How long a registration under way holds its handle.
    pub handle_hold_secs: u64,
    /// Whether people are asked to confirm their e-mail addresses.
    pub asks_for_confirmation: bool,
    /// Letters about lost passwords being written at once, at most.
    pub letters_max: usize,
    /// For how long whoever asks for another password waits while a letter is written, and where
    /// there is none to write: for a process that does nothing once it has answered.
    pub letters_wait: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            handle_characters_min: 3,
            handle_characters_max: 30,
            password_characters_min: 8,
            password_characters_max: 256,
            display_name_characters_max: 50,
            bio_characters_max: 300,
            handle_hold_secs: 600,
            asks_for_confirmation: false,
            letters_max: 32,
            letters_wait: None,
        }
    }
}

/// The user service. It keeps nothing of its own between two requests, so any number of processes
/// may serve it on one table.
pub struct Users {
    table: Arc<dyn Table>,
    identity: Arc<dyn Identity>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    config: Config,
    /// None where the server sends no letters.
    mailer: Option<Arc<dyn Mailer>>,
    letters: Arc<Semaphore>,
}

impl Users {
    /// The service over its own table, the keeper of credentials, and who brings its letters.
    pub fn new(
        table: Arc<dyn Table>,
        identity: Arc<dyn Identity>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        mailer: Option<Arc<dyn Mailer>>,
        config: Config,
    ) -> Arc<Self> {
        let letters = Arc::new(Semaphore::new(config.letters_max));
        Arc::new(Self { table, identity, clock, ids, config, mailer, letters })
    }

    /// The service's routes with their documentation.
    pub fn routes(self: Arc<Self>) -> OpenApiRouter {
        router().with_state(self)
    }

    /// The queues that the service consumes.
    pub fn subscriptions(self: Arc<Self>) -> Vec<Subscription> {
        vec![react::subscription(self)]
    }

    fn event(&self, data: EventData) -> Event {
        Event::new(&*self.ids, &*self.clock, data)
    }
}

/// What other services read here.
#[async_trait]
impl Peers for Users {
    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        Ok(store::profiles(&*self.table, ids).await?)
    }
}

fn router() -> OpenApiRouter<Arc<Users>> {
    auth::router().merge(care_api::router()).merge(api::router())
}

/// The document of the service's routes.
pub fn openapi() -> OpenApi {
    router().into_openapi()
}
