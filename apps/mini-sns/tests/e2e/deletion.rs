//! What is deleted is gone everywhere.

use reqwest::Method;
use serde_json::json;

use crate::person::{PASSWORD, Person};
use crate::server::{Server, eventually};

#[tokio::test]
async fn a_deleted_post_is_gone_from_every_read_at_once() {
    let server = Server::start(&[]).await;
    let (reader, author) = (Person::register(&server).await, Person::register(&server).await);
    reader.follow(&author).await;
    let post = author.post("soon gone").await;
    reader.sees(std::slice::from_ref(&post)).await;
    reader.send(Method::POST, &format!("/posts/{post}/likes")).await.expect(200);
    reader.delete(&format!("/posts/{post}")).await.problem(403, "forbidden");
    author.delete(&format!("/posts/{post}")).await.expect(204);
    assert!(reader.timeline().await.is_empty(), "a cache never shows what is gone");
    author.get(&format!("/posts/{post}")).await.problem(404, "not_found");
    author.delete(&format!("/posts/{post}")).await.problem(404, "not_found");
    let by_id = author.get(&format!("/posts?ids={post}")).await.expect(200);
    assert_eq!(by_id["items"], json!([]));
    for list in [format!("/posts?authorId={}", author.id), "/posts".to_owned()] {
        assert_eq!(author.get(&list).await.expect(200)["items"], json!([]), "{list}");
    }
    reader.send(Method::POST, &format!("/posts/{post}/likes")).await.problem(404, "not_found");
    server.verified().await;
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_behind() {
    let server = Server::start(&[]).await;
    let leaver = Person::register(&server).await;
    let (friend, author) = (Person::register(&server).await, Person::register(&server).await);
    friend.follow(&leaver).await;
    leaver.follow(&author).await;
    let post = leaver.post("farewell").await;
    let other = author.post("stays").await;
    leaver.send(Method::POST, &format!("/posts/{other}/likes")).await.expect(200);
    friend.sees(std::slice::from_ref(&post)).await;

    let wrong = json!({"password": "not-my-password-1"});
    let refused = leaver.request(Method::DELETE, "/users/me").json(&wrong).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let right = json!({"password": PASSWORD});
    let taken = leaver.request(Method::DELETE, "/users/me").json(&right).send().await.unwrap();
    assert_eq!(taken.status(), 202);

    leaver.get("/users/me").await.problem(401, "unauthenticated");
    let refresh = json!({"refreshToken": leaver.refresh_token});
    leaver.post_to("/auth/refresh", &refresh).await.problem(401, "invalid_refresh_token");
    let login = json!({"email": leaver.email, "password": PASSWORD});
    leaver.post_to("/auth/login", &login).await.problem(401, "bad_credentials");
    friend.get(&format!("/users/{}", leaver.id)).await.problem(404, "not_found");
    friend.sees(&[]).await;
    eventually("the posts are gone", async || {
        (friend.get(&format!("/posts/{post}")).await.status == 404).then_some(())
    })
    .await;
    eventually("the likes and follows are gone", async || {
        let likes = author.get(&format!("/posts/{other}/likes")).await.expect(200);
        let follow = author.get(&format!("/users/{}/follow", author.id)).await.expect(200);
        let mine = friend.get(&format!("/users/{}/follow", friend.id)).await.expect(200);
        let counts = (&likes["likeCount"], &follow["followerCount"], &mine["followingCount"]);
        (counts == (&json!(0), &json!(0), &json!(0)) && likes["items"] == json!([])).then_some(())
    })
    .await;
    // The address and the handle are free again.
    let again = json!({"email": leaver.email, "password": PASSWORD, "handle": leaver.handle});
    friend.post_to("/auth/register", &again).await.expect(201);
    server.verified().await;
}
