//! Everything that goes wrong looks the same, and tells nothing that is not the caller's to know.

use crate::site::{Call, Site};

#[tokio::test]
async fn broken_input_is_named() {
    let site = Site::new();
    site.call(Call::post("/echo", "{")).await.assert_problem(400, "malformed_request");
    let missing = site.call(Call::post("/echo", "{}")).await;
    missing.assert_problem(422, "validation_failed");
    assert_eq!(missing.json()["errors"][0]["field"], "text");
    let mut media_type = Call::new(axum::http::Method::POST, "/echo");
    media_type = media_type.header("content-type", "text/plain");
    site.call(media_type).await.assert_problem(415, "unsupported_media_type");
    let not_found = site.get("/things/x").await;
    not_found.assert_problem(404, "not_found");
    assert!(not_found.json().get("errors").is_none());
}

#[tokio::test]
async fn the_frameworks_own_words_are_not_used() {
    let site = Site::new();
    site.get("/framework/x").await.assert_problem(400, "malformed_request");
    site.get("/fail/teapot").await.assert_problem(400, "malformed_request");
    site.call(Call::get("/ws").signed_in()).await.assert_problem(400, "malformed_request");
}

#[tokio::test]
async fn our_failures_keep_their_causes_to_themselves() {
    let site = Site::new();
    site.get("/fail/internal").await.assert_problem(500, "internal");
    site.get("/fail/panic").await.assert_problem(500, "internal");
    site.get("/fail/bare").await.assert_problem(500, "internal");
    let unavailable = site.get("/fail/unavailable").await;
    unavailable.assert_problem(503, "unavailable");
    assert_eq!(unavailable.header("retry-after"), "1");
    assert_eq!(site.get("/open").await.status, 200, "a panic takes nothing down");
}

#[tokio::test]
async fn handlers_own_error_documents_stay() {
    let failing = edge::Health::new("1.2.3")
        .check("store", async || Ok(()))
        .check("bus", async || Err(kernel::Problem::not_found("bus")));
    let clock = conformance::TestClock::new();
    let limiter = embedded::limiter::MemoryLimiter::new(clock.clone());
    let site = Site::build(edge::Config::default(), failing, limiter, clock);
    let answer = site.get("/health").await;
    assert_eq!(answer.status, 503);
    let checks = serde_json::json!({ "store": "ok", "bus": "degraded" });
    let health = serde_json::json!({ "status": "degraded", "version": "1.2.3", "checks": checks });
    assert_eq!(answer.json(), health);
}
