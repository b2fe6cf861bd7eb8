//! What a call sets in motion among the functions: invocations of one by another, events, messages.
//! `docs/cost.md` is held to it; with `MINI_SNS_TEST_WRITE` set, the test writes its table.

use conformance::document;
use reqwest::Method;
use serde_json::json;

use crate::person::{PASSWORD, Person};
use crate::stage::Stage;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cost.md");

/// The row of a call, made to functions that remember nothing, as after a quiet while.
async fn row(stage: &Stage, what: &str, call: impl AsyncFnOnce()) -> String {
    stage.settled().await;
    stage.functions().forget().await;
    again(stage, what, call).await
}

/// The row of a call to functions that have just done others.
async fn again(stage: &Stage, what: &str, call: impl AsyncFnOnce()) -> String {
    let before = stage.functions().asked().len();
    call().await;
    let (events, messages) = stage.carried().await;
    let asked = stage.functions().asked().len() - before;
    format!("| {what} | {asked} | {events} | {messages} |\n")
}

#[tokio::test]
async fn calls_set_in_motion_what_the_document_says() {
    let stage = Stage::new().await;
    let (author, reader) =
        (Person::register(&stage, "hanako").await, Person::register(&stage, "taro").await);
    let mut table =
        "| call | functions asked by functions | events | messages |\n|---|---|---|---|\n"
            .to_owned();
    let register = async || drop(Person::register(&stage, "jiro").await);
    table += &row(&stage, "`POST /auth/register`", register).await;
    let login = json!({"email": "hanako@example.com", "password": PASSWORD});
    let login = async || drop(author.ask(Method::POST, "/auth/login", Some(login), 200).await);
    table += &row(&stage, "`POST /auth/login`", login).await;
    let refresh = json!({"refreshToken": reader.refresh_token});
    let refresh =
        async || drop(author.ask(Method::POST, "/auth/refresh", Some(refresh), 200).await);
    table += &row(&stage, "`POST /auth/refresh`", refresh).await;
    let me = async || drop(author.get("/users/me").await);
    table += &row(&stage, "`GET /users/me`", me).await;

    let follow = format!("/users/{}/follow", author.id);
    let mut posts = vec![author.post("the first").await];
    let follow = async || drop(reader.ask(Method::POST, &follow, None, 200).await);
    table += &row(&stage, "`POST /users/{userId}/follow`", follow).await;
    let post = async || posts.push(author.post("to one follower").await);
    table += &row(&stage, "`POST /posts`, one follower", post).await;
    let path = format!("/posts/{}", posts[0]);
    table += &row(&stage, "`GET /posts/{postId}`", async || drop(reader.get(&path).await)).await;
    let likes = format!("{path}/likes");
    for method in [Method::POST, Method::DELETE] {
        let what = format!("`{method} /posts/{{postId}}/likes`");
        let like = async || drop(reader.ask(method, &likes, None, 200).await);
        table += &row(&stage, &what, like).await;
    }
    let timeline = async || assert_eq!(reader.timeline().await.len(), 2);
    table += &row(&stage, "`GET /timeline`", timeline).await;
    table += &again(&stage, "`GET /timeline`, at once again", timeline).await;
    let delete = async || drop(author.ask(Method::DELETE, &path, None, 204).await);
    table += &row(&stage, "`DELETE /posts/{postId}`", delete).await;
    document::compare(DOCUMENT, "functions", &table);
}
