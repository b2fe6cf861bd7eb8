//! What services read from each other: who is let in, and what they are answered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use conformance::{SeededIds, TestClock};
use edge::Config;
use edge::internal::{Guard, Internal, TokenVerifier, Until};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::identity::session::{SessionName, Sessions};
use kernel::internal::{Claims, Service, WeakSecret};
use kernel::peers::{Followers, Peers, Viewed};
use kernel::{Clock, Post, PostId, Problem, Profile, Time, UserId};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::site::{Answer, Call, SECRET, Site, USER};

const KEY: &[u8] = b"a secret of thirty-two bytes, ok!";
const OTHER_KEY: &[u8] = b"another secret, as long as it is!";

/// Knows one post, and fails in several ways.
struct OnePost;

fn post() -> Post {
    let text = "hello".to_owned();
    Post {
        post_id: PostId(5.into()),
        author_id: USER.parse().unwrap(),
        text,
        created_at: Time::from_millis(0),
    }
}

#[async_trait]
impl Peers for OnePost {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        Ok(ids.iter().map(|id| (*id == PostId(5.into())).then(post)).collect())
    }
    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        Ok(ids.iter().map(|id| *id == PostId(5.into())).collect())
    }
    async fn newest_posts(
        &self,
        _: UserId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<Post>, Problem> {
        Ok(vec![post(); if before.is_none() { limit } else { 0 }])
    }
    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        Ok(vec![None; ids.len()])
    }
    async fn like_counts(&self, _: &[PostId]) -> Result<Vec<u64>, Problem> {
        Err(Problem::unavailable(std::io::Error::other(SECRET)))
    }
    async fn viewed(&self, _: UserId, _: &[PostId], _: &[UserId]) -> Result<Viewed, Problem> {
        panic!("{SECRET}")
    }
    async fn followers(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Followers, Problem> {
        Ok(Followers { users: vec![user; limit], next: after })
    }
    async fn following(
        &self,
        _: UserId,
        _: Option<UserId>,
        _: usize,
    ) -> Result<Followers, Problem> {
        std::future::pending().await
    }
}

/// Knows one session.
struct OneSession;

#[async_trait]
impl Sessions for OneSession {
    async fn are_open(&self, sessions: &[SessionName]) -> Result<Vec<bool>, Problem> {
        let open = |name: &SessionName| name.user.text() == USER && name.session == "open";
        Ok(sessions.iter().map(open).collect())
    }
}

fn site_of(guard: impl Fn(Arc<TestClock>) -> Guard, services: &[Service]) -> Site {
    patient_site_of(300, guard, services)
}

fn patient_site_of(
    deadline_millis: u64,
    guard: impl Fn(Arc<TestClock>) -> Guard,
    services: &[Service],
) -> Site {
    let config = Config { deadline_millis, ..Config::default() };
    let mut site = Site::bare(config.clone());
    let ids = SeededIds::new(site.clock.clone(), 8);
    let guard = guard(site.clock.clone());
    let sessions = Some(Arc::new(OneSession) as _);
    let peers = Arc::new(OnePost);
    let internal = Internal { config, guard, peers, sessions, ids, tracer: None };
    site.mount(|router| internal.beside(router, services));
    site
}

fn token_site(services: &[Service]) -> Site {
    site_of(|clock| Guard::Token(TokenVerifier::new(&[KEY], clock).unwrap()), services)
}

fn claims(site: &Site, service: &str) -> Claims {
    let now = site.clock.now().secs();
    Claims { aud: service.into(), iat: now, exp: now + 60, token_use: "service".into() }
}

fn signed(claims: &impl serde::Serialize, algorithm: Algorithm, key: &[u8]) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).unwrap()
}

fn good(site: &Site, service: &str) -> String {
    signed(&claims(site, service), Algorithm::HS256, KEY)
}

async fn ask(site: &Site, path: &str, token: &str, body: Value) -> Answer {
    let call = Call::post(path, body.to_string());
    site.call(call.header("authorization", &format!("Bearer {token}"))).await
}

fn ids() -> Value {
    json!({"ids": [PostId(5.into()), PostId(6.into())]})
}

#[tokio::test]
async fn a_service_with_a_token_is_answered() {
    let site = token_site(&Service::ALL);
    let token = good(&site, "post");
    let posts = ask(&site, "/internal/posts", &token, ids()).await;
    assert_eq!(posts.status, 200, "{}", posts.text());
    assert_eq!(posts.json(), json!([post(), null]));
    assert_eq!(posts.header("cache-control"), "no-store");
    assert!(posts.header("ratelimit").is_empty(), "no bucket counts it");
    let exist = ask(&site, "/internal/posts/exist", &token, ids()).await;
    assert_eq!(exist.json(), json!([true, false]));
    let newest = ask(&site, "/internal/posts/newest", &token, json!({"author": USER, "limit": 2}));
    assert_eq!(newest.await.json(), json!([post(), post()]));
    let profiles = json!({"ids": [USER]});
    let profiles = ask(&site, "/internal/profiles", &good(&site, "user"), profiles).await;
    assert_eq!(profiles.json(), json!([null]));
    let sessions = ["open", "ended"].map(|session| json!({"user": USER, "session": session}));
    let sessions = json!({"ids": sessions});
    let sessions = ask(&site, "/internal/sessions/open", &good(&site, "user"), sessions).await;
    assert_eq!(sessions.json(), json!([true, false]));
    let edges = json!({"user": USER, "after": USER, "limit": 1});
    let followers = ask(&site, "/internal/followers", &good(&site, "social"), edges).await;
    assert_eq!(followers.json(), json!({"users": [USER], "next": USER}));
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let site = token_site(&Service::ALL);
    let now = site.clock.now().secs();
    let claim = |change: fn(&mut Claims, i64)| {
        let mut claims = claims(&site, "post");
        change(&mut claims, now);
        signed(&claims, Algorithm::HS256, KEY)
    };
    let user = json!({"sub": USER, "aud": "post", "iat": now, "exp": now + 60,
        "token_use": "access"});
    let endless = json!({"aud": "post", "iat": now, "token_use": "service"});
    let mut torn = good(&site, "post");
    torn.truncate(torn.len() - 4);
    let refused = [
        ("an access token of a user", crate::site::TOKEN.to_owned()),
        ("claims of a user", signed(&user, Algorithm::HS256, KEY)),
        ("no end", signed(&endless, Algorithm::HS256, KEY)),
        ("another audience", good(&site, "social")),
        ("another secret", signed(&claims(&site, "post"), Algorithm::HS256, OTHER_KEY)),
        ("another algorithm", signed(&claims(&site, "post"), Algorithm::HS512, KEY)),
        ("over", claim(|claims, now| (claims.iat, claims.exp) = (now - 60, now))),
        ("not yet", claim(|claims, now| (claims.iat, claims.exp) = (now + 10, now + 70))),
        ("too long", claim(|claims, now| claims.exp = now + 61)),
        ("no use", claim(|claims, _| claims.token_use.clear())),
        ("torn", torn),
        ("none", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJwb3N0In0.".to_owned()),
        ("nothing", String::new()),
    ];
    for (what, token) in refused {
        let answer = ask(&site, "/internal/posts", &token, ids()).await;
        assert_eq!(answer.status, 401, "{what}");
        answer.assert_problem(401, "unauthenticated");
    }
    site.call(Call::post("/internal/posts", "{}")).await.assert_problem(401, "unauthenticated");
    let query = format!("/internal/posts?token={}", good(&site, "post"));
    site.call(Call::post(&query, "{}")).await.assert_problem(401, "unauthenticated");
    let twice = Call::post("/internal/posts", ids().to_string())
        .header("authorization", &format!("Bearer {}", good(&site, "post")))
        .header("authorization", &format!("Bearer {}", good(&site, "post")));
    site.call(twice).await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_is_good_for_a_minute() {
    let site = token_site(&Service::ALL);
    let token = good(&site, "post");
    site.clock.advance(Duration::from_secs(59));
    assert_eq!(ask(&site, "/internal/posts", &token, ids()).await.status, 200);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&site, "/internal/posts", &token, ids()).await.status, 401);
}

#[tokio::test]
async fn a_service_token_opens_no_door_of_a_user() {
    let site = token_site(&Service::ALL);
    let mine =
        Call::get("/mine").header("authorization", &format!("Bearer {}", good(&site, "post")));
    site.call(mine).await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn secrets_are_replaced_without_a_gap_and_never_short() {
    let both = |clock| TokenVerifier::new(&[OTHER_KEY, KEY], clock).unwrap();
    let site = site_of(|clock| Guard::Token(both(clock)), &[Service::Post]);
    for key in [KEY, OTHER_KEY] {
        let token = signed(&claims(&site, "post"), Algorithm::HS256, key);
        assert_eq!(ask(&site, "/internal/posts", &token, ids()).await.status, 200);
    }
    for short in [&[&KEY[..31]][..], &[KEY, b""], &[]] {
        assert_eq!(TokenVerifier::new(short, TestClock::new()).err(), Some(WeakSecret));
    }
}

#[tokio::test]
async fn where_the_platform_lets_in_services_alone_nobody_is_asked_for_more() {
    let site = site_of(|_| Guard::Platform, &[Service::Post]);
    let posts = site.call(Call::post("/internal/posts", ids().to_string())).await;
    assert_eq!(posts.json(), json!([post(), null]));
    site.get("/mine").await.assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn services_of_other_processes_are_not_there() {
    let site = token_site(&[Service::Post]);
    for path in [
        "/internal/profiles",
        "/internal/sessions/open",
        "/internal/followers",
        "/internal/nowhere",
    ] {
        ask(&site, path, &good(&site, "post"), ids()).await.assert_problem(404, "not_found");
    }
    let embedded = token_site(&[]);
    ask(&embedded, "/internal/posts", &good(&embedded, "post"), ids())
        .await
        .assert_problem(404, "not_found");
    for site in [&site, &embedded] {
        site.get("/nowhere").await.assert_problem(404, "not_found");
        assert_eq!(site.get("/open").await.status, 200);
    }
    assert!(!site.document.to_json().unwrap().contains("/internal/"));
}

#[tokio::test]
async fn limits_and_deadlines_hold_here_too() {
    let site = token_site(&Service::ALL);
    let (post, social) = (good(&site, "post"), good(&site, "social"));
    let large = json!({"ids": "x".repeat(65 * 1024)});
    ask(&site, "/internal/posts", &post, large).await.assert_problem(413, "body_too_large");
    let many = json!({"ids": vec![PostId(5.into()); 101]});
    ask(&site, "/internal/posts", &post, many).await.assert_problem(422, "validation_failed");
    let edges = |limit: usize| json!({"user": USER, "limit": limit});
    let page = ask(&site, "/internal/followers", &social, edges(1000)).await;
    assert_eq!(page.json()["users"].as_array().map(Vec::len), Some(1000));
    let over = ask(&site, "/internal/followers", &social, edges(1001)).await;
    over.assert_problem(422, "validation_failed");
    let slow = ask(&site, "/internal/following", &social, edges(1)).await;
    slow.assert_problem(504, "deadline_exceeded");
    let text =
        Call::post("/internal/posts", "{").header("authorization", &format!("Bearer {post}"));
    site.call(text).await.assert_problem(400, "malformed_request");
    let get = Call::new(Method::GET, "/internal/posts");
    let get = site.call(get.header("authorization", &format!("Bearer {post}"))).await;
    get.assert_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn nothing_is_done_for_a_caller_who_waits_no_more() {
    let hour = 3_600_000;
    let site = patient_site_of(hour, |_| Guard::Platform, &[Service::Social]);
    let edges = json!({"user": USER, "limit": 1}).to_string();
    // Which never answers.
    let call = Call::post("/internal/following", edges);
    let answer = site.call(call.extension(Until(Instant::now()))).await;
    answer.assert_problem(504, "deadline_exceeded");
}

#[tokio::test]
async fn failures_are_problems_without_their_causes() {
    let site = token_site(&Service::ALL);
    let token = good(&site, "social");
    let counts = ask(&site, "/internal/likes/counts", &token, ids()).await;
    counts.assert_problem(503, "unavailable");
    let mut view = json!({"viewer": USER, "posts": [PostId(5.into())], "people": []});
    let viewed = ask(&site, "/internal/viewed", &token, view.clone()).await;
    viewed.assert_problem(500, "internal");
    view["people"] = json!(vec![USER; 101]);
    let over = ask(&site, "/internal/viewed", &token, view).await;
    over.assert_problem(422, "validation_failed");
}
