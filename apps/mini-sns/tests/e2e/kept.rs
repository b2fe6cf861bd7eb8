//! Which traces are exported, what becomes of them at a stop, and where else their names are found.

use std::path::Path;

use serde_json::{Value, json};

use crate::collector::Collector;
use crate::person::{Answer, Person};
use crate::server::{Server, eventually, program};

/// The trace that an answer names.
fn trace_of(answer: &Answer) -> String {
    answer.headers["traceparent"].to_str().unwrap()[3..35].to_owned()
}

/// The log lines that say this.
fn lines(log: &Path, message: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[tokio::test]
async fn what_fails_or_is_slow_is_exported_and_of_the_rest_the_share() {
    let collector = Collector::start().await;
    // Nothing can be written; hashing a password takes its time, and nothing else does.
    let failing = ["--otlp-endpoint", &collector.url, "--free-space-floor", "1000000GiB"];
    let none = ["--trace-sample-percent", "0", "--trace-slow", "10m"];
    let server = Server::start(&[&failing[..], &none].concat()).await;
    let get = async |path: &str| {
        Answer::of(server.http.get(format!("{}{path}", server.url)).send().await.unwrap()).await
    };
    for _ in 0..20 {
        get("/posts").await;
    }
    let account = json!({"email": "a@example.com", "password": "correct-horse-7"});
    let register = server.http.post(format!("{}/auth/register", server.url)).json(&account);
    let refused = Answer::of(register.send().await.unwrap()).await;
    let trace = trace_of(&refused);
    refused.problem(503, "unavailable");
    let span = collector.find("the failure", |span| span.name == "POST /auth/register").await;
    assert_eq!((span.trace, span.failed), (trace.clone(), true));
    let failed = |span: &crate::collector::Span| span.name == "table commit" && span.failed;
    assert!(collector.trace(&trace).iter().any(failed), "and what it failed of");
    assert!(collector.spans().iter().all(|span| span.trace == trace), "the others left nothing");

    let collector = Collector::start().await;
    let slow = ["--otlp-endpoint", &collector.url, "--trace-sample-percent", "0"];
    let server = Server::start(&[&slow[..], &["--trace-slow", "1ms"]].concat()).await;
    Person::register(&server).await;
    let span = collector.find("the slow one", |span| span.name == "POST /auth/register").await;
    assert!(!span.failed && span.end - span.start >= 1_000_000, "{span:?}");

    let collector = Collector::start().await;
    let all = ["--otlp-endpoint", &collector.url, "--trace-sample-percent", "100"];
    let server = Server::start(&all).await;
    let answer = Answer::of(server.http.get(format!("{}/posts", server.url)).send().await.unwrap());
    let trace = trace_of(&answer.await);
    collector.find("any", |span| span.name == "GET /posts" && span.trace == trace).await;
}

#[tokio::test]
async fn a_stop_exports_what_is_left() {
    let collector = Collector::start().await;
    let all = ["--otlp-endpoint", &collector.url, "--trace-sample-percent", "100"];
    let mut server = Server::start(&all).await;
    let author = Person::register(&server).await;
    let posted = author.post_to("/posts", &json!({"text": "the last one"})).await;
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(0));
    let trace = collector.trace(&trace_of(&posted));
    assert!(trace.iter().any(|span| span.name == "POST /posts"), "{trace:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let collector = "http://somebody:secret@127.0.0.1:9";
    let all = ["--otlp-endpoint", collector, "--trace-sample-percent", "100"];
    let mut server = Server::start_logging(&log, &all).await;
    let author = Person::register(&server).await;
    for _ in 0..5 {
        author.post("nobody collects").await;
    }
    let told = "traces cannot be exported";
    eventually("it is told", async || (!lines(&log, told).is_empty()).then_some(())).await;
    // By now it was tried again.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    server.settled().await;
    server.terminate();
    assert_eq!(server.exited().await.code(), Some(0));
    let lines = lines(&log, told);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["collector"], "127.0.0.1:9");
    assert!(!std::fs::read_to_string(&log).unwrap().contains("secret"));
}

#[tokio::test]
async fn answer_log_event_dead_letter_and_trace_name_each_other() {
    let collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    // Hardly a fan-out ends within a millisecond, so before long an event is given up.
    let options = [
        "--queue-visibility",
        "1ms",
        "--queue-receives-max",
        "1",
        "--posts-per-minute",
        "100000",
        "--otlp-endpoint",
        &collector.url,
        "--trace-sample-percent",
        "0",
        "--trace-slow",
        "10m",
        "--log-filter",
        "info",
    ];
    let server = Server::start_logging(&log, &options).await;
    let author = Person::register(&server).await;
    let mut posts = Vec::new();
    let letter = eventually("an event is given up", async || {
        let answer = author.post_to("/posts", &json!({"text": "late"})).await;
        let (trace, request_id) = (trace_of(&answer), answer.headers["x-request-id"].clone());
        let post = answer.expect(201)["postId"].clone();
        posts.push((post, trace, request_id));
        let mut dlq = program();
        dlq.args(["dlq", "list", "--queue", "timeline-fanout", "--json", "--admin", &server.admin]);
        let listed: Value = serde_json::from_slice(&dlq.output().unwrap().stdout).unwrap();
        listed["items"].get(0).cloned()
    })
    .await;
    let event = &letter["message"]["event"];
    let (_, trace, request_id) =
        posts.iter().find(|(post, ..)| *post == event["data"]["postId"]).unwrap();
    for traceparent in [&letter["traceparent"], &event["traceparent"]] {
        assert_eq!(traceparent.as_str().unwrap()[3..35], **trace, "{letter}");
    }
    let with_trace = |message: &str| {
        let mut lines = lines(&log, message);
        lines.retain(|line| line["trace_id"] == **trace);
        lines
    };
    let request = &with_trace("request")[0];
    assert_eq!(request["request_id"], request_id.to_str().unwrap());
    assert_eq!(request["route"], "/posts");
    assert_eq!(with_trace("a message goes to the dead letters")[0]["queue"], "timeline-fanout");
    // The request was fine and quick, and yet its trace is there: what came of it failed.
    for name in ["POST /posts", "outbox relay", "consume timeline-fanout"] {
        let is_it = |span: &crate::collector::Span| span.name == name && span.trace == **trace;
        let span = collector.find(name, is_it).await;
        assert_eq!(span.failed, name.starts_with("consume"), "{span:?}");
    }
}
