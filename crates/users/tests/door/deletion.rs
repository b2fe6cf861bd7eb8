//! Deleting accounts, also half-way, and the audit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::stage::{Door, PASSWORD, Person, user_id};
use async_trait::async_trait;
use axum::http::Method;
use kernel::identity::{Identity, Revoke, Tokens};
use kernel::peers::Peers;
use kernel::table::{Key, Table, TableError, Write};
use kernel::{Principal, Problem, UserId};
use serde_json::json;

async fn delete(door: &Door, person: &Person, password: &str) -> crate::stage::Answer {
    let body = json!({ "password": password });
    door.call(Method::DELETE, "/users/me", Some(person), body).await
}

#[tokio::test]
async fn a_deleted_account_is_gone_at_once() {
    let door = Door::new();
    let bob = door.person("bob", "").await;
    let before = door.rows("");
    let ann = door.person("ann", "Ann").await;
    let other = Person::of(&door.login("ann@example.org", PASSWORD).await);
    assert_eq!(door.get(&other, "/users/me").await.status, 200);
    let wrong = delete(&door, &ann, "wrong-horse-1").await;
    assert_eq!(wrong.problem(), (401, "bad_credentials"));
    let missing = door.call(Method::DELETE, "/users/me", Some(&ann), json!({})).await;
    assert_eq!(missing.fields(), ["password"]);

    assert_eq!(delete(&door, &ann, PASSWORD).await.status, 202);
    for session in [&ann, &other] {
        assert_eq!(door.get(session, "/users/me").await.problem(), (401, "unauthenticated"));
        let refreshed = door.post("/auth/refresh", json!({"refreshToken": session.refresh})).await;
        assert_eq!(refreshed.problem(), (401, "invalid_refresh_token"));
    }
    assert_eq!(door.login("ann@example.org", PASSWORD).await.problem(), (401, "bad_credentials"));
    assert_eq!(door.get(&bob, &format!("/users/{}", ann.id)).await.status, 404);
    assert_eq!(door.get(&bob, "/users/by-handle/ann").await.status, 404);
    assert!(door.get(&bob, "/users/search?q=ann").await.handles().is_empty());
    assert_eq!(door.told(), ["UserRegistered", "UserRegistered", "UserDeleted"]);
    // Left are the mark, two more events and the last failed sign-in.
    assert_eq!(door.rows(""), before + 4);
    assert_eq!(door.deliver().await, 0);
    door.assert_sound();

    let again = door.person("ann", "Another").await;
    assert_ne!(again.id, ann.id);
    assert_eq!(door.deliver().await, 0);
    assert_eq!(door.get(&again, "/users/me").await.status, 200);
}

/// An identity whose deletions fail while told so, as when the process dies before them.
struct Failing {
    real: Arc<dyn Identity>,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl Identity for Failing {
    async fn create(&self, user: UserId, email: &str, password: &str) -> Result<(), Problem> {
        self.real.create(user, email, password).await
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<Tokens, Problem> {
        self.real.sign_in(email, password).await
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Tokens, Problem> {
        self.real.refresh(refresh_token).await
    }

    async fn revoke(&self, user: UserId, which: Revoke<'_>) -> Result<(), Problem> {
        self.real.revoke(user, which).await
    }

    async fn change_password(&self, who: &Principal, old: &str, new: &str) -> Result<(), Problem> {
        self.real.change_password(who, old, new).await
    }

    async fn check_password(&self, user: UserId, password: &str) -> Result<(), Problem> {
        self.real.check_password(user, password).await
    }

    async fn set_password(&self, user: UserId, new: &str) -> Result<(), Problem> {
        self.real.set_password(user, new).await
    }

    async fn find(&self, email: &str) -> Result<Option<UserId>, Problem> {
        self.real.find(email).await
    }

    async fn suspend(&self, user: UserId) -> Result<(), Problem> {
        self.real.suspend(user).await
    }

    async fn restore(&self, user: UserId) -> Result<(), Problem> {
        self.real.restore(user).await
    }

    async fn delete(&self, user: UserId) -> Result<(), Problem> {
        if self.fails.load(Ordering::SeqCst) {
            // Not one of those that the door takes for a defect: 409.
            return Err(TableError::Contended.into());
        }
        self.real.delete(user).await
    }

    async fn email(&self, user: UserId) -> Result<Option<String>, Problem> {
        self.real.email(user).await
    }

    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem> {
        self.real.verify(access_token).await
    }

    async fn key_set(&self) -> Result<serde_json::Value, Problem> {
        self.real.key_set().await
    }

    fn issuer(&self) -> &str {
        self.real.issuer()
    }
}

/// A door whose deletions stop half-way while the flag is up, and somebody deleted so.
async fn half_deleted() -> (Door, Person, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&fails);
    let door = Door::with(move |real| Arc::new(Failing { real, fails: flag }));
    let ann = door.person("ann", "").await;
    assert_eq!(delete(&door, &ann, PASSWORD).await.status, 409);
    assert_eq!((door.rows("profile#"), door.rows("identity#user#")), (0, 1));
    assert_eq!(door.get(&ann, "/users/me").await.problem(), (401, "unauthenticated"));
    (door, ann, fails)
}

#[tokio::test]
async fn the_event_finishes_a_deletion_that_died() {
    let (door, ann, fails) = half_deleted().await;
    assert_eq!(door.deliver().await, 2);
    fails.store(false, Ordering::SeqCst);
    assert_eq!(door.deliver().await, 0);
    assert_eq!(door.rows("identity#"), 0);
    assert!(door.identity.verify(&ann.access).await.is_err());
    assert_ne!(door.person("ann", "").await.id, ann.id);
    door.assert_sound();
}

#[tokio::test]
async fn a_late_sign_in_does_not_undo_a_deletion() {
    let (door, ann, fails) = half_deleted().await;
    fails.store(false, Ordering::SeqCst);
    let late = door.login("ann@example.org", PASSWORD).await;
    assert_eq!(late.problem(), (401, "bad_credentials"));
    assert_eq!((door.rows("profile#"), door.rows("identity#user#")), (0, 0));
    assert_ne!(door.person("ann", "").await.id, ann.id);

    let (door, ann, fails) = half_deleted().await;
    fails.store(false, Ordering::SeqCst);
    let body = json!({"email": "ann@example.org", "password": PASSWORD, "handle": "ann"});
    assert_eq!(door.post("/auth/register", body).await.problem(), (409, "email_taken"));
    assert_eq!(door.rows("profile#"), 0);
    assert_ne!(door.person("ann", "").await.id, ann.id);
    door.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_and_deletions_at_once_leave_nothing_behind() {
    let door = Arc::new(Door::new());
    for round in 0..10 {
        let handle = format!("ann_{round}");
        let ann = door.person(&handle, "Ann").await;
        let other = (Arc::clone(&door), ann.clone());
        let changing = tokio::spawn(async move {
            let (door, ann) = other;
            for n in 0..5 {
                let answer = door.patch(&ann, json!({"handle": format!("n{round}_{n}")})).await;
                assert!([200, 401].contains(&answer.status), "{answer:?}");
            }
        });
        assert_eq!(delete(&door, &ann, PASSWORD).await.status, 202);
        changing.await.unwrap();
        assert_eq!(door.users.profiles(&[user_id(&ann)]).await.unwrap(), [None]);
    }
    assert_eq!((door.rows("profile#"), door.rows("handle#"), door.rows("search#")), (0, 0, 0));
    assert_eq!(door.deliver().await, 0);
    door.assert_sound();
}

#[tokio::test]
async fn a_handle_held_by_a_registration_that_died_comes_free() {
    let door = Door::new();
    let held = Write::put_json(Key::new("handle#ann", ""), &json!({"userId": "0".repeat(26)}));
    let until = kernel::Clock::now(&*door.clock) + Duration::from_secs(600);
    door.table.commit(vec![held.expiring(until)]).await.unwrap();
    let body = json!({"email": "ann@example.org", "password": PASSWORD, "handle": "ann"});
    assert_eq!(door.post("/auth/register", body.clone()).await.problem(), (409, "handle_taken"));
    door.assert_sound();
    door.clock.advance(Duration::from_secs(600));
    assert_eq!(door.post("/auth/register", body).await.status, 201);
    door.assert_sound();
}

#[tokio::test]
async fn the_audit_finds_and_mends_what_does_not_follow_from_the_profiles() {
    let door = Door::new();
    door.person("ann", "Ann").await;
    let bob = door.person("bob", "Bob").await;
    let stray = json!({"userId": bob.id});
    let row = kernel::audit::Snapshot::items(&door.table.snapshot().unwrap(), "search#b")
        .next()
        .unwrap()
        .unwrap();
    let damage = vec![
        Write::delete(Key::new("handle#ann", "")),
        Write::put_json(Key::new("handle#stray", ""), &stray),
        Write::delete(row.key),
    ];
    door.table.commit(damage).await.unwrap();
    let findings = users::audit(&door.table.snapshot().unwrap()).unwrap();
    let places: Vec<&str> = findings.iter().map(|finding| finding.place.trim()).collect();
    assert_eq!(places.len(), 3, "{findings:?}");
    assert_eq!(places[..2], ["handle#ann", "handle#stray"]);
    let mended = users::repair(&*door.table, &door.table.snapshot().unwrap()).await.unwrap();
    assert_eq!(mended, 3);
    door.assert_sound();
    assert_eq!(door.get(&bob, "/users/by-handle/ann").await.status, 200);
}
