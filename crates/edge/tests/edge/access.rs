//! Deny first: who may ask what.

use axum::http::Method;
use edge::Config;

use crate::site::{Call, Site, USER};

#[tokio::test]
async fn everything_but_public_operations_wants_a_good_token() {
    let site = Site::new();
    for path in ["/mine", "/hidden", "/assets/app.js"] {
        let answer = site.get(path).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"mini-sns\"");
        assert_eq!(site.call(Call::get(path).signed_in()).await.status, 200, "{path}");
    }
    for path in ["/open", "/health", "/openapi.json", "/docs/", "/.well-known/jwks.json"] {
        assert_eq!(site.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_bad_token_is_said_to_be_bad() {
    let site = Site::new();
    let long = format!("Bearer {}", "a".repeat(4097));
    for value in ["Bearer bad.token", "Bearer", "bearer  ", "Bearer a b", &long] {
        let answer = site.call(Call::get("/mine").header("authorization", value)).await;
        answer.assert_problem(401, "unauthenticated");
        let challenge = "Bearer realm=\"mini-sns\", error=\"invalid_token\"";
        assert_eq!(answer.header("www-authenticate"), challenge, "{value}");
    }
    let basic = site.call(Call::get("/mine").header("authorization", "Basic YTpi")).await;
    basic.assert_problem(401, "unauthenticated");
    assert_eq!(basic.header("www-authenticate"), "Bearer realm=\"mini-sns\"");
    let twice = Call::get("/mine").signed_in().signed_in();
    site.call(twice).await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case() {
    let site = Site::new();
    for scheme in ["bearer", "BEARER"] {
        let value = format!("{scheme} good.token");
        let answer = site.call(Call::get("/mine").header("authorization", &value)).await;
        assert!(answer.text().starts_with(USER));
    }
}

#[tokio::test]
async fn public_routes_use_a_good_token_and_pass_over_a_bad_one() {
    let site = Site::new();
    assert_eq!(site.get("/open").await.text(), "nobody");
    assert_eq!(site.call(Call::get("/open").signed_in()).await.text(), USER);
    let bad = Call::get("/open").header("authorization", "Bearer bad.token");
    assert_eq!(site.call(bad).await.text(), "nobody");
}

#[tokio::test]
async fn a_verifier_that_is_away_is_not_the_callers_fault() {
    let site = Site::new();
    let away = || Call::get("/mine").header("authorization", "Bearer keys.away");
    let answer = site.call(away()).await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let site = Site::new();
    for path in ["/nowhere", "/open/", "/internal/nowhere", "//"] {
        site.get(path).await.assert_problem(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/open", "GET, HEAD"),
        (Method::GET, "/echo", "POST"),
        (Method::OPTIONS, "/mine", "GET, HEAD"),
        (Method::from_bytes(b"BREW").unwrap(), "/mine", "GET, HEAD"),
        (Method::POST, "/docs", "GET, HEAD"),
    ] {
        let answer = site.call(Call::new(method, path)).await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    assert_eq!(site.call(Call::new(Method::HEAD, "/open")).await.status, 200);
}

#[tokio::test]
async fn internal_routes_are_not_there_whoever_asks() {
    let site = Site::new();
    site.get("/internal/posts").await.assert_problem(404, "not_found");
    let signed_in = Call::get("/internal/posts").signed_in();
    site.call(signed_in).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn pages_outside_the_document_can_be_made_public() {
    let pages = vec!["/assets/{*file}".to_owned()];
    let site = Site::with(Config { public_pages: pages, ..Config::default() });
    assert_eq!(site.get("/assets/app.js").await.text(), "asset");
    let post = Call::new(Method::POST, "/assets/app.js");
    site.call(post).await.assert_problem(405, "method_not_allowed");
}
