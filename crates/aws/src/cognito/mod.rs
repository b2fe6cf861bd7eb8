//! Identity on a Cognito user pool.
//!
//! The pool keeps users and passwords, compares passwords, and signs tokens. What the contract
//! promises beyond that is kept in the user service's own table, under partitions of their own:
//!
//! | partition | sort | holds |
//! |---|---|---|
//! | `identity#email#<digest>` | | whose an address is, suspended or not; expires while made |
//! | `identity#user#<userId>` | | the address |
//! | `identity#session#<userId>` | `origin_jti` | digests of a family's secrets; expires |
//! | `identity#attempts#<digest>` | | failed sign-ins of an address; expires |
//!
//! A user's name in the pool is our user id, so an access token says whose it is. Addresses are
//! compared folded ([`kernel::fold()`]) by their row, which is also what makes them unique. The
//! row of a session says whether its tokens are good: Cognito alone would let access tokens live on
//! after a sign-out, and a reused refresh token's family too. Neither passwords nor tokens are
//! kept, and no type that holds one is `Debug`.
//!
//! Everything goes through the pool's administrative calls, signed by IAM: nobody signs up or in
//! past this service. The role needs `cognito-idp:` `AdminCreateUser`, `AdminSetUserPassword`,
//! `AdminInitiateAuth`, `AdminGetUser`, `AdminUserGlobalSignOut`, `AdminDisableUser`,
//! `AdminEnableUser` and `AdminDeleteUser` on the pool.
//!
//! A suspended user is disabled in the pool, which then compares no password; so a sign-in with
//! their address is told of the suspension whatever password comes with it.

mod access;
mod attempts;
mod config;
mod create;
mod fault;
mod keys;
mod pool;
mod session;
mod together;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cognitoidentityprovider::Client;
use kernel::identity::attempts::Attempts;
use kernel::identity::rows::{Address, account, attempts_key, email_key, user_key};
use kernel::identity::session::{Session, end_all_but};
use kernel::identity::{
    Identity, Revoke, Tokens, bad_credentials, email_taken, invalid_refresh_token,
    not_their_session, suspended,
};
use kernel::table::{
    Attempt, Condition, Item, Key, QUERY_ITEMS_MAX, Table, TableError, Write, get_one, retry,
};
use kernel::{Clock, Code, Ids, Principal, Problem, Time, UserId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use attempts::Gate;
pub use config::{Config, client};
pub use create::{Created, REFRESH_GRACE_SECS, create};
pub use fault::Fault;
use pool::{Grant, Making, Pool};
use session::RefreshToken;
pub use session::TableSessions;
pub use verifier::Verifier;

/// How long an address is held while its user is being made: longer than any request lasts.
const MAKING: Duration = Duration::from_secs(60);

/// Why an identity cannot be opened: a setting makes no sense. The text is one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// The keeper of credentials and sessions on Cognito.
pub struct CognitoIdentity {
    config: Config,
    pool: Pool,
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    gate: Gate,
    verifier: Verifier,
}

/// What is known of a user beside the pool.
#[derive(Serialize, Deserialize)]
struct Owner {
    email: String,
}

/// A name that no user has, so that an unknown address costs the same work as a known one.
fn nobody(account: &str) -> UserId {
    let digits = account.get(..32).unwrap_or_default();
    UserId(Ulid(u128::from_str_radix(digits, 16).unwrap_or_default()))
}

/// A sign-in that Cognito let through: whose, by which version of the address's row, and the
/// tokens.
struct Proof {
    account: String,
    version: u64,
    grant: Grant,
}

impl CognitoIdentity {
    /// The identity whose users are in the pool of `config` and whose rows are in `table`, the
    /// user service's.
    pub fn open(
        config: Config,
        client: Client,
        table: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Arc<Self>, OpenError> {
        if config.sessions_max == 0 || config.sessions_max > QUERY_ITEMS_MAX {
            let reason = format!("a user has 1 to {QUERY_ITEMS_MAX} sessions at most");
            return Err(OpenError(reason));
        }
        let sessions = Arc::new(TableSessions(Arc::clone(&table)));
        let verifier = Verifier::of(&config, sessions, Arc::clone(&clock));
        let (user_pool_id, client_id) = (config.user_pool_id.clone(), config.client_id.clone());
        let pool = Pool { client, user_pool_id, client_id };
        Ok(Arc::new(Self { config, pool, table, clock, ids, gate: Gate::default(), verifier }))
    }

    async fn address_of(&self, user: UserId) -> Result<Option<String>, TableError> {
        let Some(item) = get_one(&*self.table, user_key(user)).await? else { return Ok(None) };
        Ok(Some(item.json::<Owner>()?.email))
    }

    /// Has Cognito compare a password, counting failures of the account.
    async fn prove(&self, account: String, password: &str) -> Result<Proof, Problem> {
        let limit = self.config.limit();
        let patience = Duration::from_millis(self.config.sign_in_patience_millis);
        let read = || async {
            let keys = [attempts_key(&account), email_key(&account)];
            let mut found = self.table.get(&keys).await?.into_iter();
            let attempts = Attempts::of(found.next().flatten().as_ref())?;
            let now = self.clock.now();
            attempts.check(now)?;
            Ok((attempts.failures(now, limit), (attempts, found.next().flatten())))
        };
        let entered = self.gate.enter(&account, limit.failures_max, patience, read);
        let (_pass, (attempts, address)) = entered.await?;
        // One that is still being made is not there yet.
        let address = address.filter(|item| item.expires_at.is_none());
        let owner = address.as_ref().map(Item::json::<Address>).transpose()?;
        let user = owner.as_ref().map_or_else(|| nobody(&account), |owner| owner.user_id);
        let grant = self.pool.sign_in(user, password).await?;
        if owner.is_some_and(|owner| owner.suspended) {
            // Not disabled yet, or no longer: nothing may come of these tokens.
            if let Some(token) = grant.and_then(|grant| grant.refresh_token) {
                self.let_go(&token).await;
            }
            return Err(suspended());
        }
        match (grant, address) {
            (Some(grant), Some(address)) if grant.user == user => {
                if !attempts.is_empty() {
                    self.table.commit(vec![Write::delete(attempts_key(&account))]).await?;
                }
                Ok(Proof { account, version: address.version, grant })
            }
            _ => {
                match attempts::note(&*self.table, &account, self.clock.now(), limit).await {
                    // As many races lost as failures lock an account: enough others are noted.
                    Err(problem) if problem.code != Code::Conflict => Err(problem),
                    _ => Err(bad_credentials()),
                }
            }
        }
    }

    /// Starts a session, if the address is still what it was when the password was proved.
    async fn start(&self, proof: Proof) -> Result<Tokens, Problem> {
        let Proof { account, version, grant } = proof;
        let sessions = session::oldest(&*self.table, grant.user, self.config.sessions_max).await?;
        let cognito = grant.refresh_token.clone().ok_or_else(|| {
            Problem::internal(Fault::answer("AdminInitiateAuth", "no refresh token"))
        })?;
        let secrets = [self.ids.secret(), self.ids.secret()];
        let token = RefreshToken::first(grant.user, grant.session.clone(), secrets, cognito);
        let mut writes = vec![
            Write::check(email_key(&account), Condition::Version(version)),
            // Somebody else may have the address by now, and its row be as old as ours was.
            Write::check(user_key(grant.user), Condition::Present),
            self.session_row(&token, self.clock.now()).when(Condition::Absent),
        ];
        if sessions.len() >= self.config.sessions_max {
            let oldest = &sessions[0].key;
            self.verifier.end(&oldest.sort);
            writes.push(Write::delete(oldest.clone()));
        }
        match self.table.commit(writes).await {
            Ok(()) => Ok(tokens(grant, &token)),
            // The password was changed or the identity deleted in this very moment.
            Err(TableError::Unmet(0 | 1)) => {
                self.let_go(&token.cognito).await;
                Err(bad_credentials())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells Cognito of tokens that nothing here knows any more. They are good for nothing with us,
    /// so an outage only leaves them to expire.
    async fn let_go(&self, cognito: &str) {
        if let Err(problem) = self.pool.revoke(cognito).await {
            let error = &problem as &dyn std::error::Error;
            tracing::warn!(error, "refresh token left to expire");
        }
    }

    fn session_row(&self, token: &RefreshToken, started_at: Time) -> Write {
        let ttl = Duration::from_secs(self.config.refresh_token_ttl_secs);
        Write::put_json(token.key(), &token.session(started_at)).expiring(started_at + ttl)
    }

    async fn end_all_but(&self, user: UserId, kept: Option<&str>) -> Result<(), Problem> {
        let ended = |session: &str| self.verifier.end(session);
        Ok(end_all_but(&*self.table, user, kept, ended).await?)
    }

    /// Ends one session. Its tokens are refused here first: should its row stay because the table
    /// fails, the error is on the safe side.
    async fn end(&self, key: Key) -> Result<(), TableError> {
        self.verifier.end(&key.sort);
        self.table.commit(vec![Write::delete(key)]).await
    }

    /// One try of a refresh on the session's row as it is now.
    async fn try_refresh(&self, token: &RefreshToken) -> Result<Tokens, Attempt> {
        let Some(row) = get_one(&*self.table, token.key()).await? else {
            let is_suspended =
                self.address_row(token.user).await?.is_some_and(|(_, of)| of.suspended);
            return Err(if is_suspended { suspended() } else { invalid_refresh_token() }.into());
        };
        let session: Session = row.json()?;
        if !token.is_of(&session) {
            return Err(invalid_refresh_token().into());
        }
        if !token.is_newest_of(&session) {
            // Two hold this family's tokens, and one of them is not who signed in.
            self.end(row.key).await?;
            self.let_go(&token.cognito).await;
            tracing::warn!(user = %token.user, session = token.session, "refresh token reused");
            return Err(invalid_refresh_token().into());
        }
        let Some(grant) = self.pool.refresh(&token.cognito).await? else {
            // Expired, revoked by hand, or used past us: nothing can come of this session.
            self.end(row.key).await?;
            return Err(invalid_refresh_token().into());
        };
        if grant.user != token.user || grant.session != token.session {
            let odd = Fault::answer("GetTokensFromRefreshToken", "tokens of another session");
            return Err(Problem::internal(odd).into());
        }
        let cognito = grant.refresh_token.clone().unwrap_or_else(|| token.cognito.clone());
        let next = token.next(self.ids.secret(), cognito);
        let write = self.session_row(&next, session.started_at());
        self.table.commit(vec![write.when(Condition::Version(row.version))]).await?;
        Ok(tokens(grant, &next))
    }

    /// Makes the user in the pool. The address is this user's by its row, so whoever else has it
    /// in the pool is a remnant.
    async fn make(&self, user: UserId, email: &str, password: &str) -> Result<(), Problem> {
        if self.pool.create_user(user, email).await? == Making::InUse
            // Made by a first try whose answer was lost?
            && self.pool.find(&user.text()).await?.is_none()
        {
            self.remove_remnant(email).await?;
            if self.pool.create_user(user, email).await? == Making::InUse {
                return Err(email_taken());
            }
        }
        self.pool.set_password(user, password).await
    }

    /// Removes the user whom the pool has by this address and nobody here knows: a registration or
    /// a deletion that died half-way.
    async fn remove_remnant(&self, email: &str) -> Result<(), Problem> {
        let Some(name) = self.pool.find(email).await? else { return Ok(()) };
        let remnant = name.to_ascii_uppercase().parse::<UserId>().map_err(|_| email_taken())?;
        if self.address_of(remnant).await?.is_some() {
            return Err(email_taken());
        }
        tracing::warn!(user = %remnant, "removing a user who was left in the pool");
        self.pool.delete_user(remnant).await
    }

    /// One try of removing a user's rows. The address can belong to nobody else while they are
    /// there.
    async fn try_forget(&self, user: UserId) -> Result<(), Attempt> {
        let Some(row) = get_one(&*self.table, user_key(user)).await? else { return Ok(()) };
        let account = account(&row.json::<Owner>()?.email);
        let writes = vec![
            Write::delete(user_key(user)).when(Condition::Version(row.version)),
            Write::delete(email_key(&account)),
            Write::delete(attempts_key(&account)),
        ];
        Ok(self.table.commit(writes).await?)
    }

    /// Makes sign-ins under way fail, which proved another password: their proof is of an older
    /// version of the address's row.
    async fn outdate(&self, account: &str, user: UserId) -> Result<(), Problem> {
        retry(|| async {
            let item = get_one(&*self.table, email_key(account)).await?;
            // Deleted meanwhile.
            let item = item.ok_or_else(bad_credentials)?;
            let address: Address = item.json()?;
            if address.user_id != user {
                return Err(bad_credentials().into());
            }
            let write = Write::put_json(item.key, &address);
            Ok(self.table.commit(vec![write.when(Condition::Version(item.version))]).await?)
        })
        .await
    }

    /// The row of a user's address.
    async fn address_row(&self, user: UserId) -> Result<Option<(Item, Address)>, TableError> {
        let Some(email) = self.address_of(user).await? else { return Ok(None) };
        let Some(item) = get_one(&*self.table, email_key(&account(&email))).await? else {
            return Ok(None);
        };
        let address: Address = item.json()?;
        Ok(Some((item, address)).filter(|(_, address)| address.user_id == user))
    }

    /// One try of noting that a user is suspended, or no longer; whether there is one. The row
    /// becomes another version, so a sign-in under way fails.
    async fn try_suspend(&self, user: UserId, suspended: bool) -> Result<bool, Attempt> {
        let Some((item, address)) = self.address_row(user).await? else { return Ok(false) };
        if address.suspended != suspended {
            let write = Write::put_json(item.key, &Address { suspended, ..address });
            self.table.commit(vec![write.when(Condition::Version(item.version))]).await?;
        }
        Ok(true)
    }
}

fn tokens(grant: Grant, token: &RefreshToken) -> Tokens {
    Tokens {
        user_id: grant.user,
        access_token: grant.access_token,
        refresh_token: token.render(),
        expires_in: grant.expires_in,
    }
}

#[async_trait]
impl Identity for CognitoIdentity {
    async fn create(&self, user: UserId, email: &str, password: &str) -> Result<(), Problem> {
        let email = email.trim().to_owned();
        let key = email_key(&account(&email));
        let address = Write::put_json(key.clone(), &Address::of(user));
        let held = address.clone().expiring(self.clock.now() + MAKING).when(Condition::Absent);
        self.table.commit(vec![held]).await.map_err(|error| match error {
            TableError::Unmet(_) => email_taken(),
            other => other.into(),
        })?;
        // Nobody else writes it while it is held.
        let row = get_one(&*self.table, key.clone()).await?.ok_or_else(email_taken)?;
        let ours = Condition::Version(row.version);
        if let Err(problem) = self.make(user, &email, password).await {
            // What cannot be undone now goes by itself: the row in a minute, the user when the
            // address is registered next.
            let released = self.table.commit(vec![Write::delete(key).when(ours)]).await;
            let removed = self.pool.delete_user(user).await;
            tracing::debug!(?released, is_removed = removed.is_ok(), "registration undone");
            return Err(problem);
        }
        let owner = Write::put_json(user_key(user), &Owner { email }).when(Condition::Absent);
        Ok(self.table.commit(vec![address.when(ours), owner]).await?)
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<Tokens, Problem> {
        let proof = self.prove(account(email), password).await?;
        self.start(proof).await
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Problem> {
        let token = RefreshToken::parse(refresh_token).ok_or_else(invalid_refresh_token)?;
        retry(|| self.try_refresh(&token)).await
    }

    async fn revoke(&self, user: UserId, which: Revoke<'_>) -> Result<(), Problem> {
        let Revoke::Session(text) = which else {
            self.end_all_but(user, None).await?;
            return self.pool.sign_out(user).await;
        };
        let Some(token) = RefreshToken::parse(text) else { return Ok(()) };
        let Some(row) = get_one(&*self.table, token.key()).await? else { return Ok(()) };
        let session: Session = row.json()?;
        if token.user != user {
            let good = token.is_of(&session) && token.is_newest_of(&session);
            return if good { Err(not_their_session()) } else { Ok(()) };
        }
        if token.is_of(&session) {
            self.end(row.key).await?;
            self.let_go(&token.cognito).await;
        }
        Ok(())
    }

    async fn change_password(
        &self,
        principal: &Principal,
        current: &str,
        new: &str,
    ) -> Result<(), Problem> {
        let user = principal.user_id;
        let email = self.address_of(user).await?.ok_or_else(bad_credentials)?;
        let proof = self.prove(account(&email), current).await?;
        self.let_go(proof.grant.refresh_token.as_deref().unwrap_or_default()).await;
        // Ended before, so that they are ended even should this stop after the next step; and once
        // more after it, for who has signed in with the old password meanwhile.
        self.end_all_but(user, Some(&principal.session)).await?;
        self.pool.set_password(user, new).await?;
        self.outdate(&proof.account, user).await?;
        self.end_all_but(user, Some(&principal.session)).await
    }

    async fn check_password(&self, user: UserId, password: &str) -> Result<(), Problem> {
        let email = self.address_of(user).await?.ok_or_else(bad_credentials)?;
        let proof = self.prove(account(&email), password).await?;
        self.let_go(proof.grant.refresh_token.as_deref().unwrap_or_default()).await;
        Ok(())
    }

    async fn set_password(&self, user: UserId, new: &str) -> Result<(), Problem> {
        let email = self.address_of(user).await?.ok_or_else(bad_credentials)?;
        let account = account(&email);
        self.end_all_but(user, None).await?;
        self.pool.set_password(user, new).await?;
        self.outdate(&account, user).await?;
        self.table.commit(vec![Write::delete(attempts_key(&account))]).await?;
        // Once more, for who has signed in with the old password meanwhile.
        self.end_all_but(user, None).await
    }

    async fn find(&self, email: &str) -> Result<Option<UserId>, Problem> {
        let row = get_one(&*self.table, email_key(&account(email))).await?;
        // One that is still being made is not there yet.
        let made = row.filter(|item| item.expires_at.is_none());
        Ok(made.map(|item| item.json::<Address>()).transpose()?.map(|owner| owner.user_id))
    }

    async fn suspend(&self, user: UserId) -> Result<(), Problem> {
        // Its row first: after this no session can start.
        if retry(|| self.try_suspend(user, true)).await? {
            self.end_all_but(user, None).await?;
            self.pool.enable_user(user, false).await?;
            self.pool.sign_out(user).await?;
        }
        Ok(())
    }

    async fn restore(&self, user: UserId) -> Result<(), Problem> {
        // The row last: until then a sign-in is told that it is suspended.
        self.pool.enable_user(user, true).await?;
        retry(|| self.try_suspend(user, false)).await.map(|_| ())
    }

    async fn delete(&self, user: UserId) -> Result<(), Problem> {
        // Its rows first: after this no session can start.
        retry(|| self.try_forget(user)).await?;
        self.end_all_but(user, None).await?;
        self.pool.delete_user(user).await
    }

    async fn email(&self, user: UserId) -> Result<Option<String>, Problem> {
        Ok(self.address_of(user).await?)
    }

    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem> {
        self.verifier.verify(access_token).await
    }

    async fn key_set(&self) -> Result<serde_json::Value, Problem> {
        self.verifier.key_set().await
    }

    fn issuer(&self) -> &str {
        self.verifier.issuer()
    }
}
