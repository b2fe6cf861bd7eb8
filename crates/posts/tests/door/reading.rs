//! Reading and deleting posts.

use std::sync::Arc;
use std::time::Duration;

use crate::world::{Answer, World};
use kernel::bus::Message;
use kernel::event::{DeletedPost, DeletedUser};
use kernel::peers::Peers;
use kernel::table::{Key, Write};
use kernel::{Event, EventData, PostId, UserId};
use posts::Config;
use proptest::prelude::*;

#[tokio::test]
async fn posts_are_found_by_their_ids() {
    let world = World::new();
    let user = world.user();
    let (a, b) = (world.written(user, "a").await, world.written(user, "b \"quoted\"").await);
    let unknown = world.user();
    let answer = world.get(user, &format!("/posts?ids={b},{unknown},nonsense,{a},{b}")).await;
    assert_eq!(answer.ids(), [b.as_str(), a.as_str()]);
    assert_eq!(answer.body["items"][0]["text"], "b \"quoted\"");
    assert!(answer.body["nextCursor"].is_null() && answer.body["prevCursor"].is_null());
    assert_eq!(world.get(user, "/posts?ids=").await.ids(), [""; 0]);
    let ids = vec![a.as_str(); 101].join(",");
    assert_eq!(world.get(user, &format!("/posts?ids={ids}")).await.status, 422);
    for missing in [format!("/posts/{unknown}"), "/posts/nonsense".to_owned()] {
        assert_eq!(world.get(user, &missing).await.code(), "not_found");
    }
}

#[tokio::test]
async fn parameters_that_break_a_rule_are_refused() {
    let world = World::new();
    let user = world.user();
    world.written(user, "a").await;
    world.written(user, "b").await;
    let first = world.get(user, "/posts?limit=1").await;
    let cursor = first.cursor("nextCursor").unwrap();
    for (query, status) in [
        ("limit=0".to_owned(), 422),
        ("limit=101".to_owned(), 422),
        ("limit=x".to_owned(), 422),
        ("limit=1&limit=2".to_owned(), 422),
        ("authorId=nonsense".to_owned(), 422),
        (format!("ids={user}&authorId={user}"), 422),
        ("cursor=nonsense".to_owned(), 400),
        ("cursor=".to_owned(), 400),
        (format!("authorId={user}&cursor={cursor}"), 400),
        (format!("cursor={}", kernel::Cursor::older("no id").render("posts")), 400),
        (format!("cursor={}", kernel::Cursor::older("ééééééééééééééé").render("posts")), 400),
    ] {
        assert_eq!(world.get(user, &format!("/posts?{query}")).await.status, status, "{query}");
    }
    assert_eq!(world.get(user, &format!("/posts?authorId={}", world.user())).await.ids(), [""; 0]);
}

#[tokio::test]
async fn only_the_author_deletes() {
    let world = World::new();
    let (author, other) = (world.user(), world.user());
    let (id, kept) = (world.written(author, "a").await, world.written(author, "b").await);
    assert_eq!(world.delete(other, &id).await.code(), "forbidden");
    assert_eq!(world.delete(other, "nonsense").await.status, 404);
    world.told().await;
    assert_eq!(world.delete(author, &id).await.status, 204);
    assert_eq!(world.delete(author, &id).await.status, 404);
    assert_eq!(world.delete(other, &id).await.status, 404);
    let post_id: PostId = id.parse().unwrap();
    let gone = DeletedPost { post_id, author_id: author, created_at: post_id.created_at() };
    assert_eq!(world.told().await, [EventData::PostDeleted(gone)]);
    for list in ["/posts".to_owned(), format!("/posts?authorId={author}")] {
        assert_eq!(world.get(other, &list).await.ids(), [kept.as_str()]);
    }
    assert_eq!(world.get(other, &format!("/posts?ids={id},{kept}")).await.ids(), [kept.as_str()]);
    world.audit();
}

#[tokio::test]
async fn peers_read_posts() {
    let world = World::new();
    let user = world.user();
    let mut ids: Vec<PostId> = Vec::new();
    for _ in 0..5 {
        ids.push(world.written(user, "a").await.parse().unwrap());
    }
    world.delete(user, &ids[3].to_string()).await;
    let posts = world.posts.posts(&[ids[4], ids[3], ids[0]]).await.unwrap();
    let found: Vec<_> = posts.iter().map(|post| post.as_ref().map(|post| post.post_id)).collect();
    assert_eq!(found, [Some(ids[4]), None, Some(ids[0])]);
    assert_eq!(world.posts.posts_exist(&ids[2..]).await.unwrap(), [true, false, true]);
    assert_eq!(world.posts.posts_exist(&[]).await.unwrap(), [false; 0]);
    let newest = |before, limit| {
        let posts = &world.posts;
        async move {
            let found = posts.newest_posts(user, before, limit).await.unwrap();
            found.into_iter().map(|post| post.post_id).collect::<Vec<_>>()
        }
    };
    assert_eq!(newest(None, 3).await, [ids[4], ids[2], ids[1]]);
    assert_eq!(newest(Some(ids[2]), 100).await, [ids[1], ids[0]]);
}

#[tokio::test]
async fn a_user_with_many_posts_is_forgotten_piece_by_piece() {
    let config = Config { commits_per_delivery: 1, ..World::unlimited() };
    let world = World::with(config);
    let (user, other) = (world.user(), world.user());
    let kept = world.written(other, "b").await;
    for number in 0..60 {
        world.clock.advance(Duration::from_hours(1));
        world.write_once(user, "a", (number < 5).then_some("k")).await;
    }
    world.told().await;
    let data = EventData::UserDeleted(DeletedUser { user_id: user });
    let event = Event::new(&*world.ids, &*world.clock, data);
    // Every delivery comes twice, and none finishes the work alone.
    let mut deliveries = 0;
    let mut messages = vec![Message::from(event)];
    while let Some(message) = messages.pop() {
        world.deliver(message.clone()).await;
        world.deliver(message).await;
        deliveries += 2;
        messages.extend(world.bus.queued.lock().unwrap().drain(..));
        assert!(deliveries < 100);
    }
    assert!(deliveries > 2);
    assert_eq!(world.told().await.len(), 56);
    assert_eq!(world.get(other, "/posts").await.ids(), [kept]);
    world.audit();
}

#[tokio::test]
async fn the_audit_finds_what_is_broken() {
    let world = World::new();
    let user = world.user();
    let id = world.written(user, "a").await;
    world.audit();
    let author = Key::new(format!("author#{user}"), id.clone());
    world.table.commit(vec![Write::delete(author)]).await.unwrap();
    assert!(!world.findings().is_empty());
    let stray = Key::new("public#0020454#00", world.user().to_string());
    world.table.commit(vec![Write::put(stray, "")]).await.unwrap();
    let rules = world.findings();
    assert!(rules.iter().any(|finding| finding.rule == "an index row leads to a post"));
}

/// One step of a life of the public timeline.
#[derive(Clone, Debug)]
enum Step {
    Write,
    Delete(prop::sample::Index),
    Wait { hours: u64 },
    First { limit: usize },
    Follow { page: prop::sample::Index, newer: bool, limit: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limit = || prop_oneof![1..4_usize, 1..=100_usize];
    let step = prop_oneof![
        6 => Just(Step::Write),
        2 => any::<prop::sample::Index>().prop_map(Step::Delete),
        1 => (0..80_u64).prop_map(|hours| Step::Wait { hours }),
        2 => limit().prop_map(|limit| Step::First { limit }),
        5 => (any::<prop::sample::Index>(), any::<bool>(), limit())
            .prop_map(|(page, newer, limit)| Step::Follow { page, newer, limit }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A cursor and what the test knows of it: posts above (newer) or below (older) this id.
struct Held {
    cursor: String,
    above: Option<String>,
    below: Option<String>,
}

fn held(answer: &Answer, asked: Option<&Held>, ids: &[String]) -> Vec<Held> {
    let mut all = Vec::new();
    if let Some(cursor) = answer.cursor("prevCursor") {
        // On an empty page: as asked, or everything when nothing was older.
        let asked = asked.map(|held| held.above.clone().unwrap_or_default());
        let above = ids.first().cloned().or(asked);
        all.push(Held { cursor, above, below: None });
    }
    if let Some(cursor) = answer.cursor("nextCursor") {
        // Behind an empty page lies what is not newer than its cursor.
        let edge = asked.and_then(|held| held.above.as_ref()).map(|id| format!("{id}~"));
        let below = ids.last().cloned().or(edge);
        all.push(Held { cursor, above: None, below });
    }
    all
}

async fn live(config: Config, by_author: bool, steps: Vec<Step>) {
    let world = World::in_memory(config);
    let user = world.user();
    let list = if by_author { format!("/posts?authorId={user}&") } else { "/posts?".to_owned() };
    // The oracle: ids of the posts that are there, oldest first.
    let mut there: Vec<String> = Vec::new();
    let mut pages: Vec<Held> = Vec::new();
    for step in steps {
        match step {
            Step::Write => there.push(world.written(user, "a").await),
            Step::Delete(index) if !there.is_empty() => {
                let id = there.remove(index.index(there.len()));
                assert_eq!(world.delete(user, &id).await.status, 204);
            }
            Step::Wait { hours } => world.clock.advance(Duration::from_hours(hours)),
            Step::First { limit } => {
                let answer = world.get(user, &format!("{list}limit={limit}")).await;
                let wanted: Vec<_> = there.iter().rev().take(limit).cloned().collect();
                assert_eq!(answer.ids(), wanted);
                assert_eq!(answer.cursor("nextCursor").is_some(), there.len() > limit);
                assert_eq!(answer.cursor("prevCursor").is_some(), !there.is_empty());
                pages.extend(held(&answer, None, &wanted));
            }
            Step::Follow { page, newer, limit } => {
                let of_kind: Vec<_> = pages.iter().filter(|p| p.above.is_some() == newer).collect();
                if of_kind.is_empty() {
                    continue;
                }
                let asked = of_kind[page.index(of_kind.len())];
                let uri = format!("{list}limit={limit}&cursor={}", asked.cursor);
                let answer = world.get(user, &uri).await;
                let mut wanted: Vec<String> = match (&asked.above, &asked.below) {
                    (Some(above), _) => there.iter().filter(|id| *id > above).cloned().collect(),
                    (_, Some(below)) => {
                        there.iter().rev().filter(|id| *id < below).cloned().collect()
                    }
                    _ => unreachable!("a cursor leads somewhere"),
                };
                wanted.truncate(limit);
                if newer {
                    wanted.reverse();
                }
                assert_eq!(answer.ids(), wanted);
                if newer && wanted.is_empty() {
                    assert_eq!(answer.cursor("prevCursor").as_ref(), Some(&asked.cursor));
                }
                let found = held(&answer, Some(asked), &wanted);
                pages.extend(found);
            }
            Step::Delete(_) => {}
        }
    }
    world.audit();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn cursors_lead_both_ways_whatever_comes_and_goes(
        steps in steps(), by_author: bool, public_shards in 1..5_u32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let config = Config { public_shards, ..World::unlimited() };
        runtime.block_on(live(config, by_author, steps));
    }
}

#[tokio::test]
async fn the_spread_may_change_from_one_start_to_the_next() {
    let world = World::with(Config { public_shards: 2, ..World::unlimited() });
    let user: UserId = world.user();
    let mut ids = Vec::new();
    for public_shards in [8, 1] {
        for _ in 0..10 {
            ids.push(world.written(user, "a").await);
        }
        let config = Config { public_shards, ..World::unlimited() };
        let table = Arc::clone(&world.table);
        let other = posts::Posts::new(
            table,
            world.bus.clone(),
            world.clock.clone(),
            world.ids.clone(),
            world.others.clone(),
            config,
        );
        let router = axum::Router::from(other.routes());
        for _ in 0..10 {
            ids.push(world.through(router.clone(), user).await);
        }
        world.clock.advance(Duration::from_hours(1));
    }
    ids.reverse();
    assert_eq!(world.get(user, "/posts?limit=100").await.ids(), ids);
    for id in &ids {
        assert_eq!(world.delete(user, id).await.status, 204);
    }
    assert_eq!(world.get(user, "/posts").await.ids(), [""; 0]);
    world.audit();
}

#[tokio::test]
async fn whom_a_block_parts_see_nothing_of_each_other() {
    let world = World::with(World::unlimited());
    let [a, b, c] = [world.user(), world.user(), world.user()];
    let mut all = Vec::new();
    for _ in 0..6 {
        for author in [a, b, c] {
            all.push((author, world.written(author, "a").await));
        }
    }
    all.reverse();
    let but = |hidden: UserId| -> Vec<String> {
        all.iter().filter(|(author, _)| *author != hidden).map(|(_, id)| id.clone()).collect()
    };
    *world.others.apart.lock().unwrap() = Some(vec![[a, b]]);
    for (viewer, hidden) in [(a, b), (b, a)] {
        let (mut walked, mut uri) = (Vec::new(), "/posts?limit=5".to_owned());
        loop {
            let page = world.get(viewer, &uri).await;
            let next = page.cursor("nextCursor");
            assert!(next.is_none() || page.ids().len() == 5, "a page is short only at the end");
            walked.extend(page.ids());
            let Some(next) = next else { break };
            uri = format!("/posts?limit=5&cursor={next}");
        }
        assert_eq!(walked, but(hidden));
        let theirs = world.get(viewer, &format!("/posts?authorId={hidden}")).await;
        assert_eq!((theirs.ids(), theirs.cursor("nextCursor")), (vec![], None));
        let ids: Vec<&str> = all.iter().map(|(_, id)| id.as_str()).collect();
        let named = world.get(viewer, &format!("/posts?ids={}", ids.join(","))).await;
        assert_eq!(named.ids(), but(hidden));
        for (author, id) in &all {
            let status = world.get(viewer, &format!("/posts/{id}")).await.status;
            assert_eq!(status, if *author == hidden { 404 } else { 200 });
        }
    }
    let everything: Vec<String> = all.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(world.get(c, "/posts?limit=100").await.ids(), everything);
    // Reading goes on while nobody says who is apart.
    *world.others.apart.lock().unwrap() = None;
    assert_eq!(world.get(a, "/posts?limit=100").await.ids(), everything);
}
