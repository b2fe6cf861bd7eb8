//! The post service on a table of its own, asked through its router.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use conformance::jostling::Jostling;
use conformance::{Oracle, SeededIds, TestClock};
use embedded::table::{Options, Store};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use kernel::audit::{Finding, Snapshot};
use kernel::bus::{Bus, BusError, Delivery, Message};
use kernel::event::{ConfirmedEmail, DeletedUser, Suspension};
use kernel::outbox::Relay;
use kernel::peers::{Peers, Regard, Viewed};
use kernel::table::{Table, TableError};
use kernel::{Clock, Event, EventData, Ids, PostId, Principal, Problem, Profile, Time, UserId};
use posts::{Config, Posts};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// A bus that only remembers.
#[derive(Default)]
pub(crate) struct Remembered {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) queued: Mutex<Vec<Message>>,
}

#[async_trait]
impl Bus for Remembered {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        assert_eq!(queue, posts::QUEUES[0].name);
        self.queued.lock().unwrap().extend_from_slice(messages);
        Ok(())
    }
}

/// The other services.
pub(crate) struct Others {
    /// Who is parted from whom. The social service is away when that is unknown.
    pub(crate) apart: Mutex<Option<Vec<[UserId; 2]>>>,
    /// Whose profiles the user service has.
    pub(crate) people: Mutex<Vec<Profile>>,
}

#[async_trait]
impl Peers for Others {
    async fn profiles(&self, ids: &[UserId]) -> Result<Vec<Option<Profile>>, Problem> {
        let people = self.people.lock().unwrap();
        let found = |id| people.iter().find(|profile| profile.user_id == id).cloned();
        Ok(ids.iter().copied().map(found).collect())
    }

    async fn viewed(
        &self,
        viewer: UserId,
        _: &[PostId],
        people: &[UserId],
    ) -> Result<Viewed, Problem> {
        let apart = self.apart.lock().unwrap();
        let away = || TableError::Unavailable("nobody is there".into());
        let apart = apart.as_ref().ok_or_else(away)?;
        assert!(!people.contains(&viewer) && people.is_sorted() && people.len() <= 100);
        let parts = |pair: &[UserId; 2], person| pair.contains(&viewer) && pair.contains(person);
        let regard = |person| match apart.iter().any(|pair| parts(pair, person)) {
            true => Regard::Blocked,
            // A mute hides nothing here.
            false => Regard::Muted,
        };
        Ok(Viewed { liked: Vec::new(), regards: people.iter().map(regard).collect() })
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
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) problem: Option<Problem>,
}

impl Answer {
    /// The stable code of the problem.
    pub(crate) fn code(&self) -> &'static str {
        self.problem.as_ref().expect("a problem").code.as_str()
    }

    /// The ids of the posts on the page.
    pub(crate) fn ids(&self) -> Vec<String> {
        let items = self.body["items"].as_array().expect("a page");
        items.iter().map(|post| post["postId"].as_str().unwrap().to_owned()).collect()
    }

    /// One of the page's cursors.
    pub(crate) fn cursor(&self, name: &str) -> Option<String> {
        self.body[name].as_str().map(str::to_owned)
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) ids: Arc<SeededIds>,
    pub(crate) table: Arc<dyn Table>,
    data: Arc<Data>,
    pub(crate) bus: Arc<Remembered>,
    pub(crate) others: Arc<Others>,
    pub(crate) posts: Arc<Posts>,
    router: Router,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(Config::default())
    }

    /// Nobody is slowed down.
    pub(crate) fn unlimited() -> Config {
        Config { posts_per_minute: 100_000, ..Config::default() }
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
        Self::process(Arc::new(data), clock, config, 7)
    }

    /// Another process on the same table. Its ids are its own.
    pub(crate) fn beside(&self, config: Config) -> Arc<Self> {
        Self::process(Arc::clone(&self.data), self.clock.clone(), config, 8)
    }

    fn process(data: Arc<Data>, clock: Arc<TestClock>, config: Config, seed: u64) -> Arc<Self> {
        let ids = SeededIds::new(Arc::clone(&clock), seed);
        let table = data.table();
        let jostling = Jostling::new(table.clone());
        let bus = Arc::new(Remembered::default());
        let others = Others { apart: Mutex::new(Some(Vec::new())), people: Mutex::default() };
        let others = Arc::new(others);
        let (to, peers) = (bus.clone(), others.clone());
        let posts = Posts::new(jostling, to, clock.clone(), ids.clone(), peers, config);
        let router = Router::from(Arc::clone(&posts).routes());
        Arc::new(Self { clock, ids, table, data, bus, others, posts, router })
    }

    pub(crate) fn user(&self) -> UserId {
        UserId(self.ids.ulid())
    }

    pub(crate) async fn send(&self, who: Option<UserId>, request: Request<Body>) -> Answer {
        send(self.router.clone(), who, request).await
    }

    pub(crate) async fn get(&self, who: UserId, uri: &str) -> Answer {
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        self.send(Some(who), request).await
    }

    pub(crate) async fn delete(&self, who: UserId, id: &str) -> Answer {
        let request = Request::builder().method(Method::DELETE).uri(format!("/posts/{id}"));
        self.send(Some(who), request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn write(&self, who: UserId, text: &str) -> Answer {
        self.write_once(who, text, None).await
    }

    pub(crate) async fn write_once(&self, who: UserId, text: &str, key: Option<&str>) -> Answer {
        self.send(Some(who), writing(text, key)).await
    }

    pub(crate) async fn report(&self, who: UserId, body: Value) -> Answer {
        let request = Request::builder().method(Method::POST).uri("/reports");
        let request = request.header("content-type", "application/json");
        self.send(Some(who), request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Somebody with a profile.
    pub(crate) fn person(&self, handle: &str) -> UserId {
        let (user_id, now) = (self.user(), self.clock.now());
        self.others.people.lock().unwrap().push(Profile {
            user_id,
            handle: handle.to_owned(),
            display_name: String::new(),
            bio: "of no account".to_owned(),
            created_at: now,
            updated_at: now,
        });
        user_id
    }

    /// A post written through another instance's router; its id.
    pub(crate) async fn through(&self, router: Router, who: UserId) -> String {
        let answer = send(router, Some(who), writing("a", None)).await;
        answer.body["postId"].as_str().unwrap().to_owned()
    }

    /// Writes a post that must succeed; its id.
    pub(crate) async fn written(&self, who: UserId, text: &str) -> String {
        let answer = self.write(who, text).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["postId"].as_str().unwrap().to_owned()
    }

    /// What the service told since the last time.
    pub(crate) async fn told(&self) -> Vec<EventData> {
        let relay = Relay::new(self.table.clone(), self.bus.clone());
        relay.sweep().await.unwrap();
        std::mem::take(&mut *self.bus.events.lock().unwrap())
            .into_iter()
            .map(|event| event.data)
            .collect()
    }

    /// One delivery of EmailConfirmed.
    pub(crate) async fn confirmed(&self, user_id: UserId) {
        let data = EventData::EmailConfirmed(ConfirmedEmail { user_id });
        let event = Event::new(&*self.ids, &*self.clock, data);
        self.deliver(Message::from(event)).await;
    }

    /// One delivery of UserSuspended or UserRestored; versions grow.
    pub(crate) async fn suspended(&self, user_id: UserId, version: u64, suspended: bool) {
        let told = Suspension { user_id, version };
        let data = match suspended {
            true => EventData::UserSuspended(told),
            false => EventData::UserRestored(told),
        };
        self.deliver(Message::from(Event::new(&*self.ids, &*self.clock, data))).await;
    }

    /// One delivery of UserDeleted, and all the further work it queues.
    pub(crate) async fn user_deleted(&self, user_id: UserId) {
        let data = EventData::UserDeleted(DeletedUser { user_id });
        let event = Event::new(&*self.ids, &*self.clock, data);
        let mut message = Some(Message::from(event));
        while let Some(next) = message {
            self.deliver(next).await;
            message = self.bus.queued.lock().unwrap().pop();
        }
    }

    pub(crate) async fn deliver(&self, message: Message) {
        let subscription = Arc::clone(&self.posts).subscriptions().remove(0);
        let delivery = Delivery { id: "d".into(), receives: 1, message };
        let failed = subscription.handler.handle(vec![delivery]).await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Every row agrees with every other.
    pub(crate) fn audit(&self) {
        assert_eq!(self.findings(), []);
    }

    /// What the audit finds.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.data.snapshot(|snapshot| posts::audit(snapshot).unwrap())
    }
}

fn writing(text: &str, key: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(Method::POST).uri("/posts");
    request = request.header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Body::from(json!({ "text": text }).to_string())).unwrap()
}

async fn send(router: Router, who: Option<UserId>, mut request: Request<Body>) -> Answer {
    if let Some(user_id) = who {
        let session = "s".to_owned();
        let principal = Principal { user_id, session, expires_at: Time::from_millis(i64::MAX) };
        request.extensions_mut().insert(Arc::new(principal));
    }
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        problem: parts.extensions.get::<Problem>().cloned(),
    }
}
