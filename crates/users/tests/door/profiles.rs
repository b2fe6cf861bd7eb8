//! Reading, changing and searching profiles.

use kernel::peers::Peers;
use std::time::Duration;

use crate::stage::{Door, Person};
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_profile_is_read_by_id_and_by_handle() {
    let door = Door::new();
    let (ann, bob) = (door.person("ann", "Ann").await, door.person("bob", "").await);
    let profile = door.get(&bob, &format!("/users/{}", ann.id)).await;
    let time = "2026-01-01T00:00:00.000Z";
    let expected = json!({
        "userId": ann.id, "handle": "ann", "displayName": "Ann", "bio": "",
        "createdAt": time, "updatedAt": time,
    });
    assert_eq!((profile.status, &profile.body), (200, &expected));
    assert!(profile.headers["cache-control"].to_str().unwrap().contains("no-store"));
    assert_eq!(door.get(&bob, "/users/by-handle/ANN").await.body, expected);
    for unknown in ["/users/by-handle/eve", "/users/by-handle/e%20e", "/users/nobody"] {
        assert_eq!(door.get(&bob, unknown).await.problem(), (404, "not_found"), "{unknown}");
    }
    let nobody = format!("/users/{}", "0".repeat(26));
    assert_eq!(door.get(&bob, &nobody).await.problem(), (404, "not_found"));
}

#[tokio::test]
async fn everything_but_signing_in_wants_a_token() {
    let door = Door::new();
    for path in ["/users/me", "/users/x", "/users?ids=", "/users/by-handle/a", "/users/search?q=a"]
    {
        let answer = door.send(Method::GET, path, None, None).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path}");
    }
    for (method, path) in [(Method::PATCH, "/users/me"), (Method::DELETE, "/users/me")] {
        assert_eq!(door.call(method, path, None, json!({})).await.status, 401);
    }
}

#[tokio::test]
async fn a_list_of_ids_keeps_its_order() {
    let door = Door::new();
    let (ann, bob) = (door.person("ann", "").await, door.person("bob", "").await);
    let ids = format!("{b},nobody,{},{a},,{b}", "0".repeat(26), a = ann.id, b = bob.id);
    let answer = door.get(&ann, &format!("/users?ids={ids}")).await;
    assert_eq!((answer.status, answer.handles()), (200, vec!["bob", "ann"]));
    assert_eq!(door.get(&ann, "/users?ids=").await.body, json!({"items": []}));
    assert_eq!(door.get(&ann, "/users").await.fields(), ["ids"]);
    let many = vec![ann.id.as_str(); 101].join(",");
    assert_eq!(door.get(&ann, &format!("/users?ids={many}")).await.fields(), ["ids"]);
    let found = door
        .users
        .profiles(&[crate::stage::user_id(&bob), crate::stage::user_id(&ann)])
        .await
        .unwrap();
    let handles: Vec<_> = found.into_iter().flatten().map(|profile| profile.handle).collect();
    assert_eq!(handles, ["bob", "ann"]);
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names() {
    let door = Door::new();
    let ann = door.person("ann", "Ann").await;
    door.clock.advance(Duration::from_secs(1));
    let answer = door.patch(&ann, json!({"bio": " Hello,\r\nworld \u{1f44b}\u{1f3fd} "})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["bio"], "Hello,\nworld \u{1f44b}\u{1f3fd}");
    assert_eq!(answer.body["displayName"], "Ann");
    assert_eq!(answer.body["email"], "ann@example.org");
    assert_eq!(answer.body["createdAt"], "2026-01-01T00:00:00.000Z");
    assert_eq!(answer.body["updatedAt"], "2026-01-01T00:00:01.000Z");
    let answer = door.patch(&ann, json!({"bio": null, "displayName": null})).await;
    assert_eq!((&answer.body["bio"], &answer.body["displayName"]), (&json!(""), &json!("")));
    assert_eq!(answer.body["updatedAt"], "2026-01-01T00:00:01.001Z");
    assert_eq!(door.told(), ["UserRegistered", "UserProfileUpdated", "UserProfileUpdated"]);
    // Nothing new is no change and no event.
    let again = door.patch(&ann, json!({"bio": "", "handle": "ANN", "userId": "x"})).await;
    assert_eq!(again.body, answer.body);
    assert_eq!(door.patch(&ann, json!({})).await.body, answer.body);
    assert_eq!(door.told().len(), 3);
    let merge = Some(("application/merge-patch+json; charset=utf-8", "{\"bio\":\"x\"}".to_owned()));
    let answer = door.send(Method::PATCH, "/users/me", Some(&ann.access), merge).await;
    assert_eq!((answer.status, &answer.body["bio"]), (200, &json!("x")));
    door.assert_sound();
}

#[tokio::test]
async fn a_bad_patch_changes_nothing() {
    let door = Door::new();
    let ann = door.person("ann", "Ann").await;
    let bad = json!({"handle": null, "displayName": 1, "bio": "\u{7}"});
    let answer = door.patch(&ann, bad).await;
    assert_eq!(answer.problem(), (422, "validation_failed"));
    assert_eq!(answer.fields(), ["handle", "displayName", "bio"]);
    for bad in [json!([]), json!("bio"), json!(null), json!({"bio": "x".repeat(301)})] {
        assert_eq!(door.patch(&ann, bad).await.status, 422);
    }
    assert_eq!(door.told(), ["UserRegistered"]);
}

#[tokio::test]
async fn a_changed_handle_frees_the_old_one() {
    let door = Door::new();
    let (ann, bob) = (door.person("ann", "").await, door.person("bob", "").await);
    let taken = door.patch(&bob, json!({"handle": "Ann", "bio": "x"})).await;
    assert_eq!(taken.problem(), (409, "handle_taken"));
    assert_eq!(door.get(&bob, "/users/me").await.body["bio"], "");
    assert_eq!(door.patch(&ann, json!({"handle": "anna"})).await.body["handle"], "anna");
    assert_eq!(door.get(&bob, "/users/by-handle/ann").await.status, 404);
    assert_eq!(door.patch(&bob, json!({"handle": "ann"})).await.body["handle"], "ann");
    assert_eq!(door.get(&ann, "/users/by-handle/ann").await.body["userId"], bob.id);
    assert_eq!(door.get(&ann, "/users/search?q=bob").await.handles(), Vec::<&str>::new());
    door.assert_sound();
}

#[tokio::test]
async fn search_finds_beginnings_of_handles_and_names() {
    let door = Door::new();
    let ann = door.person("ann", "Ｈａｎａko E\u{301}").await;
    door.person("hana", "Hana").await;
    door.person("bob", "Annika").await;
    door.person("eve", "").await;
    let search = async |q: &str| {
        let answer = door.get(&ann, &format!("/users/search?q={q}")).await;
        answer.handles().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(search("ann").await, ["ann", "bob"]);
    assert_eq!(search("AnnI").await, ["bob"]);
    // Found by handle and by name, shown once; then by name alone.
    assert_eq!(search("hana").await, ["hana", "ann"]);
    assert_eq!(search("hanako%20%C3%A9").await, ["ann"]);
    assert_eq!(search("%20EVE%20").await, ["eve"]);
    door.person("road", "Stra\u{df}e 1").await;
    assert_eq!(search("STRASSE").await, ["road"]);
    assert_eq!(search("STRAS").await, ["road"]);
    assert_eq!(search("stra%C3%9F").await, ["road"]);
    assert_eq!(search("nobody").await, Vec::<String>::new());
    for bad in ["", "?q=", "?q=%20", "?q=a%00", "?q=a&limit=0", "?q=a&limit=x"] {
        let answer = door.get(&ann, &format!("/users/search{bad}")).await;
        assert_eq!(answer.problem(), (422, "validation_failed"), "{bad}");
    }
    let long = "a".repeat(513);
    assert_eq!(door.get(&ann, &format!("/users/search?q={long}")).await.status, 422);
    let none = door.get(&ann, "/users/search?q=zzz").await.body;
    assert_eq!(none, json!({"items": [], "nextCursor": null, "prevCursor": null}));
}

fn cursor(page: &Value, which: &str) -> String {
    page[which].as_str().unwrap().to_owned()
}

async fn page(door: &Door, person: &Person, q: &str, cursor: Option<&str>) -> crate::stage::Answer {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    door.get(person, &format!("/users/search?q={q}&limit=2{cursor}")).await
}

#[tokio::test]
async fn search_pages_are_stable_while_people_come_and_change() {
    let door = Door::new();
    let one = door.person("u_b", "U_b same name").await;
    for handle in ["u_d", "u_f", "u_h", "u_j"] {
        // Twice in the index, shown once.
        door.person(handle, &format!("{handle} name")).await;
    }
    let first = page(&door, &one, "u_", None).await;
    assert_eq!(first.handles(), ["u_b", "u_d"]);
    door.person("u_a", "").await;
    let late = door.person("u_e", "").await;
    let second = page(&door, &one, "u_", Some(&cursor(&first.body, "nextCursor"))).await;
    assert_eq!(second.handles(), ["u_e", "u_f"]);
    let third = page(&door, &one, "u_", Some(&cursor(&second.body, "nextCursor"))).await;
    assert_eq!((third.handles(), &third.body["nextCursor"]), (vec!["u_h", "u_j"], &Value::Null));

    door.patch(&late, json!({"handle": "zed"})).await;
    let back = page(&door, &one, "u_", Some(&cursor(&third.body, "prevCursor"))).await;
    assert_eq!(back.handles(), ["u_d", "u_f"]);
    let back = page(&door, &one, "u_", Some(&cursor(&back.body, "prevCursor"))).await;
    assert_eq!(back.handles(), ["u_a", "u_b"]);
    let end = page(&door, &one, "u_", Some(&cursor(&back.body, "prevCursor"))).await;
    assert_eq!(end.handles(), Vec::<&str>::new());
    assert_eq!(end.body["prevCursor"], back.body["prevCursor"]);
    let on = page(&door, &one, "u_", Some(&cursor(&end.body, "nextCursor"))).await;
    assert_eq!(on.handles(), ["u_a", "u_b"]);

    for (q, cursor) in [("u", cursor(&first.body, "nextCursor")), ("u_", "nonsense".into())] {
        let answer = page(&door, &one, q, Some(&cursor)).await;
        assert_eq!(answer.problem(), (400, "invalid_cursor"));
    }
    door.assert_sound();
}
