//! Which sockets a person has, and whose a socket is, for all processes.
//!
//! A connection that ends without a word (its process or its gateway was killed) is forgotten by
//! itself: entries end a little later than the longest life that API Gateway gives a socket. A
//! registry that has lost its entries fills again as clients give a sign of life; see
//! [`SocketRegistry::enter`].

use std::sync::LazyLock;
use std::time::Duration;

use kernel::{Code, Problem, UserId};
use redis::{Cmd, Script};

use super::link::{Failure, Redis};

/// How many sockets a person may have, and how long an entry lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegistryLimits {
    /// Sockets of one person.
    pub sockets_max: usize,
    /// How long an entry lasts after the last sign of life: the 2 h that API Gateway lets a socket
    /// live, and a margin.
    pub kept: Duration,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { sockets_max: 20, kept: Duration::from_mins(130) }
    }
}

/// What entering a connection found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entered {
    /// It was not there: a new socket, or one whose entry was lost, which has missed frames.
    New,
    /// It was there; its entry lasts longer now.
    Known,
}

/// Enters a connection among the user's, unless there are too many; those that have ended go first.
static ENTER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
    return -1
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return known and 0 or 1
",
    )
});

/// Enters a connection among all that are open, or takes it out where it is to be kept no longer;
/// those that have ended without a word go first. How many there are then.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if kept > 0 then
    redis.call('ZADD', KEYS[1], now + kept, ARGV[1])
    redis.call('PEXPIRE', KEYS[1], kept)
else
    redis.call('ZREM', KEYS[1], ARGV[1])
end
return redis.call('ZCARD', KEYS[1])
",
    )
});

/// The sockets of everybody, in Redis.
#[derive(Clone)]
pub struct SocketRegistry {
    redis: Redis,
    limits: RegistryLimits,
}

impl SocketRegistry {
    /// The registry behind this connection.
    pub fn new(redis: Redis, limits: RegistryLimits) -> Self {
        Self { redis, limits }
    }

    fn user_key(&self, user: UserId) -> String {
        self.redis.key("sockets", &user.text())
    }

    fn socket_key(&self, connection: &str) -> String {
        self.redis.key("socket", connection)
    }

    /// Enters a connection, when it opens and at every sign of life; 429 `too_many_sockets` at the
    /// limit. Where a socket that is not new turns out [`Entered::New`], the registry has lost it
    /// for a while: tell it to resync.
    pub async fn enter(&self, user: UserId, connection: &str) -> Result<Entered, Problem> {
        let kept_millis = u64::try_from(self.limits.kept.as_millis()).unwrap_or(u64::MAX);
        let mut enter = ENTER.key(self.user_key(user));
        enter.arg(connection).arg(self.limits.sockets_max).arg(kept_millis);
        let entered = match self.redis.invoke::<i8>(&enter).await? {
            -1 => {
                let detail = format!("Close one of your {} open sockets.", self.limits.sockets_max);
                return Err(Problem::new(Code::TooManySockets, detail).retry_after_secs(1));
            }
            0 => Entered::Known,
            _ => Entered::New,
        };
        let key = self.socket_key(connection);
        let mut set = redis::cmd("SET");
        set.arg(key).arg(user.text()).arg("PX").arg(kept_millis);
        if let Err(failure) = self.redis.query::<()>(&set).await {
            // Half an entry would take a place and get frames that nobody asked for.
            let _: Result<u8, Failure> = self.redis.query(&self.leave_user(user, connection)).await;
            return Err(failure.into());
        }
        self.count(connection, kept_millis).await;
        Ok(entered)
    }

    /// Sets the gauge `websocket_connections` to the open sockets of everybody. A count that fails
    /// is a gap in the curve and nothing else.
    async fn count(&self, connection: &str, kept_millis: u64) {
        let mut count = COUNT.key(self.redis.key("open", "sockets"));
        count.arg(connection).arg(kept_millis);
        match self.redis.invoke::<u32>(&count).await {
            Ok(open) => metrics::gauge!("websocket_connections").set(f64::from(open)),
            Err(failure) => tracing::debug!(%failure, "open sockets are not counted"),
        }
    }

    /// Whether a connection is greeted for the first time: true once for each, as long as the
    /// registry remembers.
    pub async fn greet(&self, connection: &str) -> Result<bool, Problem> {
        let kept_millis = u64::try_from(self.limits.kept.as_millis()).unwrap_or(u64::MAX);
        let mut set = redis::cmd("SET");
        set.arg(self.redis.key("greeted", connection)).arg("").arg("NX").arg("PX").arg(kept_millis);
        let done: Option<String> = self.redis.query(&set).await?;
        Ok(done.is_some())
    }

    /// Whose connection it is; none when it is not entered.
    pub async fn user_of(&self, connection: &str) -> Result<Option<UserId>, Problem> {
        let key = self.socket_key(connection);
        let user: Option<String> = self.redis.query(redis::cmd("GET").arg(key)).await?;
        Ok(user.and_then(|user| user.parse().ok()))
    }

    /// Takes a connection out that has ended; whose it was.
    pub async fn leave(&self, connection: &str) -> Result<Option<UserId>, Problem> {
        let Some(user) = self.user_of(connection).await? else { return Ok(None) };
        self.forget(user, connection).await?;
        Ok(Some(user))
    }

    /// Takes out a connection of `user`.
    pub async fn forget(&self, user: UserId, connection: &str) -> Result<(), Problem> {
        let socket = redis::cmd("UNLINK").arg(self.socket_key(connection)).to_owned();
        self.redis.each::<u8>(vec![self.leave_user(user, connection), socket]).await?;
        self.count(connection, 0).await;
        Ok(())
    }

    /// The connections of each of `users`, in their order; most have none.
    pub async fn connections(&self, users: &[UserId]) -> Result<Vec<(UserId, String)>, Problem> {
        let range = |user: &UserId| {
            redis::cmd("ZRANGE").arg(self.user_key(*user)).arg(0).arg(-1).to_owned()
        };
        let found: Vec<Vec<String>> = self.redis.each(users.iter().map(range).collect()).await?;
        let found = users.iter().zip(found);
        let found = found.flat_map(|(user, open)| open.into_iter().map(|one| (*user, one)));
        Ok(found.collect())
    }

    fn leave_user(&self, user: UserId, connection: &str) -> Cmd {
        redis::cmd("ZREM").arg(self.user_key(user)).arg(connection).to_owned()
    }
}
