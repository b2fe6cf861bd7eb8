//! Access tokens that have been verified once, and the sessions whose tokens are good no longer.
//!
//! All revocations of the embedded backend pass through this process, so a token that was good and
//! whose session has not been ended here is good until it expires: one digest and two lookups.

use std::sync::Arc;

use kernel::identity::session::Ended;
use kernel::{Principal, Time};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    tokens: Cache<TokenDigest, Arc<Principal>>,
    ended: Ended,
}

impl Verified {
    /// Room for `tokens_max` tokens.
    pub(super) fn new(tokens_max: usize) -> Self {
        Self { tokens: Cache::new(tokens_max), ended: Ended::default() }
    }

    /// Whom a token speaks for, where it was verified before and still is good.
    pub(super) fn get(&self, token: &TokenDigest, now: Time) -> Option<Arc<Principal>> {
        let principal = self.tokens.get(token)?;
        if principal.expires_at <= now || self.has_ended(&principal.session) {
            self.tokens.remove(token);
            return None;
        }
        Some(principal)
    }

    /// Remembers a verified token.
    pub(super) fn insert(&self, token: TokenDigest, principal: Arc<Principal>) {
        self.tokens.insert(token, principal);
    }

    /// Whether a session has been ended by this process.
    pub(super) fn has_ended(&self, session: &str) -> bool {
        self.ended.has(session)
    }

    /// Ends a session, whose access tokens will all have expired at `until`.
    pub(super) fn end(&self, session: &str, now: Time, until: Time) {
        self.ended.end(session, now, until);
    }

    /// Forgets every verified token, so that each is looked at anew.
    pub(super) fn clear(&self) {
        self.tokens.clear();
    }
}
