//! Events that could not be handled: kept, shown, and handled after the cause is mended.

use serde_json::Value;

use crate::person::Person;
use crate::server::{Server, eventually, program};

fn dlq(server: &Server, args: &[&str]) -> String {
    let output = program().arg("dlq").args(args).args(["--admin", &server.admin]).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_and_redriven() {
    // Hardly a fan-out ends within a millisecond, so before long an event is given up.
    let impatient = ["--queue-visibility", "1ms", "--queue-receives-max", "1"];
    let free = ["--posts-per-minute", "100000"];
    let mut server = Server::start(&[&impatient[..], &free].concat()).await;
    let author = Person::register(&server).await;
    let mut posts = Vec::new();
    let letters = eventually("an event is given up", async || {
        posts.push(author.post("late").await);
        let listed = dlq(&server, &["list", "--queue", "timeline-fanout", "--json"]);
        let letters: Value = serde_json::from_str(&listed).unwrap();
        (!letters["items"].as_array().unwrap().is_empty()).then_some(letters)
    })
    .await;
    let letter = &letters["items"][0];
    assert_eq!(letter["message"]["event"]["type"], "mini-sns.PostCreated");
    let post = letter["message"]["event"]["data"]["postId"].as_str().unwrap().to_owned();
    assert!(posts.contains(&post), "{letter}");
    assert_eq!(letter["receives"], 1);
    let id = letter["id"].as_str().unwrap();
    assert!(dlq(&server, &["list"]).contains(id), "the table for people names it");
    let shown: Value = serde_json::from_str(&dlq(&server, &["show", id])).unwrap();
    assert!(shown["reason"].is_string() && shown["traceparent"].is_string(), "{shown}");

    server.options.clear();
    server.restart().await;
    assert_eq!(dlq(&server, &["redrive", id, "--dry-run"]).trim(), "1 would be queued again");
    let all = dlq(&server, &["purge", "--queue", "timeline-fanout", "--dry-run"]);
    assert!(all.trim().ends_with("would be dropped") && !all.starts_with('0'), "{all}");
    assert_eq!(dlq(&server, &["redrive", id]).trim(), "1 queued again");
    let author = author.at(&server);
    eventually("the post is in its author's timeline", async || {
        author.timeline().await.contains(&post).then_some(())
    })
    .await;
    assert!(dlq(&server, &["purge", "--queue", "timeline-fanout"]).trim().ends_with("dropped"));
    server.settled().await;
}

#[tokio::test]
async fn without_a_server_there_is_one_line() {
    let output = program().args(["dlq", "list", "--admin", "http://127.0.0.1:9"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(1), 1), "{text}");
}
