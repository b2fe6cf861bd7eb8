//! What spans the identity and the profile: registering, signing in, deleting. Each step is safe
//! to die after; see the crate's documentation.

use std::time::Duration;

use kernel::event::DeletedUser;
use kernel::identity::{Revoke, Tokens, suspended};
use kernel::{Code, EventData, Principal, Problem, Profile, UserId};

use crate::Users;
use crate::model::{self, Registration};
use crate::store::{self, Absence, Insertion};

/// Made-up handles tried, at most. One is nearly always enough.
const HANDLE_TRIES: usize = 5;

fn signed_out() -> Problem {
    Problem::unauthenticated("The account behind this access token has been deleted.")
}

fn bad_credentials() -> Problem {
    Problem::new(Code::BadCredentials, "Check the e-mail address and the password.")
}

impl Users {
    /// Makes an account and signs it in.
    pub(crate) async fn register(&self, new: &Registration) -> Result<Tokens, Problem> {
        let user = UserId(self.ids.ulid());
        let handle = match self.hold_handle(user, new.handle.as_deref()).await {
            Ok(handle) => handle,
            Err(problem) => return self.resume_held(new, problem).await,
        };
        let created = self.identity.create(user, &new.email, &new.password).await;
        let registered = match created {
            Ok(()) => self.write_profile(user, &handle, &new.display_name).await,
            Err(problem) => Err(problem),
        };
        match registered {
            Ok(Insertion::Done) => {
                self.identity.first_session(user, &new.email, &new.password).await
            }
            // Somebody with the same password was faster to complete it.
            Ok(Insertion::Exists) => {
                store::release_handle(&*self.table, &handle, user).await;
                Err(Problem::new(Code::EmailTaken, "There is an account with this address."))
            }
            // Only when ten minutes went by since the handle was held.
            Ok(Insertion::HandleTaken | Insertion::Gone) => Err(store::handle_taken()),
            Err(problem) => {
                store::release_handle(&*self.table, &handle, user).await;
                if problem.code != Code::EmailTaken {
                    return Err(problem);
                }
                self.resume(new, problem).await
            }
        }
    }

    /// A handle that is held may be held by an earlier try of the same person.
    async fn resume_held(&self, new: &Registration, problem: Problem) -> Result<Tokens, Problem> {
        match &new.handle {
            Some(handle) if store::is_held(&*self.table, handle).await? => {
                self.resume(new, problem).await
            }
            _ => Err(problem),
        }
    }

    async fn hold_handle(&self, user: UserId, wanted: Option<&str>) -> Result<String, Problem> {
        let until = self.clock.now() + Duration::from_secs(self.config.handle_hold_secs);
        for _ in 0..HANDLE_TRIES {
            let handle = match wanted {
                Some(handle) => handle.to_owned(),
                None => model::made_up_handle(&self.ids.secret()),
            };
            if store::hold_handle(&*self.table, &handle, user, until).await? {
                return Ok(handle);
            }
            if wanted.is_some() {
                break;
            }
        }
        Err(store::handle_taken())
    }

    async fn write_profile(
        &self,
        user: UserId,
        handle: &str,
        display_name: &str,
    ) -> Result<Insertion, Problem> {
        let now = self.clock.now();
        let profile = Profile {
            user_id: user,
            handle: handle.to_owned(),
            display_name: display_name.to_owned(),
            bio: String::new(),
            created_at: now,
            updated_at: now,
        };
        let event = self.event(EventData::UserRegistered(profile.clone()));
        store::insert(&*self.table, &profile, &event).await
    }

    /// Completes a registration of this address that died half-way, for who knows its password;
    /// otherwise something is `taken`.
    async fn resume(&self, new: &Registration, taken: Problem) -> Result<Tokens, Problem> {
        let Ok(tokens) = self.identity.sign_in(&new.email, &new.password).await else {
            return Err(taken);
        };
        let user = tokens.user_id;
        if store::profile(&*self.table, user).await?.is_some() {
            self.identity.revoke(user, Revoke::Session(&tokens.refresh_token)).await?;
            return Err(taken);
        }
        if self.refusal(user).await?.is_some() {
            // Once a deletion is through, the address is free.
            return Err(taken);
        }
        let handle = self.hold_handle(user, new.handle.as_deref()).await?;
        match self.write_profile(user, &handle, &new.display_name).await? {
            Insertion::Done => Ok(tokens),
            Insertion::HandleTaken => Err(store::handle_taken()),
            Insertion::Exists | Insertion::Gone => {
                store::release_handle(&*self.table, &handle, user).await;
                Err(taken)
            }
        }
    }

    /// Signs in, completing a registration that died half-way and a deletion that did.
    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Result<Tokens, Problem> {
        let tokens = self.identity.sign_in(email, password).await?;
        let user = tokens.user_id;
        if store::profile(&*self.table, user).await?.is_some() {
            return Ok(tokens);
        }
        if let Some(refusal) = self.refusal(user).await? {
            return Err(refusal);
        }
        let handle = self.hold_handle(user, None).await?;
        match self.write_profile(user, &handle, "").await? {
            Insertion::Done => return Ok(tokens),
            Insertion::Exists => {
                store::release_handle(&*self.table, &handle, user).await;
                return Ok(tokens);
            }
            Insertion::HandleTaken => return Err(store::handle_taken()),
            Insertion::Gone => store::release_handle(&*self.table, &handle, user).await,
        }
        Err(self.refusal(user).await?.unwrap_or_else(bad_credentials))
    }

    /// Why a user without a profile may not go on; none where they may have one written. A deletion
    /// or a suspension that died half-way is completed.
    async fn refusal(&self, user: UserId) -> Result<Option<Problem>, Problem> {
        match store::absence(&*self.table, user).await? {
            None => Ok(None),
            Some(Absence::Deleted) => {
                self.identity.delete(user).await?;
                Ok(Some(bad_credentials()))
            }
            Some(Absence::Suspended(_)) => {
                self.align(user).await?;
                Ok(Some(suspended()))
            }
        }
    }

    /// The signed-in person's own profile and address.
    pub(crate) async fn own(&self, user: UserId) -> Result<(Profile, String), Problem> {
        let profile = store::profile(&*self.table, user).await?.ok_or_else(signed_out)?;
        let email = self.identity.email(user).await?.ok_or_else(signed_out)?;
        Ok((profile, email))
    }

    /// Changes the signed-in person's profile.
    pub(crate) async fn change(&self, user: UserId, patch: &model::Patch) -> Result<(), Problem> {
        let now = self.clock.now();
        let change = |before: &Profile| patch.apply(before, now);
        let event = |after: &Profile| self.event(EventData::UserProfileUpdated(after.clone()));
        let changed = store::update(&*self.table, user, change, event).await?;
        changed.map(|_| ()).ok_or_else(signed_out)
    }

    /// Deletes the signed-in person's account.
    pub(crate) async fn delete(&self, caller: &Principal, password: &str) -> Result<(), Problem> {
        let user = caller.user_id;
        self.identity.check_password(user, password).await?;
        let event = self.event(EventData::UserDeleted(DeletedUser { user_id: user }));
        let deleted = store::delete(&*self.table, user, &event).await?;
        let absence = if deleted { None } else { store::absence(&*self.table, user).await? };
        if matches!(absence, Some(Absence::Suspended(_))) {
            return Err(suspended());
        }
        // Should this fail, the event's handler does it; but here the tokens end at once.
        self.identity.delete(user).await?;
        if deleted { Ok(()) } else { Err(signed_out()) }
    }
}
