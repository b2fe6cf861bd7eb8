//! Access tokens that have been verified once, and the sessions whose tokens are good no longer.
//!
//! All revocations of the embedded backend pass through this process, so a token that was good and
//! whose session has not been ended here is good until it expires: one digest and two lookups.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kernel::{Principal, Time};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

/// What an access token says, in Cognito's names.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user.
    pub(super) sub: String,
    /// Who issued it.
    pub(super) iss: String,
    /// For which client.
    pub(super) client_id: String,
    /// The session it belongs to.
    pub(super) origin_jti: String,
    /// Always `access`.
    pub(super) token_use: String,
    /// Its own id.
    pub(super) jti: String,
    /// Seconds since 1970 when it was issued.
    pub(super) iat: i64,
    /// Seconds since 1970 when it stops being good.
    pub(super) exp: i64,
}

/// The digest that stands for a token in the cache: no token is kept.
pub(super) type TokenDigest = [u8; 32];

/// The digest of a token.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

/// Verified tokens and ended sessions.
pub(super) struct Verified {
    tokens: Cache<TokenDigest, (Ulid, Arc<Principal>)>,
    ended: RwLock<Ended>,
}

/// Sessions that have ended, each until its last access token has expired.
#[derive(Default)]
struct Ended {
    until: HashMap<Ulid, Time>,
    sweep_at: usize,
}

impl Verified {
    /// Room for `tokens_max` tokens.
    pub(super) fn new(tokens_max: usize) -> Self {
        Self { tokens: Cache::new(tokens_max), ended: RwLock::default() }
    }

    /// Whom a token speaks for, where it was verified before and still is good.
    pub(super) fn get(&self, token: &TokenDigest, now: Time) -> Option<Arc<Principal>> {
        let (session, principal) = self.tokens.get(token)?;
        if principal.expires_at <= now || self.has_ended(session) {
            self.tokens.remove(token);
            return None;
        }
        Some(principal)
    }

    /// Remembers a verified token.
    pub(super) fn insert(&self, token: TokenDigest, session: Ulid, principal: Arc<Principal>) {
        self.tokens.insert(token, (session, principal));
    }

    /// Whether a session has been ended by this process.
    pub(super) fn has_ended(&self, session: Ulid) -> bool {
        let ended = self.ended.read().unwrap_or_else(PoisonError::into_inner);
        ended.until.contains_key(&session)
    }

    /// Ends a session, whose access tokens will all have expired at `until`.
    pub(super) fn end(&self, session: Ulid, now: Time, until: Time) {
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.until.insert(session, until);
        if ended.until.len() >= ended.sweep_at {
            ended.until.retain(|_, until| *until > now);
            // Twice what is left, so that sweeping costs each session a constant.
            ended.sweep_at = (ended.until.len() * 2).max(1024);
        }
    }

    /// Forgets every verified token, so that each is looked at anew.
    pub(super) fn clear(&self) {
        self.tokens.clear();
    }
}
