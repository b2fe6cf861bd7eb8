//! What operators see: log lines and metrics.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conformance::TestClock;
use edge::{Config, Health};
use embedded::limiter::MemoryLimiter;
use metrics_exporter_prometheus::PrometheusBuilder;
use tracing_subscriber::fmt::MakeWriter;

use crate::site::{Call, SECRET, Site, TOKEN, USER};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The log lines of some calls, as JSON.
async fn logged(calls: Vec<Call>) -> Vec<serde_json::Value> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let site = Site::new();
    for call in calls {
        site.call(call).await;
    }
    drop(guard);
    let bytes = log.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_one_line_without_its_secrets() {
    let call = Call::get(&format!("/mine?token={TOKEN}&q=hush"))
        .signed_in()
        .header("x-request-id", "my-id");
    let lines = logged(vec![call, Call::get("/health"), Call::get("/no/where")]).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let (first, fields) = (&lines[0], &lines[0]["fields"]);
    assert_eq!(first["level"], "INFO");
    assert_eq!(fields["method"], "GET");
    assert_eq!(fields["route"], "/mine");
    assert_eq!(fields["status"], 200);
    assert_eq!(fields["request_id"], "my-id");
    assert_eq!(fields["user_id"], USER);
    assert_eq!(fields["trace_id"].as_str().unwrap().len(), 32);
    assert!(fields["duration_ms"].is_f64());
    assert!(!first.to_string().contains(TOKEN) && !first.to_string().contains("hush"));
    assert_eq!(lines[1]["fields"]["route"], "other");
}

#[tokio::test]
async fn a_cause_is_logged_once_at_the_level_it_deserves() {
    for (path, level) in
        [("/fail/internal", "ERROR"), ("/fail/panic", "ERROR"), ("/fail/unavailable", "WARN")]
    {
        let lines = logged(vec![Call::get(path).header("x-request-id", "my-id")]).await;
        let with_cause: Vec<_> =
            lines.iter().filter(|line| line.to_string().contains(SECRET)).collect();
        assert_eq!(with_cause.len(), 1, "{lines:?}");
        assert_eq!(with_cause[0]["level"], level);
        assert_eq!(with_cause[0]["fields"]["request_id"], "my-id");
    }
}

#[test]
fn requests_are_counted_by_route_and_never_by_address() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let site = Site::new();
            for n in 0..3 {
                site.get(&format!("/things/{n}")).await;
                site.get(&format!("/nowhere/{n}")).await;
            }
            site.get("/fail/internal").await;
        });
    });
    let text = handle.render();
    for line in [
        "http_requests_total{method=\"GET\",route=\"/things/{id}\",status=\"2xx\"} 3",
        "http_requests_total{method=\"GET\",route=\"other\",status=\"4xx\"} 3",
        "http_requests_total{method=\"GET\",route=\"/fail/{how}\",status=\"5xx\"} 1",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let count = "http_request_duration_seconds_count{method=\"GET\",route=\"/things/{id}\"";
    assert!(text.contains(count), "{text}");
    assert!(!text.contains("nowhere"));
}

#[test]
fn series_grow_with_nothing_that_a_client_sends() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let series = || {
        let text = handle.render();
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
    };
    metrics::with_local_recorder(&recorder, || {
        let site = Site::new();
        let serve = |people: std::ops::Range<u32>| {
            runtime.block_on(async {
                for n in people {
                    let token = format!("Bearer person.{n}");
                    let odd = http::Method::from_bytes(format!("ODD{n}").as_bytes()).unwrap();
                    let address = format!("10.{}.{}.1:1000", n >> 8, n & 255);
                    for call in [
                        Call::get("/mine"),
                        Call::get(&format!("/things/{n}?q={n}")),
                        Call::get(&format!("/nowhere/{n}")),
                        Call::new(odd, "/open"),
                    ] {
                        let call = call.header("authorization", &token).from(&address);
                        let call = call.header("traceparent", &format!("00-{n:032x}-{n:016x}-01"));
                        site.call(call.header("x-request-id", &n.to_string())).await;
                    }
                }
            });
        };
        serve(1..100);
        let few = series();
        assert!(few > 0);
        serve(100..10_000);
        assert_eq!(series(), few, "{}", handle.render());
    });
}

#[tokio::test(start_paused = true)]
async fn health_asks_its_checks_at_most_once_a_second_and_waits_no_longer() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let health = Health::new("1").check("store", move || {
        *count.lock().unwrap() += 1;
        std::future::pending()
    });
    let clock = TestClock::new();
    let limiter = MemoryLimiter::new(clock.clone());
    let site = Site::build(Config::default(), health, limiter, clock);
    let answers = futures_util::future::join_all((0..10).map(|_| site.get("/health"))).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert_eq!(*asked.lock().unwrap(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    site.get("/health").await;
    assert_eq!(*asked.lock().unwrap(), 2);
}
