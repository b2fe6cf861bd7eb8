//! The Cognito identity under the suite of every identity, on the test bed, and the emulator's
//! differences by name.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

mod bed;

use std::sync::Arc;

use aws::cognito::{self, CognitoIdentity, Config, Created};
use aws_sdk_cognitoidentityprovider::Client;
use conformance::identity::{Stage, Ways};
use conformance::testbed::Testbed;
use conformance::{Oracle, SeededIds, TestClock};
use kernel::clock::SystemClock;
use kernel::identity::{Identity, Revoke};
use kernel::ids::SystemIds;
use kernel::table::{Key, Table, Write, get_one};
use kernel::{Clock, Code, Ids, UserId};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "right-horse-1";

/// A pool of one test's own.
struct Place {
    url: String,
    client: Client,
    pool: Created,
    table: Arc<Oracle>,
    clock: Arc<TestClock>,
    ids: Arc<SeededIds>,
}

impl Place {
    async fn new() -> Self {
        let url = Testbed::up().services;
        let client = cognito::client(&bed::sdk(), Some(&url));
        let name = SystemIds::new(Arc::new(SystemClock)).ulid();
        let pool = cognito::create(&client, &format!("mini-sns-{name}-user-pool")).await.unwrap();
        let clock = TestClock::new();
        clock.advance(SystemClock.now().since(clock.now()));
        let table = Oracle::new(Arc::clone(&clock) as _);
        let ids = SeededIds::new(Arc::clone(&clock), 7);
        Self { url, client, pool, table, clock, ids }
    }

    fn config(&self) -> Config {
        let Created { user_pool_id, client_id } = self.pool.clone();
        let mut config = Config::of_pool(user_pool_id, client_id);
        // The emulator signs as AWS would, and shows its keys at its own address.
        config.key_set_url = format!("{}/{}/.well-known/jwks.json", self.url, config.user_pool_id);
        // It is slow where AWS is not, and a burst of sign-ins waits for its turn.
        config.sign_in_patience_millis = 60_000;
        config
    }

    fn open(&self) -> Arc<CognitoIdentity> {
        let (table, clock) = (Arc::clone(&self.table) as _, Arc::clone(&self.clock) as _);
        let ids = Arc::clone(&self.ids) as _;
        CognitoIdentity::open(self.config(), self.client.clone(), table, clock, ids).unwrap()
    }

    fn user(&self) -> UserId {
        UserId(self.ids.ulid())
    }

    async fn is_in_pool(&self, name: &str) -> bool {
        let id = &self.pool.user_pool_id;
        self.client.admin_get_user().user_pool_id(id).username(name).send().await.is_ok()
    }
}

async fn stage() -> Stage {
    let place = Place::new().await;
    let (identity, clock) = (place.open(), Arc::clone(&place.clock));
    let ways = Ways { user_claim: "username", refresh_tokens_slide: false };
    Stage { identity, clock, ways, again: Box::new(move || place.open()) }
}

conformance::identity_suite!(stage);

#[tokio::test]
async fn a_pool_is_made_as_the_templates_declare_it() {
    let place = Place::new().await;
    let Created { user_pool_id, client_id } = &place.pool;
    let pool = place.client.describe_user_pool().user_pool_id(user_pool_id).send().await.unwrap();
    let pool = pool.user_pool.unwrap();
    let policy = pool.policies.unwrap().password_policy.unwrap();
    assert_eq!(policy.minimum_length, Some(8));
    assert!(policy.require_numbers && policy.require_symbols);
    assert!(pool.admin_create_user_config.unwrap().allow_admin_create_user_only);
    let asked = place.client.describe_user_pool_client().user_pool_id(user_pool_id);
    let client = asked.client_id(client_id).send().await.unwrap().user_pool_client.unwrap();
    assert_eq!((client.access_token_validity, client.refresh_token_validity), (Some(1), 30));
    let flows: Vec<_> = client.explicit_auth_flows().iter().map(|flow| flow.as_str()).collect();
    assert_eq!(flows, ["ALLOW_ADMIN_USER_PASSWORD_AUTH"]);
    assert_eq!(client.prevent_user_existence_errors.unwrap().as_str(), "ENABLED");
    assert_eq!(client.enable_token_revocation, Some(true));
}

#[tokio::test]
async fn a_user_is_named_by_our_id_and_found_by_their_address() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    assert!(place.is_in_pool(&user.to_string()).await);
    assert!(place.is_in_pool(EMAIL).await);
    identity.delete(user).await.unwrap();
    assert!(!place.is_in_pool(&user.to_string()).await);
}

#[tokio::test]
async fn a_session_that_ended_is_over_in_the_pool_too() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let tokens = identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    let cognito = tokens.refresh_token.splitn(4, '.').last().unwrap().to_owned();
    let asked = || {
        let call = place.client.get_tokens_from_refresh_token();
        call.client_id(&place.pool.client_id).refresh_token(&cognito).send()
    };
    asked().await.unwrap();
    identity.revoke(user, Revoke::Session(&tokens.refresh_token)).await.unwrap();
    assert!(asked().await.unwrap_err().into_service_error().is_not_authorized_exception());
}

#[tokio::test]
async fn a_registration_that_died_holds_its_address_for_a_minute_only() {
    let place = Place::new().await;
    let (identity, dead) = (place.open(), place.user());
    identity.create(dead, EMAIL, PASSWORD).await.unwrap();
    // As it was before the last step: the user is in the pool, the address only held.
    let (user_row, email_row) = rows(&place, dead).await;
    let row = get_one(&*place.table, email_row.clone()).await.unwrap().unwrap();
    let held = Write::put(email_row, row.body).expiring(place.clock.now() + secs(60));
    place.table.commit(vec![Write::delete(user_row), held]).await.unwrap();

    let refused = identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(refused.code, Code::BadCredentials);
    let next = place.user();
    let taken = identity.create(next, EMAIL, PASSWORD).await.unwrap_err();
    assert_eq!(taken.code, Code::EmailTaken);
    place.clock.advance(secs(60));
    identity.create(next, EMAIL, "other-horse-2").await.unwrap();
    assert_eq!(identity.sign_in(EMAIL, "other-horse-2").await.unwrap().user_id, next);
}

fn secs(secs: u64) -> std::time::Duration {
    std::time::Duration::from_secs(secs)
}

/// The keys of a user's own row and of their address's.
async fn rows(place: &Place, user: UserId) -> (Key, Key) {
    use kernel::audit::Snapshot;
    let user_row = Key::new(format!("identity#user#{user}"), "");
    let address = place.table.items("identity#email#").next().unwrap().unwrap();
    (user_row, address.key)
}

#[tokio::test]
async fn neither_passwords_nor_tokens_are_kept() {
    use kernel::audit::Snapshot;
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let tokens = identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    identity.sign_in(EMAIL, "wrong-horse-1").await.err().unwrap();
    let kept: Vec<_> = place.table.items("").map(Result::unwrap).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    let text = format!("{kept:?}");
    let mut secrets = vec![PASSWORD, "wrong-horse-1", &tokens.access_token];
    secrets.extend(tokens.refresh_token.splitn(4, '.').skip(2));
    for secret in secrets {
        assert!(!text.contains(secret));
    }
}

/// AWS answers a refresh with a new refresh token where the client rotates, and refuses the former
/// with `RefreshTokenReuseException` (`identity_answers.rs` shows what is made of both). MiniStack
/// knows no rotation. Ours, which the suite shows above, does not rest on Cognito's.
#[tokio::test]
async fn difference_the_emulator_does_not_rotate() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let tokens = identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    let cognito = tokens.refresh_token.splitn(4, '.').last().unwrap();
    for _ in 0..2 {
        let call = place.client.get_tokens_from_refresh_token();
        let call = call.client_id(&place.pool.client_id).refresh_token(cognito);
        let answer = call.send().await.unwrap().authentication_result.unwrap();
        assert_eq!(answer.refresh_token, None);
    }
}

/// AWS refuses a second user with a verified address that is an alias (`AliasExistsException`).
/// MiniStack lets both in. Ours never asks it: the address's row decides.
#[tokio::test]
async fn difference_the_emulator_lets_two_users_have_one_alias() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let attribute = |name: &str, value: &str| {
        let built = aws_sdk_cognitoidentityprovider::types::AttributeType::builder();
        built.name(name).value(value).build().unwrap()
    };
    let call = place.client.admin_create_user().user_pool_id(&place.pool.user_pool_id);
    let call = call.username("another").user_attributes(attribute("email", EMAIL));
    call.user_attributes(attribute("email_verified", "true")).send().await.unwrap();
}

/// AWS locks a user out for a second after five wrong passwords, then for twice as long each time,
/// and says "Password attempts exceeded". MiniStack compares for ever.
#[tokio::test]
async fn difference_the_emulator_locks_nobody_out() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let ask = |password: &str| {
        let call = place.client.admin_initiate_auth().user_pool_id(&place.pool.user_pool_id);
        let call = call.client_id(&place.pool.client_id);
        let flow = aws_sdk_cognitoidentityprovider::types::AuthFlowType::AdminUserPasswordAuth;
        let call = call.auth_flow(flow).auth_parameters("USERNAME", user.to_string());
        call.auth_parameters("PASSWORD", password).send()
    };
    for _ in 0..8 {
        let refused = ask("wrong-horse-1").await.unwrap_err();
        assert!(!format!("{refused:?}").contains("attempts exceeded"));
    }
    ask(PASSWORD).await.unwrap();
}

/// AWS refuses the access tokens of a user who was signed out ("Access Token has been revoked").
/// MiniStack still answers them. Ours are good no longer: the session's row is gone.
#[tokio::test]
async fn difference_the_emulator_answers_those_who_were_signed_out() {
    let place = Place::new().await;
    let (identity, user) = (place.open(), place.user());
    identity.create(user, EMAIL, PASSWORD).await.unwrap();
    let tokens = identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    identity.verify(&tokens.access_token).await.unwrap();
    identity.revoke(user, Revoke::All).await.unwrap();
    place.client.get_user().access_token(&tokens.access_token).send().await.unwrap();
    let ended = identity.verify(&tokens.access_token).await.unwrap_err();
    assert_eq!(ended.code, Code::Unauthenticated);
}
