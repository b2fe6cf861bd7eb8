//! What happens between two steps of a reaction, one step at a time.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::sockets::{Connections, Mailbox};
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write};
use kernel::{Post, PostId};
use serde_json::Value;
use timeline::Config;
use tokio::sync::Semaphore;
use world::World;

/// A table that stops at the first commit that takes edges away, until it is let go on.
struct Held {
    inner: Arc<dyn Table>,
    reached: Arc<Semaphore>,
    going_on: Arc<Semaphore>,
}

#[async_trait]
impl Table for Held {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        self.inner.get(keys).await
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        self.inner.query(query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        let takes_edges = |write: &Write| match write {
            Write::Delete { key, .. } => key.partition.starts_with("following#"),
            _ => false,
        };
        if writes.iter().any(takes_edges) && !self.going_on.is_closed() {
            self.reached.add_permits(1);
            let _ = self.going_on.acquire().await;
        }
        self.inner.commit(writes).await
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        self.inner.scatter(writes).await
    }
}

#[tokio::test]
async fn a_post_in_the_middle_of_a_deletion_leaves_no_row() {
    let (reached, going_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let hold = (reached.clone(), going_on.clone());
    let world = Arc::new(World::around(Config::default(), move |inner| {
        Arc::new(Held { inner, reached: hold.0, going_on: hold.1 })
    }));
    let (leaver, author) = (world.user(), world.user());
    world.follow(leaver, author);
    world.settle().await;
    world.delete_user(leaver);
    let leaving = {
        let world = world.clone();
        tokio::spawn(async move { world.deliver_all_of("timeline-user").await })
    };
    let _ = reached.acquire().await.unwrap();
    world.post(author);
    world.deliver_all_of("timeline-fanout").await;
    going_on.close();
    leaving.await.unwrap();
    world.settle().await;
    let rows = Query::all(format!("feed#{leaver}"), 10);
    assert_eq!(world.table.query(rows).await.unwrap().items, []);
    assert_eq!(world.audit().await, []);
}

/// The posts of the entries that have been sent.
async fn told(mailbox: &mut Mailbox) -> Vec<PostId> {
    let mut told = Vec::new();
    while let Ok(frame) = tokio::time::timeout(Duration::ZERO, mailbox.receive()).await {
        let frame: Value = serde_json::from_slice(&frame.unwrap().text).unwrap();
        told.push(frame["data"]["post"]["postId"].as_str().unwrap().parse().unwrap());
    }
    told
}

#[tokio::test]
async fn a_fan_out_that_fails_before_it_tells_tells_when_repeated() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    world.settle().await;
    let mut mailbox = world.hub.attach(reader).unwrap();
    let posts = [world.post(author), world.post(author)];
    // Old enough that their frames ask for counts.
    world.clock.advance(Duration::from_secs(9));
    world.know().counts_fail_once = true;
    world.deliver_all_of("timeline-fanout").await;
    assert_eq!(told(&mut mailbox).await, posts);
}

#[tokio::test]
async fn a_post_that_a_back_fill_found_first_is_told_once() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    world.follow(reader, author);
    let mut mailbox = world.hub.attach(reader).unwrap();
    let post = world.post(author);
    world.deliver_all_of("timeline-follow").await;
    assert_eq!(world.ids(reader).await, [post]);
    assert_eq!(told(&mut mailbox).await, []);
    world.deliver_all_of("timeline-fanout").await;
    assert_eq!(told(&mut mailbox).await, [post]);
    assert_eq!(world.ids(reader).await, [post]);
}

#[tokio::test]
async fn a_page_below_the_watermark_reads_no_more_than_it_may_show() {
    let world = World::new(Config::default());
    let (author, reader) = (world.user(), world.user());
    let posts: Vec<Post> = (0..30_000).map(|_| world.write(author)).collect();
    world.follow(reader, author);
    world.settle().await;
    // From the far end of time, as a client may make it up, and from the oldest post.
    let (nothing, old) = (PostId(ulid::Ulid(0)), posts[2000].post_id);
    for (from, expected, most) in [(nothing, 0..5, 200), (old, 2001..2006, 40)] {
        let cursor = kernel::Cursor::newer(format!("{from}0")).render("timeline");
        let before = world.calls("newest_posts");
        let (page, _) = world.read(reader, &format!("?limit=5&cursor={cursor}")).await;
        let mut found = world::ids(&page);
        found.reverse();
        let expected: Vec<_> = posts[expected].iter().map(|post| post.post_id).collect();
        assert_eq!(found, expected);
        let calls = world.calls("newest_posts") - before;
        assert!(calls < most, "{calls} calls");
    }
}
