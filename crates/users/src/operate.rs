//! What operators do about accounts. Each act is one commit with its row among the acts; the
//! identity follows, and once more when the event comes round, should the first try have failed.

use kernel::acts::{self, Act, ActId, Order};
use kernel::event::Suspension;
use kernel::identity::Revoke;
use kernel::{Code, EventData, Problem, Profile, UserId};
use serde::Serialize;

use crate::search::Search;
use crate::store::{self, Absence, Ordered};
use crate::{Users, model};

/// An account as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// The profile, also while it is shown to nobody.
    #[serde(flatten)]
    profile: Profile,
    /// The e-mail address.
    email: Option<String>,
    /// By whom, when and why it was suspended, where it is.
    suspended: Option<Act>,
}

/// What an order came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The account, after the act.
    account: Account,
    /// Whether anything changed, or would.
    changed: bool,
}

/// By what somebody chooses another password.
#[derive(Clone, Serialize)]
pub struct Reset {
    /// The account, and whether a code was made, or would be.
    #[serde(flatten)]
    outcome: Outcome,
    /// The code, good for an hour; none where none was made.
    code: Option<String>,
}

impl Users {
    /// Accounts whose handle or name begins with a text, and the one with that handle or id,
    /// suspended or not.
    pub async fn find(&self, text: &str) -> Result<Vec<Account>, Problem> {
        let exact = match self.named(text).await {
            Ok(user) => Some(user),
            Err(problem) if problem.code == Code::NotFound => None,
            Err(problem) => return Err(problem),
        };
        let found = Search::parse(Some(text))?;
        let page = found.page(&*self.table, self.config.limits.page(None)?, None).await?.items;
        let others = page.iter().map(|profile| profile.user_id).filter(|id| Some(*id) != exact);
        let mut accounts = Vec::new();
        for user in exact.into_iter().chain(others) {
            accounts.extend(self.known(user).await?);
        }
        Ok(accounts)
    }

    /// One account, by id or handle.
    pub async fn account(&self, who: &str) -> Result<Account, Problem> {
        let known = self.known(self.named(who).await?).await?;
        known.ok_or_else(|| Problem::not_found("user"))
    }

    /// Suspends an account: nobody can sign in to it, its sessions end, and nothing of it is shown.
    pub async fn suspend(&self, who: &str, order: Order) -> Result<Outcome, Problem> {
        let (order, account) = (order.checked()?, self.account(who).await?);
        if account.suspended.is_some() || order.dry_run {
            let changed = account.suspended.is_none();
            return Ok(Outcome { account, changed });
        }
        let user = account.profile.user_id;
        let act = order.act(&*self.ids, &*self.clock, "suspend", user.text());
        let told =
            |version| self.event(EventData::UserSuspended(Suspension { user_id: user, version }));
        let ordered = store::suspend(&*self.table, user, &act, told).await?;
        self.done(user, ordered).await
    }

    /// Gives a suspended account back.
    pub async fn restore(&self, who: &str, order: Order) -> Result<Outcome, Problem> {
        let (order, account) = (order.checked()?, self.account(who).await?);
        if account.suspended.is_none() || order.dry_run {
            let changed = account.suspended.is_some();
            return Ok(Outcome { account, changed });
        }
        let user = account.profile.user_id;
        let act = order.act(&*self.ids, &*self.clock, "restore", user.text());
        let told =
            |version| self.event(EventData::UserRestored(Suspension { user_id: user, version }));
        let ordered = store::restore(&*self.table, user, &act, told).await?;
        self.done(user, ordered).await
    }

    /// Ends every session of an account.
    pub async fn reset_sessions(&self, who: &str, order: Order) -> Result<Outcome, Problem> {
        let (order, account) = (order.checked()?, self.account(who).await?);
        if !order.dry_run {
            let user = account.profile.user_id;
            let act = order.act(&*self.ids, &*self.clock, "reset-sessions", user.text());
            // Noted before it is done: an act without effect is repeated, one without a row lost.
            self.table.commit(vec![acts::write(&act)]).await?;
            self.identity.revoke(user, Revoke::All).await?;
        }
        Ok(Outcome { account, changed: true })
    }

    /// Makes the code by which somebody who lost the password chooses another one, where no letter
    /// reaches them.
    pub async fn reset_password(&self, who: &str, order: Order) -> Result<Reset, Problem> {
        let (order, account) = (order.checked()?, self.account(who).await?);
        let mut code = None;
        if !order.dry_run {
            let user = account.profile.user_id;
            let act = order.act(&*self.ids, &*self.clock, "reset-password", user.text());
            // Noted before, as above.
            self.table.commit(vec![acts::write(&act)]).await?;
            code = Some(self.reset_code(user).await?);
        }
        Ok(Reset { outcome: Outcome { account, changed: true }, code })
    }

    /// What operators did here, newest first.
    pub async fn acts(&self, before: Option<ActId>, limit: usize) -> Result<Vec<Act>, Problem> {
        Ok(acts::list(&*self.table, before, limit).await?)
    }

    /// Brings the identity in line with what the table says of a suspension. Looks again after it
    /// has acted: of several who do this at once the last one finds how things stand.
    pub(crate) async fn align(&self, user: UserId) -> Result<(), Problem> {
        let mut done = None;
        loop {
            let away = match store::absence(&*self.table, user).await? {
                Some(Absence::Deleted) => return Ok(()),
                Some(Absence::Suspended(_)) => true,
                None => false,
            };
            match away {
                _ if done == Some(away) => return Ok(()),
                true => self.identity.suspend(user).await?,
                false => self.identity.restore(user).await?,
            }
            done = Some(away);
        }
    }

    async fn done(&self, user: UserId, ordered: Ordered) -> Result<Outcome, Problem> {
        if ordered == Ordered::Unknown {
            return Err(Problem::not_found("user"));
        }
        self.align(user).await?;
        let account = self.known(user).await?.ok_or_else(|| Problem::not_found("user"))?;
        Ok(Outcome { account, changed: ordered == Ordered::Done })
    }

    /// The user whom an id or a handle names.
    async fn named(&self, who: &str) -> Result<UserId, Problem> {
        if let Ok(user) = who.parse() {
            return Ok(user);
        }
        let handle = model::kept_handle(who).ok_or_else(|| Problem::not_found("user"))?;
        let owner = store::owner(&*self.table, &handle).await?;
        owner.ok_or_else(|| Problem::not_found("user"))
    }

    async fn known(&self, user: UserId) -> Result<Option<Account>, Problem> {
        let (profile, suspended) = match store::absence(&*self.table, user).await? {
            Some(Absence::Deleted) => return Ok(None),
            Some(Absence::Suspended(away)) => (Some(away.profile), Some(away.act)),
            None => (store::profile(&*self.table, user).await?, None),
        };
        let Some(profile) = profile else { return Ok(None) };
        let email = self.identity.email(user).await?;
        Ok(Some(Account { profile, email, suspended }))
    }
}
