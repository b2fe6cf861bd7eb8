//! The flows of the architecture document, from end to end.

use reqwest::Method;
use serde_json::json;

use crate::live::Socket;
use crate::person::{PASSWORD, Person};
use crate::server::Server;

/// R3.1
#[tokio::test]
async fn a_person_registers_and_is_signed_in() {
    let server = Server::start(&[]).await;
    let person = Person::register_as(&server, "hanako").await;
    let me = person.get("/users/me").await.expect(200);
    assert_eq!(me["email"], "hanako@example.com");
    assert_eq!(me["handle"], "hanako");
    let public = person.get(&format!("/users/{}", person.id)).await.expect(200);
    assert!(public.get("email").is_none(), "an address is nobody else's business: {public}");
    let login = json!({"email": " Hanako@Example.com ", "password": PASSWORD});
    let again = person.post_to("/auth/login", &login).await.expect(200);
    assert_eq!(again["user"]["userId"], person.id);
    assert_eq!(again["tokenType"], "Bearer");
    assert_eq!(again["expiresIn"], 3600);
    server.verified().await;
}

/// R3.2
#[tokio::test]
async fn a_timeline_is_read_from_the_cache_the_second_time() {
    let server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    let post = author.post("おはよう 🌅").await;
    reader.sees(std::slice::from_ref(&post)).await;
    server.settled().await;
    let first = reader.get("/timeline?limit=20").await;
    let second = reader.get("/timeline?limit=20").await;
    assert_eq!(second.headers["x-cache"], "hit");
    assert_eq!(second.headers["cache-control"], "private, no-store");
    assert_eq!(first.body, second.body);
    let item = &second.body["items"][0];
    assert_eq!(item["post"]["postId"], post);
    assert_eq!(item["post"]["text"], "おはよう 🌅");
    assert_eq!(item["author"]["handle"], author.handle);
    assert_eq!((&item["likeCount"], &item["liked"]), (&json!(0), &json!(false)));
    server.verified().await;
}

/// R3.3
#[tokio::test]
async fn a_post_reaches_timelines_and_sockets() {
    let server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    server.settled().await;
    let mut socket = Socket::open(&server, &reader).await;
    let mut own = Socket::open(&server, &author).await;
    let post = author.post("to whoever listens").await;
    for socket in [&mut socket, &mut own] {
        let frame = socket.next("timeline.entry").await;
        assert_eq!(frame["data"]["post"]["postId"], post);
        assert_eq!(frame["data"]["author"]["handle"], author.handle);
    }
    reader.sees(std::slice::from_ref(&post)).await;
    author.sees(&[post]).await;
    server.verified().await;
}

/// R3.4
#[tokio::test]
async fn a_follow_brings_the_newest_posts_and_an_unfollow_takes_them_away() {
    let server = Server::start(&["--posts-per-minute", "100"]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    let own = reader.post("mine").await;
    let mut posts = Vec::new();
    for number in 0..25 {
        posts.push(author.post(&format!("number {number}")).await);
    }
    reader.follow(&author).await;
    server.settled().await;
    let page = reader.get("/timeline?limit=20").await.expect(200);
    let newest: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|i| i["post"]["postId"].clone()).collect();
    let wanted: Vec<_> = posts.iter().rev().take(20).map(|id| json!(id)).collect();
    assert_eq!(newest, wanted);
    posts.push(own.clone());
    reader.sees(&posts).await;
    reader.unfollow(&author).await;
    reader.sees(&[own]).await;
    server.verified().await;
}

#[tokio::test]
async fn likes_are_counted_exactly_and_shown_at_once() {
    let server = Server::start(&[]).await;
    let (fan, author) = (Person::register(&server).await, Person::register(&server).await);
    fan.follow(&author).await;
    let post = author.post("like me").await;
    fan.sees(std::slice::from_ref(&post)).await;
    let likes = format!("/posts/{post}/likes");
    for _ in 0..2 {
        let liked = fan.send(Method::POST, &likes).await.expect(200);
        assert_eq!(liked, json!({"liked": true, "likeCount": 1}));
    }
    let timeline = fan.get("/timeline").await.expect(200);
    assert_eq!(timeline["items"][0]["liked"], true, "`liked` never lags");
    let page = author.get(&likes).await.expect(200);
    assert_eq!((&page["likeCount"], &page["liked"]), (&json!(1), &json!(false)));
    assert_eq!(page["items"][0]["user"]["handle"], fan.handle);
    let unliked = fan.send(Method::DELETE, &likes).await.expect(200);
    assert_eq!(unliked, json!({"liked": false, "likeCount": 0}));
    let state = author.get(&format!("/likes?postIds={post}")).await.expect(200);
    assert_eq!(state, json!({"items": [{"postId": post, "likeCount": 0, "liked": false}]}));
    server.verified().await;
}
