//! What a process asks of another, and what it answers: both halves over a real connection, over
//! services that really hold what is asked for.

use std::sync::Arc;

use aws::cognito::TableSessions;
use aws::peers::{Addresses, PeersLimits, RemotePeers, ServiceToken};
use axum::Router;
use edge::internal::{Guard, Internal, TokenVerifier};
use kernel::clock::SystemClock;
use kernel::identity::session::Sessions;
use kernel::internal::Service;
use kernel::peers::{Peers, Regard};
use kernel::{Clock, Code, PostId, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::settings::{Layer, Settings};
use crate::world::{Stop, World, embedded};

const SECRETS: [&[u8]; 2] =
    [b"a secret of thirty-two bytes, ok!", b"another one, as long as the first"];
const PASSWORD: &str = "horse-battery-1";

/// A process that serves everything, its public address, and that of its internal reads.
struct Process {
    world: Arc<World>,
    public: String,
    internal: String,
    clock: Arc<dyn Clock>,
    _dir: tempfile::TempDir,
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

impl Process {
    /// Lets in whoever knows one of `secrets`.
    async fn start(secrets: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layer = Layer { data: Some(dir.path().to_owned()), ..Layer::default() };
        let settings = Settings::read(layer, None).unwrap();
        let (world, engine) = embedded::open(&settings).unwrap();
        world.start(&Stop::default()).detach_all();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let verifier = TokenVerifier::new(secrets, Arc::clone(&clock)).unwrap();
        let internal = Internal {
            config: settings.edge(),
            guard: Guard::Token(verifier),
            peers: Arc::clone(&world.peers) as _,
            sessions: Some(Arc::new(TableSessions(Arc::clone(&engine.stores.user) as _))),
            ids: world.seams.ids(),
            tracer: None,
        };
        let internal = listen(internal.beside(Router::new(), &Service::ALL)).await;
        let public = listen(world.router(&settings)).await;
        Self { world, public, internal, clock, _dir: dir }
    }

    /// Another process's way to it.
    fn peers(&self, secret: &[u8]) -> Arc<RemotePeers> {
        let at = || self.internal.clone();
        let addresses = Addresses { user: at(), post: at(), social: at() };
        let token = ServiceToken::new(secret, Arc::clone(&self.clock)).unwrap();
        let limits = PeersLimits { retries: Vec::new(), ..PeersLimits::default() };
        RemotePeers::over_http(addresses, token, limits, &self.clock)
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: Value) -> Value {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.public));
        let request = request.bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    /// Somebody new: id, access token, refresh token.
    async fn register(&self, name: &str) -> (UserId, String, String) {
        let account = json!({"email": format!("{name}@example.org"), "password": PASSWORD});
        let made = self.call(Method::POST, "/auth/register", "", account).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let user = text(&made["user"]["userId"]).parse().unwrap();
        (user, text(&made["accessToken"]), text(&made["refreshToken"]))
    }
}

#[tokio::test]
async fn every_read_over_http_answers_as_the_service_itself() {
    let process = Process::start(&SECRETS[..1]).await;
    let (author, author_token, _) = process.register("author").await;
    let (reader, reader_token, _) = process.register("reader").await;
    let (stranger, stranger_token, _) = process.register("stranger").await;
    let mut posts: Vec<PostId> = Vec::new();
    for text in ["one", "two", "three <&> 三"] {
        let post = process.call(Method::POST, "/posts", &author_token, json!({"text": text})).await;
        posts.push(post["postId"].as_str().unwrap().parse().unwrap());
    }
    let follow = format!("/users/{author}/follow");
    process.call(Method::POST, &follow, &reader_token, Value::Null).await;
    let like = format!("/posts/{}/likes", posts[1]);
    process.call(Method::POST, &like, &reader_token, Value::Null).await;
    let gone = format!("/posts/{}", posts[0]);
    process.call(Method::DELETE, &gone, &author_token, Value::Null).await;

    let (far, near) = (process.peers(SECRETS[0]), &process.world.peers);
    let people = [author, UserId(ulid::Ulid(7)), reader];
    let profiles = far.profiles(&people).await.unwrap();
    assert_eq!(profiles, near.profiles(&people).await.unwrap());
    assert_eq!(profiles.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let read = far.posts(&posts).await.unwrap();
    assert_eq!(read, near.posts(&posts).await.unwrap());
    assert_eq!(read[2].as_ref().unwrap().text, "three <&> 三");
    assert_eq!(far.posts_exist(&posts).await.unwrap(), [false, true, true]);
    let newest = far.newest_posts(author, None, 2).await.unwrap();
    assert_eq!(newest, near.newest_posts(author, None, 2).await.unwrap());
    assert_eq!(newest.iter().map(|post| post.post_id).collect::<Vec<_>>(), [posts[2], posts[1]]);
    let older = far.newest_posts(author, Some(posts[2]), 100).await.unwrap();
    assert_eq!(older.len(), 1);
    assert_eq!(far.like_counts(&posts).await.unwrap(), [0, 1, 0]);
    let block = format!("/users/{author}/block");
    process.call(Method::POST, &block, &stranger_token, Value::Null).await;
    for peers in [&*far as &dyn Peers, &**near] {
        let viewed = peers.viewed(reader, &posts, &people).await.unwrap();
        assert_eq!(
            (viewed.liked, viewed.regards),
            (vec![false, true, false], vec![Regard::Open; 3])
        );
        let viewed = peers.viewed(stranger, &[], &people).await.unwrap();
        assert_eq!(viewed.regards, [Regard::Blocked, Regard::Open, Regard::Open]);
    }
    let followers = far.followers(author, None, 1000).await.unwrap();
    assert_eq!((followers.users, followers.next), (vec![reader], None));
    assert_eq!(far.followers(author, Some(reader), 10).await.unwrap().users, []);
    assert_eq!(far.following(reader, None, 10).await.unwrap().users, [author]);
    let many = vec![posts[1]; 101];
    assert_eq!(far.posts(&many).await.unwrap_err().code, Code::ValidationFailed);
}

#[tokio::test]
async fn other_processes_learn_that_a_session_has_ended() {
    let process = Process::start(&SECRETS[..1]).await;
    let (user, token, refresh_token) = process.register("guest").await;
    let session = process.world.seams.identity.verify(&token).await.unwrap().session.clone();
    let far = process.peers(SECRETS[0]);
    assert!(far.is_open(user, &session).await.unwrap());
    assert!(!far.is_open(UserId(ulid::Ulid(7)), &session).await.unwrap());
    let logout = json!({"refreshToken": refresh_token});
    process.call(Method::POST, "/auth/logout", &token, logout).await;
    assert!(!far.is_open(user, &session).await.unwrap());
}

#[tokio::test]
async fn a_secret_is_replaced_process_by_process_and_no_other_is_good() {
    let both = Process::start(&SECRETS).await;
    for secret in SECRETS {
        both.peers(secret).posts_exist(&[PostId(ulid::Ulid(7))]).await.unwrap();
    }
    let first = Process::start(&SECRETS[..1]).await;
    let denied = first.peers(SECRETS[1]).posts_exist(&[PostId(ulid::Ulid(7))]).await.unwrap_err();
    assert_eq!(denied.code, Code::Internal, "that is no fault of whom we serve");
    let open = reqwest::Client::new().post(format!("{}/internal/posts", first.internal));
    assert_eq!(open.json(&json!({"ids": []})).send().await.unwrap().status(), 401);
    let public = reqwest::Client::new().post(format!("{}/internal/posts", first.public));
    assert_eq!(public.json(&json!({"ids": []})).send().await.unwrap().status(), 404);
}
