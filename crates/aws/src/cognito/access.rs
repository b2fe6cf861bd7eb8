//! Access tokens: what they say, and those that have been verified already.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::identity::session::Ended;
use kernel::{Principal, Time, UserId};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Characters of a session's name, at most. Cognito's are UUIDs.
const SESSION_CHARS_MAX: usize = 64;

/// What an access token of Cognito says, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Claims {
    username: String,
    pub(super) iss: String,
    pub(super) client_id: String,
    pub(super) token_use: String,
    pub(super) exp: i64,
    #[serde(default)]
    origin_jti: String,
}

impl Claims {
    /// Reads a token that comes from Cognito itself, without looking at its signature.
    pub(super) fn unproved(token: &str) -> Option<Self> {
        let payload = token.split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// The user: `username` is our id, `sub` is one of Cognito's own. A pool that does not care for
    /// case may hand it out in another one.
    pub(super) fn user(&self) -> Option<UserId> {
        self.username.to_ascii_uppercase().parse().ok()
    }

    /// The session: all tokens that descend from one sign-in share it.
    pub(super) fn session(&self) -> Option<&str> {
        let good = (1..=SESSION_CHARS_MAX).contains(&self.origin_jti.len())
            && self.origin_jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        good.then_some(self.origin_jti.as_str())
    }
}

/// The digest that stands for a token in the cache: no token is kept.
type TokenDigest = [u8; 32];

/// The digest of a token.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

/// A token that was good when it was last looked at.
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    /// When its session was last seen open, in milliseconds.
    seen_open_at: AtomicI64,
}

impl Known {
    /// Whether its session was seen open less than `ago` before `now`.
    pub(super) fn is_fresh(&self, now: Time, ago: Duration) -> bool {
        now < Time::from_millis(self.seen_open_at.load(Ordering::Relaxed)) + ago
    }

    /// Its session was looked at.
    pub(super) fn looked_at(&self, now: Time) {
        self.seen_open_at.store(now.millis(), Ordering::Relaxed);
    }
}

/// Verified tokens, and sessions that this process has ended.
pub(super) struct Verified {
    tokens: Cache<TokenDigest, Arc<Known>>,
    ended: Ended,
}

impl Verified {
    /// Room for `tokens_max` tokens.
    pub(super) fn new(tokens_max: usize) -> Self {
        Self { tokens: Cache::new(tokens_max), ended: Ended::default() }
    }

    /// Whom a token speaks for, where it was verified before, has not expired, and its session has
    /// not been ended here.
    pub(super) fn get(&self, token: &TokenDigest, now: Time) -> Option<Arc<Known>> {
        let known = self.tokens.get(token)?;
        if known.principal.expires_at <= now || self.has_ended(&known.principal.session) {
            self.tokens.remove(token);
            return None;
        }
        Some(known)
    }

    /// Remembers a verified token.
    pub(super) fn insert(&self, token: TokenDigest, principal: Arc<Principal>, now: Time) {
        let seen_open_at = AtomicI64::new(now.millis());
        self.tokens.insert(token, Arc::new(Known { principal, seen_open_at }));
    }

    /// Forgets a token.
    pub(super) fn remove(&self, token: &TokenDigest) {
        self.tokens.remove(token);
    }

    /// Whether a session has been ended by this process.
    pub(super) fn has_ended(&self, session: &str) -> bool {
        self.ended.has(session)
    }

    /// Ends a session, whose access tokens will all have expired at `until`.
    pub(super) fn end(&self, session: &str, now: Time, until: Time) {
        self.ended.end(session, now, until);
    }
}
