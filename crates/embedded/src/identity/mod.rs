//! Identity in one process: credentials and sessions in the user service's own table, under
//! partitions of their own, and signing keys in a file of the data directory.
//!
//! | partition | sort | holds |
//! |---|---|---|
//! | `identity#email#<digest>` | | the user id behind an address |
//! | `identity#user#<userId>` | | the address and the Argon2id hash |
//! | `identity#session#<userId>` | session | digests of a family's secrets; expires |
//! | `identity#attempts#<digest>` | | failed sign-ins of an address; expires |
//!
//! Addresses are compared folded ([`kernel::fold()`]) and kept as they were given. Neither
//! passwords nor tokens are kept, and no type that holds one is `Debug`.

mod access;
mod audit;
mod keys;
mod password;
mod session;
mod turnstile;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::identity::attempts::{Attempts, Limit};
use kernel::identity::rows::{Address, account, attempts_key, email_key, session_key, user_key};
use kernel::identity::session::{Session, end_all_but};
use kernel::identity::{
    Identity, Revoke, Tokens, bad_access_token, bad_credentials, email_taken,
    invalid_refresh_token, not_their_session, suspended,
};
use kernel::table::{
    Attempt, Condition, QUERY_ITEMS_MAX, Table, TableError, Write, get_one, retry,
};
use kernel::{Clock, Ids, Principal, Problem, Time, UserId};
use serde::{Deserialize, Serialize};

use access::{Claims, Verified};
pub use audit::audit;
use keys::Keys;
pub use keys::{KeysError, check_keys};
use password::Passwords;
use session::RefreshToken;
use turnstile::Turnstiles;

use crate::encryption::Encryption;

/// An access token is shorter than this; longer ones are refused unread.
const ACCESS_TOKEN_BYTES_MAX: usize = 2048;

/// Lifetimes, limits and costs. The defaults are the contract's numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The `iss` of access tokens: the address that people reach the system by.
    pub issuer: String,
    /// The `client_id` of access tokens.
    pub client_id: String,
    /// How long an access token is good.
    pub access_token_ttl_secs: u64,
    /// How long a refresh token is good.
    pub refresh_token_ttl_secs: u64,
    /// Failed sign-ins in a window after which an account is locked.
    pub failed_sign_ins_max: usize,
    /// The window, and how long the first lock lasts; each further one is twice as long.
    pub failed_sign_ins_window_secs: u64,
    /// Sessions of one user; a further sign-in ends the oldest. At most 1000.
    pub sessions_max: usize,
    /// Passwords in work at once.
    pub hash_workers: usize,
    /// Passwords that wait for a worker; over it, 429.
    pub hash_waiting_max: usize,
    /// Memory for one password (Argon2's `m`).
    pub argon2_memory_kib: u32,
    /// Passes over that memory (Argon2's `t`).
    pub argon2_passes: u32,
    /// Verified access tokens that are remembered.
    pub verified_tokens_max: usize,
    /// Whether and how the signing keys are encrypted. The table sees to itself.
    pub encryption: Encryption,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One core stays free for everything else.
        let hash_workers = cores.saturating_sub(1).max(1);
        Self {
            issuer: "http://127.0.0.1:8080".into(),
            client_id: "mini-sns".into(),
            access_token_ttl_secs: 60 * 60,
            refresh_token_ttl_secs: 30 * 24 * 60 * 60,
            failed_sign_ins_max: 10,
            failed_sign_ins_window_secs: 15 * 60,
            sessions_max: 200,
            hash_workers,
            // At about 40 ms a hash the last of them is through within 2 s, of the 2.5 s that a
            // request has; and two whole bursts of `/auth/*` (20 each) wait instead of failing.
            hash_waiting_max: 48 * hash_workers,
            argon2_memory_kib: 19 * 1024,
            argon2_passes: 2,
            verified_tokens_max: 100_000,
            encryption: Encryption::default(),
        }
    }
}

/// Why an identity cannot be opened. The text is one line.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The signing keys cannot be read or made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
}

/// The embedded keeper of credentials and sessions.
pub struct EmbeddedIdentity {
    config: Config,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    keys: Keys,
    passwords: Passwords,
    verified: Verified,
    turnstiles: Turnstiles,
}

/// What is kept of an identity; holds a password's hash, so not `Debug`.
#[derive(Serialize, Deserialize)]
struct Credentials {
    email: String,
    password: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suspended: bool,
}

/// A user's credentials and the version that a commit on them must meet.
struct Known {
    user: UserId,
    credentials: Credentials,
    version: u64,
}

impl EmbeddedIdentity {
    /// Opens the identity whose rows are in `table` and whose signing keys are in `keys_dir`; the
    /// first time makes the keys.
    pub fn open(
        config: Config,
        keys_dir: &Path,
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Arc<Self>, OpenError> {
        if config.sessions_max == 0 || config.sessions_max > QUERY_ITEMS_MAX {
            let reason = format!("a user has 1 to {QUERY_ITEMS_MAX} sessions at most");
            return Err(OpenError::Config(reason));
        }
        let keys = Keys::open(keys_dir, keys::cipher(&config.encryption), &*ids)?;
        let passwords = Passwords::new(&config, Arc::clone(&ids)).map_err(OpenError::Config)?;
        let verified = Verified::new(config.verified_tokens_max);
        let turnstiles = Turnstiles::default();
        Ok(Arc::new(Self { config, table, clock, ids, keys, passwords, verified, turnstiles }))
    }

    /// Signs with a new key from now on. Tokens of the present key stay good, those of the key
    /// before it do not.
    pub fn rotate_keys(&self) -> Result<(), KeysError> {
        self.keys.rotate(&*self.ids)?;
        self.verified.clear();
        Ok(())
    }

    async fn known(&self, user: UserId) -> Result<Option<Known>, TableError> {
        let Some(item) = get_one(&*self.table, user_key(user)).await? else { return Ok(None) };
        Ok(Some(Known { user, credentials: item.json()?, version: item.version }))
    }

    async fn known_by_email(&self, account: &str) -> Result<Option<Known>, TableError> {
        match get_one(&*self.table, email_key(account)).await? {
            Some(item) => self.known(item.json::<Address>()?.user_id).await,
            None => Ok(None),
        }
    }

    /// Compares a password with what is known of an account, counting failures. Attempts on one
    /// account take turns, so that many at once cannot pass the limit together.
    async fn prove(
        &self,
        account: &str,
        known: Option<Known>,
        password: &str,
    ) -> Result<Known, Problem> {
        let _turn = self.turnstiles.enter(account).await?;
        let row = get_one(&*self.table, attempts_key(account)).await?;
        let mut attempts = Attempts::of(row.as_ref())?;
        attempts.check(self.clock.now())?;
        let hash = known.as_ref().map(|known| known.credentials.password.clone());
        let matches = self.passwords.verify(password, hash).await?;
        match known {
            Some(known) if matches => {
                if !attempts.is_empty() {
                    self.table.commit(vec![Write::delete(attempts_key(account))]).await?;
                }
                Ok(known)
            }
            _ => {
                let now = self.clock.now();
                let window = Duration::from_secs(self.config.failed_sign_ins_window_secs);
                let limit = Limit { failures_max: self.config.failed_sign_ins_max, window };
                attempts.fail(now, limit);
                self.table.commit(vec![attempts.row(account, now, limit)]).await?;
                Err(bad_credentials())
            }
        }
    }

    /// Starts a session, if the credentials are still what they were when the password was proved.
    async fn start(&self, user: UserId, version: u64) -> Result<Tokens, Problem> {
        let sessions = session::oldest(&*self.table, user, self.config.sessions_max).await?;
        let (now, id) = (self.clock.now(), self.ids.ulid());
        let token = RefreshToken::first(user, id, [self.ids.secret(), self.ids.secret()]);
        let mut writes = vec![
            Write::check(user_key(user), Condition::Version(version)),
            self.session_row(&token, &token.session(now), now).when(Condition::Absent),
        ];
        if sessions.len() >= self.config.sessions_max {
            let oldest = &sessions[0];
            self.end(&oldest.key.sort);
            writes.push(Write::delete(oldest.key.clone()));
        }
        match self.table.commit(writes).await {
            Ok(()) => self.tokens(&token),
            // The password was changed or the identity deleted in this very moment.
            Err(TableError::Unmet(0)) => Err(bad_credentials()),
            Err(error) => Err(error.into()),
        }
    }

    fn session_row(&self, token: &RefreshToken, session: &Session, now: Time) -> Write {
        let ttl = Duration::from_secs(self.config.refresh_token_ttl_secs);
        Write::put_json(token.key(), session).expiring(now + ttl)
    }

    fn tokens(&self, token: &RefreshToken) -> Result<Tokens, Problem> {
        let ttl = self.config.access_token_ttl_secs;
        let now = self.clock.now().secs();
        let claims = Claims {
            sub: token.user.to_string(),
            iss: self.config.issuer.clone(),
            client_id: self.config.client_id.clone(),
            origin_jti: token.session.to_string(),
            token_use: "access".into(),
            jti: self.ids.ulid().to_string(),
            iat: now,
            exp: now.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX)),
        };
        Ok(Tokens {
            user_id: token.user,
            access_token: self.keys.sign(&claims)?,
            refresh_token: token.render(),
            expires_in: Duration::from_secs(ttl),
        })
    }

    /// Makes a session's access tokens worthless at once, before its row goes: should the row stay
    /// because the table fails, the error is on the safe side.
    fn end(&self, session: &str) {
        let now = self.clock.now();
        // A token issued in this very moment may expire a second later than one of now.
        let ttl = Duration::from_secs(self.config.access_token_ttl_secs.saturating_add(1));
        self.verified.end(session, now, now + ttl);
    }

    async fn end_all_but(&self, user: UserId, kept: Option<&str>) -> Result<(), Problem> {
        Ok(end_all_but(&*self.table, user, kept, |session| self.end(session)).await?)
    }

    /// One try of a refresh on the session's row as it is now.
    async fn try_refresh(&self, token: &RefreshToken) -> Result<Tokens, Attempt> {
        let Some(row) = get_one(&*self.table, token.key()).await? else {
            let known = self.known(token.user).await?;
            let is_suspended = known.is_some_and(|known| known.credentials.suspended);
            return Err(if is_suspended { suspended() } else { invalid_refresh_token() }.into());
        };
        let session: Session = row.json()?;
        if !token.is_of(&session) {
            return Err(invalid_refresh_token().into());
        }
        if !token.is_newest_of(&session) {
            // Two hold this family's tokens, and one of them is not who signed in.
            self.end(&row.key.sort);
            self.table.commit(vec![Write::delete(row.key)]).await?;
            tracing::warn!(user = %token.user, session = %token.session, "refresh token reused");
            return Err(invalid_refresh_token().into());
        }
        let (now, next) = (self.clock.now(), token.next(self.ids.secret()));
        let session = next.session(session.started_at());
        let write = self.session_row(&next, &session, now);
        self.table.commit(vec![write.when(Condition::Version(row.version))]).await?;
        Ok(self.tokens(&next)?)
    }

    /// One try of removing a user's credentials. The address can belong to nobody else while they
    /// are there.
    async fn try_forget(&self, user: UserId) -> Result<(), Attempt> {
        let Some(known) = self.known(user).await? else { return Ok(()) };
        let account = account(&known.credentials.email);
        let writes = vec![
            Write::delete(user_key(user)).when(Condition::Version(known.version)),
            Write::delete(email_key(&account)),
            Write::delete(attempts_key(&account)),
        ];
        Ok(self.table.commit(writes).await?)
    }

    /// One try of suspending an identity, or of ending that. Its version changes, so a sign-in
    /// under way fails.
    async fn try_suspend(&self, user: UserId, suspended: bool) -> Result<(), Attempt> {
        let Some(Known { credentials, version, .. }) = self.known(user).await? else {
            return Ok(());
        };
        if credentials.suspended != suspended {
            let write = Write::put_json(user_key(user), &Credentials { suspended, ..credentials });
            self.table.commit(vec![write.when(Condition::Version(version))]).await?;
        }
        Ok(())
    }

    /// Looks at a token that is not remembered.
    async fn verify_anew(&self, text: &str) -> Result<Principal, Problem> {
        if text.len() > ACCESS_TOKEN_BYTES_MAX {
            return Err(bad_access_token());
        }
        let claims: Claims = self.keys.open_token(text).ok_or_else(bad_access_token)?;
        let good = claims.token_use == "access"
            && claims.iss == self.config.issuer
            && claims.client_id == self.config.client_id
            && claims.exp > self.clock.now().secs();
        let user_id = claims.sub.parse().ok().filter(|_| good).ok_or_else(bad_access_token)?;
        let session = claims.origin_jti;
        let row = get_one(&*self.table, session_key(user_id, &session)).await?;
        if row.is_none() || self.verified.has_ended(&session) {
            return Err(bad_access_token());
        }
        let expires_at = Time::from_millis(claims.exp.saturating_mul(1000));
        Ok(Principal { user_id, session, expires_at })
    }
}

#[async_trait]
impl Identity for EmbeddedIdentity {
    async fn create(&self, user: UserId, email: &str, password: &str) -> Result<(), Problem> {
        let email = email.trim().to_owned();
        let email_key = email_key(&account(&email));
        if get_one(&*self.table, email_key.clone()).await?.is_some() {
            return Err(email_taken());
        }
        let password = self.passwords.hash(password).await?;
        let writes = vec![
            Write::put_json(email_key, &Address::of(user)).when(Condition::Absent),
            Write::put_json(user_key(user), &Credentials { email, password, suspended: false })
                .when(Condition::Absent),
        ];
        self.table.commit(writes).await.map_err(|error| match error {
            TableError::Unmet(0) => email_taken(),
            other => other.into(),
        })
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<Tokens, Problem> {
        let account = account(email);
        let known = self.known_by_email(&account).await?;
        let known = self.prove(&account, known, password).await?;
        if known.credentials.suspended {
            return Err(suspended());
        }
        self.start(known.user, known.version).await
    }

    async fn first_session(
        &self,
        user: UserId,
        _email: &str,
        _password: &str,
    ) -> Result<Tokens, Problem> {
        let known = self.known(user).await?.ok_or_else(bad_credentials)?;
        if known.credentials.suspended {
            return Err(suspended());
        }
        self.start(user, known.version).await
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Problem> {
        let token = RefreshToken::parse(refresh_token).ok_or_else(invalid_refresh_token)?;
        retry(|| self.try_refresh(&token)).await
    }

    async fn revoke(&self, user: UserId, which: Revoke<'_>) -> Result<(), Problem> {
        let Revoke::Session(text) = which else { return self.end_all_but(user, None).await };
        let Some(token) = RefreshToken::parse(text) else { return Ok(()) };
        let Some(row) = get_one(&*self.table, token.key()).await? else { return Ok(()) };
        let session: Session = row.json()?;
        if token.user != user {
            let good = token.is_of(&session) && token.is_newest_of(&session);
            return if good { Err(not_their_session()) } else { Ok(()) };
        }
        if token.is_of(&session) {
            self.end(&row.key.sort);
            self.table.commit(vec![Write::delete(row.key)]).await?;
        }
        Ok(())
    }

    async fn change_password(
        &self,
        principal: &Principal,
        current: &str,
        new: &str,
    ) -> Result<(), Problem> {
        let known = self.known(principal.user_id).await?.ok_or_else(bad_credentials)?;
        let account = account(&known.credentials.email);
        let known = self.prove(&account, Some(known), current).await?;
        let password = self.passwords.hash(new).await?;
        let credentials = Credentials { password, ..known.credentials };
        let write = Write::put_json(user_key(known.user), &credentials);
        self.table.commit(vec![write.when(Condition::Version(known.version))]).await?;
        self.end_all_but(known.user, Some(&principal.session)).await
    }

    async fn check_password(&self, user: UserId, password: &str) -> Result<(), Problem> {
        let known = self.known(user).await?.ok_or_else(bad_credentials)?;
        let account = account(&known.credentials.email);
        self.prove(&account, Some(known), password).await.map(|_| ())
    }

    async fn set_password(&self, user: UserId, new: &str) -> Result<(), Problem> {
        let password = self.passwords.hash(new).await?;
        retry(|| async {
            let known = self.known(user).await?.ok_or_else(bad_credentials)?;
            let attempts = attempts_key(&account(&known.credentials.email));
            let credentials = Credentials { password: password.clone(), ..known.credentials };
            let write = Write::put_json(user_key(user), &credentials);
            let writes =
                vec![write.when(Condition::Version(known.version)), Write::delete(attempts)];
            Ok(self.table.commit(writes).await?)
        })
        .await?;
        self.end_all_but(user, None).await
    }

    async fn find(&self, email: &str) -> Result<Option<UserId>, Problem> {
        Ok(self.known_by_email(&account(email)).await?.map(|known| known.user))
    }

    async fn suspend(&self, user: UserId) -> Result<(), Problem> {
        // Credentials first: after this no session can start.
        retry(|| self.try_suspend(user, true)).await?;
        self.end_all_but(user, None).await
    }

    async fn restore(&self, user: UserId) -> Result<(), Problem> {
        retry(|| self.try_suspend(user, false)).await
    }

    async fn delete(&self, user: UserId) -> Result<(), Problem> {
        // Credentials first: after this no session can start.
        retry(|| self.try_forget(user)).await?;
        self.end_all_but(user, None).await
    }

    async fn email(&self, user: UserId) -> Result<Option<String>, Problem> {
        Ok(self.known(user).await?.map(|known| known.credentials.email))
    }

    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem> {
        let digest = access::digest(access_token);
        if let Some(principal) = self.verified.get(&digest, self.clock.now()) {
            return Ok(principal);
        }
        let principal = Arc::new(self.verify_anew(access_token).await?);
        self.verified.insert(digest, Arc::clone(&principal));
        Ok(principal)
    }

    async fn key_set(&self) -> Result<serde_json::Value, Problem> {
        Ok(self.keys.key_set())
    }

    fn issuer(&self) -> &str {
        &self.config.issuer
    }
}
