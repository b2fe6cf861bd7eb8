//! What operators do about people and posts, by the commands that they use.

use reqwest::Method;
use serde_json::{Value, json};

use crate::live::Socket;
use crate::person::{PASSWORD, Person};
use crate::server::{Server, eventually, program};

pub(crate) fn operate(server: &Server, args: &[&str]) -> Result<String, String> {
    let admin = ["--admin", &server.admin];
    let output = program().args(args).args(admin).env("USER", "olga").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

pub(crate) fn read(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&operate(server, &[args, &["--json"]].concat()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_suspended_account_is_nowhere_until_it_is_restored() {
    let server = Server::start(&[]).await;
    let (loud, reader) =
        (Person::register_as(&server, "loud").await, Person::register(&server).await);
    reader.follow(&loud).await;
    let post = loud.post("noise").await;
    let like = format!("/posts/{post}/likes");
    loud.send(Method::POST, &like).await.expect(200);
    reader.sees(std::slice::from_ref(&post)).await;
    let mut socket = Socket::open(&server, &loud).await;

    let suspend = ["users", "suspend", "loud", "--reason", "noise"];
    let dry = operate(&server, &[&suspend[..], &["--dry-run"]].concat());
    assert_eq!(dry.unwrap(), "loud: would be suspended");
    loud.get("/users/me").await.expect(200);
    assert_eq!(operate(&server, &suspend).unwrap(), "loud: suspended");
    assert_eq!(operate(&server, &suspend).unwrap(), "loud: nothing to do");

    loud.get("/users/me").await.problem(401, "unauthenticated");
    let login = json!({"email": loud.email, "password": PASSWORD});
    loud.post_to("/auth/login", &login).await.problem(403, "account_suspended");
    let refresh = json!({"refreshToken": loud.refresh_token});
    loud.post_to("/auth/refresh", &refresh).await.problem(403, "account_suspended");
    assert_eq!(socket.closed().await, 4401);
    reader.get(&format!("/users/{}", loud.id)).await.problem(404, "not_found");
    reader.get("/users/by-handle/loud").await.problem(404, "not_found");
    assert_eq!(reader.get("/users/search?q=lou").await.expect(200)["items"], json!([]));
    server.settled().await;
    reader.get(&format!("/posts/{post}")).await.problem(404, "not_found");
    assert_eq!(reader.get("/posts").await.expect(200)["items"], json!([]));
    assert_eq!(reader.timeline().await, [""; 0]);
    reader.send(Method::POST, &like).await.problem(404, "not_found");
    let found = read(&server, &["users", "find", "loud"]);
    assert_eq!(found["items"][0]["suspended"]["reason"], "noise");
    assert_eq!(read(&server, &["users", "show", "loud"])["email"], loud.email);

    let restore = ["users", "restore", "loud", "--reason", "made up", "--operator", "otto"];
    assert_eq!(operate(&server, &restore).unwrap(), "loud: restored");
    let again = loud.post_to("/auth/login", &login).await.expect(200);
    let loud = loud.with_token(&again["accessToken"]);
    server.settled().await;
    reader.sees(std::slice::from_ref(&post)).await;
    reader.get(&format!("/posts/{post}")).await.expect(200);
    let likes = reader.get(&like).await.expect(200);
    assert_eq!(likes["items"][0]["user"]["userId"], loud.id);
    assert_eq!(reader.get("/users/search?q=lou").await.expect(200)["items"][0]["handle"], "loud");

    let acts = read(&server, &["audit"]);
    let told = |act: &Value| {
        let text = |name: &str| act[name].as_str().unwrap().to_owned();
        [text("operator"), text("act"), text("subject"), text("reason")]
    };
    let acts: Vec<_> = acts["items"].as_array().unwrap().iter().map(told).collect();
    let act = |operator: &str, act: &str, reason: &str| {
        [operator, act, &loud.id, reason].map(str::to_owned)
    };
    assert_eq!(acts, [act("otto", "restore", "made up"), act("olga", "suspend", "noise")]);
    server.verified().await;
}

#[tokio::test]
async fn operators_remove_posts_and_end_sessions_and_it_is_noted() {
    let server = Server::start(&[]).await;
    let author = Person::register_as(&server, "author").await;
    let post = author.post("not this").await;
    author.sees(std::slice::from_ref(&post)).await;
    let remove = ["posts", "remove", &post, "--reason", "not allowed"];
    let dry = operate(&server, &[&remove[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(dry, format!("{post}: would be removed"));
    author.get(&format!("/posts/{post}")).await.expect(200);
    assert_eq!(operate(&server, &remove).unwrap(), format!("{post}: removed"));
    author.get(&format!("/posts/{post}")).await.problem(404, "not_found");
    author.sees(&[]).await;
    let again = operate(&server, &remove).unwrap_err();
    assert_eq!(again.lines().count(), 1, "{again}");
    let reset = ["users", "reset-sessions", &author.id, "--reason", "stolen"];
    assert_eq!(operate(&server, &reset).unwrap(), "author: signed out everywhere");
    eventually("the session has ended", async || {
        (author.get("/users/me").await.status == 401).then_some(())
    })
    .await;
    assert!(operate(&server, &["users", "suspend", "nobody", "--reason", "x"]).is_err());
    let table = operate(&server, &["audit"]).unwrap();
    for text in ["olga", "remove", "not allowed", &post, "reset-sessions", "stolen"] {
        assert!(table.contains(text), "{text} in {table}");
    }
    server.verified().await;
}

#[tokio::test]
async fn an_operator_gives_a_link_by_which_another_password_is_chosen() {
    let server = Server::start(&[]).await;
    let author = Person::register(&server).await;
    let link = ["users", "reset-password", &author.id, "--reason", "lost", "--url", "http://sns/"];
    let dry = operate(&server, &[&link[..], &["--dry-run"]].concat()).unwrap();
    assert!(dry.ends_with(": would be given a link"), "{dry}");
    let told = operate(&server, &link).unwrap();
    let (_, secret) = told.lines().next().unwrap().split_once("http://sns/forgot#").unwrap();
    let given = |name: &str| {
        let mut pairs = form_urlencoded::parse(secret.as_bytes());
        pairs.find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    assert_eq!(given("email"), author.email);
    let password = "other-horse-2";
    let by_link = json!({"email": given("email"), "code": given("code"), "password": password});
    author.post_to("/auth/password/reset", &by_link).await.expect(204);
    author.get("/users/me").await.problem(401, "unauthenticated");
    let login = json!({"email": author.email, "password": password});
    let session = author.post_to("/auth/login", &login).await.expect(200);
    assert!(session["accessToken"].is_string());
    author.post_to("/auth/password/reset", &by_link).await.problem(422, "wrong_code");
    assert!(operate(&server, &["audit"]).unwrap().contains("reset-password"));
}
