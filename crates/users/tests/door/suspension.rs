//! Suspended accounts: nowhere until they are restored, and whole then.

use axum::http::Method;
use kernel::acts::Order;
use kernel::peers::Peers;
use serde_json::{Value, json};

use crate::stage::{Door, PASSWORD, Person, user_id};

fn order(dry_run: bool) -> Order {
    Order { operator: "olga".to_owned(), reason: "noise".to_owned(), dry_run }
}

/// What an order came to: whether anything changed, and the account.
fn outcome(told: &users::Outcome) -> (bool, Value) {
    let told = serde_json::to_value(told).unwrap();
    (told["changed"] == true, told["account"].clone())
}

/// Everything that `reader` can read of somebody.
async fn shown(door: &Door, reader: &Person, of: &Person) -> [Vec<Value>; 5] {
    let mut found = [const { Vec::new() }; 5];
    let paths = [
        format!("/users/{}", of.id),
        format!("/users?ids={},{}", reader.id, of.id),
        "/users/by-handle/loud".to_owned(),
        "/users/search?q=lou".to_owned(),
        "/users/search?q=Noisy".to_owned(),
    ];
    for (found, path) in found.iter_mut().zip(paths) {
        let answer = door.get(reader, &path).await;
        assert!(answer.status == 200 || answer.problem() == (404, "not_found"), "{answer:?}");
        let items = answer.body["items"].as_array().cloned();
        let items = items.unwrap_or_else(|| vec![answer.body]);
        found.extend(items.into_iter().filter(|item| item["userId"] == of.id));
    }
    found
}

#[tokio::test]
async fn a_suspended_account_is_in_no_answer_and_comes_back_whole() {
    let door = Door::new();
    let (reader, loud) = (door.person("reader", "").await, door.person("loud", "Noisy").await);
    let profile = door.get(&reader, &format!("/users/{}", loud.id)).await.body;
    let everywhere: [Vec<Value>; 5] = std::array::from_fn(|_| vec![profile.clone()]);
    assert_eq!(shown(&door, &reader, &loud).await, everywhere);

    let (changed, _) = outcome(&door.users.suspend("loud", order(true)).await.unwrap());
    assert!(changed);
    assert_eq!(shown(&door, &reader, &loud).await, everywhere, "only told");
    let (changed, account) = outcome(&door.users.suspend("loud", order(false)).await.unwrap());
    assert!(changed && account["suspended"]["reason"] == "noise");
    let nowhere = [const { Vec::<Value>::new() }; 5];
    assert_eq!(shown(&door, &reader, &loud).await, nowhere);
    let ids = [user_id(&reader), user_id(&loud)];
    let seen = door.users.profiles(&ids).await.unwrap();
    assert_eq!(seen.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    let (changed, _) = outcome(&door.users.suspend(&loud.id, order(false)).await.unwrap());
    assert!(!changed);
    // The operators still see it.
    assert_eq!(door.users.find("loud").await.unwrap().len(), 1);
    door.assert_sound();

    let (changed, account) = outcome(&door.users.restore(&loud.id, order(false)).await.unwrap());
    assert!(changed && account["suspended"].is_null());
    assert_eq!(shown(&door, &reader, &loud).await, everywhere);
    let (changed, _) = outcome(&door.users.restore(&loud.id, order(false)).await.unwrap());
    assert!(!changed);
    assert_eq!(door.told()[2..], ["UserSuspended", "UserRestored"], "one event for one change");
    door.assert_sound();
}

#[tokio::test]
async fn nobody_gets_into_a_suspended_account() {
    let door = Door::new();
    let loud = door.person("loud", "Noisy").await;
    door.users.suspend("loud", order(false)).await.unwrap();
    for (method, path) in
        [(Method::GET, "/users/me"), (Method::PATCH, "/users/me"), (Method::DELETE, "/users/me")]
    {
        let body = json!({"password": PASSWORD, "bio": "x"});
        let answer = door.call(method, path, Some(&loud), body).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path}");
    }
    let refresh = json!({"refreshToken": loud.refresh});
    let refused = (403, "account_suspended");
    assert_eq!(door.post("/auth/refresh", refresh).await.problem(), refused);
    assert_eq!(door.login("loud@example.org", PASSWORD).await.problem(), refused);
    let wrong = door.login("loud@example.org", "wrong-horse-1").await;
    assert_eq!(wrong.problem(), (401, "bad_credentials"), "nothing is told without the password");
    for (email, handle, code) in [
        ("loud@example.org", "other", "email_taken"),
        ("other@example.org", "loud", "handle_taken"),
    ] {
        let body = json!({"email": email, "password": PASSWORD, "handle": handle});
        assert_eq!(door.post("/auth/register", body).await.problem(), (409, code));
    }
    door.assert_sound();
}

/// The events come twice and in the wrong order: the account stands as it was left.
#[tokio::test]
async fn events_that_come_late_undo_nothing() {
    let door = Door::new();
    let (reader, loud) = (door.person("reader", "").await, door.person("loud", "").await);
    for _ in 0..2 {
        door.users.suspend("loud", order(false)).await.unwrap();
        assert_eq!(door.deliver().await, 0);
        let login = door.login("loud@example.org", PASSWORD).await;
        assert_eq!(login.problem(), (403, "account_suspended"));
        door.users.restore("loud", order(false)).await.unwrap();
        assert_eq!(door.deliver().await, 0);
        assert_eq!(door.login("loud@example.org", PASSWORD).await.status, 200);
        assert_eq!(door.get(&reader, &format!("/users/{}", loud.id)).await.status, 200);
    }
    door.assert_sound();
}
