//! What nginx itself says, and who gets through.

use reqwest::Method;

use crate::person::{Answer, Person};
use crate::server::{Server, Service};

#[tokio::test]
async fn each_process_serves_its_own_routes_and_nginx_knows_whose_they_are() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let post = person.post("whose is this?").await;
    for (service, path) in [
        (Service::User, "/users/me".to_owned()),
        (Service::User, format!("/users/by-handle/{}", person.handle)),
        (Service::User, "/users/search?q=a".to_owned()),
        (Service::Post, "/posts".to_owned()),
        (Service::Post, format!("/posts/{post}")),
        (Service::Social, format!("/posts/{post}/likes")),
        (Service::Social, format!("/likes?postIds={post}")),
        (Service::Social, format!("/users/{}/follow", person.id)),
        (Service::Social, format!("/users/{}/followers", person.id)),
        (Service::Social, format!("/users/{}/following", person.id)),
        (Service::Timeline, "/timeline".to_owned()),
    ] {
        person.get(&path).await.expect(200);
        for other in [Service::User, Service::Post, Service::Social, Service::Timeline] {
            let url = format!("{}{path}", server.process(other).url);
            let answer = server.http.get(url).bearer_auth(&person.token).send().await.unwrap();
            let served = if other as usize == service as usize { 200 } else { 404 };
            assert_eq!(answer.status().as_u16(), served, "{path}");
        }
    }
    for path in ["/health", "/openapi.json", "/docs/"] {
        let answer = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    server.verified().await;
}

#[tokio::test]
async fn what_is_between_the_services_is_refused_from_outside() {
    let server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    for path in ["/internal/profiles", "//internal/profiles", "/x/..%2Finternal/profiles"] {
        person.send(Method::POST, path).await.problem(404, "not_found");
    }
    // Who reaches a process past nginx needs a service's token.
    let url = format!("{}/internal/profiles", server.process(Service::User).url);
    let answer = server.http.post(url).bearer_auth(&person.token).json(&[0; 0]).send().await;
    assert_eq!(answer.unwrap().status(), 401);
}

#[tokio::test]
async fn what_nginx_refuses_is_a_problem_too() {
    let mut server = Server::start(&[]).await;
    let person = Person::register(&server).await;
    let huge = person.request(Method::POST, "/posts").body(vec![b' '; 300 << 10]);
    Answer::of(huge.send().await.unwrap()).await.problem(413, "body_too_large");
    person.get("/users/%00").await.problem(400, "malformed_request");
    let long = "x".repeat(40 << 10);
    person.get(&format!("/posts?authorId={long}")).await.problem(414, "uri_too_long");
    server.kill_one(Service::Post);
    let away = person.get("/posts").await;
    assert_eq!(away.headers["retry-after"], "1");
    away.problem(503, "unavailable");
}
