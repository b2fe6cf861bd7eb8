//! The generator's plumbing, against a small server that answers in the contract's shapes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::mix::Operation;
use super::{LoadArgs, measure, progress, reported, set_up};

struct Server {
    registrations: AtomicUsize,
    follows: AtomicUsize,
    posts: AtomicUsize,
    likes: AtomicUsize,
    frames: broadcast::Sender<String>,
}

type Shared = State<Arc<Server>>;

async fn register(State(server): Shared, Json(body): Json<Value>) -> Response {
    let number = server.registrations.fetch_add(1, Ordering::SeqCst);
    // The third is too fast, and the address of the fifth is taken.
    match number {
        2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "").into_response(),
        4 => (StatusCode::CONFLICT, "").into_response(),
        _ => (StatusCode::CREATED, session(&body)).into_response(),
    }
}

fn session(body: &Value) -> Json<Value> {
    let email = body["email"].as_str().unwrap();
    Json(json!({ "user": { "userId": email }, "accessToken": email, "expiresIn": 3600 }))
}

fn caller(headers: &HeaderMap) -> &str {
    headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap()
}

async fn write(State(server): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let number = server.posts.fetch_add(1, Ordering::SeqCst);
    if number % 10 == 9 {
        let problem = Json(json!({ "code": "post_rate_limited" }));
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], problem).into_response();
    }
    let item = json!({ "postId": number.to_string(), "text": body["text"] });
    let frame = json!({ "type": "timeline.entry", "data": { "post": item } });
    let _ = server.frames.send(frame.to_string());
    assert!(caller(&headers).ends_with("@example.com"));
    (StatusCode::CREATED, Json(item)).into_response()
}

async fn socket(State(server): Shared, upgrade: WebSocketUpgrade) -> Response {
    let mut frames = server.frames.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        let hello = json!({ "type": "hello", "connectionId": "c" }).to_string();
        socket.send(Message::text(hello)).await.unwrap();
        while let Ok(frame) = frames.recv().await {
            if socket.send(Message::text(frame)).await.is_err() {
                return;
            }
        }
    })
}

async fn start() -> (String, Arc<Server>) {
    let server = Arc::new(Server {
        registrations: AtomicUsize::new(0),
        follows: AtomicUsize::new(0),
        posts: AtomicUsize::new(0),
        likes: AtomicUsize::new(0),
        frames: broadcast::channel(1024).0,
    });
    let page = json!({ "items": [{ "postId": "1" }, { "postId": "2" }] });
    let router = Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(async |Json(body): Json<Value>| session(&body)))
        .route(
            "/users/{id}/follow",
            post(async |State(server): Shared, headers: HeaderMap, Path(id): Path<String>| {
                assert_ne!(caller(&headers), id, "nobody follows themselves");
                server.follows.fetch_add(1, Ordering::SeqCst);
            }),
        )
        .route("/posts", get(async || Json(page)).post(write))
        .route("/timeline", get(async || Json(json!({ "items": [] }))))
        .route(
            "/posts/{id}/likes",
            post(async |State(server): Shared| {
                server.likes.fetch_add(1, Ordering::SeqCst);
            })
            .delete(async || ()),
        )
        .route("/ws", get(socket))
        .with_state(Arc::clone(&server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, server)
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: LoadArgs,
}

fn args(url: &str, options: &str) -> LoadArgs {
    let words = ["load", url, "--json"].into_iter().chain(options.split_whitespace());
    Cli::try_parse_from(words).unwrap().args
}

fn operation(report: &Value, operation: Operation) -> &Value {
    let operations = report["operations"].as_array().unwrap();
    operations.iter().find(|one| one["operation"] == operation.word()).expect("it was measured")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_signs_people_in_and_counts_what_came_back() {
    let (url, server) = start().await;
    let args = args(&url, "--users 8 --follows 3 --connections 4 --requests 400 --threads 2");
    let report = reported(&args).await.unwrap().unwrap();
    assert_eq!(server.registrations.load(Ordering::SeqCst), 9, "8 people, one of them twice");
    assert_eq!(server.follows.load(Ordering::SeqCst), 24);
    assert!(server.likes.load(Ordering::SeqCst) > 0);
    assert_eq!(report.failure(), None, "429 is no failure");
    let json = report.json();
    let of = |kind| operation(&json, kind)["succeeded"].as_u64().unwrap();
    let slow = operation(&json, Operation::Post)["errors"]["429 post_rate_limited"].as_u64();
    let sum = of(Operation::Read) + of(Operation::Post) + of(Operation::Like);
    assert_eq!(sum + slow.unwrap_or(0), 400, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_clock_requests_go_as_often_as_was_asked() {
    let (url, _server) = start().await;
    let args = args(&url, "--users 4 --rate 200 --requests 101 --scenario timeline");
    let report = reported(&args).await.unwrap().unwrap();
    assert_eq!(operation(&report.json(), Operation::Read)["succeeded"], 101);
    assert!(report.elapsed.as_millis() >= 500, "{:?}", report.elapsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_kept() {
    let (url, server) = start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.json");
    let options = format!("--users 4 --requests 8 --scenario timeline --tokens {}", file.display());
    let args = args(&url, &options);
    let bar = progress(true).unwrap();
    let people = set_up(&args, &bar).await.unwrap();
    let registered = server.registrations.load(Ordering::SeqCst);
    let again = set_up(&args, &bar).await.unwrap();
    assert_eq!(people, again);
    assert_eq!(server.registrations.load(Ordering::SeqCst), registered, "nobody signs in twice");
    let report = measure(&args, again, &bar).await.unwrap().json();
    assert_eq!(operation(&report, Operation::Read)["succeeded"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_followed_to_the_last_socket() {
    let (url, _server) = start().await;
    let args = args(&url, "--scenario fanout --connections 30 --requests 12");
    let report = reported(&args).await.unwrap().unwrap();
    assert_eq!(report.failure(), None);
    let json = report.json();
    let posts = operation(&json, Operation::Post)["succeeded"].as_u64().unwrap();
    assert!(posts >= 10, "{json}");
    assert_eq!(operation(&json, Operation::LastFrame)["succeeded"], posts);
    assert_eq!(operation(&json, Operation::Frame)["succeeded"], posts * 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sockets_are_weighed() {
    let (url, _server) = start().await;
    let options =
        format!("--scenario sockets --users 4 --connections 40 --pid {}", std::process::id());
    let report = reported(&args(&url, &options)).await.unwrap().unwrap();
    let json = report.json();
    assert_eq!(operation(&json, Operation::Open)["succeeded"], 40);
    assert_eq!(json["memory"]["sockets"], 40);
    assert!(json["memory"]["afterBytes"].as_u64().unwrap() > 1_000_000, "{json}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = reported(&args(&format!("http://127.0.0.1:{port}"), "")).await.err().unwrap();
    assert!(format!("{error:#}").contains("cannot connect"), "{error:#}");
}
