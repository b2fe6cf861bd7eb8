//! What is left when posts and users are deleted: nothing, whatever the order of events.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kernel::bus::Message;
use kernel::peers::Peers;
use kernel::table::{Key, Write};
use kernel::{EventData, PostId, UserId};
use proptest::prelude::*;
use social::Config;
use tokio::task::JoinSet;

use crate::races::edges_told;
use crate::world::World;

/// Every piece is delivered twice and none finishes the work alone; returns the deliveries.
async fn work_off_doubled(world: &World, message: Message) -> usize {
    let mut deliveries = 0;
    let mut messages = vec![message];
    while let Some(message) = messages.pop() {
        world.deliver(message.clone()).await;
        world.deliver(message).await;
        deliveries += 2;
        messages.extend(world.bus.queued.lock().unwrap().drain(..).map(|(_, message)| message));
        assert!(deliveries < 1000);
    }
    deliveries
}

fn rows_that_name(world: &World, id: &str) -> Vec<Key> {
    let items = world.items().into_iter();
    let named = items.filter(|item| {
        item.key.partition.contains(id)
            || item.key.sort.contains(id)
            || item.body.as_ref() == id.as_bytes()
    });
    named.map(|item| item.key).collect()
}

#[tokio::test]
async fn the_likes_of_a_deleted_post_go_in_pieces() {
    let world = World::with(Config { commits_per_delivery: 1, ..Config::default() });
    let (post, kept) = (world.post(), world.post());
    for user in world.users(100) {
        world.like(user, post, true).await;
        world.like(user, kept, true).await;
    }
    let unliked = world.user();
    world.like(unliked, post, true).await;
    world.like(unliked, post, false).await;
    world.told().await;
    assert!(work_off_doubled(&world, world.delete_post(post)).await > 4);
    // The likes end with their post, without an event each.
    assert_eq!(world.told().await, []);
    let mark = Key::new(format!("post#{post}"), "gone");
    assert_eq!(rows_that_name(&world, &post.to_string()), [mark]);
    assert_eq!(world.social.like_counts(&[post, kept]).await.unwrap(), [0, 100]);
    // A like that was on its way when the post was still there comes too late.
    world.others.posts.lock().unwrap().insert(post);
    for on in [true, false] {
        assert_eq!(world.like(unliked, post, on).await.code(), "not_found");
    }
    world.audit();
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_and_every_count_is_right() {
    let world = World::with(Config { commits_per_delivery: 1, ..Config::default() });
    let user = world.user();
    let others = world.users(50);
    let posts: Vec<PostId> = (0..50).map(|_| world.post()).collect();
    for (other, post) in others.iter().copied().zip(posts.iter().copied()) {
        world.follow(user, other, true).await;
        world.follow(other, user, true).await;
        world.like(user, post, true).await;
        world.like(other, post, true).await;
    }
    world.follow(user, others[0], false).await;
    world.told().await;
    assert!(work_off_doubled(&world, world.delete_user(user)).await > 6);
    let told = world.told().await;
    let of_kind = |wanted: fn(&EventData) -> bool| told.iter().filter(|data| wanted(data)).count();
    assert_eq!(of_kind(|data| matches!(data, EventData::FollowDeleted(_))), 99);
    assert_eq!(of_kind(|data| matches!(data, EventData::LikeDeleted(_))), 50);
    assert_eq!(told.len(), 149);
    let mark = Key::new(format!("user#{user}"), "gone");
    assert_eq!(rows_that_name(&world, &user.to_string()), [mark]);
    for (other, post) in others.iter().zip(&posts) {
        assert_eq!(world.counts(*other).await, (0, 0));
        assert_eq!(world.social.like_counts(&[*post]).await.unwrap(), [1]);
    }
    // What was on its way comes too late.
    assert_eq!(world.like(user, posts[0], true).await.code(), "unauthenticated");
    assert_eq!(world.follow(user, others[0], true).await.code(), "unauthenticated");
    world.others.users.lock().unwrap().insert(user);
    assert_eq!(world.follow(others[0], user, true).await.code(), "not_found");
    world.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_racing_like_or_follow_cannot_stay() {
    for _ in 0..20 {
        let world = World::new();
        let (user, post) = (world.user(), world.post());
        let others = world.users(20);
        let mut at_once = JoinSet::new();
        for other in others.iter().copied() {
            for on in [true, false, true] {
                let world = Arc::clone(&world);
                at_once.spawn(async move {
                    world.follow(other, user, on).await;
                    world.follow(user, other, on).await;
                    world.like(other, post, on).await;
                    world.like(user, post, on).await;
                });
            }
        }
        tokio::task::yield_now().await;
        // Deletions that the other services do not know yet, so that only the marks can hold.
        let messages = [world.delete_user(user), world.delete_post(post)];
        world.others.users.lock().unwrap().insert(user);
        world.others.posts.lock().unwrap().insert(post);
        for message in messages {
            let world = Arc::clone(&world);
            at_once.spawn(async move { world.work_off(message).await });
        }
        at_once.join_all().await;
        world.audit();
        edges_told(&world.told().await);
        assert_eq!(world.social.like_counts(&[post]).await.unwrap(), [0]);
        assert_eq!(world.social.followers(user, None, 100).await.unwrap().users, []);
        assert_eq!(world.social.following(user, None, 100).await.unwrap().users, []);
    }
}

#[tokio::test]
async fn the_audit_finds_what_is_broken() {
    let world = World::new();
    let (a, b, post) = (world.user(), world.user(), world.post());
    world.follow(a, b, true).await;
    world.like(a, post, true).await;
    world.audit();
    for (write, rule) in [
        (Write::add(Key::new(format!("post#{post}"), "likes"), 1), "a count equals its edges"),
        (
            Write::delete(Key::new(format!("likes-of#{a}"), post.to_string())),
            "an edge is in its lists",
        ),
        (
            Write::put(Key::new(format!("followers#{a}"), b.to_string()), ""),
            "an index row has an edge",
        ),
        (Write::put(Key::new(format!("user#{b}"), "gone"), ""), "edges end at what exists"),
    ] {
        world.table.commit(vec![write]).await.unwrap();
        let findings = world.findings();
        assert!(findings.iter().any(|finding| finding.rule == rule), "{rule}: {findings:?}");
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Follow(usize, usize, bool),
    Like(usize, usize, bool),
    DeleteUser(usize),
    DeletePost(usize),
    Deliver(prop::sample::Index),
}

const MANY: usize = 6;

fn change() -> impl Strategy<Value = (usize, usize, bool)> {
    (0..MANY, 0..MANY, prop::bool::weighted(0.7))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn whatever_the_order_of_deliveries(
        steps in prop::collection::vec(prop_oneof![
            6 => change().prop_map(|(a, b, on)| Step::Follow(a, b, on)),
            6 => change().prop_map(|(a, b, on)| Step::Like(a, b, on)),
            1 => (0..MANY).prop_map(Step::DeleteUser),
            1 => (0..MANY).prop_map(Step::DeletePost),
            2 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        ], 1..80),
        commits_per_delivery in 1..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(steps, commits_per_delivery));
    }
}

async fn live(steps: Vec<Step>, commits_per_delivery: usize) {
    let world = World::in_memory(Config { commits_per_delivery, ..Config::default() });
    let users = world.users(MANY);
    let posts: Vec<PostId> = (0..MANY).map(|_| world.post()).collect();
    // The oracle: edges by what was answered, and what waits to be delivered.
    let mut follows: BTreeSet<(UserId, UserId)> = BTreeSet::new();
    let mut likes: BTreeSet<(UserId, PostId)> = BTreeSet::new();
    let mut waiting: Vec<Message> = Vec::new();
    for step in steps {
        match step {
            Step::Follow(a, b, on) => {
                let answer = world.follow(users[a], users[b], on).await;
                match (answer.status, on) {
                    (200, true) => drop(follows.insert((users[a], users[b]))),
                    (200, false) => drop(follows.remove(&(users[a], users[b]))),
                    _ => assert!([401, 404, 422].contains(&answer.status)),
                }
            }
            Step::Like(a, b, on) => {
                let answer = world.like(users[a], posts[b], on).await;
                match (answer.status, on) {
                    (200, true) => drop(likes.insert((users[a], posts[b]))),
                    (200, false) => drop(likes.remove(&(users[a], posts[b]))),
                    _ => assert!([401, 404].contains(&answer.status)),
                }
            }
            // Every event waits, twice.
            Step::DeleteUser(user) => waiting.extend(vec![world.delete_user(users[user]); 2]),
            Step::DeletePost(post) => waiting.extend(vec![world.delete_post(posts[post]); 2]),
            Step::Deliver(index) if !waiting.is_empty() => {
                let message = waiting.swap_remove(index.index(waiting.len()));
                world.deliver(message).await;
                let further = std::mem::take(&mut *world.bus.queued.lock().unwrap());
                waiting.extend(further.into_iter().map(|(_, message)| message));
            }
            Step::Deliver(_) => {}
        }
    }
    for message in waiting {
        world.work_off(message).await;
    }
    world.audit();
    check(&world, &users, &posts, &follows, &likes).await;
}

/// What is left is what was asked for between those who are left.
async fn check(
    world: &World,
    users: &[UserId],
    posts: &[PostId],
    follows: &BTreeSet<(UserId, UserId)>,
    likes: &BTreeSet<(UserId, PostId)>,
) {
    let here = world.others.users.lock().unwrap().clone();
    let posts_here = world.others.posts.lock().unwrap().clone();
    for user in users {
        let wanted: Vec<UserId> = follows
            .iter()
            .filter(|(a, b)| a == user && here.contains(a) && here.contains(b))
            .map(|(_, b)| *b)
            .collect();
        assert_eq!(world.social.following(*user, None, 100).await.unwrap().users, wanted);
    }
    for post in posts {
        let wanted = likes
            .iter()
            .filter(|(user, p)| p == post && here.contains(user) && posts_here.contains(p))
            .count();
        assert_eq!(world.social.like_counts(&[*post]).await.unwrap(), [wanted as u64]);
    }
    let told: HashMap<String, bool> = edges_told(&world.told().await);
    let on = told.iter().filter(|(edge, on)| **on && edge.starts_with("Follow")).count();
    let left = follows.iter().filter(|(a, b)| here.contains(a) && here.contains(b)).count();
    assert_eq!(on, left);
}
