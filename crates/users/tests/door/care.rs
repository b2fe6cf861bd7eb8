//! Confirming an e-mail address, and choosing another password.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::stage::{Answer, Door, PASSWORD, Person};

const NEW: &str = "another-horse-2";
const EMAIL: &str = "ann@example.org";

async fn confirm(door: &Door, person: &Person, code: &str) -> Answer {
    let body = json!({ "code": code });
    door.call(Method::POST, "/users/me/email/confirm", Some(person), body).await
}

async fn ask(door: &Door, person: &Person) -> Answer {
    let token = Some(person.access.as_str());
    door.send(Method::POST, "/users/me/email/confirmation", token, None).await
}

async fn forgot(door: &Door, email: &str) -> Answer {
    door.post("/auth/password/forgot", json!({ "email": email })).await
}

async fn reset(door: &Door, email: &str, code: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "code": code, "password": password });
    door.post("/auth/password/reset", body).await
}

#[tokio::test]
async fn who_registers_is_sent_a_code_that_confirms_their_address() {
    let door = Door::careful();
    let ann = door.person("ann", "").await;
    let (to, code) = door.letters.last_of(1).await;
    assert_eq!(to, EMAIL);
    assert_eq!(door.get(&ann, "/users/me").await.body["emailConfirmed"], false);
    assert_eq!(confirm(&door, &ann, "0000-0000").await.problem(), (422, "wrong_code"));
    assert_eq!(confirm(&door, &ann, &code.to_lowercase()).await.status, 204);
    assert_eq!(door.get(&ann, "/users/me").await.body["emailConfirmed"], true);
    assert_eq!(door.told(), ["UserRegistered", "EmailConfirmed"]);
    // Again, whatever the code, changes nothing; and no other letter is sent.
    assert_eq!(confirm(&door, &ann, "anything").await.status, 204);
    assert_eq!(ask(&door, &ann).await.status, 202);
    assert_eq!((door.told().len(), door.letters.count()), (2, 1));
    // Nothing of it outlives the account.
    let body = json!({ "password": PASSWORD });
    door.call(Method::DELETE, "/users/me", Some(&ann), body).await;
    assert_eq!(door.rows("care#"), 0);
    door.assert_sound();
}

#[tokio::test]
async fn where_nobody_asks_there_is_no_letter_until_somebody_wants_one() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    assert_eq!(door.letters.count(), 0);
    assert!(door.get(&ann, "/users/me").await.body.get("emailConfirmed").is_none());
    assert_eq!(ask(&door, &ann).await.status, 202);
    let (_, first) = door.letters.last_of(1).await;
    let again = ask(&door, &ann).await;
    assert_eq!(again.problem(), (429, "rate_limited"));
    assert_eq!(again.headers["retry-after"], "60");
    door.clock.advance(Duration::from_secs(60));
    assert_eq!(ask(&door, &ann).await.status, 202);
    let (_, second) = door.letters.last_of(2).await;
    assert_eq!(confirm(&door, &ann, &first).await.problem(), (422, "wrong_code"));
    assert_eq!(confirm(&door, &ann, &second).await.status, 204);
}

#[tokio::test]
async fn five_wrong_tries_or_an_hour_end_a_code() {
    let door = Door::careful();
    let ann = door.person("ann", "").await;
    let (_, code) = door.letters.last_of(1).await;
    for _ in 0..5 {
        assert_eq!(confirm(&door, &ann, "1111-1111").await.problem(), (422, "wrong_code"));
    }
    assert_eq!(confirm(&door, &ann, &code).await.problem(), (422, "wrong_code"));
    assert_eq!(ask(&door, &ann).await.status, 202);
    let (_, code) = door.letters.last_of(2).await;
    door.clock.advance(Duration::from_secs(3600));
    let session = door.login(EMAIL, PASSWORD).await;
    let ann = Person::of(&session);
    assert_eq!(confirm(&door, &ann, &code).await.problem(), (422, "wrong_code"));
}

#[tokio::test]
async fn a_lost_password_is_replaced_by_the_code_and_every_session_ends() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    assert_eq!(forgot(&door, " ANN@example.org").await.status, 202);
    let (to, code) = door.letters.last_of(1).await;
    assert_eq!(to, EMAIL);
    let weak = reset(&door, EMAIL, &code, "weak").await;
    assert_eq!(weak.problem(), (422, "weak_password"));
    assert_eq!(reset(&door, EMAIL, "2222-2222", NEW).await.problem(), (422, "wrong_code"));
    assert_eq!(door.login(EMAIL, PASSWORD).await.status, 200);
    assert_eq!(reset(&door, EMAIL, &code, NEW).await.status, 204);
    assert_eq!(reset(&door, EMAIL, &code, NEW).await.problem(), (422, "wrong_code"));
    assert_eq!(door.get(&ann, "/users/me").await.problem(), (401, "unauthenticated"));
    assert_eq!(door.login(EMAIL, PASSWORD).await.problem(), (401, "bad_credentials"));
    assert_eq!(door.login(EMAIL, NEW).await.status, 200);
    door.assert_sound();
}

#[tokio::test]
async fn nobody_is_told_which_addresses_have_accounts() {
    let door = Door::new();
    door.person("ann", "").await;
    let (known, unknown) = (forgot(&door, EMAIL).await, forgot(&door, "eve@example.org").await);
    assert_eq!((known.status, &known.body), (202, &unknown.body));
    assert_eq!(unknown.status, 202);
    let (_, code) = door.letters.last_of(1).await;
    // A second letter within a minute is not written, and that is not told either.
    assert_eq!(forgot(&door, EMAIL).await.status, 202);
    let wrong = reset(&door, EMAIL, "2222-2222", NEW).await;
    let nobody = reset(&door, "eve@example.org", &code, NEW).await;
    assert_eq!(wrong.problem(), nobody.problem());
    assert_eq!(wrong.body["detail"], nobody.body["detail"]);
    assert_eq!(door.letters.count(), 1);
}

#[tokio::test]
async fn where_nothing_goes_on_after_an_answer_the_letter_is_written_before_it() {
    let wait = Duration::from_millis(300);
    let door = Door::waiting(wait);
    let ann = door.person("ann", "").await;
    for email in [EMAIL, "eve@example.org"] {
        let begun = tokio::time::Instant::now();
        assert_eq!(forgot(&door, email).await.status, 202);
        assert!(begun.elapsed() >= wait, "{email} is answered no sooner than others");
        assert_eq!(door.letters.count(), 1);
    }
    assert_eq!(ask(&door, &ann).await.status, 202);
    assert_eq!(door.letters.count(), 2);
}
