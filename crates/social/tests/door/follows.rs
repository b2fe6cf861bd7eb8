//! Following.

use std::time::Duration;

use http::Method;
use kernel::event::Follow;
use kernel::peers::Peers;
use kernel::{EventData, UserId};
use proptest::prelude::*;
use serde_json::json;

use crate::world::World;

fn change(follower_id: UserId, followee_id: UserId, version: u64) -> EventData {
    let follow = Follow { follower_id, followee_id, version };
    if version % 2 == 1 {
        EventData::FollowCreated(follow)
    } else {
        EventData::FollowDeleted(follow)
    }
}

#[tokio::test]
async fn one_event_for_one_change() {
    let world = World::new();
    let (a, b) = (world.user(), world.user());
    for (on, told) in [
        (false, None),
        (true, Some(1)),
        (true, None),
        (false, Some(2)),
        (false, None),
        (true, Some(3)),
    ] {
        let answer = world.follow(a, b, on).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({ "following": on })));
        assert_eq!(world.told().await, Vec::from_iter(told.map(|version| change(a, b, version))));
        let expected = (u64::from(on), 0);
        assert_eq!(world.counts(b).await, expected);
        assert_eq!(world.counts(a).await, (0, u64::from(on)));
        world.audit();
    }
}

#[tokio::test]
async fn what_cannot_be_followed() {
    let world = World::new();
    let a = world.user();
    let itself = world.follow(a, a, true).await;
    assert_eq!((itself.status, itself.code()), (422, "self_follow"));
    assert_eq!(itself.problem.unwrap().errors[0].field, "userId");
    let never = world.follow(a, a, false).await;
    assert_eq!((never.status, never.body), (200, json!({ "following": false })));
    let unknown = world.user();
    world.others.users.lock().unwrap().remove(&unknown);
    for id in [unknown.to_string(), "nonsense".to_owned()] {
        for (method, route) in [
            (Method::POST, "follow"),
            (Method::DELETE, "follow"),
            (Method::GET, "follow"),
            (Method::GET, "followers"),
            (Method::GET, "following"),
        ] {
            let uri = format!("/users/{id}/{route}");
            let answer = world.send(Some(a), method.clone(), &uri).await;
            assert_eq!((answer.status, answer.code()), (404, "not_found"), "{uri}");
            assert_eq!(world.send(None, method, &uri).await.status, 401);
        }
    }
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn how_two_people_stand() {
    let world = World::new();
    let [a, b, c] = [world.user(), world.user(), world.user()];
    world.follow(a, b, true).await;
    world.follow(c, a, true).await;
    world.follow(b, c, true).await;
    world.follow(a, c, true).await;
    let state = |viewer, user| {
        let world = &world;
        async move { world.get(viewer, &format!("/users/{user}/follow")).await.body }
    };
    let wanted = |following, followed_by, followers, followees| {
        json!({
            "following": following, "followedBy": followed_by, "blocking": false, "muting": false,
            "followerCount": followers, "followingCount": followees,
        })
    };
    assert_eq!(state(a, b).await, wanted(true, false, 1, 1));
    assert_eq!(state(b, a).await, wanted(false, true, 1, 2));
    assert_eq!(state(a, c).await, wanted(true, true, 2, 1));
    assert_eq!(state(a, a).await, wanted(false, false, 1, 2));
}

#[tokio::test]
async fn pages_show_profiles_newest_first() {
    let world = World::new();
    let star = world.user();
    let fans = world.users(5);
    for fan in &fans {
        world.follow(*fan, star, true).await;
        world.follow(star, *fan, true).await;
        world.clock.advance(Duration::from_secs(1));
    }
    // Who is deleted is left out, and the page is filled up.
    world.others.users.lock().unwrap().remove(&fans[3]);
    for list in ["followers", "following"] {
        let uri = format!("/users/{star}/{list}");
        let page = world.get(fans[0], &format!("{uri}?limit=2")).await;
        assert_eq!(page.people(), [fans[4], fans[2]]);
        assert_eq!(page.body["items"][0]["followedAt"], "2026-01-01T00:00:04.000Z");
        assert_eq!(page.body["items"][0]["user"]["handle"], fans[4].to_string().to_lowercase());
        let next = page.cursor("nextCursor").unwrap();
        let rest = world.get(star, &format!("{uri}?limit=2&cursor={next}")).await;
        assert_eq!((rest.people(), rest.cursor("nextCursor")), (vec![fans[1], fans[0]], None));
        for (query, status) in [("limit=0", 422), ("cursor=x", 400), ("limit=101", 422)] {
            assert_eq!(world.get(star, &format!("{uri}?{query}")).await.status, status);
        }
        let other = if list == "followers" { "following" } else { "followers" };
        let elsewhere = format!("/users/{star}/{other}?cursor={next}");
        assert_eq!(world.get(star, &elsewhere).await.code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn peers_read_in_the_order_of_ids() {
    let world = World::new();
    let star = world.user();
    let mut fans = world.users(30);
    for fan in fans.iter().rev() {
        world.follow(*fan, star, true).await;
        world.follow(star, *fan, true).await;
    }
    for fan in fans.extract_if(.., |fan| fan.0.0.is_multiple_of(3)) {
        world.follow(fan, star, false).await;
        world.follow(star, fan, false).await;
    }
    for limit in [1, 7, 1000] {
        let (mut followers, mut following) = (Vec::new(), Vec::new());
        let mut after = None;
        loop {
            let page = world.social.followers(star, after, limit).await.unwrap();
            followers.extend(page.users);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        loop {
            let page = world.social.following(star, after, limit).await.unwrap();
            assert!(page.next.is_none() || page.users.len() == limit, "short only at the end");
            following.extend(page.users);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((&followers, &following), (&fans, &fans));
    }
}

/// One step in the life of a list of followers.
#[derive(Clone, Debug)]
enum Step {
    Follow(usize),
    Unfollow(usize),
    Hide(usize),
    Show(usize),
    Read { limit: usize },
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_walk_sees_what_stays_once_whatever_comes_and_goes(
        steps in prop::collection::vec(prop_oneof![
            4 => (0..12_usize).prop_map(Step::Follow),
            2 => (0..12_usize).prop_map(Step::Unfollow),
            1 => (0..12_usize).prop_map(Step::Hide),
            1 => (0..12_usize).prop_map(Step::Show),
            3 => (1..5_usize).prop_map(|limit| Step::Read { limit }),
        ], 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(walk(steps));
    }
}

async fn walk(steps: Vec<Step>) {
    let world = World::in_memory(social::Config::default());
    let star = world.user();
    let fans = world.users(12);
    // The oracle: who follows, oldest first.
    let mut list: Vec<UserId> = Vec::new();
    let shown = |list: &[UserId]| {
        let users = world.others.users.lock().unwrap();
        list.iter().rev().filter(|fan| users.contains(fan)).copied().collect::<Vec<_>>()
    };
    for step in steps {
        match step {
            Step::Follow(fan) => {
                world.follow(fans[fan], star, true).await;
                if !list.contains(&fans[fan]) {
                    list.push(fans[fan]);
                }
            }
            Step::Unfollow(fan) => {
                world.follow(fans[fan], star, false).await;
                list.retain(|other| *other != fans[fan]);
            }
            Step::Hide(fan) => {
                world.others.users.lock().unwrap().remove(&fans[fan]);
            }
            Step::Show(fan) => {
                world.others.users.lock().unwrap().insert(fans[fan]);
            }
            Step::Read { limit } => {
                let uri = format!("/users/{star}/followers?limit={limit}");
                let all = shown(&list);
                let mut page = world.get(star, &uri).await;
                let mut seen = page.people();
                while let Some(next) = page.cursor("nextCursor") {
                    assert_eq!(page.people().len(), limit, "short only at the end");
                    page = world.get(star, &format!("{uri}&cursor={next}")).await;
                    seen.extend(page.people());
                }
                assert_eq!(seen, all);
                // Back to the newest from wherever the walk ended.
                let mut back = page.people();
                while let Some(newer) = page.cursor("prevCursor") {
                    page = world.get(star, &format!("{uri}&cursor={newer}")).await;
                    if page.people().is_empty() {
                        assert_eq!(page.cursor("prevCursor"), Some(newer));
                        break;
                    }
                    back.splice(0..0, page.people());
                }
                assert_eq!(back, all, "the whole list again, from behind its oldest entry");
            }
        }
    }
    world.audit();
}
