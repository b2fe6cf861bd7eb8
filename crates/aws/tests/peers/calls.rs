//! What is asked, how it is proved, and what is made of the answers.

use std::time::Duration;

use aws::peers::ServiceToken;
use conformance::TestClock;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::identity::session::Sessions;
use kernel::internal::{Claims, WeakSecret};
use kernel::peers::{Followers, Peers, Regard};
use kernel::request::{Scope, within};
use kernel::trace::TraceContext;
use kernel::{Clock, Code, Post, PostId, Profile, Time, UserId};
use serde_json::json;
use tokio::time::Instant;

use crate::server::{SECRET, Server, Way, limits, peers};

const USER: UserId = UserId(ulid::Ulid(1));
const POST: PostId = PostId(ulid::Ulid(2));

#[tokio::test]
async fn every_read_has_its_address_and_its_answer() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    let now = Time::from_millis(1_700_000_000_000);
    let post = Post { post_id: POST, author_id: USER, text: "hello".into(), created_at: now };
    let profile = Profile {
        user_id: USER,
        handle: "h".into(),
        display_name: "n".into(),
        bio: "b".into(),
        created_at: now,
        updated_at: now,
    };
    let asked = |path: &str, body: serde_json::Value| {
        let asked = server.asked();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].path.as_str(), &asked[0].body), (path, &body));
    };
    server.answers([Way::json(&json!([post, null]))]);
    assert_eq!(peers.posts(&[POST, POST]).await.unwrap(), [Some(post.clone()), None]);
    asked("/stage/internal/posts", json!({"ids": [POST, POST]}));
    server.answers([Way::json(&json!([true]))]);
    assert_eq!(peers.posts_exist(&[POST]).await.unwrap(), [true]);
    asked("/stage/internal/posts/exist", json!({"ids": [POST]}));
    server.answers([Way::json(&json!([post]))]);
    assert_eq!(peers.newest_posts(USER, Some(POST), 20).await.unwrap(), [post]);
    asked("/stage/internal/posts/newest", json!({"author": USER, "before": POST, "limit": 20}));
    server.answers([Way::json(&json!([profile]))]);
    assert_eq!(peers.profiles(&[USER]).await.unwrap(), [Some(profile)]);
    asked("/stage/internal/profiles", json!({"ids": [USER]}));
    server.answers([Way::json(&json!([true]))]);
    assert!(peers.is_open(USER, "session").await.unwrap());
    let session = json!({"user": USER, "session": "session"});
    asked("/stage/internal/sessions/open", json!({"ids": [session]}));
    server.answers([Way::json(&json!([7]))]);
    assert_eq!(peers.like_counts(&[POST]).await.unwrap(), [7]);
    asked("/stage/internal/likes/counts", json!({"ids": [POST]}));
    server.answers([Way::json(&json!({"liked": [false], "regards": ["open", "muted"]}))]);
    let viewed = peers.viewed(USER, &[POST], &[USER, USER]).await.unwrap();
    assert_eq!((viewed.liked, viewed.regards), (vec![false], vec![Regard::Open, Regard::Muted]));
    let view = json!({"viewer": USER, "posts": [POST], "people": [USER, USER]});
    asked("/stage/internal/viewed", view);
    let page = Followers { users: vec![USER], next: Some(USER) };
    server.answers([Way::json(&json!(page))]);
    assert_eq!(peers.followers(USER, None, 500).await.unwrap(), page);
    asked("/stage/internal/followers", json!({"user": USER, "after": null, "limit": 500}));
    server.answers([Way::json(&json!(page))]);
    assert_eq!(peers.following(USER, Some(USER), 500).await.unwrap(), page);
    asked("/stage/internal/following", json!({"user": USER, "after": USER, "limit": 500}));
}

#[tokio::test]
async fn a_call_carries_a_short_lived_token_for_its_target_and_the_trace() {
    let (server, address) = Server::start().await;
    let (peers, clock) = peers(&address, limits());
    server.answers([Way::json(&json!([1]))]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let deadline = Instant::now() + Duration::from_secs(5);
    let scope = Scope { trace: TraceContext::parse(trace), ..Scope::until(deadline) };
    within(scope, peers.like_counts(&[POST])).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.header("traceparent"), trace);
    let x_ray = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1";
    assert_eq!(asked.header("x-amzn-trace-id"), x_ray);
    let token = asked.header("authorization").strip_prefix("Bearer ").unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["social"]);
    // The test's clock is not the machine's.
    rules.validate_exp = false;
    let key = DecodingKey::from_secret(SECRET);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &rules).unwrap().claims;
    let now = clock.now().secs();
    let wanted =
        Claims { aud: "social".into(), iat: now, exp: now + 60, token_use: "service".into() };
    assert_eq!(claims, wanted);
    let weak = ServiceToken::new(&SECRET[..31], TestClock::new());
    assert_eq!(weak.err(), Some(WeakSecret));
}

#[tokio::test]
async fn a_peers_refusal_comes_back_as_its_problem() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    server.answers([Way::problem(422, "validation_failed")]);
    let problem = peers.posts(&[POST]).await.unwrap_err();
    assert_eq!((problem.code, problem.detail.as_ref()), (Code::ValidationFailed, "Not so."));
    assert_eq!(problem.errors[0].field, "ids");
    server.answers([Way::problem(404, "not_found")]);
    assert_eq!(peers.posts(&[POST]).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn what_is_between_services_is_not_told_as_the_persons_fault() {
    let (server, address) = Server::start().await;
    let (peers, _) = peers(&address, limits());
    for (status, code, told) in [
        (401, "unauthenticated", Code::Internal),
        (403, "forbidden", Code::Internal),
        (429, "rate_limited", Code::Unavailable),
        (500, "internal", Code::Unavailable),
        (503, "unavailable", Code::Unavailable),
        (504, "deadline_exceeded", Code::Unavailable),
    ] {
        server.answers([Way::problem(status, code)]);
        let problem = peers.posts(&[POST]).await.unwrap_err();
        assert_eq!(problem.code, told, "{status}");
        assert!(problem.cause.is_some());
        server.answers([Way::json(&json!([null]))]);
        peers.posts(&[POST]).await.unwrap();
    }
}
