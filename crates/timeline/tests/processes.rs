//! Several processes that serve the timeline on one table.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::PostId;
use kernel::sockets::Connections;
use serde_json::Value;
use timeline::Config;
use world::client::{Client, entries, listen_at};
use world::{World, ids};

fn config() -> Config {
    // So long that nothing goes live by itself.
    let config = Config { resume_grace: Duration::from_secs(600), ..Config::default() };
    config.for_several_processes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_any_process_are_given_what_each_of_them_brings_once() {
    let world = Arc::new(World::new(Config { fanout_page: 20, ..config() }));
    world.join();
    let (reader, authors) = (world.user(), world.users(4));
    for follower in world.users(50).into_iter().chain([reader]) {
        authors.iter().for_each(|author| world.follow(follower, *author));
    }
    world.settle().await;
    let first = world.post(authors[0]);
    world.settle().await;
    let (page, _) = world.read(reader, "?limit=50").await;
    let mut newer = page["prevCursor"].clone();
    let mut given = ids(&page);
    let mut posts: BTreeSet<_> =
        (0..60).map(|number| world.post(authors[number % authors.len()])).collect();
    posts.insert(first);
    let settle = |world: &Arc<World>| {
        let world = Arc::clone(world);
        tokio::spawn(async move { world.settle().await })
    };
    let (here, there) = (settle(&world), settle(&world));
    loop {
        let over = here.is_finished() && there.is_finished();
        let cursor = newer.as_str().unwrap();
        let (page, _) = world.read(reader, &format!("?limit=7&cursor={cursor}")).await;
        newer = page["prevCursor"].clone();
        given.extend(ids(&page));
        if over && ids(&page).is_empty() {
            break;
        }
    }
    tokio::try_join!(here, there).unwrap();
    assert_eq!(given.len(), posts.len(), "none twice");
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), posts);
    assert_eq!(world.audit().await, []);
}

/// The arrivals of entries, in the order of the frames.
fn arrivals(frames: &[Value]) -> Vec<String> {
    let of = |frame: &Value| {
        kernel::Cursor::parse("timeline", frame["cursor"].as_str().unwrap()).unwrap().at
    };
    frames.iter().map(of).collect()
}

#[tokio::test]
async fn a_socket_resumes_at_another_process_without_loss_or_repeat() {
    let world = World::new(config());
    world.join();
    let [here, there] = &world.apps()[..] else { panic!("two processes") };
    let (here, there) = (listen_at(here.clone()).await, listen_at(there.clone()).await);
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    let write = async |many: usize| {
        let mut posts: Vec<PostId> = Vec::new();
        for _ in 0..many {
            posts.push(world.post(author));
            world.settle().await;
        }
        posts
    };
    let mut first = Client::open(here, reader).await;
    let told = write(6).await;
    let frames = first.until_pong().await;
    assert_eq!(entries(&frames), told);
    assert!(arrivals(&frames).is_sorted_by(|a, b| a < b), "whoever told it");
    let missed = write(6).await;
    let mut second = Client::open(there, reader).await;
    let live = write(6).await;
    let again = second.resume(&frames[3]["cursor"]).await;
    assert_eq!(entries(&again), [&told[4..], &missed[..], &live[..]].concat());
    assert!(arrivals(&again).is_sorted_by(|a, b| a < b));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_in_its_turn_is_succeeded() {
    for polls in 1..40 {
        let world = World::crowded(config(), 7, 2);
        let (author, reader) = (world.user(), world.user());
        world.follow(reader, author);
        world.settle().await;
        let mut mailbox = world.hub.attach(reader).unwrap();
        let post = world.post(author);
        world.crash(1, polls).await;
        // Whoever had it next found the lease of a dead process, and whatever that had done.
        world.settle().await;
        assert_eq!(world.ids(reader).await, [post]);
        let told = tokio::time::timeout(Duration::from_secs(1), mailbox.receive()).await;
        assert!(told.is_ok_and(|frame| frame.is_ok()), "died after {polls} polls");
        assert_eq!(world.audit().await, []);
    }
}
