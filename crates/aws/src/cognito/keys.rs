//! The pool's public keys: fetched, kept, and fetched again when a token names another one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use kernel::problem::told;
use kernel::{Clock, Problem, Time};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::http::LazyClient;

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Time for one fetch: less than a request's deadline of 2.5 s.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Bytes of a key set: two keys take one thousand.
const SET_MAX_BYTES: usize = 64 * 1024;
/// Between two tries while there is no key at all.
const FIRST_KEYS_EVERY: Duration = Duration::from_secs(1);

/// Why there are no keys. The text is one line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the key set at {url}: {reason}")]
pub(super) struct KeysError {
    url: String,
    reason: String,
}

/// What was fetched last.
#[derive(Clone)]
struct Fetched {
    keys: Arc<HashMap<String, DecodingKey>>,
    set: Value,
    at: Time,
}

/// The keys at an address.
pub(super) struct Keys {
    url: String,
    http: LazyClient,
    clock: Arc<dyn Clock>,
    /// Keys older than this are fetched anew, should they have been withdrawn.
    ttl: Duration,
    /// Between two fetches at least, whatever keys tokens name.
    every: Duration,
    fetched: RwLock<Option<Fetched>>,
    /// When the last try was; held while fetching, so that there is one at a time.
    tried: Mutex<Option<Time>>,
}

impl Keys {
    /// The keys at `url`; nothing is fetched yet.
    pub(super) fn new(url: String, clock: Arc<dyn Clock>, ttl: Duration, every: Duration) -> Self {
        let http = LazyClient::new(CONNECT_TIMEOUT, SET_MAX_BYTES);
        let (fetched, tried) = (RwLock::new(None), Mutex::new(None));
        Self { url, http, clock, ttl, every, fetched, tried }
    }

    /// Lets `work` use the key of that name; none where the pool has no such key.
    pub(super) async fn with<T>(
        &self,
        kid: &str,
        work: impl Fn(&DecodingKey) -> T,
    ) -> Result<Option<T>, Problem> {
        let now = self.clock.now();
        let before = self.fetched();
        let is_known = before.as_ref().is_some_and(|kept| kept.keys.contains_key(kid));
        let is_fresh = before.as_ref().is_some_and(|kept| now < kept.at + self.ttl);
        if !(is_known && is_fresh) {
            let refetched = self.refetch(before.as_ref().map(|kept| kept.at)).await;
            // Keys that are there go on while the pool cannot be asked.
            if before.is_none() {
                refetched?;
            }
        }
        Ok(self.fetched().and_then(|kept| kept.keys.get(kid).map(work)))
    }

    /// The key set as the pool shows it.
    pub(super) async fn set(&self) -> Result<Value, Problem> {
        let before = self.fetched();
        let now = self.clock.now();
        if before.as_ref().is_none_or(|kept| now >= kept.at + self.ttl) {
            let refetched = self.refetch(before.as_ref().map(|kept| kept.at)).await;
            if before.is_none() {
                refetched?;
            }
        }
        Ok(self.fetched().map(|kept| kept.set).unwrap_or_default())
    }

    fn fetched(&self) -> Option<Fetched> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches, unless somebody has since `seen`, or has tried a moment ago.
    async fn refetch(&self, seen: Option<Time>) -> Result<(), Problem> {
        let mut tried = self.tried.lock().await;
        let kept_at = self.fetched().map(|kept| kept.at);
        let now = self.clock.now();
        if kept_at != seen {
            return Ok(());
        }
        let every = if kept_at.is_none() { FIRST_KEYS_EVERY } else { self.every };
        if tried.is_some_and(|at| now < at + every) {
            let reason = "could not be fetched a moment ago".into();
            return Err(Problem::unavailable(KeysError { url: self.url.clone(), reason }));
        }
        *tried = Some(now);
        match self.fetch().await {
            Ok(set) => {
                let fetched = Fetched { keys: Arc::new(usable(&set)), set, at: now };
                *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
                Ok(())
            }
            Err(reason) => {
                tracing::warn!(url = self.url, reason, "key set cannot be fetched");
                Err(Problem::unavailable(KeysError { url: self.url.clone(), reason }))
            }
        }
    }

    async fn fetch(&self) -> Result<Value, String> {
        let asked = Request::get(&self.url).body(Bytes::new()).map_err(|error| told(&error))?;
        let answer = timeout(FETCH_TIMEOUT, self.http.send(asked)).await;
        let answer = answer.map_err(|_| "no answer in time")?.map_err(|error| told(&error))?;
        match answer.status() {
            StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|error| told(&error)),
            status => Err(format!("answered {status}")),
        }
    }
}

/// The RSA keys for signatures, by name. Others are none of ours: what a token says of its
/// algorithm never chooses the kind of key.
fn usable(set: &Value) -> HashMap<String, DecodingKey> {
    let keys = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let keys = keys.iter().filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
    keys.filter(|key| key.common.key_algorithm == Some(KeyAlgorithm::RS256))
        .filter(|key| matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature)))
        .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(&key).ok()?)))
        .collect()
}
