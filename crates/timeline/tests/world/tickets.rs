//! Access tokens that anybody can write, and a test can end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use conformance::TestClock;
use kernel::identity::{Identity, Revoke, Tokens};
use kernel::{Clock, Principal, Problem, UserId};
use serde_json::Value;

/// Tokens are `good:<user id>:<milliseconds it is good for>`.
pub(crate) struct Tickets {
    clock: Arc<TestClock>,
    /// Those whose session has ended.
    pub(crate) ended: Mutex<BTreeSet<String>>,
}

impl Tickets {
    pub(crate) fn new(clock: Arc<TestClock>) -> Arc<Self> {
        Arc::new(Self { clock, ended: Mutex::default() })
    }
}

fn no() -> Problem {
    Problem::unauthenticated("not a ticket")
}

#[async_trait]
impl Identity for Tickets {
    async fn verify(&self, token: &str) -> Result<Arc<Principal>, Problem> {
        if self.ended.lock().unwrap().contains(token) {
            return Err(no());
        }
        let rest = token.strip_prefix("good:").ok_or_else(no)?;
        let (user, millis) = rest.split_once(':').ok_or_else(no)?;
        let good_for = Duration::from_millis(millis.parse().map_err(|_| no())?);
        let user_id = user.parse().map_err(|_| no())?;
        let expires_at = self.clock.now() + good_for;
        Ok(Arc::new(Principal { user_id, session: "s".into(), expires_at }))
    }

    async fn create(&self, _: UserId, _: &str, _: &str) -> Result<(), Problem> {
        Err(no())
    }
    async fn sign_in(&self, _: &str, _: &str) -> Result<Tokens, Problem> {
        Err(no())
    }
    async fn refresh(&self, _: &str) -> Result<Tokens, Problem> {
        Err(no())
    }
    async fn revoke(&self, _: UserId, _: Revoke<'_>) -> Result<(), Problem> {
        Err(no())
    }
    async fn change_password(&self, _: &Principal, _: &str, _: &str) -> Result<(), Problem> {
        Err(no())
    }
    async fn check_password(&self, _: UserId, _: &str) -> Result<(), Problem> {
        Err(no())
    }
    async fn set_password(&self, _: UserId, _: &str) -> Result<(), Problem> {
        Err(no())
    }
    async fn find(&self, _: &str) -> Result<Option<UserId>, Problem> {
        Err(no())
    }
    async fn suspend(&self, _: UserId) -> Result<(), Problem> {
        unreachable!("nobody is suspended here")
    }

    async fn restore(&self, _: UserId) -> Result<(), Problem> {
        unreachable!("nobody is suspended here")
    }

    async fn delete(&self, _: UserId) -> Result<(), Problem> {
        Err(no())
    }
    async fn email(&self, _: UserId) -> Result<Option<String>, Problem> {
        Err(no())
    }
    async fn key_set(&self) -> Result<Value, Problem> {
        Err(no())
    }
    fn issuer(&self) -> &str {
        "tickets"
    }
}
