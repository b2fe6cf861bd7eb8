//! Credentials and sign-ins as the user service sees them.
//!
//! An identity is an e-mail address, a password and a user id. A sign-in starts a session: a family
//! of refresh tokens, each good once, and short-lived access tokens that are verified offline.

pub mod attempts;
pub mod rows;
pub mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Code, Principal, Problem, UserId};

/// What a sign-in gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Whose.
    pub user_id: UserId,
    /// A signed JWT.
    pub access_token: String,
    /// Good once, for the next pair.
    pub refresh_token: String,
    /// How long the access token is good.
    pub expires_in: Duration,
}

/// Which sessions to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revoke<'a> {
    /// The one that this refresh token belongs to.
    Session(&'a str),
    /// Every session of the user.
    All,
}

/// The keeper of credentials and sessions. Errors are the contract's problems.
#[async_trait]
pub trait Identity: Send + Sync {
    /// A new identity; 409 `email_taken`. The password has passed the policy.
    async fn create(&self, user: UserId, email: &str, password: &str) -> Result<(), Problem>;

    /// Starts a session; 401 `bad_credentials` alike, and after the same work, whether the address
    /// is unknown or the password wrong; 429 `too_many_attempts` after too many of them.
    async fn sign_in(&self, email: &str, password: &str) -> Result<Tokens, Problem>;

    /// The first session of an identity that the caller has just created, and whose password it
    /// therefore knows; a backend that can spares the second check of the password.
    async fn first_session(
        &self,
        user: UserId,
        email: &str,
        password: &str,
    ) -> Result<Tokens, Problem> {
        let _ = user;
        self.sign_in(email, password).await
    }

    /// The next pair of tokens; 401 `invalid_refresh_token`. A token used twice ends its session.
    async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Problem>;

    /// Ends sessions of `user`. A refresh token that is good but somebody else's is 403
    /// `forbidden`; one that is good for nothing ends nothing and is no error, so that this is
    /// repeatable.
    async fn revoke(&self, user: UserId, which: Revoke<'_>) -> Result<(), Problem>;

    /// Sets another password and ends every session but the principal's own; 401
    /// `bad_credentials` when `current` is wrong.
    async fn change_password(
        &self,
        principal: &Principal,
        current: &str,
        new: &str,
    ) -> Result<(), Problem>;

    /// Whether `password` is the user's; 401 `bad_credentials` when not.
    async fn check_password(&self, user: UserId, password: &str) -> Result<(), Problem>;

    /// Sets another password for who has proved otherwise to be the user, and ends every session
    /// and every lock; 401 `bad_credentials` where there is no such user.
    async fn set_password(&self, user: UserId, new: &str) -> Result<(), Problem>;

    /// Whose address this is.
    async fn find(&self, email: &str) -> Result<Option<UserId>, Problem>;

    /// Ends every session and lets no other begin: a sign-in and a refresh are 403
    /// `account_suspended`. Repeatable; nothing where there is no such identity.
    async fn suspend(&self, user: UserId) -> Result<(), Problem>;

    /// Lets a suspended identity sign in again; repeatable.
    async fn restore(&self, user: UserId) -> Result<(), Problem>;

    /// Forgets the identity and every session; repeatable.
    async fn delete(&self, user: UserId) -> Result<(), Problem>;

    /// The e-mail address of a user.
    async fn email(&self, user: UserId) -> Result<Option<String>, Problem>;

    /// Who an access token speaks for; 401 `unauthenticated` when it is not good.
    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem>;

    /// The public keys that access tokens are signed with, as a JSON Web Key Set.
    async fn key_set(&self) -> Result<serde_json::Value, Problem>;

    /// The `iss` of access tokens.
    fn issuer(&self) -> &str;
}

/// 401: the address is unknown or the password wrong, which is told alike.
pub fn bad_credentials() -> Problem {
    Problem::new(Code::BadCredentials, "Check the e-mail address and the password.")
}

/// 401: a refresh token that is good for nothing.
pub fn invalid_refresh_token() -> Problem {
    Problem::new(Code::InvalidRefreshToken, "The refresh token is not valid. Sign in again.")
}

/// 403: the account is suspended.
pub fn suspended() -> Problem {
    Problem::new(Code::AccountSuspended, "This account has been suspended by an operator.")
}

/// 401: an access token that is good for nothing.
pub fn bad_access_token() -> Problem {
    Problem::unauthenticated("The access token is not valid or has expired.")
}

/// 409: another account has the address.
pub fn email_taken() -> Problem {
    Problem::new(Code::EmailTaken, "There is an account with this e-mail address.")
}

/// 403: a good refresh token, but of another user.
pub fn not_their_session() -> Problem {
    Problem::new(Code::Forbidden, "This session is somebody else's.")
}

/// 429: not now, for everything that checks passwords is busy.
pub fn too_busy() -> Problem {
    let detail = "Too many people are signing in at this moment. Try again soon.";
    Problem::new(Code::RateLimited, detail).retry_after_secs(1)
}
