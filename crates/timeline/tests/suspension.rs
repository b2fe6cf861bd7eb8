//! Suspended people at the service's door: their posts are in no timeline, and come back.

mod world;

use kernel::PostId;
use timeline::Config;
use world::World;
use world::client::{Client, entries, listen};

fn newest_first(posts: &[PostId]) -> Vec<PostId> {
    posts.iter().rev().copied().collect()
}

#[tokio::test]
async fn posts_of_suspended_people_leave_timelines_at_once_and_come_back() {
    let world = World::new(Config { fanout_page: 2, skeleton_entries: 4, ..Config::default() });
    let (reader, loud, other) = (world.user(), world.user(), world.user());
    world.follow(reader, loud);
    world.follow(reader, other);
    world.settle().await;
    let (mut of_other, mut all) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        all.extend([world.post(loud), world.post(other)]);
        of_other.push(all[all.len() - 1]);
    }
    world.settle().await;
    assert_eq!(world.all(reader, 7).await, newest_first(&all), "and cached now");

    world.suspend(loud, true);
    assert_eq!(world.all(reader, 3).await, newest_first(&of_other), "before the event is handled");
    world.settle().await;
    assert_eq!(world.all(reader, 3).await, newest_first(&of_other));
    assert!(world.ids(loud).await.is_empty());
    assert_eq!(world.audit().await, [], "what lies there for their return is no fault");

    world.suspend(loud, false);
    assert_eq!(world.all(reader, 7).await, newest_first(&all));
    world.settle().await;
    assert_eq!(world.all(reader, 7).await, newest_first(&all));
    assert_eq!(world.audit().await, []);
}

/// Authors with many followers are merged when read, and those newly followed are brought along.
#[tokio::test]
async fn nor_are_they_pulled_or_brought_by_a_follow() {
    let world = World::new(Config { big_followers: 1, ..Config::default() });
    let (reader, late, loud) = (world.user(), world.user(), world.user());
    let others = world.users(3);
    for follower in others.iter().chain([&reader]) {
        world.follow(*follower, loud);
    }
    world.settle().await;
    let posts: Vec<PostId> = (0..5).map(|_| world.post(loud)).collect();
    world.settle().await;
    assert_eq!(world.ids(reader).await, newest_first(&posts));
    world.suspend(loud, true);
    assert!(world.ids(reader).await.is_empty());
    world.follow(late, loud);
    world.settle().await;
    assert!(world.ids(reader).await.is_empty() && world.ids(late).await.is_empty());
    world.suspend(loud, false);
    world.settle().await;
    for reader in [reader, late] {
        assert_eq!(world.ids(reader).await, newest_first(&posts));
    }
    assert_eq!(world.audit().await, []);
}

/// A post that was on its way is not told live, and is there on the day of its author's return.
#[tokio::test]
async fn nothing_of_them_is_told_live_nor_when_a_socket_resumes() {
    let world = World::new(Config::default());
    let address = listen(&world).await;
    let (reader, loud) = (world.user(), world.user());
    world.follow(reader, loud);
    world.settle().await;
    let mut client = Client::open(address, reader).await;
    let mut theirs = Client::open(address, loud).await;
    let cursor = client.hello["cursor"].clone();
    let post = world.post(loud);
    world.suspend(loud, true);
    world.settle().await;
    assert_eq!(entries(&client.until_pong().await), [] as [PostId; 0]);
    assert_eq!(theirs.closed().await, 4401);
    let mut again = Client::open(address, reader).await;
    assert_eq!(entries(&again.resume(&cursor).await), [] as [PostId; 0]);
    world.suspend(loud, false);
    world.settle().await;
    let mut once_more = Client::open(address, reader).await;
    assert_eq!(entries(&once_more.resume(&cursor).await), [post]);
    assert_eq!(world.ids(reader).await, [post]);
    assert_eq!(world.audit().await, []);
}
