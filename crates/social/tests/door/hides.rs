//! Blocking and muting.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use kernel::event::{Block, Follow, Mute};
use kernel::peers::{Peers, Regard};
use kernel::{EventData, UserId};
use serde_json::json;
use tokio::task::JoinSet;

use crate::world::World;

fn told(how: &str, who: UserId, whom: UserId, version: u64) -> EventData {
    let block = || Block { blocker_id: who, blocked_id: whom, version };
    let mute = || Mute { muter_id: who, muted_id: whom, version };
    match (how, version % 2) {
        ("block", 1) => EventData::BlockCreated(block()),
        ("block", _) => EventData::BlockDeleted(block()),
        (_, 1) => EventData::MuteCreated(mute()),
        (_, _) => EventData::MuteDeleted(mute()),
    }
}

#[tokio::test]
async fn one_event_for_one_change() {
    for (how, state, regard) in
        [("block", "blocking", Regard::Blocked), ("mute", "muting", Regard::Muted)]
    {
        let world = World::new();
        let (a, b) = (world.user(), world.user());
        for (on, version) in
            [(false, None), (true, Some(1)), (true, None), (false, Some(2)), (true, Some(3))]
        {
            let answer = world.hide(how, a, b, on).await;
            assert_eq!((answer.status, &answer.body), (200, &json!({ state: on })));
            let expected = version.map(|version| told(how, a, b, version));
            assert_eq!(world.told().await, Vec::from_iter(expected));
            assert_eq!(world.regard(a, b).await, if on { regard } else { Regard::Open });
            let how_they_stand = world.get(a, &format!("/users/{b}/follow")).await;
            assert_eq!(how_they_stand.body[state], on);
            world.audit();
        }
        // A block is one for both; the other is not told whose it is.
        let other = if how == "block" { Regard::Blocked } else { Regard::Open };
        assert_eq!(world.regard(b, a).await, other);
        let how_they_stand = world.get(b, &format!("/users/{a}/follow")).await;
        assert_eq!(how_they_stand.body[state], false);
    }
}

#[tokio::test]
async fn what_cannot_be_blocked_or_muted() {
    let world = World::new();
    let a = world.user();
    let unknown = world.user();
    world.others.users.lock().unwrap().remove(&unknown);
    for (how, code, state) in [("block", "self_block", "blocking"), ("mute", "self_mute", "muting")]
    {
        let itself = world.hide(how, a, a, true).await;
        assert_eq!((itself.status, itself.code()), (422, code));
        assert_eq!(itself.problem.unwrap().errors[0].field, "userId");
        assert_eq!(world.hide(how, a, a, false).await.body, json!({ state: false }));
        for id in [unknown.to_string(), "nonsense".to_owned()] {
            for method in [Method::POST, Method::DELETE] {
                let uri = format!("/users/{id}/{how}");
                let answer = world.send(Some(a), method.clone(), &uri).await;
                assert_eq!((answer.status, answer.code()), (404, "not_found"), "{uri}");
                assert_eq!(world.send(None, method, &uri).await.status, 401);
            }
        }
        assert_eq!(world.send(None, Method::GET, &format!("/users/me/{how}s")).await.status, 401);
    }
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn a_block_ends_the_follows_between_the_two_and_bars_new_ones() {
    let world = World::new();
    let [a, b, c] = [world.user(), world.user(), world.user()];
    for (who, whom) in [(a, b), (b, a), (c, a), (a, c)] {
        world.follow(who, whom, true).await;
    }
    world.told().await;
    world.hide("block", a, b, true).await;
    let mut events = world.told().await;
    events.sort_by_key(|event| format!("{event:?}"));
    let ended = |follower_id, followee_id| {
        EventData::FollowDeleted(Follow { follower_id, followee_id, version: 2 })
    };
    let mut expected = [told("block", a, b, 1), ended(a, b), ended(b, a)];
    expected.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events, expected);
    assert_eq!((world.counts(a).await, world.counts(b).await), ((1, 1), (0, 0)));
    world.audit();
    for (who, whom) in [(a, b), (b, a)] {
        let refused = world.follow(who, whom, true).await;
        assert_eq!((refused.status, refused.code()), (403, "blocked"));
        let never = world.follow(who, whom, false).await;
        assert_eq!((never.status, never.body), (200, json!({ "following": false })));
    }
    // While one of the two blocks the other, they stay apart.
    world.hide("block", b, a, true).await;
    world.hide("block", a, b, false).await;
    assert_eq!(world.follow(a, b, true).await.code(), "blocked");
    assert_eq!(world.regard(a, b).await, Regard::Blocked);
    world.audit();
    world.hide("block", b, a, false).await;
    world.told().await;
    assert_eq!(world.counts(b).await, (0, 0), "no follow comes back by itself");
    assert_eq!(world.follow(a, b, true).await.status, 200);
    let again = Follow { follower_id: a, followee_id: b, version: 3 };
    assert_eq!(world.told().await, [EventData::FollowCreated(again)]);
    world.audit();
}

#[tokio::test]
async fn likes_between_the_two_are_refused_and_old_ones_can_be_taken_back() {
    let world = World::new();
    let [a, b, c] = [world.user(), world.user(), world.user()];
    let (of_a, of_b, of_c) = (world.post_by(a), world.post_by(b), world.post_by(c));
    world.like(b, of_a, true).await;
    world.hide("block", a, b, true).await;
    for (who, post) in [(a, of_b), (b, of_a)] {
        let refused = world.like(who, post, true).await;
        assert_eq!((refused.status, refused.code()), (403, "blocked"));
    }
    assert_eq!(world.like(b, of_a, false).await.body, json!({ "liked": false, "likeCount": 0 }));
    assert_eq!(world.like(b, of_c, true).await.status, 200);
    world.hide("mute", a, c, true).await;
    assert_eq!(world.like(a, of_c, true).await.status, 200, "a mute refuses nothing");
    world.audit();
}

#[tokio::test]
async fn lists_are_one_s_own_and_newest_first() {
    let world = World::new();
    let (a, others) = (world.user(), world.users(3));
    for other in &others {
        for how in ["block", "mute"] {
            world.hide(how, a, *other, true).await;
        }
        world.clock.advance(Duration::from_secs(1));
    }
    world.others.users.lock().unwrap().remove(&others[1]);
    for (list, at) in [("blocks", "blockedAt"), ("mutes", "mutedAt")] {
        let uri = format!("/users/me/{list}?limit=1");
        let page = world.get(a, &uri).await;
        assert_eq!(page.people(), [others[2]]);
        assert_eq!(page.body["items"][0][at], "2026-01-01T00:00:02.000Z");
        let next = page.cursor("nextCursor").unwrap();
        let rest = world.get(a, &format!("{uri}&cursor={next}")).await;
        assert_eq!((rest.people(), rest.cursor("nextCursor")), (vec![others[0]], None));
        assert_eq!(world.get(others[0], &format!("/users/me/{list}")).await.people(), []);
        let elsewhere = world.get(others[0], &format!("{uri}&cursor={next}")).await;
        assert_eq!(elsewhere.code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn a_block_and_a_mute_are_seen_by_every_reader_at_once() {
    let world = World::new();
    let [a, b, c] = [world.user(), world.user(), world.user()];
    let there = world.beside(social::Config::default().for_several_processes());
    let people = [b, c, b, a];
    for later in [0, 5] {
        there.clock.advance(Duration::from_secs(later));
        for reader in [&world, &there] {
            let viewed = reader.social.viewed(a, &[], &people).await.unwrap();
            assert_eq!(viewed.regards, [Regard::Open; 4]);
        }
    }
    world.hide("mute", a, b, true).await;
    world.hide("block", c, a, true).await;
    for later in [0, 5, 5] {
        there.clock.advance(Duration::from_secs(later));
        for reader in [&world, &there] {
            let viewed = reader.social.viewed(a, &[], &people).await.unwrap();
            let expected = [Regard::Muted, Regard::Blocked, Regard::Muted, Regard::Open];
            assert_eq!(viewed.regards, expected);
        }
    }
    world.hide("mute", a, b, false).await;
    assert_eq!(there.regard(a, b).await, Regard::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn blocks_and_follows_at_once_never_stand_together() {
    let world = World::new();
    let users = world.users(3);
    let mut at_once = JoinSet::new();
    for index in 0..240 {
        let (who, whom) = (users[index % 3], users[(index + 1 + index % 2) % 3]);
        let world = Arc::clone(&world);
        at_once.spawn(async move {
            let answer = match index % 5 {
                0 | 1 => world.follow(who, whom, true).await,
                2 => world.follow(who, whom, false).await,
                on => world.hide("block", who, whom, on == 3).await,
            };
            assert!([200, 403, 409].contains(&answer.status), "{answer:?}");
        });
    }
    at_once.join_all().await;
    world.audit();
}

#[tokio::test]
async fn blocks_and_mutes_go_with_the_user() {
    let world = World::new();
    let (gone, others) = (world.user(), world.users(40));
    for (number, other) in others.iter().enumerate() {
        for how in ["block", "mute"] {
            if number % 4 != 0 {
                world.hide(how, gone, *other, true).await;
            }
            if number % 2 == 0 {
                world.hide(how, *other, gone, true).await;
            }
            if number % 5 == 0 {
                world.hide(how, gone, *other, false).await;
            }
        }
    }
    world.audit();
    let deleted = world.delete_user(gone);
    world.work_off(deleted).await;
    world.audit();
    for other in &others {
        assert_eq!(world.regard(*other, gone).await, Regard::Open);
    }
    let (id, mark) = (gone.text(), format!("user#{gone}"));
    let left = world.items().into_iter().map(|item| item.key);
    let of_them = left.filter(|key| key.partition.ends_with(&id));
    let but_the_mark: Vec<_> = of_them.filter(|key| key.partition != mark).collect();
    assert_eq!(but_the_mark, []);
    assert_eq!(world.hide("block", gone, others[0], true).await.status, 401);
}
