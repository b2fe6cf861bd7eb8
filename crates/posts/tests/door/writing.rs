//! Writing posts: the text's rules, idempotency, the limit a minute.

use std::time::Duration;

use crate::world::World;
use axum::body::Body;
use http::{Method, Request};
use kernel::EventData;
use posts::Config;
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

#[tokio::test]
async fn a_post_is_answered_stored_and_told() {
    let world = World::new();
    let user = world.user();
    let answer = world.write(user, "  Good\nmorning\t! ").await;
    assert_eq!(answer.status, 201);
    let id = answer.body["postId"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/posts/{id}"));
    assert_eq!(answer.headers["content-type"], "application/json");
    let expected = serde_json::json!({
        "postId": id, "authorId": user.to_string(), "text": "Good\nmorning\t!",
        "createdAt": "2026-01-01T00:00:00.000Z",
    });
    assert_eq!(answer.body, expected);
    assert_eq!(world.get(user, &format!("/posts/{id}")).await.body, expected);
    let told = world.told().await;
    assert!(matches!(&told[..], [EventData::PostCreated(post)] if post.post_id.to_string() == id));
    world.audit();
}

#[tokio::test]
async fn user_perceived_characters_count() {
    let world = World::with(World::unlimited());
    let user = world.user();
    let family = "👨‍👩‍👧‍👦";
    for fine in [
        family.repeat(500),
        "e\u{301}".repeat(500),
        "🇯🇵".repeat(500),
        format!("  {}\n", "a".repeat(500)),
        "\u{202E}right to left\u{202C} שלום".to_owned(),
        "<script>alert(1)</script>".to_owned(),
        "a\u{300}\u{301}\u{302}".repeat(100),
    ] {
        let answer = world.write(user, &fine).await;
        assert_eq!(answer.status, 201, "{fine}");
        let stored = answer.body["text"].as_str().unwrap();
        assert_eq!(stored, fine.nfc().collect::<String>().trim());
    }
    for bad in [
        String::new(),
        " \n\t\u{3000}\u{2003} ".to_owned(),
        "a".repeat(501),
        family.repeat(501),
        "e\u{301}".repeat(501),
        "a\u{0}b".to_owned(),
        "a\u{7}".to_owned(),
        "a\r\nb".to_owned(),
        "\u{85}a".to_owned(),
        "a\u{7f}".to_owned(),
    ] {
        let answer = world.write(user, &bad).await;
        assert_eq!((answer.status, answer.code()), (422, "validation_failed"), "{bad:?}");
        assert_eq!(answer.problem.unwrap().errors[0].field, "text");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_is_stored_as_the_rules_say_or_refused(
        text in prop_oneof![
            ".{0,40}",
            "[ \\t\\n\\r\\x00a\u{301}\u{200d}👩🇯\u{202e}가각]{0,20}",
            "[a\u{301}]{480,600}",
        ]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let world = World::in_memory(World::unlimited());
        let answer = runtime.block_on(world.write(world.user(), &text));
        let wanted: String = text.nfc().collect();
        let wanted = wanted.trim();
        let control = text.chars().any(|c| c.is_control() && !"\n\t".contains(c));
        let characters = wanted.graphemes(true).count();
        let good = !control && (1..=500).contains(&characters);
        prop_assert_eq!(answer.status, if good { 201 } else { 422 });
        if good {
            prop_assert_eq!(answer.body["text"].as_str().unwrap(), wanted);
            // What is stored would be stored as it is.
            let again = runtime.block_on(world.write(world.user(), wanted));
            prop_assert_eq!(&again.body["text"], &answer.body["text"]);
        }
    }
}

#[tokio::test]
async fn bad_requests_are_refused_in_their_own_way() {
    let world = World::new();
    let user = world.user();
    let request = |content_type: &str, body: &str| {
        let request = Request::builder().method(Method::POST).uri("/posts");
        let request = request.header("content-type", content_type);
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let json = "application/json";
    for (content_type, body, status) in [
        (json, "{", 400),
        (json, "{\"text\":\"\\ud800\"}", 400),
        (json, "{}", 422),
        (json, "{\"text\":null}", 422),
        (json, "[1]", 422),
        ("text/plain", "{\"text\":\"a\"}", 415),
    ] {
        let answer = world.send(Some(user), request(content_type, body)).await;
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(world.send(None, request(json, "{\"text\":\"a\"}")).await.status, 401);
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn the_same_key_and_body_answer_the_first_post() {
    let world = World::new();
    let (user, other) = (world.user(), world.user());
    let first = world.write_once(user, "a", Some("k")).await;
    world.clock.advance(Duration::from_hours(23));
    let again = world.write_once(user, "a", Some("k")).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["location"], first.headers["location"]);
    let mismatch = world.write_once(user, "b", Some("k")).await;
    assert_eq!((mismatch.status, mismatch.code()), (422, "idempotency_mismatch"));
    assert_eq!(mismatch.problem.unwrap().errors[0].field, "Idempotency-Key");
    // Keys belong to their user and live a day.
    let others = world.write_once(other, "b", Some("k")).await;
    assert_eq!(others.status, 201);
    world.clock.advance(Duration::from_hours(1));
    let next_day = world.write_once(user, "b", Some("k")).await;
    assert_eq!(next_day.status, 201);
    assert_ne!(next_day.body["postId"], first.body["postId"]);
    assert_eq!(world.told().await.len(), 3);
    // Even when the post has been deleted, the answer is the first one.
    let id = next_day.body["postId"].as_str().unwrap();
    assert_eq!(world.delete(user, id).await.status, 204);
    assert_eq!(world.write_once(user, "b", Some("k")).await.body, next_day.body);
    assert_eq!(world.get(user, &format!("/posts/{id}")).await.status, 404);
}

#[tokio::test]
async fn keys_are_visible_ascii() {
    let world = World::with(World::unlimited());
    let user = world.user();
    for fine in ["!", "~", &"k".repeat(255), "a#b/c\"d"] {
        assert_eq!(world.write_once(user, "a", Some(fine)).await.status, 201, "{fine}");
    }
    for bad in ["", "a b", "\t", "é", &"k".repeat(256)] {
        let answer = world.write_once(user, "a", Some(bad)).await;
        assert_eq!((answer.status, answer.code()), (422, "validation_failed"), "{bad}");
    }
    let twice = Request::builder().method(Method::POST).uri("/posts");
    let twice = twice.header("content-type", "application/json");
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "b");
    let twice = twice.body(Body::from("{\"text\":\"a\"}")).unwrap();
    assert_eq!(world.send(Some(user), twice).await.status, 422);
}

#[tokio::test]
async fn the_eleventh_post_in_any_minute_is_refused() {
    let world = World::new();
    let user = world.user();
    for second in 0..10 {
        let key = format!("k{second}");
        assert_eq!(world.write_once(user, "a", Some(&key)).await.status, 201);
        // Neither replays nor refused posts count.
        assert_eq!(world.write_once(user, "a", Some(&key)).await.status, 201);
        assert_eq!(world.write(user, " ").await.status, 422);
        world.clock.advance(Duration::from_secs(1));
    }
    for (wait, retry_after) in [(0, 50), (49_001, 1)] {
        world.clock.advance(Duration::from_millis(wait));
        let answer = world.write(user, "b").await;
        assert_eq!((answer.status, answer.code()), (429, "post_rate_limited"));
        assert_eq!(answer.problem.unwrap().retry_after_secs, Some(retry_after));
    }
    assert_eq!(world.write_once(user, "a", Some("k3")).await.status, 201, "a replay");
    assert_eq!(world.write(world.user(), "b").await.status, 201, "somebody else");
    // The window slides: one post leaves it, one may come.
    world.clock.advance(Duration::from_millis(999));
    assert_eq!(world.write(user, "b").await.status, 201);
    assert_eq!(world.write(user, "b").await.status, 429);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.write(user, "b").await.status, 201);
    assert_eq!(world.told().await.len(), 13);
}

#[tokio::test]
async fn who_has_not_confirmed_their_address_posts_three_times_a_day() {
    let config = Config { unconfirmed_posts_per_day: Some(3), ..World::unlimited() };
    let world = World::with(config);
    let ann = world.user();
    for number in 0..3 {
        world.written(ann, &format!("post {number}")).await;
    }
    let refused = world.write(ann, "a fourth").await;
    assert_eq!((refused.status, refused.code()), (403, "email_unconfirmed"));
    // Another day is another three.
    world.clock.advance(Duration::from_secs(24 * 60 * 60));
    for number in 0..3 {
        world.written(ann, &format!("next day {number}")).await;
    }
    assert_eq!(world.write(ann, "a seventh").await.code(), "email_unconfirmed");
    world.confirmed(ann).await;
    world.confirmed(ann).await;
    for number in 0..5 {
        world.written(ann, &format!("confirmed {number}")).await;
    }
    world.audit();
}

#[tokio::test]
async fn where_confirmation_is_required_nobody_posts_without_it() {
    let config = Config { unconfirmed_posts_per_day: Some(0), ..World::unlimited() };
    let world = World::with(config);
    let ann = world.user();
    assert_eq!(world.write(ann, "too early").await.code(), "email_unconfirmed");
    world.confirmed(ann).await;
    world.written(ann, "confirmed").await;
    // A confirmation that comes late brings nobody back.
    world.user_deleted(ann).await;
    world.confirmed(ann).await;
    assert_eq!(world.write(ann, "gone").await.code(), "unauthenticated");
    world.audit();
}
