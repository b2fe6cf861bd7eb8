//! Token buckets in the table, leased a few at a time.
//!
//! A bucket is one number in one item: the moment it will be full again (GCRA). A process takes up
//! to ten tokens with one read and one conditional write and hands them out by itself, so a request
//! mostly costs nothing, and all processes together stay within the rate. Near the bottom it takes
//! fewer, so that one process does not sit on what another's caller is due. The item expires when
//! the bucket is full, since a full bucket is no item at all. Refusals are answered without asking
//! for as long as what is known says that there can be no token.
//!
//! Where the table does not answer, each process goes on with its own knowledge of the bucket: a
//! limiter guards the service and must not stop it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::limiter::{Bucket, Decision, Gcra, Limiter, nanos};
use kernel::table::{Condition, Key, Table, TableError, Write, get_one};
use kernel::{Clock, Problem, Time};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::breaker::{Breaker, BreakerLimits};

/// How a limiter leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Tokens in one lease, at most.
    pub lease_tokens_max: u32,
    /// Time that a request spends on a lease, at most.
    pub lease_timeout: Duration,
    /// Time for which the table is left alone after it did not answer.
    pub silence: Duration,
    /// Buckets that one process knows of. What falls out is asked for again.
    pub buckets_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_tokens_max: 10,
            lease_timeout: Duration::from_millis(300),
            silence: Duration::from_secs(1),
            buckets_max: 50_000,
        }
    }
}

/// A lease takes at most this part of what is there.
const LEASE_PART: u32 = 4;
/// Tries of one lease while other processes are faster.
const LEASE_TRIES: usize = 5;
const MILLI_NANOS: u64 = 1_000_000;

type Name = [u8; 16];

/// The limiter of services that share a table.
pub struct TableLimiter {
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    config: Config,
    known: Cache<Name, Arc<Mutex<Known>>>,
    breaker: Breaker,
}

/// What a process knows of a bucket.
#[derive(Default)]
struct Known {
    /// Tokens taken from the bucket and not handed out.
    leased: u32,
    /// When the bucket is full again, in nanoseconds since 1970, or later: others take from it too.
    full_at: u64,
}

impl TableLimiter {
    /// A limiter whose buckets lie in `table`.
    pub fn new(table: Arc<dyn Table>, clock: Arc<dyn Clock>, config: Config) -> Arc<Self> {
        let limits = BreakerLimits { failures_max: 1, open: config.silence };
        let breaker = Breaker::new("limiter", limits, Arc::clone(&clock));
        Arc::new(Self { table, clock, config, known: Cache::new(config.buckets_max), breaker })
    }

    fn known(&self, name: Name) -> Arc<Mutex<Known>> {
        let made = self
            .known
            .get_or_insert_with(&name, || Ok::<_, std::convert::Infallible>(Arc::default()));
        let Ok(known) = made;
        known
    }

    /// Takes tokens from the bucket in the table, as many as one lease may have; none when there
    /// are none, or when others are always faster.
    async fn lease(&self, key: &Key, rate: &Gcra, known: &mut Known, now: u64) {
        if let Some(leave) = self.breaker.leave() {
            let asked = self.lease_shared(key, rate, known, now);
            match tokio::time::timeout(self.config.lease_timeout, asked).await {
                Ok(Ok(())) => return leave.succeeded(),
                Ok(Err(cause)) => tracing::debug!(%cause, "the limiter's table failed"),
                Err(_) => tracing::debug!("the limiter's table did not answer"),
            }
            metrics::counter!("limiter_alone_total").increment(1);
            leave.failed();
        }
        let count = self.share(rate, known, now);
        known.full_at = rate.after(known.full_at, count, now);
        known.leased += count;
    }

    /// How many tokens a lease takes now.
    fn share(&self, rate: &Gcra, known: &Known, now: u64) -> u32 {
        let available = rate.available(known.full_at, now);
        available.div_ceil(LEASE_PART).min(self.config.lease_tokens_max)
    }

    async fn lease_shared(
        &self,
        key: &Key,
        rate: &Gcra,
        known: &mut Known,
        now: u64,
    ) -> Result<(), TableError> {
        for _ in 0..LEASE_TRIES {
            let seen = self.look(key, known).await?;
            let count = self.share(rate, known, now);
            if count == 0 {
                return Ok(());
            }
            let full_at = rate.after(known.full_at, count, now);
            let expiry_millis = i64::try_from(full_at.div_ceil(MILLI_NANOS)).unwrap_or(i64::MAX);
            let write = Write::put(key.clone(), full_at.to_string())
                .expiring(Time::from_millis(expiry_millis))
                .when(seen);
            match self.table.commit(vec![write]).await {
                Ok(()) => {
                    known.full_at = full_at;
                    known.leased += count;
                    return Ok(());
                }
                Err(TableError::Unmet(_) | TableError::Contended) => {}
                Err(other) => return Err(other),
            }
        }
        // Somebody else takes ten tokens in each round trip, far above any rate.
        Ok(())
    }

    /// Reads the bucket.
    async fn look(&self, key: &Key, known: &mut Known) -> Result<Condition, TableError> {
        let item = get_one(&*self.table, key.clone()).await?;
        let full_at =
            item.as_ref().and_then(|item| std::str::from_utf8(&item.body).ok()?.parse().ok());
        // What was handed out while the table was away counts.
        known.full_at = known.full_at.max(full_at.unwrap_or(0));
        Ok(Condition::unchanged(item.as_ref()))
    }
}

#[async_trait]
impl Limiter for TableLimiter {
    async fn take(&self, bucket: Bucket, key: &str) -> Result<Decision, Problem> {
        let rate = Gcra::of(bucket.rate);
        let name = name(bucket.name, key);
        let known = self.known(name);
        let mut known = known.lock().await;
        let now = nanos(self.clock.now());
        // What is leased counts against the burst, however long it has lain here.
        let room = rate.missing(known.full_at, now);
        known.leased = known.leased.min(room);
        if known.leased == 0 && rate.available(known.full_at, now) > 0 {
            let key = Key::new(format!("limit#{}#{}", bucket.name, hex(&name)), "");
            self.lease(&key, &rate, &mut known, now).await;
        }
        let available = rate.available(known.full_at, now);
        if known.leased == 0 {
            let retry_after_ms = rate.wait_millis(known.full_at, now).max(1);
            return Ok(Decision { allowed: false, remaining: 0, retry_after_ms });
        }
        known.leased -= 1;
        Ok(Decision { allowed: true, remaining: known.leased + available, retry_after_ms: 0 })
    }
}

/// A bucket's name of one length, whatever its key holds.
fn name(family: &str, key: &str) -> Name {
    let digest = Sha256::new().chain_update(family).chain_update([0]).chain_update(key).finalize();
    let mut name = Name::default();
    name.copy_from_slice(&digest[..size_of::<Name>()]);
    name
}

fn hex(name: &Name) -> String {
    format!("{:032x}", u128::from_be_bytes(*name))
}
