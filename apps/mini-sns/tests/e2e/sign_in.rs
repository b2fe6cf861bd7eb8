//! Passwords, sessions and tokens.

use reqwest::Method;
use serde_json::json;

use crate::live::Socket;
use crate::person::{Answer, PASSWORD, Person};
use crate::server::Server;

#[tokio::test]
async fn bad_registrations_say_what_is_wrong() {
    let server = Server::start(&["--auth-rate-burst", "1000"]).await;
    let person = Person::register_as(&server, "taken").await;
    let register = async |body| person.post_to("/auth/register", &body).await;
    let good = json!({"email": "new@example.com", "password": PASSWORD});
    let with = |field: &str, value: &str| {
        let mut body = good.clone();
        body[field] = json!(value);
        body
    };
    register(with("handle", "Taken")).await.problem(409, "handle_taken");
    register(with("email", "TAKEN@example.com ")).await.problem(409, "email_taken");
    let weak = register(with("password", "short")).await.problem(422, "weak_password");
    assert!(weak["errors"].as_array().unwrap().len() >= 3, "each unmet rule is named: {weak}");
    for (field, value) in [
        ("handle", "a"),
        ("handle", "no spaces"),
        ("email", "nobody"),
        ("displayName", &"x".repeat(51)),
    ] {
        let problem = register(with(field, value)).await.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let missing =
        register(json!({"email": "a@example.com"})).await.problem(422, "validation_failed");
    assert_eq!(missing["errors"][0]["field"], "password");
    register(good).await.expect(201);
}

#[tokio::test]
async fn a_used_refresh_token_ends_its_whole_family() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let first = json!({"refreshToken": person.refresh_token});
    let second = person.post_to("/auth/refresh", &first).await.expect(200);
    let renewed = person.with_token(&second["accessToken"]);
    renewed.get("/users/me").await.expect(200);
    person.post_to("/auth/refresh", &first).await.problem(401, "invalid_refresh_token");
    let second = json!({"refreshToken": second["refreshToken"]});
    person.post_to("/auth/refresh", &second).await.problem(401, "invalid_refresh_token");
    renewed.get("/users/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn sessions_end_by_logout_and_by_a_new_password() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let login = json!({"email": person.email, "password": PASSWORD});
    let other = person.post_to("/auth/login", &login).await.expect(200);
    let other = person.with_token(&other["accessToken"]);
    let mut socket = Socket::open(&server, &other).await;
    let change = json!({"currentPassword": PASSWORD, "newPassword": "another-horse-8"});
    person.post_to("/auth/password", &change).await.expect(204);
    other.get("/users/me").await.problem(401, "unauthenticated");
    person.post("not for the one signed out").await;
    assert_eq!(socket.closed().await, 4401, "an ended session hears nothing more");
    person.get("/users/me").await.expect(200);
    person.post_to("/auth/login", &login).await.problem(401, "bad_credentials");
    let logout = json!({"refreshToken": person.refresh_token});
    person.post_to("/auth/logout", &logout).await.expect(204);
    person.get("/users/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn tokens_survive_a_restart_and_match_the_key_set() {
    let mut server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    server.kill();
    server.restart().await;
    let person = person.at(&server);
    person.get("/users/me").await.expect(200);
    let discovery = format!("{}/.well-known/openid-configuration", server.url);
    let discovery = Answer::of(server.http.get(discovery).send().await.unwrap()).await.expect(200);
    let keys = discovery["jwks_uri"].as_str().unwrap().to_owned();
    let keys = Answer::of(server.http.get(keys).send().await.unwrap()).await.expect(200);
    assert!(keys["keys"][0]["kid"].is_string() && keys["keys"][0]["d"].is_null(), "{keys}");
}

#[tokio::test]
async fn too_many_wrong_passwords_close_one_account_only() {
    let server = Server::start(&["--auth-rate-burst", "1000"]).await;
    let (victim, other) = (Person::register(&server).await, Person::register(&server).await);
    let login = |email: &str, password: &str| json!({"email": email, "password": password});
    for _ in 0..10 {
        let wrong = login(&victim.email, "wrong-password-1");
        victim.post_to("/auth/login", &wrong).await.problem(401, "bad_credentials");
    }
    let closed = victim.post_to("/auth/login", &login(&victim.email, PASSWORD)).await;
    assert!(closed.headers.contains_key("retry-after"));
    closed.problem(429, "too_many_attempts");
    other.post_to("/auth/login", &login(&other.email, PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn reads_stay_quick_under_a_flood_of_sign_ins() {
    let server = Server::start(&["--auth-rate-burst", "100000"]).await;
    let person = Person::register(&server).await;
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..64 {
        let login = json!({"email": format!("{number}@example.com"), "password": PASSWORD});
        let request = person.request(Method::POST, "/auth/login").json(&login);
        flood.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let mut reads = 0;
    while flood.try_join_next().is_none() {
        person.get("/timeline").await.expect(200);
        reads += 1;
    }
    let statuses = flood.join_all().await;
    assert!(reads > 0 && statuses.iter().all(|s| [401, 429, 503].contains(s)), "{statuses:?}");
}
