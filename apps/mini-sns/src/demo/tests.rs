//! The demo world against a small server that answers in the contract's shapes and keeps its
//! limit of sign-ins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::people::COUNT;
use super::{World, follows};

#[derive(Default)]
struct Server {
    registered: BTreeSet<String>,
    asked: usize,
    posts: Vec<(String, String)>,
    likes: BTreeSet<(String, String)>,
    follows: BTreeSet<(String, String)>,
}

type Shared = State<Arc<Mutex<Server>>>;

fn session(email: &str) -> Value {
    json!({ "user": { "userId": email }, "accessToken": email, "expiresIn": 3600 })
}

async fn register(State(server): Shared, Json(body): Json<Value>) -> Response {
    let mut server = server.lock().unwrap();
    server.asked += 1;
    // The seventh comes too fast; a stranger has the first handle.
    if server.asked == 7 {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
    }
    if body["handle"] == "yuki_tanaka" {
        return (StatusCode::CONFLICT, Json(json!({ "code": "handle_taken" }))).into_response();
    }
    let email = body["email"].as_str().unwrap();
    if !server.registered.insert(email.to_owned()) {
        return (StatusCode::CONFLICT, Json(json!({ "code": "email_taken" }))).into_response();
    }
    (StatusCode::CREATED, Json(session(email))).into_response()
}

async fn login(State(server): Shared, Json(body): Json<Value>) -> Response {
    let email = body["email"].as_str().unwrap();
    match server.lock().unwrap().registered.contains(email) {
        true => Json(session(email)).into_response(),
        false => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn caller(headers: &HeaderMap) -> String {
    headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

async fn write(State(server): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut server = server.lock().unwrap();
    let text = body["text"].as_str().unwrap().to_owned();
    server.posts.push((caller(&headers), text.clone()));
    let id = format!("{:026}", server.posts.len());
    (StatusCode::CREATED, Json(json!({ "postId": id, "text": text }))).into_response()
}

async fn posts_of(
    State(server): Shared,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let server = server.lock().unwrap();
    let posts = server.posts.iter().enumerate();
    let posts = posts.filter(|(_, (author, _))| *author == query["authorId"]);
    let items: Vec<Value> = posts
        .map(|(at, (_, text))| json!({ "postId": format!("{:026}", at + 1), "text": text }))
        .collect();
    Json(json!({ "items": items, "nextCursor": null }))
}

async fn start(server: &Arc<Mutex<Server>>) -> String {
    let router = Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(login))
        .route("/users/me", patch(async || ()))
        .route("/posts", get(posts_of).post(write))
        .route(
            "/users/{id}/follow",
            post(async |State(server): Shared, headers: HeaderMap, Path(id): Path<String>| {
                server.lock().unwrap().follows.insert((caller(&headers), id));
            }),
        )
        .route(
            "/posts/{id}/likes",
            post(async |State(server): Shared, headers: HeaderMap, Path(id): Path<String>| {
                server.lock().unwrap().likes.insert((caller(&headers), id));
            }),
        )
        .with_state(Arc::clone(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn the_world_is_made_once() {
    let server = Arc::new(Mutex::new(Server::default()));
    let url = start(&server).await;
    let mut world = World::make(&url).await.unwrap();
    let counts = |server: &Server| {
        let Server { registered, posts, likes, follows, .. } = server;
        (registered.len(), posts.len(), likes.len(), follows.len())
    };
    let first = counts(&server.lock().unwrap());
    let edges: usize = follows().iter().map(BTreeSet::len).sum();
    assert_eq!((first.0, first.1, first.3), (COUNT, 4 * COUNT, edges));
    assert!(first.2 > 200, "{first:?}");

    let again = World::make(&url).await.unwrap();
    assert!(again.known);
    assert_eq!(counts(&server.lock().unwrap()), first, "entered again, nothing is added");

    for number in 0..COUNT {
        world.act(number).await.unwrap();
    }
    let later = counts(&server.lock().unwrap());
    assert!(later.1 > first.1 && later.2 > first.2, "it goes on: {later:?}");
}

#[test]
fn it_is_a_small_world() {
    let follows = follows();
    for (number, followed) in follows.iter().enumerate() {
        assert!((4..=10).contains(&followed.len()) && !followed.contains(&number));
    }
    // Everybody's posts reach everybody within a few steps.
    let mut reached = BTreeSet::from([0]);
    for _ in 0..4 {
        let next: Vec<usize> = reached.iter().flat_map(|one| follows[*one].clone()).collect();
        reached.extend(next);
    }
    assert_eq!(reached.len(), COUNT);
}
