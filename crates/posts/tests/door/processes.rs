//! Two processes that serve posts on one table.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::world::World;
use kernel::peers::Peers;
use kernel::table::{Key, Write};
use kernel::{PostId, UserId};
use posts::Config;
use tokio::task::JoinSet;

fn two(config: Config) -> [Arc<World>; 2] {
    let config = config.for_several_processes();
    let here = World::with(config);
    let there = here.beside(config);
    [here, there]
}

/// A client that follows the newest entries, each time at another process.
struct Walker {
    worlds: [Arc<World>; 2],
    reader: UserId,
    cursor: String,
    seen: Vec<String>,
}

impl Walker {
    async fn step(&mut self) -> usize {
        self.worlds.reverse();
        let uri = format!("/posts?limit=100&cursor={}", self.cursor);
        let page = self.worlds[0].get(self.reader, &uri).await;
        self.cursor = page.cursor("prevCursor").unwrap();
        self.seen.extend(page.ids());
        page.ids().len()
    }
}

/// Commits overtake each other, and ids of one process lie below those of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_walks_to_the_newest_misses_nothing() {
    let [here, there] = two(World::unlimited());
    let reader = here.user();
    here.written(reader, "first").await;
    let page = there.get(reader, "/posts").await;
    let mut walker = Walker {
        worlds: [Arc::clone(&here), Arc::clone(&there)],
        reader,
        cursor: page.cursor("prevCursor").unwrap(),
        seen: page.ids(),
    };
    for _ in 0..30 {
        let mut writers = JoinSet::new();
        for number in 0..12 {
            let (mut writes, mut reads) = (Arc::clone(&here), Arc::clone(&there));
            if number % 3 == 0 {
                std::mem::swap(&mut writes, &mut reads);
            }
            writers.spawn(async move {
                let user = writes.user();
                let id = writes.written(user, "a").await;
                // Whoever was answered sees the post at once, wherever they ask.
                assert!(reads.get(user, "/posts?limit=100").await.ids().contains(&id));
                let own = format!("/posts?authorId={user}");
                assert_eq!(reads.get(user, &own).await.ids(), [id]);
            });
        }
        while !writers.is_empty() {
            walker.step().await;
            while writers.try_join_next().map(Result::unwrap).is_some() {}
        }
        here.clock.advance(Duration::from_secs(1));
    }
    here.clock.advance(Duration::from_secs(5));
    while walker.step().await > 0 {}
    let distinct: HashSet<_> = walker.seen.iter().collect();
    assert_eq!((walker.seen.len(), distinct.len()), (361, 361));
    here.audit();
}

#[tokio::test]
async fn what_one_process_deletes_is_gone_in_the_other_at_once() {
    let [here, there] = two(Config::default());
    let user = here.user();
    let id = here.written(user, "a").await;
    let post: PostId = id.parse().unwrap();
    here.clock.advance(Duration::from_secs(9));
    // Known to be there, in both.
    for world in [&here, &there, &here, &there] {
        assert_eq!(world.posts.posts_exist(&[post]).await.unwrap(), [true]);
    }
    assert_eq!(here.delete(user, &id).await.status, 204);
    assert_eq!(there.posts.posts_exist(&[post]).await.unwrap(), [false]);
    assert_eq!(there.get(user, "/posts").await.ids(), [""; 0]);
}

/// Of a commit under way a reader may see a part.
#[tokio::test]
async fn a_deletion_that_was_half_seen_is_seen_whole() {
    let [here, _] = two(Config::default());
    let post: PostId = here.written(here.user(), "a").await.parse().unwrap();
    let counted = (0..4).map(|replica| Write::add(Key::new(format!("deletions#{replica}"), ""), 1));
    here.table.commit(counted.collect()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(here.posts.posts_exist(&[post]).await.unwrap(), [true]);
        here.clock.advance(Duration::from_secs(1));
    }
    let key = Key::new(format!("post#{post}"), "");
    here.table.commit(vec![Write::delete(key)]).await.unwrap();
    assert_eq!(here.posts.posts_exist(&[post]).await.unwrap(), [false]);
    here.clock.advance(Duration::from_secs(9));
    assert_eq!(here.posts.posts_exist(&[post]).await.unwrap(), [false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_and_limits_hold_wherever_a_client_asks() {
    let [here, there] = two(Config::default());
    let user = here.user();
    let mut writers = JoinSet::new();
    for number in 0..40 {
        let world = Arc::clone(if number % 2 == 0 { &here } else { &there });
        writers.spawn(async move { world.write_once(user, "a", Some("k")).await });
    }
    let answers = writers.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 201));
    let ids: HashSet<_> = answers.iter().map(|answer| answer.body["postId"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let mut writers = JoinSet::new();
    for number in 0..40 {
        let world = Arc::clone(if number % 2 == 0 { &here } else { &there });
        writers.spawn(async move { world.write(user, "b").await.status });
    }
    let written = writers.join_all().await.into_iter().filter(|status| *status == 201).count();
    assert_eq!(written, 9, "ten in a minute, one of them by the key");
    here.audit();
}
