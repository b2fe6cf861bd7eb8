//! Whatever is sent, the answer is an orderly one.

use axum::http::Method;
use edge::Config;
use kernel::limiter::Rate;
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::select;
use proptest::{collection, prop_oneof};

use crate::site::{Call, Site};

const NAMES: [&str; 16] = [
    "authorization",
    "traceparent",
    "x-request-id",
    "x-amzn-trace-id",
    "accept-encoding",
    "content-type",
    "content-length",
    "origin",
    "x-forwarded-for",
    "upgrade",
    "connection",
    "sec-websocket-key",
    "access-control-request-method",
    "expect",
    "host",
    "transfer-encoding",
];
const PATHS: [&str; 12] = [
    "/open",
    "/mine",
    "/echo",
    "/auth/login",
    "/things/",
    "/framework/",
    "/docs/",
    "/internal/posts",
    "/ws",
    "/health",
    "/assets/",
    "/",
];

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let sensible = select(vec![
        "Bearer good.token",
        "bearer ",
        "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "gzip;q=0, *;q=0",
        "application/json",
        "18446744073709551616",
        "-1",
        "https://app.example",
        "::1, 10.0.0.1:99999, [",
        "websocket",
        "100-continue",
    ]);
    let sensible = sensible.prop_map(|text| text.as_bytes().to_vec());
    let rubbish = collection::vec(prop_oneof![32_u8..=126, 128_u8..=255], 0..200);
    (select(&NAMES[..]), prop_oneof![sensible, rubbish])
}

fn method() -> impl Strategy<Value = Method> {
    let names = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PATCH", "CONNECT", "BREW"];
    select(names.map(|name| name.parse().unwrap()).to_vec())
}

proptest! {
    #[test]
    fn nothing_a_client_sends_fails_us(
        method in method(),
        path in select(&PATHS[..]),
        tail in "[a-z0-9%./?&=-]{0,40}",
        headers in collection::vec(header(), 0..8),
        body in collection::vec(any::<u8>(), 0..300),
    ) {
        let Ok(uri) = format!("{path}{tail}").parse::<axum::http::Uri>() else { return Ok(()) };
        let mut call = Call::post(&uri.to_string(), body).method(method.clone());
        for (name, value) in &headers {
            call = call.header_bytes(name, value);
        }
        let plenty = Rate { per_sec: 1_000_000, burst: 1_000_000 };
        let site = Site::with(Config {
            user_rate: plenty,
            address_rate: plenty,
            auth_rate: plenty,
            trusted_proxies: vec!["192.0.2.0/24".parse().unwrap()],
            cors_origins: vec!["https://app.example".into()],
            ..Config::default()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(site.call(call));
        assert!(answer.status < 500, "{}", answer.text());
        assert!(!answer.header("x-request-id").is_empty());
        assert!(!answer.header("traceparent").is_empty());
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        if answer.status >= 400 && method != Method::HEAD {
            let code = answer.json()["code"].as_str().unwrap().to_owned();
            answer.assert_problem(answer.status, &code);
        }
    }
}
