//! A small world around the timeline: the other services as maps, a bus that delivers everything
//! twice and in any order, and the real table, cache and hub of one process.

#![expect(dead_code, reason = "each test file uses its part of the world")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

pub(crate) mod client;
mod peers;
mod processes;
mod tickets;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use conformance::{SeededIds, TestClock};
use embedded::feed::{FeedLimits, MemoryFeed};
use embedded::sockets::{Hub, HubLimits};
use embedded::table::{Options, Store};
use kernel::audit::{Finding, Snapshot};
use kernel::bus::{Bus, BusError, Delivery, Message, Subscription};
use kernel::event::{DeletedPost, DeletedUser, Follow, Suspension};
use kernel::table::{Item, Table, TableError};
use kernel::{Clock, Event, EventData, Ids, Post, PostId, Principal, Profile, Time, UserId};
use peers::{MapPeers, Others};
use processes::Process;
use serde_json::Value;
use tickets::Tickets;
use timeline::{Config, Parts, Timeline};
use tower::ServiceExt;

/// Waiting messages by queue. Everything is waiting twice.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Vec<(&'static str, Message)>>);

const QUEUES: [&str; 4] =
    ["timeline-fanout", "timeline-removal", "timeline-follow", "timeline-user"];

#[async_trait]
impl Bus for Waiting {
    async fn publish(&self, _: &[Event]) -> Result<(), BusError> {
        panic!("the timeline publishes nothing");
    }

    async fn enqueue(&self, queue: &str, messages: &[Message]) -> Result<(), BusError> {
        let queue = QUEUES.iter().find(|name| **name == queue).expect("a queue of ours");
        for message in messages {
            for _ in 0..2 {
                self.0.lock().unwrap().push((queue, message.clone()));
            }
        }
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) ids: Arc<SeededIds>,
    pub(crate) others: Arc<MapPeers>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) table: Arc<dyn Table>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) app: Router,
    subscriptions: Vec<Subscription>,
    parts: Parts,
    config: Config,
    /// Every process that serves the timeline; at first one.
    processes: Mutex<Vec<Arc<Process>>>,
    random: Mutex<u64>,
    snapshot: Box<dyn Fn() -> Box<dyn Snapshot> + Send + Sync>,
    _dir: Option<tempfile::TempDir>,
}

/// An oracle as a snapshot of itself.
struct Now(Arc<conformance::Oracle>);

impl Snapshot for Now {
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a> {
        self.0.items(prefix)
    }
}

impl World {
    /// A world on the real table.
    pub(crate) fn new(config: Config) -> Self {
        Self::around(config, |table| table)
    }

    /// A world on what `wrap` makes of the real table.
    pub(crate) fn around(
        config: Config,
        wrap: impl FnOnce(Arc<dyn Table>) -> Arc<dyn Table>,
    ) -> Self {
        let clock = TestClock::new();
        let dir = tempfile::tempdir().unwrap();
        let options = Options { memtable_bytes: 1024 * 1024, ..Options::default() };
        let store = Arc::new(Store::open(dir.path(), options, clock.clone()).unwrap());
        let table = wrap(store.clone());
        let snapshot = move || -> Box<dyn Snapshot> { Box::new(store.snapshot().unwrap()) };
        Self::on(config, clock, table, Box::new(snapshot), Some(dir))
    }

    /// A world on the oracle, for properties that are tried many times.
    pub(crate) fn quick(config: Config, seed: u64) -> Self {
        let clock = TestClock::new();
        let table = conformance::Oracle::new(clock.clone());
        let oracle = table.clone();
        let snapshot = move || -> Box<dyn Snapshot> { Box::new(Now(oracle.clone())) };
        let world = Self::on(config, clock, table, Box::new(snapshot), None);
        *world.random.lock().unwrap() = seed | 1;
        world
    }

    /// The same on a crowded table, with so many processes.
    pub(crate) fn crowded(config: Config, seed: u64, processes: usize) -> Self {
        let clock = TestClock::new();
        let oracle = conformance::Oracle::new(clock.clone());
        let table = conformance::jostling::Jostling::new(oracle.clone());
        let snapshot = move || -> Box<dyn Snapshot> { Box::new(Now(oracle.clone())) };
        let world = Self::on(config, clock, table, Box::new(snapshot), None);
        *world.random.lock().unwrap() = seed | 1;
        (1..processes).for_each(|_| drop(world.join()));
        world
    }

    fn on(
        config: Config,
        clock: Arc<TestClock>,
        table: Arc<dyn Table>,
        snapshot: Box<dyn Fn() -> Box<dyn Snapshot> + Send + Sync>,
        dir: Option<tempfile::TempDir>,
    ) -> Self {
        let ids = SeededIds::new(clock.clone(), 1);
        let (others, waiting) = (Arc::<MapPeers>::default(), Arc::<Waiting>::default());
        let hub = Hub::new(HubLimits::default());
        let tickets = Tickets::new(clock.clone());
        let parts = Parts {
            table: table.clone(),
            bus: waiting.clone(),
            feed: MemoryFeed::new(FeedLimits::default(), clock.clone()),
            sockets: hub.clone(),
            connections: hub.clone(),
            peers: others.clone(),
            identity: tickets.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
        };
        let timeline = Timeline::new(parts.clone(), config.clone());
        let (app, _) = timeline.clone().routes().split_for_parts();
        let subscriptions = timeline.clone().subscriptions();
        Self {
            clock,
            ids,
            others,
            waiting,
            hub,
            tickets,
            table,
            app,
            subscriptions,
            processes: Mutex::new(vec![Process::start(&timeline)]),
            parts,
            config,
            timeline,
            snapshot,
            random: Mutex::new(0x9E37_79B9_7F4A_7C15),
            _dir: dir,
        }
    }

    pub(crate) fn know(&self) -> MutexGuard<'_, Others> {
        self.others.0.lock().unwrap()
    }

    pub(crate) fn calls(&self, name: &'static str) -> usize {
        self.know().calls.get(name).copied().unwrap_or(0)
    }

    fn random(&self) -> usize {
        let mut state = self.random.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as usize
    }

    /// Says an event: it waits, twice, in every queue that wants it.
    pub(crate) fn say(&self, data: EventData) {
        let event = Event::new(&*self.ids, &*self.clock, data);
        for subscription in &self.subscriptions {
            if subscription.kinds.contains(&event.kind()) {
                for _ in 0..2 {
                    let message = Message::from(event.clone());
                    self.waiting.0.lock().unwrap().push((subscription.queue, message));
                }
            }
        }
    }

    fn take_some(&self, most: usize) -> Option<(&'static str, Vec<Delivery>)> {
        let (queue, batch) = {
            let mut waiting = self.waiting.0.lock().unwrap();
            if waiting.is_empty() {
                return None;
            }
            let queue = waiting[self.random() % waiting.len()].0;
            let mut batch = Vec::new();
            while batch.len() < most {
                let left: Vec<usize> =
                    (0..waiting.len()).filter(|at| waiting[*at].0 == queue).collect();
                if left.is_empty() {
                    break;
                }
                let at = left[self.random() % left.len()];
                let (_, message) = waiting.swap_remove(at);
                batch.push(Delivery { id: batch.len().to_string(), receives: 1, message });
            }
            (queue, batch)
        };
        let subscription = self.subscriptions.iter().find(|s| s.queue == queue).unwrap();
        assert!(most <= subscription.batch_max);
        Some((queue, batch))
    }

    /// Delivers what waits in one queue, once, in the order in which it was said.
    pub(crate) async fn deliver_all_of(&self, queue: &str) {
        let subscription = self.subscriptions.iter().find(|s| s.queue == queue).unwrap();
        let mut batch: Vec<Delivery> = Vec::new();
        self.waiting.0.lock().unwrap().retain(|(name, message)| {
            let taken = *name == queue;
            if taken && batch.iter().all(|delivery| delivery.message != *message) {
                let id = batch.len().to_string();
                batch.push(Delivery { id, receives: 1, message: message.clone() });
            }
            !taken
        });
        let failed = subscription.handler.handle(batch).await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Delivers until nothing waits.
    pub(crate) async fn settle(&self) {
        while self.deliver_some(1 + self.random() % 10).await {}
    }

    pub(crate) fn user(&self) -> UserId {
        let user_id = UserId(self.ids.ulid());
        let now = self.clock.now();
        let profile = Profile {
            user_id,
            handle: format!("u{}", user_id.0.0 % 1_000_000),
            display_name: String::new(),
            bio: String::new(),
            created_at: now,
            updated_at: now,
        };
        self.know().profiles.insert(user_id, profile);
        user_id
    }

    pub(crate) fn users(&self, many: usize) -> Vec<UserId> {
        (0..many).map(|_| self.user()).collect()
    }

    /// Writes a post that no event tells of yet.
    pub(crate) fn write(&self, author_id: UserId) -> Post {
        self.clock.advance(Duration::from_millis(1));
        let post_id = PostId(self.ids.ulid());
        let text = format!("\"post\" {post_id}\n");
        let post = Post { post_id, author_id, text, created_at: self.clock.now() };
        self.know().posts.insert(post_id, post.clone());
        post
    }

    pub(crate) fn post(&self, author: UserId) -> PostId {
        let post = self.write(author);
        self.say(EventData::PostCreated(post.clone()));
        post.post_id
    }

    pub(crate) fn delete(&self, post: PostId) {
        let gone = self.know().posts.remove(&post);
        if let Some(Post { post_id, author_id, created_at, .. }) = gone {
            self.say(EventData::PostDeleted(DeletedPost { post_id, author_id, created_at }));
        }
    }

    pub(crate) fn follow(&self, follower_id: UserId, followee_id: UserId) {
        let version = self.next_version(follower_id, followee_id);
        if self.know().follows.insert((follower_id, followee_id)) {
            self.say(EventData::FollowCreated(Follow { follower_id, followee_id, version }));
        }
    }

    pub(crate) fn unfollow(&self, follower_id: UserId, followee_id: UserId) {
        let version = self.next_version(follower_id, followee_id);
        if self.know().follows.remove(&(follower_id, followee_id)) {
            self.say(EventData::FollowDeleted(Follow { follower_id, followee_id, version }));
        }
    }

    fn next_version(&self, follower: UserId, followee: UserId) -> u64 {
        let mut others = self.know();
        let version = others.versions.entry((follower, followee)).or_default();
        *version += 1;
        *version
    }

    /// Deletes an account, as every service does.
    pub(crate) fn delete_user(&self, user_id: UserId) {
        let posts: Vec<PostId> = {
            let mut others = self.know();
            others.profiles.remove(&user_id);
            others.follows.retain(|(a, b)| *a != user_id && *b != user_id);
            let posts = others.posts.values().filter(|post| post.author_id == user_id);
            posts.map(|post| post.post_id).collect()
        };
        posts.into_iter().for_each(|post| self.delete(post));
        self.say(EventData::UserDeleted(DeletedUser { user_id }));
    }

    /// Suspends an account or restores it, as the services around do: before the event comes round.
    pub(crate) fn suspend(&self, user_id: UserId, suspended: bool) {
        let version = self.next_version(user_id, user_id);
        let told = Suspension { user_id, version };
        if suspended {
            self.know().suspended.insert(user_id);
            self.say(EventData::UserSuspended(told));
        } else {
            self.know().suspended.remove(&user_id);
            self.say(EventData::UserRestored(told));
        }
    }

    pub(crate) async fn get(&self, user_id: UserId, query: &str) -> Response<Body> {
        let principal = Principal { user_id, session: "s".into(), expires_at: Time::default() };
        let mut request = Request::get(format!("/timeline{query}")).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Arc::new(principal));
        self.process().app.clone().oneshot(request).await.unwrap()
    }

    /// A page, and whether it was a hit.
    pub(crate) async fn read(&self, user: UserId, query: &str) -> (Value, bool) {
        let response = self.get(user, query).await;
        assert_eq!(response.status(), 200, "{response:?}");
        let hit = response.headers()["x-cache"] == "hit";
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (serde_json::from_slice(&body).unwrap(), hit)
    }

    /// The ids on the first page of 100.
    pub(crate) async fn ids(&self, user: UserId) -> Vec<PostId> {
        ids(&self.read(user, "?limit=100").await.0)
    }

    /// Every id, from the first page to the end, with pages of `limit`.
    pub(crate) async fn all(&self, user: UserId, limit: usize) -> Vec<PostId> {
        let (mut all, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let (page, _) = self.read(user, &query).await;
            let found = ids(&page);
            let next = page["nextCursor"].as_str();
            assert!(found.len() == limit || next.is_none(), "a page is short only at the end");
            all.extend(found);
            let Some(next) = next else { return all };
            query = format!("?limit={limit}&cursor={next}");
        }
    }

    pub(crate) async fn audit(&self) -> Vec<Finding> {
        let snapshot = (self.snapshot)();
        timeline::audit::audit(&*snapshot, &*self.others).await.unwrap()
    }

    pub(crate) fn known_users(&self) -> BTreeSet<UserId> {
        timeline::audit::users(&*(self.snapshot)()).unwrap()
    }
}

pub(crate) fn ids(page: &Value) -> Vec<PostId> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["post"]["postId"].as_str().unwrap().parse().unwrap()).collect()
}
