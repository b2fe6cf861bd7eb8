//! Resuming: everything after the cursor, then live, with nothing lost and nothing twice.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kernel::{PostId, UserId};
use serde_json::{Value, json};
use timeline::Config;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::{Error, Message};
use world::World;
use world::client::{Client, entries, listen, ticket};

/// So long that nothing goes live by itself.
fn patient() -> Config {
    Config { resume_grace: Duration::from_secs(600), ..Config::default() }
}

async fn pair(world: &World) -> (UserId, UserId) {
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    (author, reader)
}

/// Writes posts one after the other, so that they arrive in this order.
async fn write(world: &World, author: UserId, many: usize) -> Vec<PostId> {
    let mut posts = Vec::with_capacity(many);
    for _ in 0..many {
        posts.push(world.post(author));
        world.settle().await;
    }
    posts
}

/// The arrivals of entries, in the order of the frames.
fn cursors(frames: &[Value]) -> Vec<String> {
    let entries = frames.iter().filter(|frame| frame["type"] == "timeline.entry");
    entries.map(|frame| arrival(&frame["cursor"])).collect()
}

/// The part of a cursor that orders it: numbers of one length, and for all frames the same post.
fn arrival(cursor: &Value) -> String {
    kernel::Cursor::parse("timeline", cursor.as_str().unwrap()).unwrap().at
}

#[tokio::test]
async fn live_frames_wait_for_the_resume_that_goes_before_them() {
    let world = World::new(patient());
    let address = listen(&world).await;
    let (author, reader) = pair(&world).await;
    let first = Client::open(address, reader).await;
    let missed = write(&world, author, 3).await;
    let mut again = Client::open(address, reader).await;
    let held = write(&world, author, 3).await;
    let frames = again.resume(&first.hello["cursor"]).await;
    assert_eq!(entries(&frames), [missed.clone(), held.clone()].concat());
    assert!(cursors(&frames).is_sorted_by(|a, b| a < b));
    // A cursor that lies behind the hello's: another socket has told what it covers.
    let mut third = Client::open(address, reader).await;
    let told = write(&world, author, 2).await;
    let ahead = entries(&again.until_pong().await);
    assert_eq!(ahead, told);
    let mut fourth = Client::open(address, reader).await;
    let last = write(&world, author, 2).await;
    let frames = again.until_pong().await;
    assert_eq!(entries(&third.resume(&frames[0]["cursor"]).await), last[1..]);
    assert_eq!(entries(&fourth.resume(&frames[1]["cursor"]).await), []);
}

#[tokio::test]
async fn without_a_resume_they_wait_for_a_moment_only() {
    let grace = Duration::from_millis(300);
    let world = World::new(Config { resume_grace: grace, ..Config::default() });
    let address = listen(&world).await;
    let (author, reader) = pair(&world).await;
    let begun = Instant::now();
    let mut client = Client::open(address, reader).await;
    let posts = write(&world, author, 1).await;
    assert_eq!(entries(&[client.next().await]), posts);
    assert!(begun.elapsed() >= grace);
    // From now on nothing waits, and a message that is no resume ends the waiting too.
    let posts = write(&world, author, 1).await;
    assert_eq!(entries(&[client.next().await]), posts);
    let world = World::new(patient());
    let (author, reader) = pair(&world).await;
    let mut client = Client::open(listen(&world).await, reader).await;
    let posts = write(&world, author, 1).await;
    client.say(json!({"type": "dance"})).await;
    assert_eq!(client.next().await["type"], "error");
    assert_eq!(entries(&[client.next().await]), posts);
}

#[tokio::test]
async fn a_late_or_second_resume_keeps_the_order() {
    let world = World::new(patient());
    let address = listen(&world).await;
    let (author, reader) = pair(&world).await;
    let start = Client::open(address, reader).await.hello["cursor"].clone();
    let missed = write(&world, author, 3).await;
    let mut client = Client::open(address, reader).await;
    let live = write(&world, author, 2).await;
    let frames = client.until_pong().await;
    assert_eq!(entries(&frames), live);
    // Late: the whole way again, so that the cursors it keeps lead up to now.
    let again = client.resume(&start).await;
    assert_eq!(entries(&again), [missed, live].concat());
    assert!(cursors(&again).is_sorted_by(|a, b| a < b));
    // What has been told, in order, is not told again.
    for cursor in [&start, &client.hello["cursor"].clone(), &frames[0]["cursor"]] {
        assert_eq!(client.resume(cursor).await, Vec::<Value>::new());
    }
    let next = write(&world, author, 2).await;
    let frames = client.until_pong().await;
    assert_eq!(entries(&frames), next);
    assert!(cursors(&again).last() < cursors(&frames).first());
}

#[tokio::test]
async fn a_gap_as_wide_as_a_feed_is_replayed_and_one_that_was_cut_is_not() {
    let config = Config { feed_rows_max: 20, resume_entries_max: 20, trim_every: 1, ..patient() };
    let world = World::new(config);
    let address = listen(&world).await;
    let (author, other, reader) = (world.user(), world.user(), world.user());
    world.follow(reader, author);
    world.follow(reader, other);
    write(&world, author, 5).await;
    let start = Client::open(address, reader).await.hello["cursor"].clone();
    let resume = async || Client::open(address, reader).await.resume(&start).await;
    let mut posts = write(&world, author, 15).await;
    posts.extend(write(&world, other, 5).await);
    // Loading a page cuts the feed.
    assert_eq!(world.ids(reader).await.len(), 25);
    assert_eq!(entries(&resume().await), posts);
    posts.extend(write(&world, other, 1).await);
    assert_eq!(resume().await, [json!({"type": "resync"})]);
    assert_eq!(world.ids(reader).await.len(), 26);
    assert_eq!(resume().await, [json!({"type": "resync"})]);
    // Fewer rows are left than a resume brings, yet one of the gap's was cut.
    world.unfollow(reader, other);
    world.settle().await;
    assert_eq!(resume().await, [json!({"type": "resync"})]);
}

#[tokio::test]
async fn eight_hundred_are_replayed_and_eight_hundred_and_one_are_not() {
    let world = World::new(Config { trim_every: 1, ..patient() });
    let address = listen(&world).await;
    let (author, reader) = pair(&world).await;
    write(&world, author, 60).await;
    world.settle().await;
    let start = Client::open(address, reader).await.hello["cursor"].clone();
    let mut posts: Vec<_> = (0..800).map(|_| world.post(author)).collect();
    world.settle().await;
    assert_eq!(world.ids(reader).await.len(), 100);
    let mut told = entries(&Client::open(address, reader).await.resume(&start).await);
    told.sort();
    assert_eq!(told, posts);
    posts.extend(write(&world, author, 1).await);
    let frames = Client::open(address, reader).await.resume(&start).await;
    assert_eq!(frames, [json!({"type": "resync"})]);
}

/// What a client that keeps every frame's cursor has been given.
struct Flicker {
    reader: UserId,
    cursor: Option<Value>,
    given: Vec<PostId>,
    state: u64,
}

impl Flicker {
    /// 50 to 150 ms.
    fn stay(&mut self) -> Duration {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Duration::from_millis(50 + (self.state >> 33) % 101)
    }

    /// One connection, cut off in the middle of whatever is on its way.
    async fn connect(&mut self, address: std::net::SocketAddr) {
        let until = Instant::now() + self.stay();
        let mut client = match Client::connect(address, &ticket(self.reader)).await {
            Ok(client) => client,
            // The sockets before it have not all been seen to go.
            Err(Error::Http(response)) if response.status() == 429 => {
                return tokio::task::yield_now().await;
            }
            Err(other) => panic!("{other}"),
        };
        let cursor = self.cursor.get_or_insert(client.hello["cursor"].clone()).clone();
        let mut last = arrival(&cursor);
        client.say(json!({"type": "resume", "cursor": cursor})).await;
        while let Ok(Some(message)) = timeout_at(until, client.stream.next()).await {
            let frame: Value = match message.unwrap() {
                Message::Text(text) => serde_json::from_str(&text).unwrap(),
                // Too slow, at worst.
                Message::Close(_) => return,
                _ => continue,
            };
            assert_eq!(frame["type"], "timeline.entry", "{frame}");
            let here = arrival(&frame["cursor"]);
            assert!(here > last, "cursors never go back");
            last = here;
            self.given.extend(entries(std::slice::from_ref(&frame)));
            self.cursor = Some(frame["cursor"].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_flickers_is_given_every_post_once() {
    let world = Arc::new(World::new(Config::default()));
    let address = listen(&world).await;
    let (authors, readers) = (world.users(3), world.users(3));
    for reader in &readers {
        authors.iter().for_each(|author| world.follow(*reader, *author));
    }
    world.settle().await;
    let mut flickers: Vec<_> = readers
        .iter()
        .zip(1..)
        .map(|(reader, state)| {
            let given = Vec::new();
            Flicker { reader: *reader, cursor: None, given, state }
        })
        .collect();
    // All have been there once before the first post.
    for flicker in &mut flickers {
        flicker.connect(address).await;
    }
    let writer = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            let end = Instant::now() + Duration::from_secs(4);
            let mut posts = Vec::new();
            while Instant::now() < end {
                posts.extend(authors.iter().map(|author| world.post(*author)));
                world.settle().await;
            }
            posts
        }
    });
    let reading = flickers.into_iter().map(|mut flicker| {
        let writing = writer.abort_handle();
        tokio::spawn(async move {
            while !writing.is_finished() {
                flicker.connect(address).await;
            }
            // Once more in peace, for what was left.
            let mut client = Client::open(address, flicker.reader).await;
            let rest = client.resume(flicker.cursor.as_ref().unwrap()).await;
            flicker.given.extend(entries(&rest));
            flicker.given
        })
    });
    let reading: Vec<_> = reading.collect();
    let posts = writer.await.unwrap();
    assert!(posts.len() > 200, "{} posts are no load", posts.len());
    for given in reading {
        let mut given = given.await.unwrap();
        given.sort();
        assert_eq!(given, posts, "every post exactly once");
    }
}
