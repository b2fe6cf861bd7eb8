//! How often, how large, how slow.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::Version;
use conformance::TestClock;
use edge::{Config, Health};
use futures_util::stream;
use kernel::limiter::{Bucket, Decision, Limiter};
use kernel::{Code, Problem};

use crate::site::{Call, Site};

#[tokio::test]
async fn a_user_has_a_burst_of_200_and_100_a_second_wherever_they_are() {
    let site = Site::new();
    let call = |n: u32| Call::get("/mine").signed_in().from(&format!("10.0.0.{}:1", n % 250));
    for n in 0..200 {
        assert_eq!(site.call(call(n)).await.status, 200, "request {n}");
    }
    let answer = site.call(call(0)).await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=200;w=2");
    assert_eq!(answer.header("ratelimit"), "\"default\";r=0;t=2");
    site.clock.advance(Duration::from_millis(10));
    assert_eq!(site.call(call(0)).await.status, 200);
    assert_eq!(site.call(call(0)).await.status, 429);
}

#[tokio::test]
async fn answers_tell_what_is_left() {
    let site = Site::new();
    let answer = site.get("/open").await;
    assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=200;w=2");
    assert_eq!(answer.header("ratelimit"), "\"default\";r=199;t=1");
    let answer = site.get("/nowhere").await;
    assert_eq!(answer.header("ratelimit"), "\"default\";r=198;t=1");
}

#[tokio::test]
async fn who_is_not_signed_in_or_badly_counts_by_address() {
    let site = Site::new();
    let bad = || Call::get("/mine").header("authorization", "Bearer bad.token");
    for _ in 0..200 {
        site.call(bad()).await.assert_problem(401, "unauthenticated");
    }
    site.call(bad()).await.assert_problem(429, "rate_limited");
    site.get("/open").await.assert_problem(429, "rate_limited");
    site.get("/nowhere").await.assert_problem(429, "rate_limited");
    assert_eq!(site.call(Call::get("/open").from("192.0.2.2:1")).await.status, 200);
    assert_eq!(site.call(Call::get("/mine").signed_in()).await.status, 200);
}

#[tokio::test]
async fn signing_in_has_a_stricter_bucket_of_its_own() {
    let site = Site::new();
    let login = |address| Call::post("/auth/login", "{}").from(address);
    for n in 0..20 {
        // A token makes no difference: passwords are guessed per address.
        let call = if n % 2 == 0 { login("192.0.2.1:1") } else { login("192.0.2.1:2").signed_in() };
        assert_eq!(site.call(call).await.status, 200);
    }
    let answer = site.call(login("192.0.2.1:1")).await;
    answer.assert_problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit-policy"), "\"auth\";q=20;w=4");
    assert_eq!(answer.header("ratelimit"), "\"auth\";r=0;t=4");
    assert_eq!(site.get("/open").await.status, 200);
    assert_eq!(site.call(login("192.0.2.9:1")).await.status, 200);
}

#[tokio::test]
async fn one_ipv6_customer_is_one_neighbour() {
    let site = Site::new();
    let login = |n: u32, network| {
        Call::post("/auth/login", "{}").from(&format!("[2001:db8:0:{network}::{n:x}]:1"))
    };
    for n in 0..20 {
        assert_eq!(site.call(login(n, 1)).await.status, 200);
    }
    site.call(login(99, 1)).await.assert_problem(429, "rate_limited");
    assert_eq!(site.call(login(99, 2)).await.status, 200);
}

#[tokio::test]
async fn forwarded_addresses_count_behind_trusted_proxies_only() {
    for (trusted, status) in [(vec!["192.0.2.0/24".parse().unwrap()], 200), (vec![], 429)] {
        let site = Site::with(Config { trusted_proxies: trusted, ..Config::default() });
        let mut last = 0;
        for n in 0..21 {
            let from = format!("198.51.100.{n}");
            let call = Call::post("/auth/login", "{}").header("x-forwarded-for", &from);
            last = site.call(call).await.status;
        }
        assert_eq!(last, status);
    }
}

#[tokio::test]
async fn what_load_balancers_poll_is_not_counted() {
    let site = Site::new();
    for _ in 0..300 {
        let answer = site.get("/health").await;
        assert_eq!((answer.status, answer.header("ratelimit")), (200, ""));
        assert_eq!(site.get("/.well-known/jwks.json").await.status, 200);
    }
}

/// A limiter whose store is away.
struct Away;

#[async_trait]
impl Limiter for Away {
    async fn take(&self, _: Bucket, _: &str) -> Result<Decision, Problem> {
        Err(Problem::new(Code::Unavailable, "away"))
    }
}

#[tokio::test]
async fn a_limiter_that_fails_takes_nothing_down() {
    let clock = TestClock::new();
    let site = Site::build(Config::default(), Health::new("1"), Arc::new(Away), clock);
    assert_eq!(site.call(Call::get("/mine").signed_in()).await.status, 200);
}

#[tokio::test]
async fn bodies_have_at_most_64_kib() {
    let site = Site::new();
    let words = |len: usize| format!("{{\"text\":\"{}\"}}", "a".repeat(len - 11));
    assert_eq!(site.call(Call::post("/echo", words(65536))).await.status, 200);
    site.call(Call::post("/echo", words(65537))).await.assert_problem(413, "body_too_large");
    // Nobody reads this one, but it is not taken in either.
    let get = Call::post("/nowhere", words(65537));
    site.call(get).await.assert_problem(413, "body_too_large");
    let promised = Call::post("/echo", stuck()).header("content-length", "65537");
    site.call(promised).await.assert_problem(413, "body_too_large");
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'a'; 1000])));
    let endless = Call::post("/echo", Body::from_stream(endless));
    let endless = site.call(endless).await;
    endless.assert_problem(413, "body_too_large");
    assert_eq!(endless.header("connection"), "close");
}

fn stuck() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_keeps_its_refusal_for_two_seconds_at_most() {
    let site = Site::new();
    for (call, status, code) in [
        (
            Call::post("/nowhere/else", stuck()).header("content-length", "99999"),
            413,
            "body_too_large",
        ),
        (Call::post("/mine", stuck()), 405, "method_not_allowed"),
        (Call::post("/hidden", stuck()), 401, "unauthenticated"),
    ] {
        let started = tokio::time::Instant::now();
        let answer = site.call(call).await;
        answer.assert_problem(status, code);
        assert_eq!((answer.header("connection"), started.elapsed().as_secs()), ("close", 2));
    }
    let http2 = site.call(Call::post("/mine", stuck()).version(Version::HTTP_2)).await;
    assert_eq!((http2.status, http2.header("connection")), (405, ""));
}

#[tokio::test(start_paused = true)]
async fn bodies_have_10_seconds_to_arrive() {
    let site = Site::new();
    let started = tokio::time::Instant::now();
    site.call(Call::post("/echo", stuck())).await.assert_problem(408, "request_timeout");
    assert_eq!(started.elapsed().as_secs(), 10);
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("reset"))]);
    let broken = Call::post("/echo", Body::from_stream(broken));
    site.call(broken).await.assert_problem(400, "malformed_request");
}

#[tokio::test(start_paused = true)]
async fn handlers_have_2_and_a_half_seconds() {
    let site = Site::new();
    let started = tokio::time::Instant::now();
    site.get("/fail/never").await.assert_problem(504, "deadline_exceeded");
    assert_eq!(started.elapsed().as_millis() / 10, 250);
}

#[tokio::test]
async fn addresses_have_at_most_8_kib() {
    let site = Site::new();
    let fits = format!("/open?{}", "a".repeat(8192 - 6));
    assert_eq!(site.get(&fits).await.status, 200);
    site.get(&format!("{fits}a")).await.assert_problem(414, "uri_too_long");
}
