//! The other services' internal reads, and the question whether a session is open: over HTTP from
//! process to process ([`RemotePeers::over_http`]), or by Lambda's Invoke from function to function
//! ([`RemotePeers::by_invoke`]). What is asked, and how often, is the same both ways.
//!
//! All reads are repeatable, so a failed one is tried again after 1, 2 and 4 s, as far as the
//! caller's deadline leaves time for the pause and 2 s more: a request's 2.5 s never do, an event
//! handler's 10 s do. Each target has a [`Breaker`]. A peer that answers 4xx answers: that is
//! no failure. A peer that is slow, breaks off, or answers what cannot be read has failed.
//!
//! A peer's refusal comes back as its Problem; but that a peer did not take our proof, or throttled
//! us, is no fault of the person whom we serve, and is told as a failure of ours. What is too large
//! for one answer, as a hundred of the longest posts are, is asked for in halves.

mod http;
mod invoke;

use std::sync::Arc;
use std::time::Duration;

use ::http::{Response, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use kernel::identity::session::{SessionName, Sessions};
use kernel::internal::{
    Edges, FOLLOWERS, FOLLOWING, Ids, LIKE_COUNTS, Newest, POSTS, POSTS_EXIST, POSTS_NEWEST,
    PROFILES, SESSIONS_OPEN, Service, VIEWED, View,
};
use kernel::peers::{Followers, Peers, Viewed};
use kernel::{Clock, Code, FieldError, Post, PostId, Problem, Profile, UserId, request};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, sleep, timeout};

pub use self::http::{Addresses, ServiceToken};
pub use self::invoke::Functions;
use crate::breaker::{Breaker, BreakerLimits};
use crate::http::HttpError;
pub use crate::signature::SigV4;

/// How long is waited, and how much is taken.
#[derive(Clone, Debug)]
pub struct PeersLimits {
    /// Time for a call with its retries, where the caller's deadline is no sooner.
    pub call_timeout: Duration,
    /// Time for the question whether sessions are open: it stands before every request's own work.
    pub session_timeout: Duration,
    /// Time for one attempt: a peer's own deadline, and the way.
    pub attempt_timeout: Duration,
    /// A time-out that came sooner than this tells nothing of the peer: its caller was in a hurry.
    pub attempt_fair: Duration,
    /// Time that is left for an attempt after a pause, at least; else the pause is not made.
    pub retry_min: Duration,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// What is left of the caller's deadline after a time-out, to do without the answer.
    pub spare: Duration,
    /// Pauses before the attempts that follow the first.
    pub retries: Vec<Duration>,
    /// Bytes of an answer: no more than Lambda passes on.
    pub answer_max_bytes: usize,
    /// When a target is left alone.
    pub breaker: BreakerLimits,
}

impl Default for PeersLimits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(3),
            attempt_fair: Duration::from_millis(500),
            retry_min: Duration::from_secs(2),
            connect_timeout: Duration::from_millis(500),
            spare: Duration::from_millis(100),
            retries: [1, 2, 4].map(Duration::from_secs).to_vec(),
            answer_max_bytes: 6 * 1024 * 1024,
            breaker: BreakerLimits::default(),
        }
    }
}

/// Why a peer's answer cannot be had.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the breaker of the {0} service is open")]
    Open(&'static str),
    #[error("no time was left")]
    NoTime,
    #[error("no answer in time")]
    TimedOut { fair: bool },
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no proof: {0}")]
    NoProof(String),
    #[error("the peer did not take our proof ({0})")]
    Denied(StatusCode),
    #[error("the peer has too much to do")]
    Throttled,
    #[error("the peer answered {0}: {1}")]
    Failed(StatusCode, String),
    #[error("the function failed ({0}): {1}")]
    Broken(String, String),
    #[error("the answer cannot be read: {0}")]
    Garbage(String),
    #[error("the answer is too large")]
    TooLarge,
    /// The peer's own refusal.
    #[error("{0}")]
    Refused(Problem),
}

impl Failure {
    /// Whether the peer is at fault: what its breaker counts. None tells nothing of it.
    fn is_the_peers(&self) -> Option<bool> {
        match self {
            Self::TimedOut { fair: false } | Self::NoProof(_) | Self::NoTime | Self::Open(_) => {
                None
            }
            Self::Denied(_) | Self::Throttled | Self::TooLarge | Self::Refused(_) => Some(false),
            Self::TimedOut { .. }
            | Self::Unreachable(_)
            | Self::Failed(..)
            | Self::Broken(..)
            | Self::Garbage(_) => Some(true),
        }
    }

    fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Throttled) || self.is_the_peers() == Some(true)
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(reason) => Self::Unreachable(reason),
            HttpError::TooLarge(_) => Self::TooLarge,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(problem) => problem,
            Failure::Denied(_) => Problem::internal(failure),
            Failure::NoTime => {
                Problem::new(Code::DeadlineExceeded, "No time was left.").because(failure)
            }
            _ => Problem::unavailable(failure),
        }
    }
}

/// One question on its way.
struct Asked<'a> {
    service: Service,
    path: &'a str,
    body: &'a RawValue,
    /// Time that the caller waits for the answer.
    budget: Duration,
}

/// A way to the other services.
#[async_trait]
trait Way: Send + Sync {
    /// The service's own answer, whatever its status; its body is JSON.
    async fn send(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Failure>;

    /// Forgets credentials that were not taken; whether there may be others.
    fn renew(&self) -> bool;
}

/// [`Peers`] that live elsewhere.
pub struct RemotePeers {
    way: Box<dyn Way>,
    breakers: [Breaker; 3],
    limits: PeersLimits,
}

impl RemotePeers {
    /// In processes at these addresses.
    pub fn over_http(
        addresses: Addresses,
        token: ServiceToken,
        limits: PeersLimits,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        Self::new(Box::new(http::Http::new(addresses, token, &limits)), limits, clock)
    }

    /// In these functions of Lambda.
    pub fn by_invoke(
        functions: Functions,
        signature: SigV4,
        limits: PeersLimits,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        let way = invoke::Invoke::new(functions, signature, &limits, Arc::clone(clock));
        Self::new(Box::new(way), limits, clock)
    }

    fn new(way: Box<dyn Way>, limits: PeersLimits, clock: &Arc<dyn Clock>) -> Arc<Self> {
        let breaker =
            |service: Service| Breaker::new(service.name(), limits.breaker, Arc::clone(clock));
        let breakers = [Service::User, Service::Post, Service::Social].map(breaker);
        Arc::new(Self { way, breakers, limits })
    }

    fn breaker(&self, service: Service) -> &Breaker {
        match service {
            Service::User => &self.breakers[0],
            Service::Post => &self.breakers[1],
            Service::Social => &self.breakers[2],
        }
    }

    /// The answer to one read; one that does not `fit` the question cannot be read.
    async fn ask<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
        question: &(impl Serialize + Sync),
        fits: impl Fn(&T) -> bool + Send,
    ) -> Result<T, Failure> {
        let most = self.limits.call_timeout;
        self.ask_within(most, service, path, question, fits).await
    }

    /// The same, in this time at most.
    async fn ask_within<T: DeserializeOwned>(
        &self,
        most: Duration,
        service: Service,
        path: &str,
        question: &(impl Serialize + Sync),
        fits: impl Fn(&T) -> bool + Send,
    ) -> Result<T, Failure> {
        let body = to_raw_value(question).map_err(|error| Failure::Garbage(error.to_string()))?;
        let left = request::time_left(most).min(most);
        let deadline = Instant::now() + left.saturating_sub(self.limits.spare);
        let mut pauses = self.limits.retries.iter();
        let mut denied_before = false;
        loop {
            let failure = match self.attempt(service, path, &body, deadline).await {
                Ok(answer) if fits(&answer) => return Ok(answer),
                Ok(_) => Failure::Garbage("it is no answer to the question".to_owned()),
                Err(failure) => failure,
            };
            metrics::counter!("peer_failures_total", "target" => service.name()).increment(1);
            if matches!(failure, Failure::Denied(_)) && !denied_before && self.way.renew() {
                denied_before = true;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = pauses.next().filter(|pause| {
                failure.is_worth_another_try() && left >= **pause + self.limits.retry_min
            });
            match pause {
                Some(pause) => sleep(*pause).await,
                None => return Err(failure),
            }
        }
    }

    /// The answer for each of `ids`, in their order.
    async fn each<Id, T>(&self, service: Service, path: &str, ids: &[Id]) -> Result<Vec<T>, Problem>
    where
        Id: Clone + Serialize + Sync,
        T: DeserializeOwned + Send,
    {
        let mut answers = Vec::with_capacity(ids.len());
        let mut part = ids.len();
        while answers.len() < ids.len() {
            let rest = &ids[answers.len()..];
            let asked = &rest[..part.min(rest.len())];
            let question = Ids { ids: asked.to_vec() };
            let fits = |answers: &Vec<T>| answers.len() == asked.len();
            match self.ask(service, path, &question, fits).await {
                Ok(more) => answers.extend(more),
                Err(Failure::TooLarge) if asked.len() > 1 => part = asked.len() / 2,
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(answers)
    }

    /// Asks once, and tells the breaker.
    async fn attempt<T: DeserializeOwned>(
        &self,
        service: Service,
        path: &str,
        body: &RawValue,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::NoTime);
        }
        let leave = self.breaker(service).leave().ok_or(Failure::Open(service.name()))?;
        let budget = left.min(self.limits.attempt_timeout);
        let fair = budget >= self.limits.attempt_fair;
        let sending = self.way.send(Asked { service, path, body, budget });
        let answered = match timeout(budget, sending).await {
            Ok(answered) => answered.and_then(|answer| understood(&answer)),
            Err(_) => Err(Failure::TimedOut { fair }),
        };
        match answered.as_ref().err().map_or(Some(false), Failure::is_the_peers) {
            Some(true) => leave.failed(),
            Some(false) => leave.succeeded(),
            None => drop(leave),
        }
        answered
    }
}

/// What a service's answer says.
fn understood<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, Failure> {
    if answer.status() == StatusCode::OK {
        return serde_json::from_slice(answer.body())
            .map_err(|error| Failure::Garbage(error.to_string()));
    }
    Err(refusal(answer.status(), answer.body()))
}

/// A problem as a peer writes it.
#[derive(Deserialize)]
struct Written {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<WrittenField>,
}

#[derive(Deserialize)]
struct WrittenField {
    field: String,
    message: String,
}

fn refusal(status: StatusCode, answer: &[u8]) -> Failure {
    let written = serde_json::from_slice::<Written>(answer).ok();
    match (status.as_u16(), written) {
        (401 | 403, _) => Failure::Denied(status),
        (413, _) => Failure::TooLarge,
        (429, _) => Failure::Throttled,
        (400..500, Some(written)) => match code(&written.code) {
            Some(code) => Failure::Refused(problem(code, written)),
            None => Failure::Failed(status, written.code),
        },
        (_, Some(written)) => Failure::Failed(status, written.code),
        (_, None) => Failure::Failed(status, "no problem that can be read".to_owned()),
    }
}

fn code(text: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.as_str() == text)
}

fn problem(code: Code, written: Written) -> Problem {
    let errors = written.errors.into_iter();
    let errors = errors.map(|error| FieldError::new(error.field, error.message)).collect();
    Problem { errors, ..Problem::new(code, written.detail) }
}

#[async_trait]
impl Peers for RemotePeers {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        self.each(Service::Post, POSTS, ids).await
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        self.each(Service::Post, POSTS_EXIST, ids).await
    }

    async fn newest_posts(
        &self,
        author: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        let mut posts: Vec<Post> = Vec::new();
        let mut part = limit;
        loop {
            let before = posts.last().map_or(before, |oldest| Some(oldest.post_id));
            let ask = part.min(limit - posts.len());
            let fits = |posts: &Vec<_>| posts.len() <= ask;
            let question = Newest { author, before, limit: ask };
            match self.ask(Service::Post, POSTS_NEWEST, &question, fits).await {
                Ok(more) => {
                    let is_all = more.len() < ask;
                    posts.extend(more);
                    if is_all || posts.len() == limit {
                        return Ok(posts);
                    }
                }
                Err(Failure::TooLarge) if ask > 1 => part = ask / 2,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        self.each(Service::User, PROFILES, ids).await
    }

    async fn like_counts(&self, posts: &[PostId]) -> Result<Vec<u64>, Problem> {
        self.each(Service::Social, LIKE_COUNTS, posts).await
    }

    async fn viewed(
        &self,
        viewer: UserId,
        posts: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        let question = View { viewer, posts: posts.to_vec(), people: people.to_vec() };
        let fits = |viewed: &Viewed| {
            viewed.liked.len() == posts.len() && viewed.regards.len() == people.len()
        };
        Ok(self.ask(Service::Social, VIEWED, &question, fits).await?)
    }

    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let question = Edges { user, after, limit };
        let fits = |page: &Followers| page.users.len() <= limit;
        Ok(self.ask(Service::Social, FOLLOWERS, &question, fits).await?)
    }

    async fn following(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        let question = Edges { user, after, limit };
        let fits = |page: &Followers| page.users.len() <= limit;
        Ok(self.ask(Service::Social, FOLLOWING, &question, fits).await?)
    }
}

#[async_trait]
impl Sessions for RemotePeers {
    async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem> {
        let question = Ids { ids: sessions.to_vec() };
        let fits = |open: &Vec<_>| open.len() == sessions.len();
        let most = self.limits.session_timeout;
        Ok(self.ask_within(most, Service::User, SESSIONS_OPEN, &question, fits).await?)
    }
}
