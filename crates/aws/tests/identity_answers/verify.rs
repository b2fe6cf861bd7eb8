//! Access tokens that Cognito would sign, and such as it would not; its keys coming and going.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws::cognito::{Config, Verifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conformance::{SeededIds, TestClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::identity::Identity;
use kernel::identity::session::{SessionName, Sessions};
use kernel::{Clock, Code, Ids, Problem, UserId};
use serde_json::{Value, json};

use crate::server::{Answer, Server, Signer};

const POOL: &str = "eu-central-1_Pool";
const CLIENT: &str = "client1";
const SESSION: &str = "0b0c1f0e-0000-4000-8000-000000000001";

/// The user service as the others see it.
#[derive(Default)]
struct Asked {
    closed: Mutex<Vec<String>>,
    is_down: Mutex<bool>,
    times: Mutex<usize>,
}

#[async_trait]
impl Sessions for Asked {
    async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem> {
        *self.times.lock().unwrap() += 1;
        if *self.is_down.lock().unwrap() {
            return Err(Problem::unavailable(std::io::Error::other("down")));
        }
        let closed = self.closed.lock().unwrap();
        Ok(sessions.iter().map(|name| !closed.contains(&name.session)).collect())
    }
}

struct Scene {
    keys: Arc<Mutex<Option<Vec<Value>>>>,
    server: Server,
    sessions: Arc<Asked>,
    clock: Arc<TestClock>,
    verifier: Arc<Verifier>,
    user: UserId,
}

impl Scene {
    /// A pool with these public keys.
    async fn new(keys: &[&Signer]) -> Self {
        let keys = keys.iter().map(|signer| signer.public.clone()).collect();
        let keys = Arc::new(Mutex::new(Some(keys)));
        let shown = Arc::clone(&keys);
        let server = Server::new(move |_, _| match &*shown.lock().unwrap() {
            Some(keys) => Answer::Json(200, json!({ "keys": keys })),
            None => Answer::Json(503, json!({})),
        })
        .await;
        let mut config = Config::of_pool(POOL, CLIENT);
        config.key_set_url = format!("{}/jwks.json", server.url);
        let (clock, sessions) = (TestClock::new(), Arc::new(Asked::default()));
        let (asked, time) = (Arc::clone(&sessions) as _, Arc::clone(&clock) as _);
        let verifier = Verifier::new(&config, asked, time);
        let user = UserId(SeededIds::new(Arc::clone(&clock), 1).ulid());
        Self { keys, server, sessions, clock, verifier, user }
    }

    /// What a good access token says.
    fn claims(&self) -> Value {
        let now = self.clock.now().secs();
        json!({
            "sub": "f3a4c2d1-0000-4000-8000-00000000000a", "username": self.user.to_string(),
            "iss": format!("https://cognito-idp.eu-central-1.amazonaws.com/{POOL}"),
            "client_id": CLIENT, "origin_jti": SESSION, "token_use": "access",
            "scope": "aws.cognito.signin.user.admin", "auth_time": now, "iat": now,
            "exp": now + 3600, "jti": "0b0c1f0e-0000-4000-8000-000000000002",
        })
    }

    fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn show(&self, signers: Option<&[&Signer]>) {
        let keys = signers.map(|signers| signers.iter().map(|one| one.public.clone()).collect());
        *self.keys.lock().unwrap() = keys;
    }

    async fn refused(&self, token: &str) -> Problem {
        let problem = self.verifier.verify(token).await.expect_err(token);
        assert_eq!(problem.code, Code::Unauthenticated, "{token}");
        problem
    }
}

#[tokio::test]
async fn a_token_of_the_pool_speaks_for_its_username() {
    let signer = Signer::new("one");
    let scene = Scene::new(&[&signer]).await;
    let token = signer.sign(&scene.claims());
    let principal = scene.verifier.verify(&token).await.unwrap();
    assert_eq!((principal.user_id, principal.session.as_str()), (scene.user, SESSION));
    assert_eq!(principal.expires_at.secs(), scene.clock.now().secs() + 3600);
    // A pool that does not care for case may hand the name out in another one.
    let lower = scene.user.to_string().to_lowercase();
    let token = signer.sign(&scene.claims_with("username", lower.into()));
    assert_eq!(scene.verifier.verify(&token).await.unwrap().user_id, scene.user);
    assert_eq!(scene.server.calls(), 1, "the keys are fetched once");
}

#[tokio::test]
async fn what_another_pool_or_client_or_purpose_signed_is_refused_alike() {
    let (signer, foreign) = (Signer::new("one"), Signer::new("one"));
    let scene = Scene::new(&[&signer]).await;
    let mut refusals = vec![scene.refused(&foreign.sign(&scene.claims())).await];
    let id_token = {
        let mut claims = scene.claims_with("token_use", "id".into());
        claims["aud"] = CLIENT.into();
        claims["cognito:username"] = scene.user.to_string().into();
        claims
    };
    let mut without_session = scene.claims();
    without_session.as_object_mut().unwrap().remove("origin_jti");
    for claims in [
        scene.claims_with("iss", "https://cognito-idp.eu-central-1.amazonaws.com/other".into()),
        scene.claims_with("client_id", "client2".into()),
        scene.claims_with("token_use", "refresh".into()),
        scene.claims_with("username", "ann@example.org".into()),
        scene.claims_with("origin_jti", "a#b".into()),
        scene.claims_with("exp", scene.clock.now().secs().into()),
        scene.claims_with("exp", "soon".into()),
        id_token,
        without_session,
        json!({}),
    ] {
        refusals.push(scene.refused(&signer.sign(&claims)).await);
    }
    assert!(refusals.iter().all(|one| one.detail == refusals[0].detail));
    assert_eq!(*scene.sessions.times.lock().unwrap(), 0, "nobody is asked about a bad token");
}

#[tokio::test]
async fn the_header_does_not_choose_the_algorithm() {
    let signer = Signer::new("one");
    let scene = Scene::new(&[&signer]).await;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = part(&scene.claims());
    let head = |alg: &str| part(&json!({"alg": alg, "kid": "one", "typ": "JWT"}));
    for alg in ["none", "None", "NONE", ""] {
        scene.refused(&format!("{}.{claims}.", head(alg))).await;
        scene.refused(&format!("{}.{claims}", head(alg))).await;
    }
    // The public key taken for a shared secret, in the forms that it is known in.
    let n = signer.public["n"].as_str().unwrap().as_bytes();
    for secret in [signer.public_der.as_slice(), n, signer.public.to_string().as_bytes(), b""] {
        let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(secret);
        scene.refused(&jsonwebtoken::encode(&header, &scene.claims(), &key).unwrap()).await;
    }
    // A good signature under a header that names another algorithm.
    let good = signer.sign(&scene.claims());
    let rest = good.split_once('.').unwrap().1;
    for alg in ["HS256", "RS384", "PS256", "ES256"] {
        scene.refused(&format!("{}.{rest}", head(alg))).await;
    }
    // Without a key's name, or with the key itself in the header.
    scene.refused(&format!("{}.{rest}", part(&json!({"alg": "RS256"})))).await;
    let own = Signer::new("mine");
    let header = json!({"alg": "RS256", "kid": "mine", "jwk": own.public});
    let signed = own.sign(&scene.claims());
    let signed = signed.split_once('.').unwrap().1;
    scene.refused(&format!("{}.{signed}", part(&header))).await;
    scene.verifier.verify(&good).await.unwrap();
}

#[tokio::test]
async fn keys_of_another_kind_in_the_set_are_none() {
    let (signer, hidden) = (Signer::new("one"), Signer::new("enc"));
    let scene = Scene::new(&[&signer]).await;
    let mut encrypting = hidden.public.clone();
    encrypting["use"] = "enc".into();
    let secret = json!({"kty": "oct", "alg": "HS256", "use": "sig", "kid": "oct", "k": "AAAA"});
    let future = json!({"kty": "NEW", "kid": "new"});
    let keys = vec![future, secret, encrypting, signer.public.clone()];
    *scene.keys.lock().unwrap() = Some(keys.clone());
    scene.verifier.verify(&signer.sign(&scene.claims())).await.unwrap();
    scene.refused(&hidden.sign(&scene.claims())).await;
    let header = Header { kid: Some("oct".into()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_base64_secret("AAAA").unwrap();
    scene.refused(&jsonwebtoken::encode(&header, &scene.claims(), &key).unwrap()).await;
    assert_eq!(scene.verifier.key_set().await.unwrap(), json!({ "keys": keys }));
}

#[tokio::test]
async fn rotated_keys_are_fetched_when_a_token_names_them() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let scene = Scene::new(&[&old]).await;
    let before = old.sign(&scene.claims());
    scene.verifier.verify(&before).await.unwrap();
    scene.clock.advance(Duration::from_secs(10));
    scene.show(Some(&[&old, &new]));
    scene.verifier.verify(&new.sign(&scene.claims())).await.unwrap();
    scene.verifier.verify(&old.sign(&scene.claims_with("jti", "x".into()))).await.unwrap();
    assert_eq!(scene.server.calls(), 2);

    // A key that was withdrawn is trusted for an hour at most.
    scene.show(Some(&[&new]));
    scene.clock.advance(Duration::from_hours(1));
    scene.refused(&old.sign(&scene.claims())).await;
    scene.verifier.verify(&new.sign(&scene.claims())).await.unwrap();
}

#[tokio::test]
async fn made_up_key_names_cannot_make_us_fetch_all_the_time() {
    let (signer, foreign) = (Signer::new("one"), Signer::new("two"));
    let scene = Scene::new(&[&signer]).await;
    scene.verifier.verify(&signer.sign(&scene.claims())).await.unwrap();
    for second in 0..20_u64 {
        for jti in 0..5_u64 {
            let claims = scene.claims_with("jti", (second * 5 + jti).into());
            scene.refused(&foreign.sign(&claims)).await;
        }
        scene.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(scene.server.calls(), 2, "once every ten seconds");
}

#[tokio::test]
async fn known_keys_go_on_while_the_key_set_cannot_be_reached() {
    let (signer, other) = (Signer::new("one"), Signer::new("two"));
    let scene = Scene::new(&[&signer]).await;
    scene.show(None);
    let token = signer.sign(&scene.claims());
    let none = scene.verifier.verify(&token).await.unwrap_err();
    assert_eq!((none.code, none.retry_after_secs), (Code::Unavailable, Some(1)));
    assert_eq!(scene.verifier.key_set().await.unwrap_err().code, Code::Unavailable);
    assert_eq!(scene.server.calls(), 1, "once a second while there are none");

    scene.show(Some(&[&signer]));
    scene.clock.advance(Duration::from_secs(1));
    scene.verifier.verify(&token).await.unwrap();
    scene.show(None);
    for hour in 0..5_u64 {
        scene.clock.advance(Duration::from_hours(1));
        let token = signer.sign(&scene.claims_with("jti", hour.into()));
        scene.verifier.verify(&token).await.unwrap();
        // What names another key is not good now, and no fault of ours.
        scene.refused(&other.sign(&scene.claims())).await;
    }
    assert_eq!(scene.verifier.key_set().await.unwrap()["keys"][0]["kid"], "one");
}

#[tokio::test]
async fn an_end_elsewhere_is_seen_within_two_seconds() {
    let signer = Signer::new("one");
    let scene = Scene::new(&[&signer]).await;
    let token = signer.sign(&scene.claims());
    scene.verifier.verify(&token).await.unwrap();
    scene.sessions.closed.lock().unwrap().push(SESSION.into());
    scene.clock.advance(Duration::from_millis(1_999));
    scene.verifier.verify(&token).await.unwrap();
    assert_eq!(*scene.sessions.times.lock().unwrap(), 1);
    scene.clock.advance(Duration::from_millis(1));
    scene.refused(&token).await;
    scene.refused(&token).await;
}

#[tokio::test]
async fn who_was_signed_in_stays_so_while_nobody_can_be_asked() {
    let signer = Signer::new("one");
    let scene = Scene::new(&[&signer]).await;
    let (seen, unseen) =
        (signer.sign(&scene.claims()), signer.sign(&scene.claims_with("jti", "another".into())));
    scene.verifier.verify(&seen).await.unwrap();
    *scene.sessions.is_down.lock().unwrap() = true;
    scene.clock.advance(Duration::from_secs(3));
    for _ in 0..10 {
        scene.verifier.verify(&seen).await.unwrap();
    }
    assert_eq!(*scene.sessions.times.lock().unwrap(), 2, "asked again no oftener than else");
    let problem = scene.verifier.verify(&unseen).await.unwrap_err();
    assert_eq!((problem.code, problem.retry_after_secs), (Code::Unavailable, Some(1)));
    // But not beyond its hour.
    scene.clock.advance(Duration::from_hours(1));
    scene.refused(&seen).await;
}

#[tokio::test]
async fn a_service_without_credentials_only_verifies() {
    let scene = Scene::new(&[]).await;
    let identity: &dyn Identity = &*scene.verifier;
    let problem = identity.sign_in("ann@example.org", "right-horse-1").await.err().unwrap();
    assert_eq!(problem.code, Code::Internal);
    assert_eq!(identity.create(scene.user, "a@b.c", "x").await.unwrap_err().code, Code::Internal);
    assert!(identity.issuer().ends_with(POOL));
}
