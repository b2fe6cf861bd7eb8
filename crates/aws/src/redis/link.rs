//! The connection: one for the whole process, multiplexed, that comes back by itself and never
//! holds a caller up for long.
//!
//! A call waits for an answer as long as [`Settings::answer_timeout`]. A call that failed for want
//! of a connection opens a [`Breaker`] for [`Settings::rest`]: while Redis is away, requests go on
//! without it at their usual speed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use kernel::Problem;
use kernel::clock::SystemClock;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClientBuilder, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisFuture, ScriptInvocation,
    TlsCertificates, Value,
};

use crate::breaker::{Breaker, BreakerLimits};

/// Where Redis is and how long it is waited for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS. One
    /// server, or any nodes of a cluster.
    pub urls: Vec<String>,
    /// Whether they are nodes of a cluster.
    pub cluster: bool,
    /// The certificates (PEM) that the servers' must be signed by; the machine's own when none.
    pub ca_pem: Option<Vec<u8>>,
    /// What every key begins with, such as `mini-sns:prod`.
    pub prefix: String,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for one answer.
    pub answer_timeout: Duration,
    /// Time after a failure in which nobody asks.
    pub rest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            urls: vec!["redis://127.0.0.1:6379".to_owned()],
            cluster: false,
            ca_pem: None,
            prefix: "mini-sns:dev".to_owned(),
            connect_timeout: Duration::from_millis(250),
            answer_timeout: Duration::from_millis(250),
            rest: Duration::from_millis(500),
        }
    }
}

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed a moment ago and was not asked.
    #[error("redis was away a moment ago")]
    Resting,
    /// It failed.
    #[error("redis: {0}")]
    Failed(#[from] RedisError),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::unavailable(failure)
    }
}

#[derive(Clone)]
enum Link {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(link) => link.req_packed_command(cmd),
            Self::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(link) => link.req_packed_commands(cmd, offset, count),
            Self::Cluster(link) => link.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
    Pipeline(&'a Pipeline),
}

impl Ask<'_> {
    async fn of<T: FromRedisValue>(self, mut link: Link) -> Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(&mut link).await,
            Self::Script(script) => script.invoke_async(&mut link).await,
            Self::Pipeline(pipeline) => pipeline.query_async(&mut link).await,
        }
    }
}

/// Commands in one pipeline.
const PIPELINE_MAX: usize = 500;
/// Commands on their way to a cluster at once: each key has its own node.
const IN_FLIGHT_MAX: usize = 128;
/// Retries inside the cluster client: for a slot that has moved, not for a cluster that is away.
const CLUSTER_RETRIES: u32 = 2;

struct Shared {
    link: Link,
    prefix: String,
    breaker: Breaker,
}

/// The connection; cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

impl Redis {
    /// A connection that is made at first use, so that a process starts whether Redis runs or not.
    /// Fails where an address cannot be read. Must be called within the runtime.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let certificates = settings
            .ca_pem
            .clone()
            .map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let link = if settings.cluster {
            Self::cluster(settings, certificates)?
        } else {
            Self::single(settings, certificates)?
        };
        let limits = BreakerLimits { failures_max: 1, open: settings.rest };
        let breaker = Breaker::new("redis", limits, Arc::new(SystemClock));
        Ok(Self(Arc::new(Shared { link, prefix: settings.prefix.clone(), breaker })))
    }

    fn single(settings: &Settings, ca: Option<TlsCertificates>) -> Result<Link, Failure> {
        let url = settings.urls.first().cloned().unwrap_or_default();
        let client = match ca {
            Some(certificates) => Client::build_with_tls(url, certificates)?,
            None => Client::open(url)?,
        };
        // One attempt for each caller: whoever comes while Redis is away is told at once.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.answer_timeout))
            .set_pipeline_buffer_size(1024);
        Ok(Link::Single(ConnectionManager::new_lazy_with_config(client, config)?))
    }

    fn cluster(settings: &Settings, ca: Option<TlsCertificates>) -> Result<Link, Failure> {
        let mut builder = ClusterClientBuilder::new(settings.urls.clone())
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(10)
            .max_retry_wait(50)
            .connection_timeout(settings.connect_timeout)
            .response_timeout(settings.answer_timeout)
            .overall_response_timeout(Some(settings.answer_timeout * 2));
        if let Some(certificates) = ca {
            builder = builder.certs(certificates);
        }
        let client = builder.build()?;
        Ok(Link::Cluster(client.get_pending_async_connection_with_config(ClusterConfig::new())))
    }

    /// A key: the prefix, what it is for, whose it is.
    pub(crate) fn key(&self, family: &str, tag: &str) -> String {
        format!("{}:{family}:{{{tag}}}", self.0.prefix)
    }

    /// A key without a hash tag, whatever its parts hold.
    pub(crate) fn plain_key(&self, family: &str, rest: &str) -> String {
        format!("{}:{family}:{rest}", self.0.prefix)
    }

    /// Runs one command on one key.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.asked(Ask::Command(command)).await
    }

    /// Runs a script on one key.
    pub(crate) async fn invoke<T>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failure>
    where
        T: FromRedisValue,
    {
        self.asked(Ask::Script(script)).await
    }

    /// Runs many commands on one key each; the answers in their order, or the first failure.
    pub(crate) async fn each<T>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, Failure>
    where
        T: FromRedisValue + Send,
    {
        if matches!(self.0.link, Link::Cluster(_)) {
            let asked =
                commands.into_iter().map(|command| async move { self.query(&command).await });
            return stream::iter(asked).buffered(IN_FLIGHT_MAX).try_collect().await;
        }
        let mut answers = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(PIPELINE_MAX) {
            let mut pipeline = Pipeline::with_capacity(chunk.len());
            for command in chunk {
                pipeline.add_command(command.clone());
            }
            let more: Vec<T> = self.asked(Ask::Pipeline(&pipeline)).await?;
            answers.extend(more);
        }
        Ok(answers)
    }

    /// Proves a round trip: what is written is read.
    pub async fn check(&self) -> Result<(), Problem> {
        let key = self.plain_key("check", "");
        let set = redis::cmd("SET").arg(&key).arg("here").arg("PX").arg(60_000).to_owned();
        self.query::<()>(&set).await?;
        let read: Option<String> = self.query(redis::cmd("GET").arg(&key)).await?;
        match read.as_deref() {
            Some("here") => Ok(()),
            _ => {
                let lost = std::io::Error::other("redis did not keep what was written");
                Err(Problem::unavailable(lost))
            }
        }
    }

    async fn asked<T: FromRedisValue>(&self, ask: Ask<'_>) -> Result<T, Failure> {
        let leave = self.0.breaker.leave().ok_or(Failure::Resting)?;
        let mut answer = ask.of(self.0.link.clone()).await;
        // A connection that broke while nobody used it: the next one may be whole.
        if answer.as_ref().is_err_and(RedisError::is_connection_dropped) {
            answer = ask.of(self.0.link.clone()).await;
        }
        let away = answer.as_ref().is_err_and(|error| {
            error.is_timeout() || error.is_io_error() || error.is_unrecoverable_error()
        });
        if away {
            metrics::counter!("redis_failures_total").increment(1);
            leave.failed();
        } else {
            leave.succeeded();
        }
        Ok(answer?)
    }
}
