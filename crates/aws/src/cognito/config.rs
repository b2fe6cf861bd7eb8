//! Which pool, and the lifetimes and limits that stand beside it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cognitoidentityprovider::Client;
use kernel::identity::attempts::Limit;

/// The pool, lifetimes and limits. The defaults are the contract's numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The pool's id, `<region>_<name>`.
    pub user_pool_id: String,
    /// The `client_id` of access tokens.
    pub client_id: String,
    /// The `iss` of access tokens.
    pub issuer: String,
    /// Where the pool's public keys are; usually under the issuer.
    pub key_set_url: String,
    /// How long an access token is good, as the pool's client says.
    pub access_token_ttl_secs: u64,
    /// How long a session lasts, as the pool's client says: a rotated refresh token has what is
    /// left of the first one's life.
    pub refresh_token_ttl_secs: u64,
    /// Failed sign-ins in a window after which an account is locked.
    pub failed_sign_ins_max: usize,
    /// The window, and how long the first lock lasts; each further one is twice as long.
    pub failed_sign_ins_window_secs: u64,
    /// How long a sign-in waits for others on the same account.
    pub sign_in_patience_millis: u64,
    /// Sessions of one user; a further sign-in ends the oldest. At most 1000.
    pub sessions_max: usize,
    /// Verified access tokens that are remembered.
    pub verified_tokens_max: usize,
    /// How old what is known of a token's session may be. A process sees at once what it has ended
    /// itself; what others end it sees after this. 0 looks at every request.
    pub session_recheck_millis: u64,
    /// After how long the pool's keys are fetched anew.
    pub key_set_ttl_secs: u64,
    /// Between two fetches of the keys at least, whatever keys tokens name.
    pub key_set_every_secs: u64,
}

impl Config {
    /// The pool of that id, in the region that its id begins with.
    pub fn of_pool(user_pool_id: impl Into<String>, client_id: impl Into<String>) -> Self {
        let user_pool_id = user_pool_id.into();
        let region = user_pool_id.split('_').next().unwrap_or_default();
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool_id}");
        Self {
            client_id: client_id.into(),
            key_set_url: format!("{issuer}/.well-known/jwks.json"),
            issuer,
            user_pool_id,
            access_token_ttl_secs: 60 * 60,
            refresh_token_ttl_secs: 30 * 24 * 60 * 60,
            failed_sign_ins_max: 10,
            failed_sign_ins_window_secs: 15 * 60,
            sign_in_patience_millis: 1_600,
            sessions_max: 200,
            verified_tokens_max: 100_000,
            session_recheck_millis: 2_000,
            key_set_ttl_secs: 60 * 60,
            key_set_every_secs: 10,
        }
    }

    pub(super) fn limit(&self) -> Limit {
        let window = Duration::from_secs(self.failed_sign_ins_window_secs);
        Limit { failures_max: self.failed_sign_ins_max, window }
    }
}

/// A client of Cognito at `url`, or where AWS has it.
pub fn client(sdk: &SdkConfig, url: Option<&str>) -> Client {
    let mut config = aws_sdk_cognitoidentityprovider::config::Builder::from(sdk);
    config.set_endpoint_url(url.map(str::to_owned));
    Client::from_conf(config.build())
}
