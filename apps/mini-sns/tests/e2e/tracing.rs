//! A post's way as one trace, from the request to the frame, over however many processes.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::collector::{Collector, Span};
use crate::live::Socket;
use crate::person::{Answer, Person};
use crate::server::{Server, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn one_post_is_one_connected_trace_down_to_the_frame() {
    let collector = Collector::start().await;
    let none = ["--otlp-endpoint", &collector.url, "--trace-sample-percent", "0"];
    // On slow machines much is late, and would be kept for that.
    let server = Server::start(&[&none[..], &["--trace-slow", "10m"]].concat()).await;
    let (author, reader) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    socket.send(&json!({"type": "ping"})).await;
    socket.next("pong").await;

    let quiet = author.post("nobody asks for this one").await;
    socket.next("timeline.entry").await;
    let request = author.request(Method::POST, "/posts").json(&json!({"text": "traced"}));
    let request = request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    let told = answer.headers["traceparent"].to_str().unwrap().to_owned();
    answer.expect(201);
    socket.next("timeline.entry").await;

    let is_frame = |span: &Span| span.trace == TRACE && span.name == "websocket frame";
    collector.find("the frame", is_frame).await;
    let expected = [
        "POST /posts",
        "table commit",
        "outbox relay",
        "bus publish",
        "consume timeline-fanout",
        "turn wait",
        "fan-out",
        "table scatter",
        "feed forget",
        "sockets send",
    ];
    let spans = eventually("every step is exported", async || {
        let spans = collector.trace(TRACE);
        let has = |name: &&str| spans.iter().any(|span| span.name == *name);
        expected.iter().all(has).then_some(spans)
    })
    .await;
    let ids: HashSet<_> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has a name of its own");
    for span in &spans {
        assert!(span.start <= span.end && !span.failed, "{span:?}");
        if span.name == "POST /posts" {
            assert_eq!(span.parent, CALLER);
            assert_eq!(told, format!("00-{TRACE}-{}-01", span.id), "the answer names the span");
            assert_eq!(span.told("http.response.status_code"), "201");
        } else {
            assert!(ids.contains(span.parent.as_str()), "it hangs in the air: {span:?}");
        }
    }
    // Only its own process, or one for each service that had a part in it.
    let processes: HashSet<_> = spans.iter().map(|span| span.process.as_str()).collect();
    assert!([1, 2, 3].contains(&processes.len()), "{processes:?}");
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let post = find("POST /posts");
    let is_its_own = |span: &&Span| span.name == "table commit" && span.parent == post.id;
    let commit = spans.iter().find(is_its_own).unwrap();
    assert_eq!(commit.told("table"), "post");
    assert!(post.start <= commit.start && commit.end <= post.end);
    assert_eq!(find("consume timeline-fanout").parent, post.id);
    assert!(find("websocket frame").end > commit.end);

    // Whoever did nothing wrong, was quick and is not in the share, left nothing.
    assert!(!quiet.is_empty());
    let others: Vec<_> = collector.spans().into_iter().filter(|span| span.trace != TRACE).collect();
    assert!(others.is_empty(), "{others:?}");
    drop(socket);
    server.verified().await;
}
