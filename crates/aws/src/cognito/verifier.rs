//! Access tokens verified offline: by the pool's keys, its claims, and that the session is open.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, Validation};
use kernel::identity::session::{SessionName, Sessions};
use kernel::identity::{Identity, Revoke, Tokens, bad_access_token};
use kernel::{Clock, Principal, Problem, Time, UserId};

use super::Config;
use super::access::{self, Claims, Verified};
use super::keys::Keys;
use super::together::Together;

/// An access token is shorter than this; longer ones are refused unread.
const ACCESS_TOKEN_BYTES_MAX: usize = 4096;

/// Who an access token speaks for. All that a service needs that keeps no credentials: of an
/// [`Identity`] it can verify and show the keys, and nothing else is asked of it.
pub struct Verifier {
    issuer: String,
    client_id: String,
    access_token_ttl: Duration,
    recheck: Duration,
    keys: Keys,
    sessions: Together,
    verified: Verified,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// Verifies tokens of the pool of `config` whose `sessions` are open.
    pub fn new(config: &Config, sessions: Arc<dyn Sessions>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self::of(config, sessions, clock))
    }

    pub(super) fn of(config: &Config, sessions: Arc<dyn Sessions>, clock: Arc<dyn Clock>) -> Self {
        let secs = Duration::from_secs;
        let (ttl, every) = (secs(config.key_set_ttl_secs), secs(config.key_set_every_secs));
        Self {
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            access_token_ttl: secs(config.access_token_ttl_secs),
            recheck: Duration::from_millis(config.session_recheck_millis),
            keys: Keys::new(config.key_set_url.clone(), Arc::clone(&clock), ttl, every),
            sessions: Together::new(sessions),
            verified: Verified::new(config.verified_tokens_max),
            clock,
        }
    }

    /// Makes a session's access tokens worthless in this process at once; the others learn of it
    /// from its row.
    pub(super) fn end(&self, session: &str) {
        let now = self.clock.now();
        // A token issued in this very moment may expire a second later than one of now.
        let until = now + self.access_token_ttl + Duration::from_secs(1);
        self.verified.end(session, now, until);
    }

    /// Who the token speaks for, by its signature and its claims alone.
    async fn proved(&self, text: &str, now: Time) -> Result<Principal, Problem> {
        if text.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(bad_access_token());
        }
        // The header chooses among the pool's keys, never the algorithm.
        let header = jsonwebtoken::decode_header(text).map_err(|_| bad_access_token())?;
        let kid = header.kid.filter(|_| header.alg == Algorithm::RS256);
        let kid = kid.ok_or_else(bad_access_token)?;
        let mut validation = Validation::new(Algorithm::RS256);
        // Times are compared by our own clock, and a client's id is not in `aud`.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let opened = self.keys.with(&kid, |key| {
            jsonwebtoken::decode::<Claims>(text, key, &validation).map(|token| token.claims)
        });
        let claims = opened.await?.and_then(Result::ok).ok_or_else(bad_access_token)?;
        let good = claims.token_use == "access"
            && claims.iss == self.issuer
            && claims.client_id == self.client_id
            // No leeway: a token that is good for a moment longer here than at the gateway would
            // help nobody, and clocks on AWS agree within milliseconds.
            && claims.exp > now.secs();
        let user_id = claims.user().filter(|_| good).ok_or_else(bad_access_token)?;
        let session = claims.session().ok_or_else(bad_access_token)?.to_owned();
        let expires_at = Time::from_millis(claims.exp.saturating_mul(1000));
        Ok(Principal { user_id, session, expires_at })
    }

    async fn is_open(&self, principal: &Principal) -> Result<bool, Problem> {
        let (user, session) = (principal.user_id, principal.session.clone());
        self.sessions.is_open(SessionName { user, session }).await
    }
}

fn not_here<T>() -> Result<T, Problem> {
    Err(Problem::internal(std::io::Error::other("this service keeps no credentials")))
}

#[async_trait]
impl Identity for Verifier {
    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem> {
        let (digest, now) = (access::digest(access_token), self.clock.now());
        if let Some(known) = self.verified.get(&digest, now) {
            if known.is_fresh(now, self.recheck) {
                return Ok(Arc::clone(&known.principal));
            }
            let is_open = self.is_open(&known.principal).await;
            if matches!(is_open, Ok(false)) {
                self.verified.remove(&digest);
                return Err(bad_access_token());
            }
            // A token that was good goes on while nobody can be asked: an outage of the user
            // service must not sign everybody out of the others.
            known.looked_at(now);
            return Ok(Arc::clone(&known.principal));
        }
        let principal = Arc::new(self.proved(access_token, now).await?);
        if !self.is_open(&principal).await? || self.verified.has_ended(&principal.session) {
            return Err(bad_access_token());
        }
        self.verified.insert(digest, Arc::clone(&principal), now);
        Ok(principal)
    }

    async fn key_set(&self) -> Result<serde_json::Value, Problem> {
        self.keys.set().await
    }

    fn issuer(&self) -> &str {
        &self.issuer
    }

    async fn create(&self, _user: UserId, _email: &str, _password: &str) -> Result<(), Problem> {
        not_here()
    }

    async fn sign_in(&self, _email: &str, _password: &str) -> Result<Tokens, Problem> {
        not_here()
    }

    async fn refresh(&self, _refresh_token: &str) -> Result<Tokens, Problem> {
        not_here()
    }

    async fn revoke(&self, _user: UserId, _which: Revoke<'_>) -> Result<(), Problem> {
        not_here()
    }

    async fn change_password(
        &self,
        _principal: &Principal,
        _current: &str,
        _new: &str,
    ) -> Result<(), Problem> {
        not_here()
    }

    async fn check_password(&self, _user: UserId, _password: &str) -> Result<(), Problem> {
        not_here()
    }

    async fn set_password(&self, _user: UserId, _new: &str) -> Result<(), Problem> {
        not_here()
    }

    async fn find(&self, _email: &str) -> Result<Option<UserId>, Problem> {
        not_here()
    }

    async fn suspend(&self, _user: UserId) -> Result<(), Problem> {
        not_here()
    }

    async fn restore(&self, _user: UserId) -> Result<(), Problem> {
        not_here()
    }

    async fn delete(&self, _user: UserId) -> Result<(), Problem> {
        not_here()
    }

    async fn email(&self, _user: UserId) -> Result<Option<String>, Problem> {
        not_here()
    }
}
