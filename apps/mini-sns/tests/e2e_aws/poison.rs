//! An event that cannot be handled: received twice, kept among the dead letters, and handled after
//! the cause is mended.

use serde_json::Value;

use crate::bed::Bed;
use crate::person::Person;
use crate::server::{Server, Service, eventually, program};

/// Long enough for a handler to fail with all its tries, and short enough to wait for it twice.
const VISIBILITY: &str = "12s";

fn dlq(server: &Server, args: &[&str]) -> String {
    let admin = &server.process(Service::Timeline).admin;
    let output = program().arg("dlq").args(args).args(["--admin", admin]).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_received_twice_kept_and_redriven_after_the_fix() {
    let mut server = Server::start_on(Bed::provision(VISIBILITY), &[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    let posts = vec![author.post("from before the follow").await];
    server.settled().await;

    // Without the post service nobody can tell the newest posts of whom one follows.
    server.kill_one(Service::Post);
    reader.follow(&author).await;
    let letter = eventually("the event is given up", async || {
        let listed = dlq(&server, &["list", "--queue", "timeline-follow", "--json"]);
        let letters: Value = serde_json::from_str(&listed).unwrap();
        letters["items"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(letter["receives"], 2);
    assert_eq!(letter["message"]["event"]["type"], "mini-sns.FollowCreated");
    let id = letter["id"].as_str().unwrap();
    let shown: Value = serde_json::from_str(&dlq(&server, &["show", id])).unwrap();
    assert!(shown["reason"].is_string(), "{shown}");

    // The process that failed is replaced along with the cause: its breaker would wait 30 s.
    server.start_one(Service::Post).await;
    server.start_one(Service::Timeline).await;
    let listed = dlq(&server, &["list", "--queue", "timeline-follow", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "it stays: {listed}");
    let redriven = dlq(&server, &["redrive", "--queue", "timeline-follow"]);
    assert_eq!(redriven.trim(), "1 queued again");
    reader.sees(&posts).await;
    server.verified().await;
}
