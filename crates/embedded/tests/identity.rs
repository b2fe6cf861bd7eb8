//! The embedded identity under the suite of every identity, and what it promises beyond.

#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use conformance::identity::{Stage, Ways};
use conformance::{SeededIds, TestClock};
use embedded::identity::{Config, EmbeddedIdentity, OpenError, audit};
use embedded::table::{Options, Store};
use kernel::identity::Identity;
use kernel::table::{Key, Table, Write};
use kernel::{Code, Ids, UserId};

const PASSWORD: &str = "right-horse-1";

fn config() -> Config {
    // The cost of a real hash is Argon2's own affair; here only the number of hashes matters.
    Config { argon2_memory_kib: 64, argon2_passes: 1, hash_workers: 2, ..Config::default() }
}

struct Place {
    dir: tempfile::TempDir,
    table: Arc<Store>,
    clock: Arc<TestClock>,
    ids: Arc<SeededIds>,
}

impl Place {
    fn new() -> Self {
        let (clock, dir) = (TestClock::new(), tempfile::tempdir().unwrap());
        let options = Options { free_space_floor_bytes: 0, ..Options::default() };
        let table = Store::open(dir.path().join("user"), options, Arc::clone(&clock) as _);
        Self {
            dir,
            table: Arc::new(table.unwrap()),
            ids: SeededIds::new(Arc::clone(&clock), 7),
            clock,
        }
    }

    fn try_open(&self, config: Config) -> Result<Arc<EmbeddedIdentity>, OpenError> {
        let keys = self.dir.path().join("keys");
        let (table, clock) = (Arc::clone(&self.table) as _, Arc::clone(&self.clock) as _);
        EmbeddedIdentity::open(config, &keys, table, clock, Arc::clone(&self.ids) as _)
    }

    fn open(&self) -> Arc<EmbeddedIdentity> {
        self.try_open(config()).unwrap()
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.dir.path().join("keys/signing.json")
    }

    async fn ann(&self, identity: &dyn Identity) -> UserId {
        let user = UserId(self.ids.ulid());
        identity.create(user, "ann@example.org", PASSWORD).await.unwrap();
        user
    }
}

async fn stage() -> Stage {
    let place = Place::new();
    let (identity, clock) = (place.open(), Arc::clone(&place.clock));
    let ways = Ways { user_claim: "sub", refresh_tokens_slide: true };
    Stage { identity, clock, ways, again: Box::new(move || place.open()) }
}

conformance::identity_suite!(stage);

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_key_file_is_the_owners_alone_and_survives_a_rotation() {
    let place = Place::new();
    let identity = place.open();
    assert_eq!(mode(&place.key_file()), 0o600);
    assert_eq!(mode(place.key_file().parent().unwrap()), 0o700);
    place.ann(&*identity).await;
    let old = identity.sign_in("ann@example.org", PASSWORD).await.unwrap();
    identity.verify(&old.access_token).await.unwrap();

    identity.rotate_keys().unwrap();
    assert_eq!(mode(&place.key_file()), 0o600);
    let new = identity.sign_in("ann@example.org", PASSWORD).await.unwrap();
    let again = place.open();
    for one in [&identity, &again] {
        one.verify(&old.access_token).await.unwrap();
        one.verify(&new.access_token).await.unwrap();
        assert_eq!(one.key_set().await.unwrap()["keys"].as_array().unwrap().len(), 2);
    }

    identity.rotate_keys().unwrap();
    identity.verify(&new.access_token).await.unwrap();
    let gone = identity.verify(&old.access_token).await.unwrap_err();
    assert_eq!(gone.code, Code::Unauthenticated);
    assert_eq!(identity.key_set().await.unwrap()["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn anybody_can_verify_a_token_with_the_key_set() {
    let place = Place::new();
    let identity = place.open();
    place.ann(&*identity).await;
    let token = identity.sign_in("ann@example.org", PASSWORD).await.unwrap().access_token;
    let set = serde_json::from_value(identity.key_set().await.unwrap()).unwrap();
    let set: jsonwebtoken::jwk::JwkSet = set;
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_issuer(&[identity.issuer()]);
    jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
}

#[test]
fn a_damaged_key_file_is_told_in_one_line_without_its_secrets() {
    let place = Place::new();
    place.open();
    let good = std::fs::read_to_string(place.key_file()).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&good).unwrap();
    let secret = stored["keys"][0]["d"].as_str().unwrap();
    let swapped = good.replace(secret, &secret.chars().rev().collect::<String>());
    for bad in ["", "{}", "{\"keys\":[]}", &good[..good.len() / 2], &swapped] {
        std::fs::write(place.key_file(), bad).unwrap();
        let told = place.try_open(config()).err().unwrap().to_string();
        assert!(told.contains("signing.json: damaged"), "{told}");
        assert!(!told.contains('\n') && !told.contains(secret), "{told}");
    }
    std::fs::write(place.key_file(), good).unwrap();
    place.open();
}

#[tokio::test]
async fn tokens_of_another_issuer_or_client_are_refused() {
    let place = Place::new();
    let identity = place.open();
    place.ann(&*identity).await;
    let token = identity.sign_in("ann@example.org", PASSWORD).await.unwrap().access_token;
    let others = [
        Config { issuer: "https://elsewhere.example".into(), ..config() },
        Config { client_id: "another".into(), ..config() },
    ];
    for other in others {
        let other = place.try_open(other).unwrap();
        assert_eq!(other.verify(&token).await.unwrap_err().code, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let place = Place::new();
    let identity = place.try_open(Config { sessions_max: 3, ..config() }).unwrap();
    place.ann(&*identity).await;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let one = identity.sign_in("ann@example.org", PASSWORD).await.unwrap();
        identity.verify(&one.access_token).await.unwrap();
        tokens.push(one.access_token);
    }
    assert!(identity.verify(&tokens[0]).await.is_err());
    for token in &tokens[1..] {
        identity.verify(token).await.unwrap();
    }
    assert!(place.try_open(Config { sessions_max: 1001, ..config() }).is_err());
}

#[tokio::test]
async fn neither_passwords_nor_tokens_are_kept() {
    use kernel::audit::Snapshot;
    let place = Place::new();
    let identity = place.open();
    place.ann(&*identity).await;
    let tokens = identity.sign_in("ann@example.org", PASSWORD).await.unwrap();
    identity.sign_in("ann@example.org", "wrong-horse-1").await.err().unwrap();
    let snapshot = place.table.snapshot().unwrap();
    let kept: Vec<_> = snapshot.items("").map(Result::unwrap).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    let text = format!("{kept:?}");
    for secret in [PASSWORD, "wrong-horse-1", &tokens.access_token, &tokens.refresh_token] {
        assert!(!text.contains(secret));
    }
    assert!(text.contains("$argon2id$v=19$m=64,t=1,p=1$"));
}

#[tokio::test]
async fn the_audit_finds_addresses_that_lead_astray() {
    let place = Place::new();
    let identity = place.open();
    let user = place.ann(&*identity).await;
    assert_eq!(audit(&place.table.snapshot().unwrap()).unwrap(), []);
    let row = Key::new(format!("identity#user#{user}"), "");
    place.table.commit(vec![Write::delete(row)]).await.unwrap();
    let findings = audit(&place.table.snapshot().unwrap()).unwrap();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].detail.contains(&user.to_string()), "{findings:?}");
}
