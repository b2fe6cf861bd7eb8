//! A feed while another service is away: without what only adorns it, and never with what is gone.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::feed::{Cached, Feed, Load};
use kernel::{Code, PostId, Problem, UserId};
use serde_json::{Value, json};
use timeline::Config;
use world::World;
use world::client::{Client, entries, listen};

const USER: [&str; 1] = ["profiles"];
const POST: [&str; 3] = ["posts", "posts_exist", "newest_posts"];
const SOCIAL: [&str; 2] = ["like_counts", "viewed"];

async fn followed(world: &World) -> (UserId, UserId) {
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    (author, reader)
}

async fn items(world: &World, reader: UserId) -> Vec<Value> {
    world.read(reader, "").await.0["items"].as_array().unwrap().clone()
}

fn go_away(world: &World, calls: &[&'static str]) {
    world.know().away = calls.to_vec();
}

#[tokio::test]
async fn without_the_user_service_authors_are_missing_or_as_they_last_were() {
    let world = World::new(Config::default());
    let (author, reader) = followed(&world).await;
    go_away(&world, &USER);
    let post = world.post(author);
    world.settle().await;
    let page = items(&world, reader).await;
    assert_eq!(page.len(), 1);
    assert_eq!(page[0]["author"], Value::Null);
    assert_eq!(page[0]["post"]["authorId"], json!(author));
    assert_eq!((&page[0]["likeCount"], &page[0]["liked"]), (&json!(0), &json!(false)));
    // What was missing was not kept.
    go_away(&world, &[]);
    let profile = json!(world.know().profiles[&author]);
    assert_eq!(items(&world, reader).await[0]["author"], profile);
    // Far older than authors are kept, but better than nothing.
    world.clock.advance(Duration::from_hours(1));
    go_away(&world, &USER);
    let page = items(&world, reader).await;
    assert_eq!((page.len(), &page[0]["author"]), (1, &profile));
    // Whoever is gone stays gone, whatever is away.
    world.delete(post);
    assert_eq!(items(&world, reader).await, [] as [Value; 0]);
}

#[tokio::test]
async fn without_the_social_service_likes_are_unknown_and_never_wrong() {
    let world = World::new(Config::default());
    let (author, reader) = followed(&world).await;
    let post = world.post(author);
    world.settle().await;
    world.know().likes.insert((post, reader));
    assert_eq!(items(&world, reader).await[0]["likeCount"], 1);
    go_away(&world, &SOCIAL);
    // A count may lag by some seconds, what one likes oneself may not.
    let page = items(&world, reader).await;
    assert_eq!((&page[0]["likeCount"], &page[0]["liked"]), (&json!(1), &Value::Null));
    world.clock.advance(Duration::from_secs(3));
    let page = items(&world, reader).await;
    assert_eq!((&page[0]["likeCount"], &page[0]["liked"]), (&Value::Null, &Value::Null));
    assert_eq!(page[0]["author"]["userId"], json!(author));
    world.know().likes.clear();
    go_away(&world, &[]);
    let page = items(&world, reader).await;
    assert_eq!((&page[0]["likeCount"], &page[0]["liked"]), (&json!(0), &json!(false)));
}

#[tokio::test]
async fn without_the_post_service_nothing_is_shown() {
    let world = World::new(Config::default());
    let (author, reader) = followed(&world).await;
    world.post(author);
    world.settle().await;
    assert_eq!(items(&world, reader).await.len(), 1);
    // Every post is cached, but whether it is still there is not known.
    go_away(&world, &POST);
    assert_eq!(world.get(reader, "").await.status(), 503);
    go_away(&world, &["posts"]);
    assert_eq!(items(&world, reader).await.len(), 1);
}

#[tokio::test]
async fn a_defect_is_no_absence() {
    let world = World::new(Config::default());
    let (author, reader) = followed(&world).await;
    world.post(author);
    world.settle().await;
    world.clock.advance(Duration::from_secs(9));
    world.know().counts_fail_once = true;
    assert_eq!(world.get(reader, "").await.status(), 500);
}

/// A cache that is away: it fails no reading.
struct Away;

#[async_trait]
impl Feed for Away {
    async fn get_or_load<'a>(&self, _: UserId, load: Load<'a>) -> Result<Cached, Problem> {
        Ok(Cached { skeleton: Arc::new(load.await?), hit: false })
    }

    async fn forget(&self, _: &[UserId]) -> Result<(), Problem> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Problem> {
        Err(Problem::new(Code::Unavailable, "away"))
    }
}

#[tokio::test]
async fn a_heartbeat_tells_of_a_cache_that_is_away() {
    let world = World::new(Config::default());
    world.timeline.heartbeat().await.unwrap();
    let problem = world.beside(Arc::new(Away)).heartbeat().await.unwrap_err();
    assert_eq!(problem.code, Code::Unavailable);
}

#[tokio::test]
async fn frames_go_out_without_what_is_missing() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let (author, reader) = followed(&world).await;
    let mut client = Client::open(address, reader).await;
    let start = client.hello["cursor"].clone();
    go_away(&world, &[&USER[..], &SOCIAL].concat());
    let posts: Vec<PostId> = (0..2).map(|_| world.post(author)).collect();
    // Old enough that their frames ask for counts.
    world.clock.advance(Duration::from_secs(9));
    world.deliver_all_of("timeline-fanout").await;
    let frames = client.until_pong().await;
    assert_eq!(entries(&frames), posts);
    for frame in &frames {
        assert_eq!(frame["data"]["author"], Value::Null);
        assert_eq!(frame["data"]["likeCount"], Value::Null);
    }
    let resumed = Client::open(address, reader).await.resume(&start).await;
    assert_eq!(entries(&resumed), posts);
    assert_eq!(resumed[0]["data"]["author"], Value::Null);
    assert_eq!(resumed[0]["data"]["liked"], Value::Null);
    go_away(&world, &[]);
    let resumed = Client::open(address, reader).await.resume(&start).await;
    assert_eq!(resumed[0]["data"]["author"]["userId"], json!(author));
    assert_eq!(resumed[0]["data"]["liked"], json!(false));
}
