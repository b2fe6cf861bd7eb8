//! Registering, signing in, refreshing, logging out, changing the password.

use std::sync::Arc;
use std::time::Duration;

use crate::stage::{Door, PASSWORD, Person, user_id};
use axum::http::Method;
use kernel::table::{Key, Table, Write};
use kernel::{Clock, Ids, UserId};
use serde_json::{Value, json};

const TIME: &str = "2026-01-01T00:00:00.000Z";

#[tokio::test]
async fn a_registration_signs_in() {
    let door = Door::new();
    let body = json!({
        "email": " Ann@Example.org ", "password": PASSWORD, "handle": "Ann_1",
        "displayName": "  Ann E\u{301}  ", "somethingElse": [1],
    });
    let answer = door.post("/auth/register", body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let person = Person::of(&answer);
    let user = json!({
        "userId": person.id, "handle": "ann_1", "displayName": "Ann \u{c9}", "bio": "",
        "createdAt": TIME, "updatedAt": TIME, "email": "ann@example.org",
    });
    let whole = json!({
        "user": user, "accessToken": person.access, "refreshToken": person.refresh,
        "tokenType": "Bearer", "expiresIn": 3600,
    });
    assert_eq!(answer.body, whole);
    assert!(answer.headers["cache-control"].to_str().unwrap().contains("no-store"));
    assert_eq!(door.get(&person, "/users/me").await.body, user);
    let events = door.events();
    assert_eq!(door.told(), ["UserRegistered"]);
    let told = serde_json::to_value(&events[0]).unwrap();
    assert_eq!(told["data"]["handle"], "ann_1");
    assert_eq!(told["data"].get("email"), None);
    door.assert_sound();
}

#[tokio::test]
async fn a_handle_is_made_up_where_left_out() {
    let door = Door::new();
    for (index, absent) in
        [json!({}), json!({"handle": null, "displayName": null})].iter().enumerate()
    {
        let mut body = json!({"email": format!("a{index}@x.org"), "password": PASSWORD});
        body.as_object_mut().unwrap().extend(absent.as_object().unwrap().clone());
        let answer = door.post("/auth/register", body).await;
        let handle = answer.body["user"]["handle"].as_str().unwrap().to_owned();
        assert!(handle.starts_with("user_") && handle.len() == 17, "{handle}");
        assert_eq!(answer.body["user"]["displayName"], "");
    }
    door.assert_sound();
}

#[tokio::test]
async fn bad_registrations_are_told_field_by_field() {
    let door = Door::new();
    let body = json!({
        "email": "nobody", "password": "short", "handle": "a-b", "displayName": "x".repeat(51),
    });
    let answer = door.post("/auth/register", body).await;
    assert_eq!(answer.problem(), (422, "weak_password"));
    let fields = ["email", "handle", "displayName", "password", "password", "password"];
    assert_eq!(answer.fields(), fields);
    assert_eq!(answer.headers["content-type"], "application/problem+json");

    let answer = door.post("/auth/register", json!({"email": "a@b", "password": "12345678"})).await;
    assert_eq!(answer.problem(), (422, "weak_password"));
    assert_eq!(answer.fields(), ["password", "password"]);

    let answer = door.post("/auth/register", json!({"password": "12345678", "handle": 1})).await;
    assert_eq!(answer.problem(), (422, "weak_password"));
    assert_eq!(answer.fields(), ["email", "handle", "password", "password"]);
    let answer = door.post("/auth/register", json!(["a@b", PASSWORD])).await;
    assert_eq!(answer.status, 422);
    let answer = door.post("/auth/register", json!({"email": 1, "password": PASSWORD})).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["email"]));
    assert_eq!(door.rows(""), 0);
}

#[tokio::test]
async fn every_missing_field_is_told() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    let both: &[&str] = &["email", "password"];
    let change: &[&str] = &["currentPassword", "newPassword"];
    for (method, path, fields) in [
        (Method::POST, "/auth/register", both),
        (Method::POST, "/auth/login", both),
        (Method::POST, "/auth/refresh", &["refreshToken"]),
        (Method::POST, "/auth/logout", &["refreshToken"]),
        (Method::POST, "/auth/password", change),
        (Method::DELETE, "/users/me", &["password"]),
    ] {
        for value in [None, Some(json!(null)), Some(json!(1)), Some(json!(["a"]))] {
            let body = fields.iter().filter_map(|field| Some((*field, value.clone()?)));
            let body = Value::from_iter(body);
            let body = if body.is_null() { json!({}) } else { body };
            let answer = door.call(method.clone(), path, Some(&ann), body).await;
            assert_eq!(answer.problem(), (422, "validation_failed"), "{path} {value:?}");
            assert_eq!(answer.fields(), fields, "{path} {value:?}");
        }
    }
    let body = json!({"email": "a@b"});
    assert_eq!(door.post("/auth/login", body.clone()).await.fields(), ["password"]);
    let missing = door.post("/auth/register", body).await;
    assert_eq!(missing.problem(), (422, "validation_failed"));
    assert_eq!(missing.fields(), ["password"]);
    let body = json!({"newPassword": "weak"});
    let weak = door.call(Method::POST, "/auth/password", Some(&ann), body).await;
    assert_eq!(weak.problem(), (422, "weak_password"));
    assert_eq!(weak.fields(), ["currentPassword", "newPassword", "newPassword", "newPassword"]);
}

#[tokio::test]
async fn what_is_not_json_is_never_422() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    for (method, path) in [
        (Method::POST, "/auth/register"),
        (Method::POST, "/auth/login"),
        (Method::POST, "/auth/password"),
        (Method::DELETE, "/users/me"),
        (Method::PATCH, "/users/me"),
    ] {
        for bad in [
            "{}x",
            "[[[[",
            "{\"email\":\"a@b.cc\"} x",
            "{\"email\":1",
            "[1,]",
            "{\"handle\":1,}",
            "",
        ] {
            let body = Some(("application/json", bad.to_owned()));
            let answer = door.send(method.clone(), path, Some(&ann.access), body).await;
            assert_eq!(answer.problem(), (400, "malformed_request"), "{path} {bad}");
        }
    }
    assert_eq!(door.get(&ann, "/users/me").await.status, 200);
}

#[tokio::test]
async fn addresses_are_one_whatever_their_case() {
    let door = Door::new();
    let body = json!({"email": "Straße@x.org", "password": PASSWORD});
    let answer = door.post("/auth/register", body).await;
    assert_eq!(answer.body["user"]["email"], "straße@x.org", "as it was given");
    assert_eq!(door.login("STRASSE@X.ORG", PASSWORD).await.status, 200);
    let body = json!({"email": "STRASSE@x.org", "password": "other-horse-1"});
    assert_eq!(door.post("/auth/register", body).await.problem(), (409, "email_taken"));
    door.assert_sound();
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused() {
    let door = Door::new();
    for path in ["/auth/register", "/auth/login", "/auth/refresh"] {
        let send = |media_type, body: &str| {
            door.send(Method::POST, path, None, Some((media_type, body.to_owned())))
        };
        assert_eq!(send("application/json", "{").await.problem(), (400, "malformed_request"));
        assert_eq!(send("text/plain", "{}").await.problem(), (415, "unsupported_media_type"));
        let long = format!("{{\"email\":\"{}\"}}", "x".repeat(70_000));
        assert_eq!(send("application/json", &long).await.problem(), (413, "body_too_large"));
        assert_eq!(send("application/json", "{}").await.problem(), (422, "validation_failed"));
    }
}

#[tokio::test]
async fn what_is_taken_is_refused_and_leaves_nothing() {
    let door = Door::new();
    door.person("ann", "").await;
    let before = door.rows("");
    let register = |email: &str, handle: &str| {
        door.post("/auth/register", json!({"email": email, "password": PASSWORD, "handle": handle}))
    };
    let answer = register("ANN@example.org", "bob").await;
    assert_eq!(answer.problem(), (409, "email_taken"));
    let answer = register("bob@example.org", "ANN").await;
    assert_eq!(answer.problem(), (409, "handle_taken"));
    assert_eq!(door.rows(""), before);
    // Neither the address nor the handle of the refused ones is lost.
    assert_eq!(register("bob@example.org", "bob").await.status, 201);
    door.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_registrations_have_one_winner() {
    let door = Arc::new(Door::new());
    for (same_email, taken) in [(true, "email_taken"), (false, "handle_taken")] {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let door = Arc::clone(&door);
                let (email, handle) = match same_email {
                    true => ("same@x.org".to_owned(), format!("racer_{n}")),
                    false => (format!("racer{n}@x.org"), "same".to_owned()),
                };
                let password = format!("{PASSWORD}{n}");
                let body = json!({"email": email, "password": password, "handle": handle});
                tokio::spawn(async move { door.post("/auth/register", body).await })
            })
            .collect();
        let mut won = 0;
        for one in tries {
            let answer = one.await.unwrap();
            if answer.status == 201 {
                won += 1;
            } else {
                assert_eq!(answer.problem(), (409, taken));
            }
        }
        assert_eq!(won, 1);
    }
    assert_eq!((door.rows("profile#"), door.rows("identity#user#")), (2, 2));
    assert_eq!(door.rows("handle#"), 2);
    door.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_registration_sent_many_times_at_once_makes_one_account() {
    let door = Arc::new(Door::new());
    let body = json!({"email": "a@x.org", "password": PASSWORD, "handle": "ann"});
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (door, body) = (Arc::clone(&door), body.clone());
            tokio::spawn(async move { door.post("/auth/register", body).await })
        })
        .collect();
    let mut won = 0;
    for one in tries {
        let answer = one.await.unwrap();
        won += usize::from(answer.status == 201);
        assert!([201, 409].contains(&answer.status), "{answer:?}");
    }
    assert_eq!((won, door.rows("profile#"), door.rows("identity#user#")), (1, 1, 1));
    door.assert_sound();
    door.clock.advance(Duration::from_secs(900));
    assert_eq!(door.login("a@x.org", PASSWORD).await.status, 200);
}

/// As a crash leaves it: the identity is there, the profile is not.
async fn half_registered(door: &Door, email: &str) -> UserId {
    let user = UserId(door.ids.ulid());
    door.identity.create(user, email, PASSWORD).await.unwrap();
    user
}

#[tokio::test]
async fn a_sign_in_completes_a_registration_that_died() {
    let door = Door::new();
    let user = half_registered(&door, "ann@example.org").await;
    let answer = door.login("ann@example.org", PASSWORD).await;
    assert_eq!((answer.status, &answer.body["user"]["userId"]), (200, &json!(user.to_string())));
    assert_eq!(door.told(), ["UserRegistered"]);
    assert_eq!(door.get(&Person::of(&answer), "/users/me").await.status, 200);
    door.assert_sound();
}

#[tokio::test]
async fn registering_again_completes_a_registration_that_died() {
    let door = Door::new();
    let user = half_registered(&door, "ann@example.org").await;
    let mut body =
        json!({"email": "ann@example.org", "password": "other-horse-1", "handle": "ann"});
    let stranger = door.post("/auth/register", body.clone()).await;
    assert_eq!(stranger.problem(), (409, "email_taken"));
    assert_eq!(door.rows("handle#"), 0);
    body["password"] = PASSWORD.into();
    let answer = door.post("/auth/register", body.clone()).await;
    assert_eq!((answer.status, &answer.body["user"]["userId"]), (201, &json!(user.to_string())));
    assert_eq!(answer.body["user"]["handle"], "ann");
    assert_eq!(door.post("/auth/register", body).await.problem(), (409, "handle_taken"));
    door.assert_sound();
}

#[tokio::test]
async fn a_handle_held_by_ones_own_registration_that_died_is_no_obstacle() {
    let door = Door::new();
    let user = half_registered(&door, "ann@example.org").await;
    let held = Write::put_json(Key::new("handle#ann", ""), &json!({"userId": user.to_string()}));
    let until = door.clock.now() + Duration::from_secs(600);
    door.table.commit(vec![held.expiring(until)]).await.unwrap();
    let register = |email: &str| {
        door.post("/auth/register", json!({"email": email, "password": PASSWORD, "handle": "ann"}))
    };
    assert_eq!(register("eve@example.org").await.problem(), (409, "handle_taken"));
    let answer = register("ann@example.org").await;
    assert_eq!((answer.status, &answer.body["user"]["userId"]), (201, &json!(user.to_string())));
    door.clock.advance(Duration::from_secs(601));
    let ann = Person::of(&answer);
    assert_eq!(door.get(&ann, "/users/by-handle/ann").await.body["userId"], ann.id);
    door.assert_sound();
}

#[test]
fn the_document_says_who_may_come_in() {
    let document = serde_json::to_value(users::openapi()).unwrap();
    let mut public = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let operations = item.as_object().unwrap().values();
        public.extend(operations.filter(|one| one["security"] == json!([{}])).map(|_| path));
    }
    public.sort();
    let well_known = ["/.well-known/jwks.json", "/.well-known/openid-configuration"];
    assert_eq!(public[..2], well_known);
    let lost = ["/auth/password/forgot", "/auth/password/reset"];
    assert_eq!(public[2..3], ["/auth/login"]);
    assert_eq!(public[3..5], lost);
    assert_eq!(public[5..], ["/auth/refresh", "/auth/register"]);
    let patch = &document["components"]["schemas"]["ProfilePatch"]["properties"];
    assert_eq!(patch["displayName"]["type"], json!(["string", "null"]));
    assert_eq!(patch["handle"]["type"], "string");
}

#[tokio::test]
async fn wrong_sign_ins_look_alike_and_lock_the_account() {
    let door = Door::new();
    door.person("ann", "").await;
    let wrong = door.login("ann@example.org", "wrong-horse-1").await;
    let unknown = door.login("bob@example.org", "wrong-horse-1").await;
    assert_eq!(wrong.problem(), (401, "bad_credentials"));
    let without_id = |mut body: Value| {
        body.as_object_mut().unwrap().remove("requestId");
        body
    };
    assert_eq!(without_id(wrong.body), without_id(unknown.body));
    for _ in 0..9 {
        let answer = door.login(" ANN@example.org", "").await;
        assert_eq!(answer.problem(), (401, "bad_credentials"));
    }
    let locked = door.login("ann@example.org", PASSWORD).await;
    assert_eq!(locked.problem(), (429, "too_many_attempts"));
    assert_eq!(locked.headers["retry-after"], "900");
    door.clock.advance(Duration::from_secs(900));
    assert_eq!(door.login("ann@example.org", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_password_is_one_however_its_letters_are_typed() {
    let door = Door::new();
    let body = json!({"email": "a@x.org", "password": "pass-word-\u{e9}-1"});
    assert_eq!(door.post("/auth/register", body).await.status, 201);
    assert_eq!(door.login("a@x.org", "pass-word-e\u{301}-1").await.status, 200);
}

#[tokio::test]
async fn a_refresh_rotates_and_a_reuse_ends_the_session() {
    let door = Door::new();
    let first = door.person("ann", "").await;
    let refresh = |token: &str| door.post("/auth/refresh", json!({"refreshToken": token}));
    let answer = refresh(&first.refresh).await;
    assert_eq!((answer.status, &answer.body["user"]["email"]), (200, &json!("ann@example.org")));
    let second = Person::of(&answer);
    assert_eq!(door.get(&second, "/users/me").await.status, 200);
    assert_eq!(refresh(&first.refresh).await.problem(), (401, "invalid_refresh_token"));
    assert_eq!(refresh(&second.refresh).await.problem(), (401, "invalid_refresh_token"));
    let ended = door.get(&second, "/users/me").await;
    assert_eq!(ended.problem(), (401, "unauthenticated"));
    assert!(ended.headers.contains_key("www-authenticate"));
    assert_eq!(refresh("nonsense").await.problem(), (401, "invalid_refresh_token"));
}

#[tokio::test]
async fn logging_out_ends_one_session_or_all() {
    let door = Door::new();
    let sessions = [
        door.person("ann", "").await,
        Person::of(&door.login("ann@example.org", PASSWORD).await),
        Person::of(&door.login("ann@example.org", PASSWORD).await),
    ];
    let bob = door.person("bob", "").await;
    let logout = |person, body| door.call(Method::POST, "/auth/logout", Some(person), body);
    let answer = logout(&bob, json!({"refreshToken": sessions[0].refresh})).await;
    assert_eq!(answer.problem(), (403, "forbidden"));
    assert_eq!(logout(&bob, json!({"refreshToken": "nonsense"})).await.status, 204);
    assert_eq!(door.get(&sessions[0], "/users/me").await.status, 200);
    let own = json!({"refreshToken": sessions[0].refresh, "everywhere": false});
    assert_eq!(logout(&sessions[0], own).await.status, 204);
    assert_eq!(door.get(&sessions[0], "/users/me").await.status, 401);
    let ended = logout(&bob, json!({"refreshToken": sessions[0].refresh})).await;
    assert_eq!(ended.status, 204, "it is nobody's any more");
    assert_eq!(door.get(&sessions[1], "/users/me").await.status, 200);
    let all = json!({"refreshToken": sessions[1].refresh, "everywhere": true});
    assert_eq!(logout(&sessions[1], all).await.status, 204);
    for session in &sessions {
        assert_eq!(door.get(session, "/users/me").await.problem(), (401, "unauthenticated"));
    }
    assert_eq!(door.get(&bob, "/users/me").await.status, 200);
    assert_eq!(door.post("/auth/logout", json!({"refreshToken": ""})).await.status, 401);
    assert_eq!(logout(&bob, json!({})).await.fields(), ["refreshToken"]);
}

#[tokio::test]
async fn a_new_password_does_not_wait_for_its_client() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    let other = Person::of(&door.login("ann@example.org", PASSWORD).await);
    let body = json!({"currentPassword": PASSWORD, "newPassword": "other-horse-2"});
    let change = door.call(Method::POST, "/auth/password", Some(&ann), body);
    // The client is gone while the password is still being compared.
    assert!(tokio::time::timeout(Duration::ZERO, change).await.is_err());
    let ended = async {
        while door.identity.verify(&other.access).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the other session ends");
    assert_eq!(door.login("ann@example.org", "other-horse-2").await.status, 200);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    let other = Person::of(&door.login("ann@example.org", PASSWORD).await);
    let change = |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        door.call(Method::POST, "/auth/password", Some(&ann), body)
    };
    let weak = change(PASSWORD, "weak").await;
    assert_eq!(weak.problem(), (422, "weak_password"));
    assert_eq!(weak.fields(), ["newPassword"; 3]);
    let wrong = change("wrong-horse-1", "other-horse-2").await;
    assert_eq!(wrong.problem(), (401, "bad_credentials"));
    assert_eq!(change(PASSWORD, "other-horse-2").await.status, 204);
    assert_eq!(door.get(&ann, "/users/me").await.status, 200);
    assert_eq!(door.get(&other, "/users/me").await.status, 401);
    assert_eq!(door.login("ann@example.org", PASSWORD).await.status, 401);
    assert_eq!(door.login("ann@example.org", "other-horse-2").await.status, 200);
    assert_eq!(door.post("/auth/password", json!({})).await.status, 401);
}

#[tokio::test]
async fn the_well_known_documents_are_public() {
    let door = Door::new();
    let ann = door.person("ann", "").await;
    let get = |path| door.send(Method::GET, path, None, None);
    let keys = get("/.well-known/jwks.json").await;
    assert_eq!((keys.status, &keys.body["keys"][0]["kty"]), (200, &json!("OKP")));
    assert_eq!(keys.body["keys"][0].get("d"), None);
    let configuration = get("/.well-known/openid-configuration").await;
    let issuer = "http://127.0.0.1:8080";
    assert_eq!(configuration.body["issuer"], issuer);
    assert_eq!(configuration.body["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(configuration.body["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
    let principal = door.identity.verify(&ann.access).await.unwrap();
    assert_eq!(principal.user_id, user_id(&ann));
}
