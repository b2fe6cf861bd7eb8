//! The social service on a table of its own, asked through its router. Users and posts, which are
//! other services' matters, are two sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use conformance::jostling::Jostling;
use conformance::{Oracle, SeededIds, TestClock};
use embedded::table::{Options, Store};
use http::{Method, Request};
use http_body_util::BodyExt;
use kernel::audit::{Finding, Snapshot};
use kernel::bus::{Bus, BusError, Delivery, Message};
use kernel::event::{DeletedPost, DeletedUser};
use kernel::outbox::Relay;
use kernel::peers::{Followers, Peers, Regard, Viewed};
use kernel::table::{Item, Table};
use kernel::{Event, EventData, Ids, Post, PostId, Principal, Problem, Profile, Time, UserId};
use serde_json::Value;
use social::{Config, Social};
use tempfile::TempDir;
use tower::ServiceExt;

/// A bus that only remembers.
#[derive(Default)]
pub(crate) struct Remembered {
    events: Mutex<Vec<Event>>,
    pub(crate) queued: Mutex<Vec<(String, Message)>>,
}

#[async_trait]
impl Bus for Remembered {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let messages = messages.iter().map(|message| (queue.to_owned(), message.clone()));
        self.queued.lock().unwrap().extend(messages);
        Ok(())
    }
}

/// The other services: who and what exists.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) users: Mutex<BTreeSet<UserId>>,
    pub(crate) posts: Mutex<BTreeSet<PostId>>,
    /// Who wrote a post, where it is not somebody of no further concern.
    pub(crate) authors: Mutex<BTreeMap<PostId, UserId>>,
}

#[async_trait]
impl Peers for Others {
    async fn posts(&self, ids: &[PostId]) -> Result<Vec<Option<Post>>, Problem> {
        let (posts, authors) = (self.posts.lock().unwrap(), self.authors.lock().unwrap());
        let post = |id: &PostId| Post {
            post_id: *id,
            author_id: authors.get(id).copied().unwrap_or(UserId(id.0)),
            text: String::new(),
            created_at: id.created_at(),
        };
        Ok(ids.iter().map(|id| posts.contains(id).then(|| post(id))).collect())
    }

    async fn posts_exist(&self, ids: &[PostId]) -> Result<Vec<bool>, Problem> {
        let posts = self.posts.lock().unwrap();
        Ok(ids.iter().map(|id| posts.contains(id)).collect())
    }

    async fn newest_posts(
        &self,
        _: UserId,
        _: Option<PostId>,
        _: usize,
    ) -> Result<Vec<Post>, Problem> {
        unreachable!("the social service lists no posts")
    }

    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        let users = self.users.lock().unwrap();
        let profile = |user_id: &UserId| Profile {
            user_id: *user_id,
            handle: user_id.to_string().to_lowercase(),
            display_name: String::new(),
            bio: String::new(),
            created_at: user_id.created_at(),
            updated_at: user_id.created_at(),
        };
        Ok(ids.iter().map(|id| users.contains(id).then(|| profile(id))).collect())
    }

    async fn like_counts(&self, _: &[PostId]) -> Result<Vec<u64>, Problem> {
        unreachable!("these are its own")
    }

    async fn viewed(&self, _: UserId, _: &[PostId], _: &[UserId]) -> Result<Viewed, Problem> {
        unreachable!("these are its own")
    }

    async fn followers(
        &self,
        _: UserId,
        _: Option<UserId>,
        _: usize,
    ) -> Result<Followers, Problem> {
        unreachable!("these are its own")
    }

    async fn following(
        &self,
        _: UserId,
        _: Option<UserId>,
        _: usize,
    ) -> Result<Followers, Problem> {
        unreachable!("these are its own")
    }
}

/// Where the data lies: on disk as when serving, or in memory where a test needs many worlds.
enum Data {
    Disk { store: Arc<Store>, _dir: TempDir },
    Memory(Arc<Oracle>),
}

impl Data {
    fn on_disk(clock: &Arc<TestClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default(), clock.clone()).unwrap();
        Self::Disk { store: Arc::new(store), _dir: dir }
    }

    fn in_memory(clock: &Arc<TestClock>) -> Self {
        Self::Memory(Oracle::new(clock.clone()))
    }

    fn table(&self) -> Arc<dyn Table> {
        match self {
            Self::Disk { store, .. } => store.clone(),
            Self::Memory(oracle) => oracle.clone(),
        }
    }

    fn snapshot<T>(&self, look: impl FnOnce(&dyn Snapshot) -> T) -> T {
        match self {
            Self::Disk { store, .. } => look(&store.snapshot().unwrap()),
            Self::Memory(oracle) => look(oracle.as_ref()),
        }
    }
}

/// What a route answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) problem: Option<Problem>,
}

impl Answer {
    /// The stable code of the problem.
    pub(crate) fn code(&self) -> &'static str {
        self.problem.as_ref().expect("a problem").code.as_str()
    }

    /// The people on the page.
    pub(crate) fn people(&self) -> Vec<UserId> {
        let items = self.body["items"].as_array().expect("a page");
        let id = |item: &Value| item["user"]["userId"].as_str().unwrap().parse().unwrap();
        items.iter().map(id).collect()
    }

    /// One of the page's cursors.
    pub(crate) fn cursor(&self, name: &str) -> Option<String> {
        self.body[name].as_str().map(str::to_owned)
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    ids: Arc<SeededIds>,
    pub(crate) table: Arc<dyn Table>,
    data: Arc<Data>,
    pub(crate) bus: Arc<Remembered>,
    pub(crate) others: Arc<Others>,
    pub(crate) social: Arc<Social>,
    router: Router,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Arc<Self> {
        let clock = TestClock::new();
        let data = Data::on_disk(&clock);
        Self::on(data, clock, config)
    }

    /// A world that is made quickly.
    pub(crate) fn in_memory(config: Config) -> Arc<Self> {
        let clock = TestClock::new();
        let data = Data::in_memory(&clock);
        Self::on(data, clock, config)
    }

    fn on(data: Data, clock: Arc<TestClock>, config: Config) -> Arc<Self> {
        Self::process(Arc::new(data), Arc::default(), clock, config, 7)
    }

    /// Another process on the same table. Its ids are its own.
    pub(crate) fn beside(&self, config: Config) -> Arc<Self> {
        let (data, others) = (Arc::clone(&self.data), Arc::clone(&self.others));
        Self::process(data, others, self.clock.clone(), config, 8)
    }

    fn process(
        data: Arc<Data>,
        others: Arc<Others>,
        clock: Arc<TestClock>,
        config: Config,
        seed: u64,
    ) -> Arc<Self> {
        let ids = SeededIds::new(Arc::clone(&clock), seed);
        let table = data.table();
        let jostling = Jostling::new(table.clone());
        let bus = Arc::new(Remembered::default());
        let social =
            Social::new(jostling, bus.clone(), clock.clone(), ids.clone(), others.clone(), config);
        let router = Router::from(Arc::clone(&social).routes());
        Arc::new(Self { clock, ids, table, data, bus, others, social, router })
    }

    pub(crate) fn user(&self) -> UserId {
        let user = UserId(self.ids.ulid());
        self.others.users.lock().unwrap().insert(user);
        user
    }

    pub(crate) fn users(&self, many: usize) -> Vec<UserId> {
        (0..many).map(|_| self.user()).collect()
    }

    pub(crate) fn post(&self) -> PostId {
        let post = PostId(self.ids.ulid());
        self.others.posts.lock().unwrap().insert(post);
        post
    }

    /// A post of this author's.
    pub(crate) fn post_by(&self, author: UserId) -> PostId {
        let post = self.post();
        self.others.authors.lock().unwrap().insert(post, author);
        post
    }

    pub(crate) async fn send(&self, who: Option<UserId>, method: Method, uri: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        if let Some(user_id) = who {
            let session = "s".to_owned();
            let principal = Principal { user_id, session, expires_at: Time::from_millis(i64::MAX) };
            request.extensions_mut().insert(Arc::new(principal));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            problem: parts.extensions.get::<Problem>().cloned(),
        }
    }

    pub(crate) async fn get(&self, who: UserId, uri: &str) -> Answer {
        self.send(Some(who), Method::GET, uri).await
    }

    /// Makes or undoes a follow.
    pub(crate) async fn follow(&self, who: UserId, whom: UserId, on: bool) -> Answer {
        let method = if on { Method::POST } else { Method::DELETE };
        self.send(Some(who), method, &format!("/users/{whom}/follow")).await
    }

    /// Makes or undoes a like.
    pub(crate) async fn like(&self, who: UserId, post: PostId, on: bool) -> Answer {
        let method = if on { Method::POST } else { Method::DELETE };
        self.send(Some(who), method, &format!("/posts/{post}/likes")).await
    }

    /// Blocks or mutes, or no longer.
    pub(crate) async fn hide(&self, how: &str, who: UserId, whom: UserId, on: bool) -> Answer {
        let method = if on { Method::POST } else { Method::DELETE };
        self.send(Some(who), method, &format!("/users/{whom}/{how}")).await
    }

    /// How somebody is to be shown to a viewer.
    pub(crate) async fn regard(&self, viewer: UserId, person: UserId) -> Regard {
        self.social.viewed(viewer, &[], &[person]).await.unwrap().regards[0]
    }

    /// Which of the posts the viewer likes.
    pub(crate) async fn liked(&self, viewer: UserId, posts: &[PostId]) -> Vec<bool> {
        self.social.viewed(viewer, posts, &[]).await.unwrap().liked
    }

    /// A user's followers and followees, as counted.
    pub(crate) async fn counts(&self, user: UserId) -> (u64, u64) {
        let answer = self.get(user, &format!("/users/{user}/follow")).await;
        let count = |name: &str| answer.body[name].as_u64().unwrap();
        (count("followerCount"), count("followingCount"))
    }

    /// What the service told since the last time.
    pub(crate) async fn told(&self) -> Vec<EventData> {
        let relay = Relay::new(self.table.clone(), self.bus.clone());
        relay.sweep().await.unwrap();
        let mut events = std::mem::take(&mut *self.bus.events.lock().unwrap());
        events.sort_by_key(|event| event.id);
        events.into_iter().map(|event| event.data).collect()
    }

    /// The user is gone from the user service; the event is for later.
    pub(crate) fn delete_user(&self, user_id: UserId) -> Message {
        self.others.users.lock().unwrap().remove(&user_id);
        self.message(EventData::UserDeleted(DeletedUser { user_id }))
    }

    /// The post is gone from the post service; the event is for later.
    pub(crate) fn delete_post(&self, post_id: PostId) -> Message {
        self.others.posts.lock().unwrap().remove(&post_id);
        let (author_id, created_at) = (UserId(post_id.0), post_id.created_at());
        self.message(EventData::PostDeleted(DeletedPost { post_id, author_id, created_at }))
    }

    fn message(&self, data: EventData) -> Message {
        Event::new(&*self.ids, &*self.clock, data).into()
    }

    /// One delivery to the queue of its kind.
    pub(crate) async fn deliver(&self, message: Message) {
        let kind = message.event.kind();
        let subscriptions = Arc::clone(&self.social).subscriptions();
        let wanted = subscriptions.iter().find(|wants| wants.kinds.contains(&kind));
        let delivery = Delivery { id: "d".into(), receives: 1, message };
        let failed = wanted.expect("a queue").handler.handle(vec![delivery]).await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Delivers a message and all the further work it queues.
    pub(crate) async fn work_off(&self, message: Message) {
        self.deliver(message).await;
        loop {
            let next = self.bus.queued.lock().unwrap().pop();
            let Some((_, message)) = next else { return };
            self.deliver(message).await;
        }
    }

    /// Every row and counter agrees with the edges.
    pub(crate) fn audit(&self) {
        assert_eq!(self.findings(), []);
    }

    /// Every item that is there.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.data.snapshot(|snapshot| snapshot.items("").map(Result::unwrap).collect())
    }

    /// What the audit finds.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.data.snapshot(|snapshot| social::audit(snapshot).unwrap())
    }
}
