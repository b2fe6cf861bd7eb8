//! What a part's failure does to the whole: little, and nothing that was answered is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::bed::Bed;
use crate::live::Socket;
use crate::person::Person;
use crate::server::{Server, Service, VISIBILITY, eventually};
use crate::throttle::Throttle;

async fn admin(server: &Server, service: Service, path: &str) -> (u16, String) {
    let url = format!("{}{path}", server.process(service).admin);
    let answer = server.http.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn becomes_ready(server: &Server, service: Service, ready: bool) {
    eventually(&format!("ready: {ready}"), async || {
        (admin(server, service, "/ready").await.0 == if ready { 200 } else { 503 }).then_some(())
    })
    .await;
}

/// Whether the timeline's breaker to the user service is open.
async fn breaker_is_open(server: &Server) -> bool {
    let (_, metrics) = admin(server, Service::Timeline, "/metrics").await;
    let line = metrics.lines().find(|line| line.starts_with("breaker_open{target=\"user\"}"));
    line.unwrap_or_else(|| panic!("the breaker is told: {metrics}")).ends_with(" 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn timelines_and_sockets_go_on_while_redis_is_away() {
    let mut server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    let mut posts = vec![author.post("while all is well").await];
    socket.next("timeline.entry").await;
    reader.sees(&posts).await;
    eventually("the timeline is cached", async || {
        (reader.get("/timeline").await.headers["x-cache"] == "hit").then_some(())
    })
    .await;
    becomes_ready(&server, Service::Timeline, true).await;

    server.redis.kill();
    becomes_ready(&server, Service::Timeline, false).await;
    posts.push(author.post("while the cache is away").await);
    let frame = socket.next("timeline.entry").await;
    assert_eq!(frame["data"]["post"]["postId"], posts[1].as_str());
    reader.sees(&posts).await;
    assert_eq!(reader.get("/timeline").await.headers["x-cache"], "miss");

    server.redis.restart();
    becomes_ready(&server, Service::Timeline, true).await;
    posts.push(author.post("after it came back").await);
    let frame = socket.next("timeline.entry").await;
    assert_eq!(frame["data"]["post"]["postId"], posts[2].as_str());
    reader.sees(&posts).await;
    eventually("the timeline is cached again", async || {
        (reader.get("/timeline").await.headers["x-cache"] == "hit").then_some(())
    })
    .await;
    server.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_goes_without_author_details_while_the_user_service_is_away() {
    let mut server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    // Everybody is known to the processes that go on; the author's profile to none of them yet.
    author.get("/posts").await.expect(200);
    reader.get("/timeline").await.expect(200);
    server.settled().await;
    assert!(!breaker_is_open(&server).await);

    server.kill_one(Service::User);
    let post = author.post("by somebody").await;
    let page = eventually("the post is there", async || {
        let page = reader.get("/timeline").await.expect(200);
        (page["items"][0]["post"]["postId"] == post.as_str()).then_some(page)
    })
    .await;
    let item = &page["items"][0];
    assert_eq!(item["author"], Value::Null, "{item}");
    assert_eq!(item["post"]["authorId"], author.id.as_str());
    assert_eq!((&item["likeCount"], &item["liked"]), (&json!(0), &json!(false)));
    eventually("after five failures the breaker opens", async || {
        reader.get("/timeline").await.expect(200);
        breaker_is_open(&server).await.then_some(())
    })
    .await;
    let begin = Instant::now();
    for _ in 0..5 {
        reader.get("/timeline").await.expect(200);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "nobody waits for who is away");
    reader.get("/users/me").await.problem(503, "unavailable");

    server.start_one(Service::User).await;
    eventually("half a minute later it is asked again", async || {
        let page = reader.get("/timeline").await.expect(200);
        (page["items"][0]["author"]["handle"] == author.handle.as_str()).then_some(())
    })
    .await;
    assert!(!breaker_is_open(&server).await);
    reader.get("/users/me").await.expect(200);
    server.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_while_dynamodb_throttles() {
    let mut bed = Bed::provision(VISIBILITY);
    let throttle = Throttle::before(&bed.dynamodb_url).await;
    bed.dynamodb_url.clone_from(&throttle.url);
    let free = ["--posts-per-minute", "100000"];
    let server = Server::start_on(bed, &free).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;

    let mut answered = BTreeSet::new();
    let mut refused = 0;
    let mut write = async |for_secs: u64| {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(for_secs) {
            let answer = author.post_to("/posts", &json!({"text": "is it there?"})).await;
            if answer.status == 201 {
                answered.insert(answer.body["postId"].as_str().unwrap().to_owned());
            } else {
                assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
                answer.problem(503, "unavailable");
                refused += 1;
            }
            // A refusal is quick: without a pause the person's own limit would be next.
            sleep(Duration::from_millis(20)).await;
        }
    };
    write(2).await;
    throttle.throttle(true);
    write(10).await;
    throttle.throttle(false);
    write(2).await;
    assert!(refused > 0 && throttle.refused() > 0, "it did throttle");
    assert!(answered.len() > 2, "before and after, posts were taken: {}", answered.len());
    eventually("every answered post is in the timeline, once", async || {
        let timeline = reader.timeline().await;
        let seen: BTreeSet<_> = timeline.iter().cloned().collect();
        assert_eq!(seen.len(), timeline.len(), "no post is twice");
        answered.is_subset(&seen).then_some(())
    })
    .await;
    server.verified().await;
}
