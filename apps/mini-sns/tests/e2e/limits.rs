//! How much is allowed, and that one person's excess is not another's.

use reqwest::Method;
use serde_json::json;

use crate::person::{Answer, Person};
use crate::server::Server;

#[tokio::test]
async fn a_burst_on_one_bucket_does_not_touch_another() {
    let server = Server::start(&["--user-rate-per-sec", "1", "--user-rate-burst", "20"]).await;
    let (hasty, calm) = (Person::register(&server).await, Person::register(&server).await);
    let mut refused = 0;
    for _ in 0..40 {
        let answer = hasty.get("/users/me").await;
        assert!(
            answer.headers.contains_key("ratelimit")
                && answer.headers.contains_key("ratelimit-policy")
        );
        if answer.status == 429 {
            assert!(answer.headers.contains_key("retry-after"));
            answer.problem(429, "rate_limited");
            refused += 1;
        }
    }
    assert!(refused > 0);
    calm.get("/users/me").await.expect(200);
    for _ in 0..40 {
        let health = server.http.get(format!("{}/health", server.url)).send().await.unwrap();
        assert_eq!(health.status(), 200);
    }
}

#[tokio::test]
async fn the_eleventh_post_in_a_minute_is_refused_but_replays_are_not() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let keyed = |key: &'static str, text: &'static str| {
        let request = person.request(Method::POST, "/posts").header("Idempotency-Key", key);
        request.json(&json!({"text": text}))
    };
    let first = Answer::of(keyed("k", "first").send().await.unwrap()).await;
    assert!(first.headers["location"].to_str().unwrap().starts_with("/posts/"));
    let first = first.expect(201);
    for _ in 0..15 {
        let replay = Answer::of(keyed("k", "first").send().await.unwrap()).await.expect(201);
        assert_eq!(replay, first);
        person.post_to("/posts", &json!({"text": " "})).await.problem(422, "validation_failed");
    }
    let other = Answer::of(keyed("k", "second").send().await.unwrap()).await;
    other.problem(422, "idempotency_mismatch");
    for number in 1..10 {
        person.post(&number.to_string()).await;
    }
    let eleventh = person.post_to("/posts", &json!({"text": "one too many"})).await;
    assert!(eleventh.headers.contains_key("retry-after"));
    eleventh.problem(429, "post_rate_limited");
    server.verified().await;
}

#[tokio::test]
async fn input_over_a_limit_is_refused_with_its_status() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let large = json!({"text": "x".repeat(70_000)});
    person.post_to("/posts", &large).await.problem(413, "body_too_large");
    let long = json!({"text": "x".repeat(501)});
    person.post_to("/posts", &long).await.problem(422, "validation_failed");
    let plain = person.request(Method::POST, "/posts").body("text").send().await.unwrap();
    Answer::of(plain).await.problem(415, "unsupported_media_type");
    let broken = person.request(Method::POST, "/posts").header("content-type", "application/json");
    let broken = broken.body("{").send().await.unwrap();
    Answer::of(broken).await.problem(400, "malformed_request");
    for limit in ["0", "101", "x"] {
        person.get(&format!("/timeline?limit={limit}")).await.problem(422, "validation_failed");
    }
    person.get("/timeline?cursor=x").await.problem(400, "invalid_cursor");
    person.get("/no/such/place").await.problem(404, "not_found");
    person.send(Method::PUT, "/posts").await.problem(405, "method_not_allowed");
    let nobody = person.with_token(&json!("x"));
    let refused = nobody.get("/timeline").await;
    assert!(refused.headers.contains_key("www-authenticate"));
    refused.problem(401, "unauthenticated");
    // 500 people's characters, each of several code points, are 500 characters.
    let family = "👨‍👩‍👧‍👦".repeat(500);
    person.post(&family).await;
}

#[tokio::test]
async fn lengths_are_the_operators_to_set() {
    let server = Server::start(&[
        "--post-characters-max",
        "3",
        "--idempotency-key-characters-max",
        "4",
        "--password-characters-min",
        "15",
        "--display-name-characters-max",
        "2",
        "--bio-characters-max",
        "4",
    ])
    .await;
    let account = json!({"email": "a@example.org", "password": "correct-1"});
    let request = server.http.post(format!("{}/auth/register", server.url)).json(&account);
    let weak = Answer::of(request.send().await.unwrap()).await.problem(422, "weak_password");
    assert_eq!(weak["errors"][0]["message"], "At least 15 characters.");
    let person = Person::register(&server).await;
    person.post("абв").await;
    person.post_to("/posts", &json!({"text": "абвг"})).await.problem(422, "validation_failed");
    for (key, status) in [("1234", 201), ("12345", 422)] {
        let request = person.request(Method::POST, "/posts").header("Idempotency-Key", key);
        let answer = Answer::of(request.json(&json!({"text": "x"})).send().await.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{key}");
    }
    for (profile, status) in [
        (json!({"displayName": "ab", "bio": "abcd"}), 200),
        (json!({"displayName": "abc"}), 422),
        (json!({"bio": "abcde"}), 422),
    ] {
        let request = person.request(Method::PATCH, "/users/me").json(&profile);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{profile}");
    }
    server.verified().await;
}

#[tokio::test]
async fn sizes_of_pages_and_lists_are_the_operators_to_set() {
    let small = ["--page-limit-default", "2", "--page-limit-max", "3", "--ids-max", "2"];
    let server = Server::start(&small).await;
    let (person, fan) = (Person::register(&server).await, Person::register(&server).await);
    fan.follow(&person).await;
    for number in 0..4 {
        person.post(&format!("{number}")).await;
    }
    server.settled().await;
    for list in ["/posts", "/timeline", "/users/search?q=a"] {
        let and = if list.contains('?') { '&' } else { '?' };
        person.get(&format!("{list}{and}limit=4")).await.problem(422, "validation_failed");
        let page = person.get(list).await.expect(200);
        assert!(page["items"].as_array().unwrap().len() <= 2, "{list}: {page}");
    }
    let page = person.get("/posts?limit=3").await.expect(200);
    let ids: Vec<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["postId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 3);
    for list in ["/posts?ids=", "/likes?postIds=", "/users?ids="] {
        person.get(&format!("{list}{}", ids[..2].join(","))).await.expect(200);
        person.get(&format!("{list}{}", ids.join(","))).await.problem(422, "validation_failed");
    }
    server.verified().await;
}
