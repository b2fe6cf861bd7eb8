//! Calls that Cognito refuses, fails at, or does in ways that the emulator does not know.

use std::sync::Arc;
use std::time::Duration;

use aws::cognito::{CognitoIdentity, Config, client};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use conformance::faulty::{Faults, Faulty};
use conformance::{Oracle, SeededIds, TestClock};
use kernel::identity::{Identity, Revoke, Tokens};
use kernel::table::Table;
use kernel::{Code, Ids, Problem, UserId};
use serde_json::json;

use crate::pool::{CLIENT, Fault, POOL, Pool};
use crate::server::{Answer, Server, refusal};

const EMAIL: &str = "ann@example.org";
const PASSWORD: &str = "right-horse-1";
const WRONG: &str = "wrong-horse-1";

struct Scene {
    pool: Arc<Pool>,
    server: Server,
    table: Arc<Oracle>,
    clock: Arc<TestClock>,
    ids: Arc<SeededIds>,
    identity: Arc<CognitoIdentity>,
}

fn sdk() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(1)).build())
        .retry_config(retries)
        .build()
}

impl Scene {
    async fn new() -> Self {
        let clock = TestClock::new();
        let pool = Pool::new(Arc::clone(&clock));
        let answering = Arc::clone(&pool);
        let server = Server::new(move |name, input| answering.answer(name, input)).await;
        let table = Oracle::new(Arc::clone(&clock) as _);
        let ids = SeededIds::new(Arc::clone(&clock), 7);
        let identity = open(&server, Arc::clone(&table) as _, &clock, &ids);
        Self { pool, server, table, clock, ids, identity }
    }

    async fn signed_in(&self) -> (UserId, Tokens) {
        let user = UserId(self.ids.ulid());
        self.identity.create(user, EMAIL, PASSWORD).await.unwrap();
        (user, self.identity.sign_in(EMAIL, PASSWORD).await.unwrap())
    }

    fn fault(&self, operation: &'static str, times: usize, answer: fn() -> Answer) {
        self.pool.state.lock().unwrap().faults.push(Fault { operation, times, answer });
    }

    fn mend(&self) {
        self.pool.state.lock().unwrap().faults.clear();
    }

    fn calls(&self, operation: &str) -> usize {
        self.pool.state.lock().unwrap().calls.iter().filter(|call| *call == operation).count()
    }

    async fn fail(&self) -> Problem {
        self.identity.sign_in(EMAIL, WRONG).await.err().unwrap()
    }
}

fn open(
    server: &Server,
    table: Arc<dyn Table>,
    clock: &Arc<TestClock>,
    ids: &Arc<SeededIds>,
) -> Arc<CognitoIdentity> {
    let mut config = Config::of_pool(POOL, CLIENT);
    config.key_set_url = format!("{}/{POOL}/.well-known/jwks.json", server.url);
    let (clock, ids) = (Arc::clone(clock) as _, Arc::clone(ids) as _);
    CognitoIdentity::open(config, client(&sdk(), Some(&server.url)), table, clock, ids).unwrap()
}

fn throttled() -> Answer {
    refusal("TooManyRequestsException", "Rate exceeded")
}

fn expired() -> Answer {
    refusal("ExpiredTokenException", "The security token included in the request is expired")
}

fn broken() -> Answer {
    Answer::Json(500, json!({"__type": "InternalErrorException", "message": "oops"}))
}

fn nonsense() -> Answer {
    Answer::Json(200, json!("nonsense"))
}

#[tokio::test]
async fn a_throttled_call_is_tried_again() {
    let scene = Scene::new().await;
    scene.signed_in().await;
    scene.fault("AdminInitiateAuth", 2, throttled);
    scene.identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    assert_eq!(scene.calls("AdminInitiateAuth"), 1 + 3);
}

#[tokio::test]
async fn what_is_cognitos_fault_is_503_with_retry_after_and_counts_for_nothing() {
    for answer in [throttled, expired, broken, || Answer::Nothing] {
        let scene = Scene::new().await;
        let (user, tokens) = scene.signed_in().await;
        for operation in ["AdminInitiateAuth", "GetTokensFromRefreshToken", "AdminDeleteUser"] {
            scene.fault(operation, usize::MAX, answer);
        }
        let mut problems = Vec::new();
        for _ in 0..12 {
            problems.extend(scene.identity.sign_in(EMAIL, PASSWORD).await.err());
        }
        problems.extend(scene.identity.check_password(user, PASSWORD).await.err());
        problems.extend(scene.identity.refresh(&tokens.refresh_token).await.err());
        assert_eq!(problems.len(), 14);
        for problem in problems {
            assert_eq!((problem.code, problem.retry_after_secs), (Code::Unavailable, Some(1)));
            let cause = problem.cause.unwrap().to_string();
            assert!(cause.starts_with("Cognito's "), "{cause}");
            assert!(!cause.contains(PASSWORD) && !cause.contains(&tokens.refresh_token));
        }
        // Nothing was lost, and the account is not locked.
        scene.mend();
        scene.identity.sign_in(EMAIL, PASSWORD).await.unwrap();
        scene.identity.refresh(&tokens.refresh_token).await.unwrap();
    }
}

#[tokio::test]
async fn answers_without_sense_are_no_sign_in() {
    let scene = Scene::new().await;
    scene.signed_in().await;
    scene.fault("AdminInitiateAuth", 1, nonsense);
    assert!(scene.identity.sign_in(EMAIL, PASSWORD).await.is_err());
    // A challenge in place of tokens: a temporary password or a second factor, given by hand.
    scene.fault("AdminInitiateAuth", 1, || {
        Answer::Json(200, json!({"ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "s"}))
    });
    let challenged = scene.identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(challenged.code, Code::BadCredentials);
    // Tokens that name nobody of ours.
    scene.fault("AdminInitiateAuth", 1, || {
        let tokens = json!({"AccessToken": "e30.e30.e30", "RefreshToken": "r", "ExpiresIn": 1});
        Answer::Json(200, json!({ "AuthenticationResult": tokens }))
    });
    let odd = scene.identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(odd.code, Code::Internal);
    scene.identity.sign_in(EMAIL, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn cognitos_own_lock_out_looks_like_a_wrong_password() {
    let scene = Scene::new().await;
    scene.signed_in().await;
    let wrong = scene.fail().await;
    for refused in [
        || refusal("NotAuthorizedException", "Password attempts exceeded"),
        || refusal("NotAuthorizedException", "User is disabled."),
        || refusal("UserNotFoundException", "User does not exist."),
        || refusal("UserNotConfirmedException", "User is not confirmed."),
        || refusal("PasswordResetRequiredException", "Password reset required"),
        || refusal("InvalidParameterException", "1 validation error detected: password"),
    ] as [fn() -> Answer; 6]
    {
        scene.fault("AdminInitiateAuth", 1, refused);
        let told = scene.identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
        assert_eq!((told.code, &told.detail), (wrong.code, &wrong.detail));
    }
    // A client that may not do this is a defect of ours, and no wrong password.
    let flow = || refusal("InvalidParameterException", "Auth flow not enabled for this client");
    scene.fault("AdminInitiateAuth", 1, flow);
    let defect = scene.identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
    assert_eq!(defect.code, Code::Unavailable);
}

#[tokio::test]
async fn an_unknown_address_costs_cognito_the_same_call() {
    let scene = Scene::new().await;
    scene.signed_in().await;
    let before = scene.server.calls();
    scene.fail().await;
    let known = scene.server.calls() - before;
    let unknown = scene.identity.sign_in("bob@example.org", WRONG).await.err().unwrap();
    assert_eq!(unknown.code, Code::BadCredentials);
    assert_eq!(scene.server.calls() - before, 2 * known);
    // A user id is no address, and its owner's password no way in.
    let name = scene.pool.state.lock().unwrap().users.keys().next().unwrap().clone();
    let by_name = scene.identity.sign_in(&name, PASSWORD).await.err().unwrap();
    assert_eq!(by_name.code, Code::BadCredentials);
}

#[tokio::test]
async fn processes_lock_an_account_together() {
    let scene = Scene::new().await;
    scene.signed_in().await;
    let another = || open(&scene.server, Arc::clone(&scene.table) as _, &scene.clock, &scene.ids);
    let processes = [Arc::clone(&scene.identity), another(), another()];
    let tries: Vec<_> = (0..90)
        .map(|number| {
            let identity = Arc::clone(&processes[number % processes.len()]);
            tokio::spawn(async move { identity.sign_in(EMAIL, WRONG).await.err().unwrap().code })
        })
        .collect();
    let mut compared = 0;
    for one in tries {
        let code = one.await.unwrap();
        assert!([Code::BadCredentials, Code::TooManyAttempts].contains(&code), "{code:?}");
        compared += usize::from(code == Code::BadCredentials);
    }
    // Each lets in only as many as may still fail, by what it has read.
    assert!((10..=30).contains(&compared), "{compared}");
    for identity in processes {
        let locked = identity.sign_in(EMAIL, PASSWORD).await.err().unwrap();
        assert_eq!((locked.code, locked.retry_after_secs), (Code::TooManyAttempts, Some(900)));
    }
}

#[tokio::test]
async fn both_rotate_and_a_token_used_past_us_ends_the_session() {
    let scene = Scene::new().await;
    let (_, tokens) = scene.signed_in().await;
    let next = scene.identity.refresh(&tokens.refresh_token).await.unwrap();
    let cognito = |tokens: &Tokens| tokens.refresh_token.splitn(4, '.').last().map(str::to_owned);
    assert_eq!(cognito(&tokens).as_deref(), Some("refresh.1"));
    assert_eq!(cognito(&next).as_deref(), Some("refresh.2"));
    scene.identity.verify(&next.access_token).await.unwrap();
    // Somebody takes Cognito's part out of the token and uses it.
    scene.pool.answer("GetTokensFromRefreshToken", &json!({"RefreshToken": "refresh.2"}));
    let reused = scene.identity.refresh(&next.refresh_token).await.err().unwrap();
    assert_eq!(reused.code, Code::InvalidRefreshToken);
    for token in [&tokens.access_token, &next.access_token] {
        let ended = scene.identity.verify(token).await.unwrap_err();
        assert_eq!(ended.code, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_reused_token_ends_what_cognito_would_let_live() {
    let scene = Scene::new().await;
    let (_, tokens) = scene.signed_in().await;
    let next = scene.identity.refresh(&tokens.refresh_token).await.unwrap();
    let reused = scene.identity.refresh(&tokens.refresh_token).await.err().unwrap();
    assert_eq!(reused.code, Code::InvalidRefreshToken);
    assert!(scene.pool.state.lock().unwrap().good.contains_key("refresh.2"));
    let refused = scene.identity.refresh(&next.refresh_token).await.err().unwrap();
    assert_eq!(refused.code, Code::InvalidRefreshToken);
    assert!(scene.identity.verify(&next.access_token).await.is_err());
}

#[tokio::test]
async fn an_end_counts_even_if_cognito_does_not_hear_of_it() {
    let scene = Scene::new().await;
    let (user, tokens) = scene.signed_in().await;
    scene.fault("RevokeToken", usize::MAX, broken);
    scene.identity.revoke(user, Revoke::Session(&tokens.refresh_token)).await.unwrap();
    assert!(scene.identity.verify(&tokens.access_token).await.is_err());

    let tokens = scene.identity.sign_in(EMAIL, PASSWORD).await.unwrap();
    scene.fault("AdminUserGlobalSignOut", usize::MAX, broken);
    let told = scene.identity.revoke(user, Revoke::All).await.unwrap_err();
    assert_eq!(told.code, Code::Unavailable);
    assert!(scene.identity.verify(&tokens.access_token).await.is_err());
    scene.mend();
    scene.identity.revoke(user, Revoke::All).await.unwrap();
    assert!(scene.pool.state.lock().unwrap().good.is_empty());
}

#[tokio::test]
async fn proofs_leave_no_tokens_behind() {
    let scene = Scene::new().await;
    let (user, tokens) = scene.signed_in().await;
    let own = scene.identity.verify(&tokens.access_token).await.unwrap();
    scene.identity.check_password(user, PASSWORD).await.unwrap();
    scene.identity.change_password(&own, PASSWORD, "other-horse-2").await.unwrap();
    let good: Vec<_> = scene.pool.state.lock().unwrap().good.keys().cloned().collect();
    assert_eq!(good, ["refresh.1"]);
    scene.identity.refresh(&tokens.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_password_that_the_pool_refuses_is_weak_and_frees_the_address() {
    let scene = Scene::new().await;
    let weak = || refusal("InvalidPasswordException", "Password must have symbol characters");
    scene.fault("AdminSetUserPassword", 1, weak);
    let user = UserId(scene.ids.ulid());
    let refused = scene.identity.create(user, EMAIL, "pässword-1").await.unwrap_err();
    assert_eq!((refused.code, refused.errors[0].field.as_str()), (Code::WeakPassword, "password"));
    scene.fault("AdminCreateUser", 1, || {
        refusal("InvalidParameterException", "Invalid email address format.")
    });
    let refused = scene.identity.create(user, EMAIL, PASSWORD).await.unwrap_err();
    assert_eq!((refused.code, refused.errors[0].field.as_str()), (Code::ValidationFailed, "email"));
    scene.signed_in().await;
    assert_eq!(scene.pool.state.lock().unwrap().users.len(), 1);
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_taken_up() {
    let scene = Scene::new().await;
    let user = UserId(scene.ids.ulid());
    // The pool did it, and the SDK asks again.
    let input = json!({"Username": user.to_string(), "UserAttributes": [{"Value": EMAIL}]});
    scene.pool.answer("AdminCreateUser", &input);
    scene.identity.create(user, EMAIL, PASSWORD).await.unwrap();
    assert_eq!(scene.identity.sign_in(EMAIL, PASSWORD).await.unwrap().user_id, user);
}

#[tokio::test]
async fn a_remnant_in_the_pool_gives_way_and_a_user_does_not() {
    let scene = Scene::new().await;
    let remnant = UserId(scene.ids.ulid());
    let input = json!({"Username": remnant.to_string(), "UserAttributes": [{"Value": EMAIL}]});
    scene.pool.answer("AdminCreateUser", &input);
    let (user, _) = scene.signed_in().await;
    assert!(!scene.pool.state.lock().unwrap().users.contains_key(&remnant.to_string()));
    // Cognito takes two addresses for one that we tell apart: who is known here stays.
    scene.pool.state.lock().unwrap().users.get_mut(&user.to_string()).unwrap().1 = "é@x.org".into();
    let other = UserId(scene.ids.ulid());
    let taken = scene.identity.create(other, "é@x.org", PASSWORD).await.unwrap_err();
    assert_eq!(taken.code, Code::EmailTaken);
    assert!(scene.pool.state.lock().unwrap().users.contains_key(&user.to_string()));
}

#[tokio::test]
async fn a_deletion_that_died_can_be_done_again_and_frees_the_address() {
    let scene = Scene::new().await;
    let (user, tokens) = scene.signed_in().await;
    scene.fault("AdminDeleteUser", usize::MAX, broken);
    assert_eq!(scene.identity.delete(user).await.unwrap_err().code, Code::Unavailable);
    assert!(scene.identity.verify(&tokens.access_token).await.is_err());
    assert_eq!(scene.identity.email(user).await.unwrap(), None);
    scene.mend();
    // Registered by somebody else before the deletion is tried again.
    let next = UserId(scene.ids.ulid());
    scene.identity.create(next, EMAIL, "other-horse-2").await.unwrap();
    scene.identity.delete(user).await.unwrap();
    assert_eq!(scene.identity.sign_in(EMAIL, "other-horse-2").await.unwrap().user_id, next);
}

#[tokio::test]
async fn who_proved_the_old_password_while_it_was_changed_gets_no_session() {
    let scene = Scene::new().await;
    let (user, tokens) = scene.signed_in().await;
    let own = scene.identity.verify(&tokens.access_token).await.unwrap();
    // Sign-ins and changes under way at once, many times over.
    for round in 0..10_u32 {
        let (old, new) = (password(round), password(round + 1));
        let ids = [(); 6].map(|()| Arc::clone(&scene.identity));
        let tries: Vec<_> = ids
            .into_iter()
            .map(|identity| {
                let old = old.clone();
                tokio::spawn(async move { identity.sign_in(EMAIL, &old).await })
            })
            .collect();
        scene.identity.change_password(&own, &old, &new).await.unwrap();
        for one in tries {
            if let Ok(tokens) = one.await.unwrap() {
                let ended = scene.identity.verify(&tokens.access_token).await.unwrap_err();
                assert_eq!(ended.code, Code::Unauthenticated);
            }
        }
        let last = scene.identity.sign_in(EMAIL, &new).await.unwrap();
        assert_eq!(last.user_id, user);
    }
}

fn password(round: u32) -> String {
    if round == 0 { PASSWORD.into() } else { format!("right-horse-{round}-1") }
}

#[tokio::test]
async fn a_table_with_a_bad_day_makes_no_sign_in_good_or_bad_for_ever() {
    let scene = Scene::new().await;
    let (user, _) = scene.signed_in().await;
    let faulty = Faulty::new(Arc::clone(&scene.table) as _, Faults::all(150), 3);
    let identity = open(&scene.server, Arc::clone(&faulty) as _, &scene.clock, &scene.ids);
    let mut good = 0;
    for _ in 0..60 {
        match identity.sign_in(EMAIL, PASSWORD).await {
            Ok(tokens) => {
                good += 1;
                assert_eq!(tokens.user_id, user);
                // Whatever the table did, a session once given out is there.
                scene.identity.verify(&tokens.access_token).await.unwrap();
                match identity.refresh(&tokens.refresh_token).await {
                    Ok(next) => assert_eq!(next.user_id, user),
                    Err(problem) => assert!(
                        [Code::Unavailable, Code::InvalidRefreshToken, Code::Conflict]
                            .contains(&problem.code)
                    ),
                }
            }
            Err(problem) => {
                assert!([Code::Unavailable, Code::Conflict].contains(&problem.code), "{problem}");
            }
        }
    }
    assert!(good > 10 && faulty.happened() > 10, "{good}");
}
