//! Two processes that serve follows and likes on one table.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::world::World;
use kernel::UserId;
use kernel::peers::Peers;
use kernel::table::{Key, Write, get_one};
use social::Config;
use tokio::task::JoinSet;

fn two() -> [Arc<World>; 2] {
    let config = Config::default().for_several_processes();
    let here = World::with(config);
    let there = here.beside(config);
    [here, there]
}

/// Commits overtake each other, and ids of one process lie below those of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_walks_to_the_newest_misses_nothing() {
    let [here, there] = two();
    let (reader, post) = (here.user(), here.post());
    here.like(reader, post, true).await;
    let uri = format!("/posts/{post}/likes?limit=100");
    let page = there.get(reader, &uri).await;
    let (mut cursor, mut seen) = (page.cursor("prevCursor").unwrap(), page.people());
    let mut worlds = [Arc::clone(&here), Arc::clone(&there)];
    for _ in 0..30 {
        let mut writers = JoinSet::new();
        for (number, user) in here.users(12).into_iter().enumerate() {
            let (mut writes, mut reads) = (Arc::clone(&here), Arc::clone(&there));
            if number % 3 == 0 {
                std::mem::swap(&mut writes, &mut reads);
            }
            let uri = uri.clone();
            writers.spawn(async move {
                assert_eq!(writes.like(user, post, true).await.status, 200);
                assert!(reads.get(user, &uri).await.people().contains(&user));
                assert_eq!(reads.liked(user, &[post]).await, [true]);
            });
        }
        while !writers.is_empty() {
            worlds.reverse();
            let page = worlds[0].get(reader, &format!("{uri}&cursor={cursor}")).await;
            cursor = page.cursor("prevCursor").unwrap();
            seen.extend(page.people());
            while writers.try_join_next().map(Result::unwrap).is_some() {}
        }
        here.clock.advance(Duration::from_secs(1));
    }
    here.clock.advance(Duration::from_secs(5));
    loop {
        let page = there.get(reader, &format!("{uri}&cursor={cursor}")).await;
        cursor = page.cursor("prevCursor").unwrap();
        if page.people().is_empty() {
            break;
        }
        seen.extend(page.people());
    }
    let distinct: HashSet<UserId> = seen.iter().copied().collect();
    assert_eq!((seen.len(), distinct.len()), (361, 361));
    assert_eq!(there.social.like_counts(&[post]).await.unwrap(), [361]);
    here.audit();
}

#[tokio::test]
async fn what_is_liked_through_one_process_is_liked_in_the_other_at_once() {
    let [here, there] = two();
    let (user, post) = (here.user(), here.post());
    for on in [true, false, true, true, false] {
        here.like(user, post, on).await;
        for _ in 0..3 {
            assert_eq!(there.liked(user, &[post]).await, [on]);
            here.clock.advance(Duration::from_secs(3));
        }
    }
}

/// Of a commit under way a reader may see a part.
#[tokio::test]
async fn a_like_that_was_half_seen_is_seen_whole() {
    let [here, there] = two();
    let (user, post) = (here.user(), here.post());
    here.like(user, post, true).await;
    let key = Key::new(format!("like#{post}"), user.to_string());
    let edge = get_one(&*here.table, key.clone()).await.unwrap().unwrap();
    // As if only the change's count were there.
    here.table.commit(vec![Write::delete(key.clone())]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(there.liked(user, &[post]).await, [false]);
        here.clock.advance(Duration::from_secs(1));
    }
    here.table.commit(vec![Write::put(key, edge.body)]).await.unwrap();
    assert_eq!(there.liked(user, &[post]).await, [true]);
    here.clock.advance(Duration::from_secs(9));
    assert_eq!(there.liked(user, &[post]).await, [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_equal_edges_whoever_changes_them() {
    let [here, there] = two();
    let (followee, users) = (here.user(), here.users(8));
    let mut changes = JoinSet::new();
    for number in 0..160 {
        let world = Arc::clone(if number % 2 == 0 { &here } else { &there });
        let user = users[number % 8];
        changes.spawn(async move { world.follow(user, followee, number % 5 != 0).await.status });
    }
    assert!(changes.join_all().await.into_iter().all(|status| status == 200 || status == 409));
    let followers = there.social.followers(followee, None, 100).await.unwrap().users.len();
    assert_eq!(here.counts(followee).await.0, followers as u64);
    here.audit();
}
