//! What happens at the same moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::jostling::begin;
use kernel::peers::Peers;
use kernel::{EventData, UserId};
use tokio::task::JoinSet;

use crate::world::World;

/// Versions of each edge count up without a gap, made and undone in turn; how many are there.
pub(crate) fn edges_told(events: &[EventData]) -> HashMap<String, bool> {
    let mut by_edge: HashMap<String, Vec<(u64, bool)>> = HashMap::new();
    for event in events {
        let (edge, version, on) = match event {
            EventData::FollowCreated(e) => (format!("{e:?}"), e.version, true),
            EventData::FollowDeleted(e) => (format!("{e:?}"), e.version, false),
            EventData::LikeCreated(e) => (format!("{e:?}"), e.version, true),
            EventData::LikeDeleted(e) => (format!("{e:?}"), e.version, false),
            other => panic!("not told by this service: {other:?}"),
        };
        let edge = edge.split(", version").next().unwrap().to_owned();
        by_edge.entry(edge).or_default().push((version, on));
    }
    for (edge, changes) in &mut by_edge {
        changes.sort_unstable();
        for (index, (version, on)) in changes.iter().enumerate() {
            let expected = (u64::try_from(index).unwrap() + 1, index % 2 == 0);
            assert_eq!((*version, *on), expected, "{edge}: {changes:?}");
        }
    }
    by_edge.into_iter().map(|(edge, changes)| (edge, changes.last().unwrap().1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn likes_and_unlikes_at_once_count_exactly() {
    let world = World::new();
    let post = world.post();
    let users = world.users(64);
    let mut at_once = JoinSet::new();
    for (index, user) in users.iter().copied().cycle().take(64 * 5).enumerate() {
        let world = Arc::clone(&world);
        at_once.spawn(async move { world.like(user, post, index % 3 != 0).await.status });
    }
    assert!(at_once.join_all().await.iter().all(|status| *status == 200));
    let count = world.social.like_counts(&[post]).await.unwrap()[0];
    let mut liked = 0_u64;
    for user in &users {
        liked += u64::from(world.liked(*user, &[post]).await[0]);
    }
    let page = world.get(users[0], &format!("/posts/{post}/likes?limit=100")).await;
    let told = edges_told(&world.told().await).values().filter(|on| **on).count();
    assert_eq!((liked, page.people().len(), told), (count, told, told));
    assert_eq!(usize::try_from(count), Ok(told));
    world.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_user_who_likes_64_times_at_once_likes_once() {
    let world = World::new();
    let (user, post) = (world.user(), world.post());
    let mut at_once = JoinSet::new();
    for _ in 0..64 {
        let world = Arc::clone(&world);
        at_once.spawn(async move { world.like(user, post, true).await });
    }
    for answer in at_once.join_all().await {
        assert_eq!((answer.status, &answer.body["likeCount"]), (200, &1.into()));
    }
    assert_eq!(world.told().await.len(), 1);
    let mut at_once = JoinSet::new();
    for index in 0..64 {
        let world = Arc::clone(&world);
        at_once.spawn(async move { world.like(user, post, index % 2 == 0).await.status });
    }
    assert!(at_once.join_all().await.iter().all(|status| *status == 200));
    world.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn follows_at_once_count_exactly() {
    let world = World::new();
    let users = world.users(9);
    let mut at_once = JoinSet::new();
    for round in 0..4 {
        for (index, follower) in users.iter().copied().enumerate() {
            for followee in users.iter().copied().filter(|user| *user != follower) {
                let world = Arc::clone(&world);
                let on = (round + index) % 3 != 0;
                at_once.spawn(async move { world.follow(follower, followee, on).await.status });
            }
        }
    }
    assert!(at_once.join_all().await.iter().all(|status| *status == 200));
    world.audit();
    let mut total = (0, 0);
    for user in &users {
        let (followers, following) = world.counts(*user).await;
        assert_eq!(
            world.social.followers(*user, None, 100).await.unwrap().users.len() as u64,
            followers
        );
        assert_eq!(
            world.social.following(*user, None, 100).await.unwrap().users.len() as u64,
            following
        );
        total = (total.0 + followers, total.1 + following);
    }
    let told = edges_told(&world.told().await).values().filter(|on| **on).count() as u64;
    assert_eq!(total, (told, told));
}

/// A reader who follows the newest likes sees each once, though commits overtake each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_walks_to_the_newest_misses_nothing() {
    let world = World::new();
    let (reader, post) = (world.user(), world.post());
    world.like(reader, post, true).await;
    // Before there are more than a page holds: from here the walk leads to newer ones only.
    let mut page = world.get(reader, &format!("/posts/{post}/likes")).await;
    let done = Arc::new(AtomicBool::new(false));
    let walker = tokio::spawn({
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        async move {
            let mut seen = page.people();
            loop {
                let last_round = done.load(Ordering::SeqCst);
                let cursor = page.cursor("prevCursor").unwrap();
                let uri = format!("/posts/{post}/likes?limit=100&cursor={cursor}");
                page = world.get(reader, &uri).await;
                seen.extend(page.people());
                if last_round && page.people().is_empty() {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let mut writers = JoinSet::new();
    for user in world.users(300) {
        let world = Arc::clone(&world);
        writers.spawn(async move { world.like(user, post, true).await.status });
    }
    assert!(writers.join_all().await.iter().all(|status| *status == 200));
    done.store(true, Ordering::SeqCst);
    let seen = walker.await.unwrap();
    let distinct: HashSet<UserId> = seen.iter().copied().collect();
    assert_eq!((seen.len(), distinct.len()), (301, 301));
}

#[tokio::test]
async fn a_like_whose_asker_went_away_is_not_passed() {
    let world = World::new();
    let (reader, post) = (world.user(), world.post());
    let uri = format!("/posts/{post}/likes");
    world.like(reader, post, true).await;
    let mut page = world.get(reader, &uri).await;
    let mut seen = page.people();
    for (number, user) in world.users(100).into_iter().enumerate() {
        begin(world.like(world.user(), post, true), 1 + number % 3).await;
        world.like(user, post, true).await;
        let cursor = page.cursor("prevCursor").unwrap();
        page = world.get(reader, &format!("{uri}?cursor={cursor}")).await;
        seen.extend(page.people());
    }
    assert_eq!((world.told().await.len(), seen.len()), (201, 201));
}
