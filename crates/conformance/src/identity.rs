//! What every keeper of credentials and sessions must do.
//!
//! A backend runs the suite with [`identity_suite!`](crate::identity_suite), naming an async
//! function that gives a fresh [`Stage`]. The stage's identity locks an account after 10 failures
//! in 15 minutes, and its access and refresh tokens live 1 hour and 30 days. A remote backend
//! issues tokens by its own clock: its stage's clock begins at the machine's time.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod changes;
mod locks;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::identity::{Identity, Revoke, Tokens};
use kernel::{Clock, Code, Ids, Problem, Time, UserId};
use serde_json::Value;

use crate::{SeededIds, TestClock};
pub use changes::*;
pub use locks::*;

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "right-horse-1";
const WRONG: &str = "wrong-horse-1";

/// An identity under test and its time.
pub struct Stage {
    /// The one under test.
    pub identity: Arc<dyn Identity>,
    /// Another one over the same data, as after a restart.
    pub again: Box<dyn Fn() -> Arc<dyn Identity> + Send + Sync>,
    /// Its clock.
    pub clock: Arc<TestClock>,
    /// Where backends may differ.
    pub ways: Ways,
}

/// Where backends may differ, as the seam allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ways {
    /// The claim of access tokens that holds the user id. Cognito's `sub` is an id of its own.
    pub user_claim: &'static str,
    /// Whether each refresh token lives 30 days from its own issue; else it has what is left of
    /// the 30 days from the sign-in, as Cognito's rotated ones do.
    pub refresh_tokens_slide: bool,
}

impl Stage {
    fn user(&self, seed: u64) -> UserId {
        UserId(SeededIds::new(Arc::clone(&self.clock), seed).ulid())
    }

    async fn ann(&self) -> UserId {
        let user = self.user(1);
        self.identity.create(user, EMAIL, PASSWORD).await.unwrap();
        user
    }

    async fn signed_in(&self) -> (UserId, Tokens) {
        let user = self.ann().await;
        (user, self.identity.sign_in(EMAIL, PASSWORD).await.unwrap())
    }

    async fn another(&self) -> Tokens {
        self.identity.sign_in(EMAIL, PASSWORD).await.unwrap()
    }

    async fn assert_good(&self, tokens: &Tokens) {
        let principal = self.identity.verify(&tokens.access_token).await.unwrap();
        assert_eq!(principal.user_id, tokens.user_id);
    }

    async fn assert_ended(&self, tokens: &Tokens) {
        let verified = self.identity.verify(&tokens.access_token).await;
        assert_eq!(code(verified), Code::Unauthenticated);
        let refreshed = self.identity.refresh(&tokens.refresh_token).await;
        assert_eq!(code(refreshed), Code::InvalidRefreshToken);
    }

    /// So many sign-ins at the same moment; how many were answered with `code`, or were good.
    async fn burst(&self, tries: usize, password: &'static str, code: Option<Code>) -> usize {
        let one = || {
            let identity = Arc::clone(&self.identity);
            tokio::spawn(async move { identity.sign_in(EMAIL, password).await.err() })
        };
        let mut counted = 0;
        for one in (0..tries).map(|_| one()).collect::<Vec<_>>() {
            counted += usize::from(one.await.unwrap().map(|problem| problem.code) == code);
        }
        counted
    }

    async fn fail(&self, email: &str) -> Problem {
        self.identity.sign_in(email, WRONG).await.err().expect("a wrong password is refused")
    }
}

fn code<T>(result: Result<T, Problem>) -> Code {
    result.err().expect("it is refused").code
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a JWT has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn with_part(token: &str, index: usize, value: &Value) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[index] = URL_SAFE_NO_PAD.encode(value.to_string());
    parts.join(".")
}

/// Makes a test of every case of the suite from an async function that gives a
/// [`Stage`].
#[macro_export]
macro_rules! identity_suite {
    ($stage:path) => {
        $crate::identity_suite! { $stage:
            a_sign_in_gives_tokens_of_the_user
            a_first_session_is_like_any_other
            addresses_are_compared_folded
            a_taken_address_stays_with_its_owner
            racing_creations_have_one_winner
            a_wrong_password_and_an_unknown_address_look_alike
            ten_failures_lock_an_account
            unknown_addresses_are_locked_alike
            locks_grow
            a_burst_cannot_pass_the_limit
            failures_are_forgotten
            a_restart_forgets_nothing
            access_tokens_carry_cognitos_claims
            the_key_set_holds_the_tokens_key
            access_tokens_expire
            forged_access_tokens_are_refused
            a_refresh_rotates
            a_reused_refresh_token_ends_its_family
            racing_refreshes_have_one_winner
            made_up_refresh_tokens_are_refused
            refresh_tokens_expire
            a_revoked_session_ends_at_once
            all_sessions_can_be_ended
            foreign_refresh_tokens_revoke_nothing
            a_burst_of_right_passwords_gets_in
            a_new_password_ends_the_other_sessions
            a_wrong_current_password_changes_nothing
            a_password_that_is_set_ends_sessions_and_locks
            an_address_is_found_by_its_owner_alone
            a_suspended_identity_is_shut_out_until_it_is_restored
            a_deleted_identity_is_gone
        }
    };
    ($stage:path: $($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            $crate::identity::$case($stage().await).await;
        })*
    };
}

/// A new identity can sign in, and its access token speaks for it.
pub async fn a_sign_in_gives_tokens_of_the_user(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    assert_eq!(tokens.user_id, user);
    assert_eq!(tokens.expires_in, Duration::from_secs(3600));
    stage.assert_good(&tokens).await;
}

/// The first session needs no second sign-in and is one like any other.
pub async fn a_first_session_is_like_any_other(stage: Stage) {
    let user = stage.ann().await;
    let tokens = stage.identity.first_session(user, EMAIL, PASSWORD).await.unwrap();
    stage.assert_good(&tokens).await;
    stage.identity.refresh(&tokens.refresh_token).await.unwrap();
}

/// Addresses are compared trimmed and without case.
pub async fn addresses_are_compared_folded(stage: Stage) {
    let user = stage.ann().await;
    let tokens = stage.identity.sign_in("  ANN@Example.ORG ", PASSWORD).await.unwrap();
    assert_eq!(tokens.user_id, user);
    let taken = stage.identity.create(stage.user(2), " Ann@EXAMPLE.org", PASSWORD).await;
    assert_eq!(code(taken), Code::EmailTaken);
    let user = stage.user(3);
    stage.identity.create(user, "straße@x.org", PASSWORD).await.unwrap();
    let tokens = stage.identity.sign_in("STRASSE@X.ORG", PASSWORD).await.unwrap();
    assert_eq!(tokens.user_id, user);
    let taken = stage.identity.create(stage.user(4), "Strasse@x.org", PASSWORD).await;
    assert_eq!(code(taken), Code::EmailTaken);
    stage.identity.delete(user).await.unwrap();
    stage.identity.create(stage.user(4), "Strasse@x.org", PASSWORD).await.unwrap();
}

/// An address has one owner, and who comes second changes nothing.
pub async fn a_taken_address_stays_with_its_owner(stage: Stage) {
    let user = stage.ann().await;
    let second = stage.identity.create(stage.user(2), EMAIL, "other-horse-2").await;
    assert_eq!(code(second), Code::EmailTaken);
    assert_eq!(code(stage.identity.sign_in(EMAIL, "other-horse-2").await), Code::BadCredentials);
    assert_eq!(stage.another().await.user_id, user);
    assert_eq!(stage.identity.email(stage.user(2)).await.unwrap(), None);
}

/// Of many who want an address at once, one gets it.
pub async fn racing_creations_have_one_winner(stage: Stage) {
    let tries = (1..=8).map(|seed| {
        let (identity, user) = (Arc::clone(&stage.identity), stage.user(seed));
        tokio::spawn(async move { identity.create(user, EMAIL, PASSWORD).await.map(|()| user) })
    });
    let mut winners = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(user) => winners.push(user),
            Err(problem) => assert_eq!(problem.code, Code::EmailTaken),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(stage.another().await.user_id, winners[0]);
}

/// A wrong password and an unknown address are answered alike.
pub async fn a_wrong_password_and_an_unknown_address_look_alike(stage: Stage) {
    stage.ann().await;
    let (wrong, unknown) = (stage.fail(EMAIL).await, stage.fail("bob@example.org").await);
    assert_eq!(wrong.code, Code::BadCredentials);
    assert_eq!((wrong.code, &wrong.detail), (unknown.code, &unknown.detail));
    assert_eq!((wrong.errors, wrong.retry_after_secs), (unknown.errors, None));
}

/// Locks, sessions and keys are still there after a restart.
pub async fn a_restart_forgets_nothing(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    for _ in 0..10 {
        stage.fail(EMAIL).await;
    }
    let again = (stage.again)();
    assert_eq!(code(again.sign_in(EMAIL, PASSWORD).await), Code::TooManyAttempts);
    assert_eq!(again.key_set().await.unwrap(), stage.identity.key_set().await.unwrap());
    again.verify(&tokens.access_token).await.unwrap();
    again.refresh(&tokens.refresh_token).await.unwrap();
}

/// Access tokens carry Cognito's claims.
pub async fn access_tokens_carry_cognitos_claims(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    let claims = part(&tokens.access_token, 1);
    assert_eq!(claims[stage.ways.user_claim], user.to_string());
    assert_eq!(claims["iss"], stage.identity.issuer());
    assert_eq!(claims["token_use"], "access");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(claims["client_id"].is_string() && claims["jti"].is_string(), "{claims}");
    let another = part(&stage.another().await.access_token, 1);
    assert_ne!(claims["jti"], another["jti"]);
}

/// The key set holds public keys only, and the one that a token names.
pub async fn the_key_set_holds_the_tokens_key(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let set = stage.identity.key_set().await.unwrap();
    let keys = set["keys"].as_array().unwrap();
    let kid = part(&tokens.access_token, 0)["kid"].clone();
    assert!(kid.is_string() && keys.iter().any(|key| key["kid"] == kid), "{set}");
    assert!(keys.iter().all(|key| key.get("d").is_none() && key["use"] == "sig"), "{set}");
}

/// An access token ends with its hour, not before.
pub async fn access_tokens_expire(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    // A remote issuer's hour began a moment after the stage's clock stood still.
    let exp = part(&tokens.access_token, 1)["exp"].as_i64().unwrap();
    let left = Time::from_millis(exp * 1000).since(stage.clock.now());
    stage.clock.advance(left - Duration::from_secs(1));
    stage.assert_good(&tokens).await;
    stage.clock.advance(Duration::from_secs(1));
    let verified = stage.identity.verify(&tokens.access_token).await;
    assert_eq!(code(verified), Code::Unauthenticated);
    assert_eq!(code((stage.again)().verify(&tokens.access_token).await), Code::Unauthenticated);
}

/// A token that was changed, or is none, is refused.
pub async fn forged_access_tokens_are_refused(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let good = tokens.access_token.as_str();
    let mut claims = part(good, 1);
    claims[stage.ways.user_claim] = stage.user(2).to_string().into();
    let unsigned = with_part(good, 0, &serde_json::json!({"alg": "none", "typ": "JWT"}));
    let mut header = part(good, 0);
    header["alg"] = "HS256".into();
    let mut forged = vec![with_part(good, 1, &claims), with_part(good, 0, &header)];
    header["alg"] = part(good, 0)["alg"].clone();
    header["kid"] = "another".into();
    forged.push(with_part(good, 0, &header));
    forged.push(format!("{}.", unsigned.rsplit_once('.').unwrap().0));
    forged.extend([unsigned, String::new(), "a.b.c".into(), "x".repeat(100_000)]);
    forged.extend([format!("{good}A"), good[1..].to_owned(), tokens.refresh_token.clone()]);
    for token in forged {
        assert_eq!(code(stage.identity.verify(&token).await), Code::Unauthenticated, "{token}");
    }
    stage.assert_good(&tokens).await;
}

/// A refresh gives a new pair of the same session.
pub async fn a_refresh_rotates(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    let next = stage.identity.refresh(&tokens.refresh_token).await.unwrap();
    assert_eq!(next.user_id, user);
    assert_ne!(next.refresh_token, tokens.refresh_token);
    let session = stage.identity.verify(&next.access_token).await.unwrap().session.clone();
    assert_eq!(stage.identity.verify(&tokens.access_token).await.unwrap().session, session);
    stage.identity.refresh(&next.refresh_token).await.unwrap();
}

/// A refresh token used twice ends its whole family at once, and no other.
pub async fn a_reused_refresh_token_ends_its_family(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let other = stage.another().await;
    let next = stage.identity.refresh(&tokens.refresh_token).await.unwrap();
    stage.assert_good(&next).await;
    let reused = stage.identity.refresh(&tokens.refresh_token).await;
    assert_eq!(code(reused), Code::InvalidRefreshToken);
    stage.assert_ended(&next).await;
    stage.assert_ended(&tokens).await;
    stage.assert_good(&other).await;
}

/// Of refreshes at the same moment one wins.
pub async fn racing_refreshes_have_one_winner(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (identity, token) = (Arc::clone(&stage.identity), tokens.refresh_token.clone());
            tokio::spawn(async move { identity.refresh(&token).await.map(|_| ()) })
        })
        .collect();
    let mut won = 0;
    for one in tries {
        match one.await.unwrap() {
            Ok(()) => won += 1,
            Err(problem) => assert_eq!(problem.code, Code::InvalidRefreshToken),
        }
    }
    assert_eq!(won, 1);
}

/// What is no refresh token is refused and ends nothing.
pub async fn made_up_refresh_tokens_are_refused(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let good = tokens.refresh_token.as_str();
    let flipped = |at: usize| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let made_up = [flipped(0), flipped(good.len() / 2), String::new(), "x".repeat(5000)];
    for token in made_up.into_iter().chain([tokens.access_token.clone(), "é".into()]) {
        let refreshed = stage.identity.refresh(&token).await;
        assert_eq!(code(refreshed), Code::InvalidRefreshToken, "{token}");
    }
    stage.assert_good(&tokens).await;
    stage.identity.refresh(good).await.unwrap();
}

/// Refresh tokens live 30 days, each from its own issue or all from the sign-in.
pub async fn refresh_tokens_expire(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let day = Duration::from_hours(24);
    stage.clock.advance(day * 29);
    let next = stage.identity.refresh(&tokens.refresh_token).await.unwrap();
    let next = if stage.ways.refresh_tokens_slide {
        stage.clock.advance(day * 29);
        let next = stage.identity.refresh(&next.refresh_token).await.unwrap();
        stage.clock.advance(day * 30);
        next
    } else {
        stage.clock.advance(day);
        next
    };
    let late = stage.identity.refresh(&next.refresh_token).await;
    assert_eq!(code(late), Code::InvalidRefreshToken);
}

/// Logging out ends one session, tokens seen before included.
pub async fn a_revoked_session_ends_at_once(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    let other = stage.another().await;
    stage.assert_good(&tokens).await;
    stage.identity.revoke(user, Revoke::Session(&tokens.refresh_token)).await.unwrap();
    stage.assert_ended(&tokens).await;
    stage.assert_good(&other).await;
    stage.identity.revoke(user, Revoke::Session(&tokens.refresh_token)).await.unwrap();
    let again = (stage.again)();
    assert_eq!(code(again.verify(&tokens.access_token).await), Code::Unauthenticated);
}

/// Logging out everywhere ends every session, and the next sign-in is good.
pub async fn all_sessions_can_be_ended(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    let other = stage.another().await;
    stage.assert_good(&other).await;
    stage.identity.revoke(user, Revoke::All).await.unwrap();
    stage.assert_ended(&tokens).await;
    stage.assert_ended(&other).await;
    stage.assert_good(&stage.another().await).await;
}

/// Somebody else's good refresh token is refused, one that is none is not; both end nothing.
pub async fn foreign_refresh_tokens_revoke_nothing(stage: Stage) {
    let (user, used) = stage.signed_in().await;
    let tokens = stage.identity.refresh(&used.refresh_token).await.unwrap();
    let good = Revoke::Session(&tokens.refresh_token);
    assert_eq!(code(stage.identity.revoke(stage.user(2), good).await), Code::Forbidden);
    let forged = format!("{}AAAA", &tokens.refresh_token[..tokens.refresh_token.len() - 4]);
    for token in ["", "nonsense", &used.refresh_token, &forged] {
        stage.identity.revoke(stage.user(2), Revoke::Session(token)).await.unwrap();
    }
    stage.assert_good(&tokens).await;
    stage.identity.revoke(user, good).await.unwrap();
    stage.identity.revoke(stage.user(2), good).await.unwrap();
    stage.assert_ended(&tokens).await;
}

/// Who signs in on many devices at once gets in on all: a burst that the edge lets through waits.
pub async fn a_burst_of_right_passwords_gets_in(stage: Stage) {
    stage.ann().await;
    assert_eq!(stage.burst(40, PASSWORD, None).await, 40);
}

/// A new password takes the old one's place and ends the other sessions.
pub async fn a_new_password_ends_the_other_sessions(stage: Stage) {
    let (_, tokens) = stage.signed_in().await;
    let other = stage.another().await;
    let own = stage.identity.verify(&tokens.access_token).await.unwrap();
    stage.assert_good(&other).await;
    stage.identity.change_password(&own, PASSWORD, "other-horse-2").await.unwrap();
    stage.assert_good(&tokens).await;
    stage.assert_ended(&other).await;
    assert_eq!(code(stage.identity.sign_in(EMAIL, PASSWORD).await), Code::BadCredentials);
    stage.identity.sign_in(EMAIL, "other-horse-2").await.unwrap();
}

/// A wrong current password changes nothing and counts as a failure.
pub async fn a_wrong_current_password_changes_nothing(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    let own = stage.identity.verify(&tokens.access_token).await.unwrap();
    let changed = stage.identity.change_password(&own, WRONG, "other-horse-2").await;
    assert_eq!(code(changed), Code::BadCredentials);
    stage.identity.check_password(user, PASSWORD).await.unwrap();
    for _ in 0..10 {
        assert_eq!(code(stage.identity.check_password(user, WRONG).await), Code::BadCredentials);
    }
    assert_eq!(code(stage.identity.sign_in(EMAIL, PASSWORD).await), Code::TooManyAttempts);
    stage.assert_good(&tokens).await;
}

/// A deleted identity is gone at once, its address is free, and deleting again is no error.
pub async fn a_deleted_identity_is_gone(stage: Stage) {
    let (user, tokens) = stage.signed_in().await;
    stage.assert_good(&tokens).await;
    assert_eq!(stage.identity.email(user).await.unwrap().as_deref(), Some(EMAIL));
    stage.identity.delete(user).await.unwrap();
    stage.assert_ended(&tokens).await;
    assert_eq!(stage.identity.email(user).await.unwrap(), None);
    assert_eq!(stage.fail(EMAIL).await.code, Code::BadCredentials);
    assert_eq!(code(stage.identity.check_password(user, PASSWORD).await), Code::BadCredentials);
    let next = stage.user(2);
    stage.identity.create(next, EMAIL, PASSWORD).await.unwrap();
    stage.identity.delete(user).await.unwrap();
    assert_eq!(stage.another().await.user_id, next);
}
