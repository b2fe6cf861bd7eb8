//! More at once than can be served: some are refused so that the others are served.

use axum::body::{Body, Bytes};
use edge::Config;
use futures_util::stream;

use crate::site::{Answer, Call, Site};

/// A site with one place, and a request that keeps it until it is given up.
async fn full() -> (Site, tokio::task::JoinHandle<Answer>) {
    let site = Site::with(Config { requests_max: 1, deadline_millis: 60_000, ..Config::default() });
    let kept = site.clone();
    let task = tokio::spawn(async move { kept.get("/fail/never").await });
    while site.get("/open").await.status == 200 {
        tokio::task::yield_now().await;
    }
    (site, task)
}

#[tokio::test]
async fn what_finds_no_place_is_refused_until_there_is_one() {
    let (site, kept) = full().await;
    for call in [Call::get("/mine").signed_in(), Call::post("/echo", r#"{"text":"a"}"#)] {
        let answer = site.call(call).await;
        answer.assert_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    // A client that goes away leaves its place.
    kept.abort();
    assert!(kept.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(site.get("/open").await.status, 200);
}

#[tokio::test]
async fn health_and_signing_in_go_last() {
    let (site, _kept) = full().await;
    assert_eq!(site.get("/health").await.status, 200);
    assert_eq!(site.get("/.well-known/jwks.json").await.status, 200);
    assert_eq!(site.call(Call::post("/auth/login", "{}")).await.status, 200);
    site.get("/open").await.assert_problem(503, "overloaded");
}

#[tokio::test]
async fn a_body_on_its_way_takes_no_place() {
    let site = Site::with(Config { requests_max: 1, ..Config::default() });
    let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
    let body = Body::from_stream(stream::once(receiver));
    let slow = site.clone();
    let task = tokio::spawn(async move { slow.call(Call::post("/echo", body)).await });
    tokio::task::yield_now().await;
    for _ in 0..50 {
        assert_eq!(site.get("/open").await.status, 200);
    }
    sender.send(Bytes::from_static(br#"{"text":"late"}"#)).unwrap();
    assert_eq!(task.await.unwrap().json()["text"], "late");
}
