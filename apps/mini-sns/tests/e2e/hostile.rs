//! Whatever a client sends, the answer is a Problem of the 4xx kind, and it comes.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::person::{Answer, Person};
use crate::server::Server;

/// Every operation of the API, by its document.
async fn operations(server: &Server) -> Vec<(Method, String)> {
    let url = format!("{}/openapi.json", server.url);
    let document: Value = server.http.get(url).send().await.unwrap().json().await.unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                found.push((method.to_uppercase().parse().unwrap(), path.clone()));
            }
        }
    }
    assert!(found.len() >= 30, "the document lists the API: {found:?}");
    found
}

fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        Just("../../etc/passwd".to_owned()),
        Just("01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        Just("7ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
        Just("\u{0}\u{10FFFF}".to_owned()),
        Just("x".repeat(3000)),
        Just("-1".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("<script>alert(1)</script>".to_owned()),
    ]
}

fn hostile_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        hostile_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

/// Names that the API reads, so that the values behind them are reached.
fn field() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "email",
        "password",
        "handle",
        "displayName",
        "bio",
        "text",
        "refreshToken",
        "everywhere",
        "currentPassword",
        "newPassword",
        "x",
    ];
    prop::sample::select(NAMES).prop_map(str::to_owned)
}

fn hostile_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => hostile_json().prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => Just(b"[".repeat(50_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_client_sends_is_our_failure() {
    let open = ["--user-rate-per-sec", "100000", "--user-rate-burst", "100000"];
    let auth = ["--auth-rate-per-sec", "100000", "--auth-rate-burst", "100000"];
    let server = Server::start(&[open, auth].concat()).await;
    let person = Person::register(&server).await;
    let mut runner = TestRunner::new(Config::default());
    let mut sample = move || {
        let query = (hostile_text(), hostile_text(), hostile_text());
        let all = (hostile_text(), query, hostile_body(), any::<bool>());
        all.new_tree(&mut runner).unwrap().current()
    };
    for (method, path) in operations(&server).await {
        for _ in 0..12 {
            let (id, (limit, cursor, ids), body, as_json) = sample();
            let mut url = reqwest::Url::parse(&server.url).unwrap();
            {
                let mut segments = url.path_segments_mut().unwrap();
                segments.clear();
                for part in path.split('/').skip(1) {
                    segments.push(if part.starts_with('{') { &id } else { part });
                }
            }
            let pairs = [("limit", &limit), ("cursor", &cursor), ("ids", &ids), ("postIds", &ids)];
            url.query_pairs_mut().extend_pairs(pairs).append_pair("q", &id);
            let media_type = if as_json { "application/json" } else { "text/plain" };
            let request = server.http.request(method.clone(), url.clone());
            let request = request.bearer_auth(&person.token).header("content-type", media_type);
            let request = if method == Method::GET { request } else { request.body(body.clone()) };
            let answer = request.send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
            let status = answer.status();
            let told = String::from_utf8_lossy(&body).into_owned();
            assert!(status.as_u16() < 500, "{method} {url} {told}: {status}");
            if status.is_client_error() {
                let answer = Answer::of(answer).await;
                assert!(answer.body["code"].is_string(), "{method} {url}: {}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn every_operation_but_the_public_ones_needs_a_token() {
    const PUBLIC: [&str; 11] = [
        "/auth/register",
        "/auth/login",
        "/auth/refresh",
        "/auth/password/forgot",
        "/auth/password/reset",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/health",
        "/openapi.json",
        "/docs",
        "/ws",
    ];
    let server = Server::start(&["--address-rate-burst", "10000"]).await;
    for (method, path) in operations(&server).await {
        if PUBLIC.contains(&path.as_str()) {
            continue;
        }
        let url = format!("{}{}", server.url, path.replace(['{', '}'], ""));
        let answer =
            server.http.request(method.clone(), url).json(&json!({})).send().await.unwrap();
        Answer::of(answer).await.problem(401, "unauthenticated");
    }
}
