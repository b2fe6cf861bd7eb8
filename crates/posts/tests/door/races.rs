//! What happens at the same moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::world::{Answer, World};
use conformance::jostling::begin;
use kernel::{EventData, UserId};
use tokio::task::JoinSet;

async fn write_at_once(
    world: &Arc<World>,
    who: impl Fn(usize) -> UserId,
    key: Option<&'static str>,
    times: usize,
) -> Vec<Answer> {
    let mut writers = JoinSet::new();
    for index in 0..times {
        let (world, who) = (Arc::clone(world), who(index));
        writers.spawn(async move { world.write_once(who, "a", key).await });
    }
    writers.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_post() {
    let world = World::new();
    let user = world.user();
    let answers = write_at_once(&world, |_| user, Some("k"), 64).await;
    let ids: HashSet<_> = answers.iter().map(|answer| answer.body["postId"].to_string()).collect();
    assert!(answers.iter().all(|answer| answer.status == 201));
    assert_eq!(ids.len(), 1);
    assert_eq!(world.told().await.len(), 1);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_at_once_all_succeed_up_to_the_limit() {
    let world = World::new();
    let user = world.user();
    let answers = write_at_once(&world, |_| user, None, 64).await;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(201), with(429)), (10, 54));
    assert_eq!(world.told().await.len(), 10);
    assert_eq!(world.get(user, "/posts?limit=100").await.ids().len(), 10);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_users_do_not_stand_in_each_others_way() {
    let world = World::new();
    let users: Vec<UserId> = (0..64).map(|_| world.user()).collect();
    let answers = write_at_once(&world, |index| users[index % 64], None, 640).await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_deleted_once() {
    let world = World::new();
    let user = world.user();
    let id = world.written(user, "a").await;
    let mut deleters = JoinSet::new();
    for _ in 0..16 {
        let (world, id) = (Arc::clone(&world), id.clone());
        deleters.spawn(async move { world.delete(user, &id).await.status });
    }
    let statuses = deleters.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 15);
    assert_eq!(world.told().await.len(), 2);
    world.audit();
}

/// Whoever follows the newest entries sees every post once, though commits overtake each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_walks_to_the_newest_misses_nothing() {
    let world = World::with(World::unlimited());
    let reader = world.user();
    world.written(reader, "first").await;
    // Before there are more than a page holds: from here the walk leads to newer ones only.
    let mut page = world.get(reader, "/posts").await;
    let done = Arc::new(AtomicBool::new(false));
    let walker = tokio::spawn({
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        async move {
            let mut seen = page.ids();
            loop {
                let last_round = done.load(Ordering::SeqCst);
                let cursor = page.cursor("prevCursor").unwrap();
                page = world.get(reader, &format!("/posts?limit=100&cursor={cursor}")).await;
                seen.extend(page.ids());
                if last_round && page.ids().is_empty() {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        let (world, user) = (Arc::clone(&world), world.user());
        writers.spawn(async move {
            for _ in 0..25 {
                let id = world.written(user, "a").await;
                // Whoever was answered sees the post at once.
                assert!(world.get(user, "/posts?limit=100").await.ids().contains(&id));
            }
        });
    }
    writers.join_all().await;
    done.store(true, Ordering::SeqCst);
    let seen = walker.await.unwrap();
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (401, 401));
}

#[tokio::test]
async fn a_post_whose_asker_went_away_is_not_passed() {
    let world = World::with(World::unlimited());
    let reader = world.user();
    let mut page = world.get(reader, "/posts").await;
    let mut seen = Vec::new();
    for number in 0..100 {
        begin(world.write(world.user(), "left"), 1 + number % 3).await;
        world.written(reader, "after it").await;
        let cursor = page.cursor("prevCursor");
        let uri = cursor.map_or("/posts".to_owned(), |cursor| format!("/posts?cursor={cursor}"));
        page = world.get(reader, &uri).await;
        seen.extend(page.ids());
    }
    assert_eq!((world.told().await.len(), seen.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_of_a_deleted_user_stays() {
    for _ in 0..20 {
        let world = World::with(World::unlimited());
        let user = world.user();
        let before = write_at_once(&world, |_| user, None, 30).await;
        assert!(before.iter().all(|answer| answer.status == 201));
        let (racing, ()) =
            tokio::join!(write_at_once(&world, |_| user, None, 30), world.user_deleted(user));
        assert!(racing.iter().all(|answer| [201, 401].contains(&answer.status)));
        let written = 30 + racing.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(world.get(user, "/posts").await.ids(), [""; 0]);
        assert_eq!(world.write(user, "late").await.status, 401);
        let told = world.told().await;
        let deleted = |data: &&EventData| matches!(data, EventData::PostDeleted(_));
        assert_eq!(told.iter().filter(deleted).count(), written);
        assert_eq!(told.len(), 2 * written);
        world.audit();
    }
}
