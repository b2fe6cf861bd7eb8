//! Liking.

use std::time::Duration;

use http::Method;
use kernel::event::Like;
use kernel::peers::Peers;
use kernel::{EventData, PostId, UserId};
use serde_json::json;

use crate::world::World;

fn change(user_id: UserId, post_id: PostId, version: u64) -> EventData {
    let like = Like { user_id, post_id, version };
    if version % 2 == 1 { EventData::LikeCreated(like) } else { EventData::LikeDeleted(like) }
}

#[tokio::test]
async fn one_event_for_one_change() {
    let world = World::new();
    let (user, post) = (world.user(), world.post());
    for (on, told) in [
        (false, None),
        (true, Some(1)),
        (true, None),
        (false, Some(2)),
        (false, None),
        (true, Some(3)),
    ] {
        let answer = world.like(user, post, on).await;
        let expected = json!({ "liked": on, "likeCount": u64::from(on) });
        assert_eq!((answer.status, &answer.body), (200, &expected));
        let events = Vec::from_iter(told.map(|version| change(user, post, version)));
        assert_eq!(world.told().await, events);
        assert_eq!(world.social.like_counts(&[post]).await.unwrap(), [u64::from(on)]);
        assert_eq!(world.liked(user, &[post]).await, [on]);
        world.audit();
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_liked() {
    let world = World::new();
    let (user, post) = (world.user(), world.post());
    world.others.posts.lock().unwrap().remove(&post);
    for id in [post.to_string(), "nonsense".to_owned()] {
        for method in [Method::POST, Method::DELETE, Method::GET] {
            let uri = format!("/posts/{id}/likes");
            let answer = world.send(Some(user), method.clone(), &uri).await;
            assert_eq!((answer.status, answer.code()), (404, "not_found"));
            assert_eq!(world.send(None, method, &uri).await.status, 401);
        }
    }
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn a_page_of_likes_says_how_the_post_stands() {
    let world = World::new();
    let post = world.post();
    let users = world.users(4);
    for user in &users {
        world.like(*user, post, true).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.others.users.lock().unwrap().remove(&users[2]);
    let uri = format!("/posts/{post}/likes");
    let page = world.get(users[0], &format!("{uri}?limit=2")).await;
    assert_eq!(page.people(), [users[3], users[1]]);
    assert_eq!(page.body["items"][1]["likedAt"], "2026-01-01T00:00:01.000Z");
    assert_eq!((&page.body["likeCount"], &page.body["liked"]), (&json!(4), &json!(true)));
    let next = page.cursor("nextCursor").unwrap();
    let rest = world.get(world.user(), &format!("{uri}?limit=2&cursor={next}")).await;
    assert_eq!((rest.people(), rest.cursor("nextCursor")), (vec![users[0]], None));
    assert_eq!(rest.body["liked"], false);
    let newer = page.cursor("prevCursor").unwrap();
    let late = world.user();
    world.like(late, post, true).await;
    let newer = world.get(late, &format!("{uri}?cursor={newer}")).await;
    assert_eq!(newer.people(), [late]);
    for (query, status) in [("limit=0", 422), ("cursor=x", 400)] {
        assert_eq!(world.get(late, &format!("{uri}?{query}")).await.status, status);
    }
}

#[tokio::test]
async fn likes_of_many_posts_at_once() {
    let world = World::new();
    let (user, other) = (world.user(), world.user());
    let [a, b, gone] = [world.post(), world.post(), world.post()];
    for (who, post) in [(user, a), (other, a), (other, b), (user, gone)] {
        assert_eq!(world.like(who, post, true).await.status, 200);
    }
    world.others.posts.lock().unwrap().remove(&gone);
    let answer = world.get(user, &format!("/likes?postIds={b},{gone},x,{a},{b}")).await;
    let expected = json!({ "items": [
        { "postId": b.to_string(), "likeCount": 1, "liked": false },
        { "postId": a.to_string(), "likeCount": 2, "liked": true },
    ] });
    assert_eq!(answer.body, expected);
    let missing = world.get(user, "/likes").await.problem.unwrap();
    assert_eq!((missing.code.status(), missing.errors[0].field.as_str()), (422, "postIds"));
    assert_eq!(missing.errors[0].message, "This parameter is required.");
    assert_eq!(world.get(user, "/likes?postIds=").await.body, json!({ "items": [] }));
    assert_eq!(world.get(user, "/likes").await.status, 422);
    let many = vec![a.to_string(); 101].join(",");
    assert_eq!(world.get(user, &format!("/likes?postIds={many}")).await.status, 422);
    assert_eq!(world.liked(other, &[b, gone, a]).await, [true, false, true]);
    assert_eq!(world.social.like_counts(&[a, b]).await.unwrap(), [2, 1]);
    assert_eq!(world.liked(other, &[]).await, [false; 0]);
}
