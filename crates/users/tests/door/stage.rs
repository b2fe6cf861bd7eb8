//! The door of the user service: its routes behind the real edge, on the embedded table and
//! identity, with time and ids in a test's hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use conformance::{SeededIds, TestClock};
use embedded::identity::EmbeddedIdentity;
use embedded::limiter::MemoryLimiter;
use embedded::table::{Options, Store};
use http_body_util::BodyExt;
use kernel::audit::Snapshot;
use kernel::bus::Delivery;
use kernel::identity::Identity;
use kernel::limiter::Rate;
use kernel::mail::{Letter, Mailer};
use kernel::{Event, Problem, UserId};
use serde_json::{Value, json};
use tower::ServiceExt;
use users::Users;

pub(crate) const PASSWORD: &str = "right-horse-1";

pub(crate) struct Door {
    pub(crate) table: Arc<Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) ids: Arc<SeededIds>,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) users: Arc<Users>,
    pub(crate) letters: Arc<Letters>,
    app: Router,
    _dir: tempfile::TempDir,
}

/// The letters that were sent.
#[derive(Default)]
pub(crate) struct Letters(Mutex<Vec<Letter>>);

#[async_trait]
impl Mailer for Letters {
    async fn send(&self, letter: Letter) -> Result<(), Problem> {
        self.0.lock().unwrap().push(letter);
        Ok(())
    }
}

impl Letters {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits for this many; the address and the code of the last.
    pub(crate) async fn last_of(&self, count: usize) -> (String, String) {
        while self.count() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let letters = self.0.lock().unwrap();
        assert_eq!(letters.len(), count);
        let letter = letters.last().unwrap();
        let code = letter.text.lines().find_map(|line| line.strip_prefix("    "));
        (letter.to.clone(), code.unwrap().to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and code of a problem.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// The fields at fault.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }

    pub(crate) fn handles(&self) -> Vec<&str> {
        let items = self.body["items"].as_array().unwrap();
        items.iter().map(|item| item["handle"].as_str().unwrap()).collect()
    }
}

/// Somebody signed in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Person {
    pub(crate) fn of(answer: &Answer) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&answer.body["user"]["userId"]),
            access: text(&answer.body["accessToken"]),
            refresh: text(&answer.body["refreshToken"]),
        }
    }
}

impl Door {
    pub(crate) fn new() -> Self {
        Self::with(|identity| identity)
    }

    /// A door whose service sees the identity that `around` makes of the real one.
    pub(crate) fn with(around: impl FnOnce(Arc<dyn Identity>) -> Arc<dyn Identity>) -> Self {
        Self::build(users::Config::default(), around)
    }

    /// A door whose service asks people to confirm their addresses.
    pub(crate) fn careful() -> Self {
        let config = users::Config { asks_for_confirmation: true, ..users::Config::default() };
        Self::build(config, |identity| identity)
    }

    /// One whose process does nothing once it has answered.
    pub(crate) fn waiting(letters_wait: Duration) -> Self {
        let letters_wait = Some(letters_wait);
        Self::build(users::Config { letters_wait, ..users::Config::default() }, |identity| identity)
    }

    fn build(
        service: users::Config,
        around: impl FnOnce(Arc<dyn Identity>) -> Arc<dyn Identity>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let ids = SeededIds::new(Arc::clone(&clock), 11);
        let options = Options { free_space_floor_bytes: 0, ..Options::default() };
        let table = Store::open(dir.path().join("user"), options, Arc::clone(&clock) as _);
        let table = Arc::new(table.unwrap());
        let config = embedded::identity::Config {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            ..embedded::identity::Config::default()
        };
        let (keys, times) = (dir.path().join("keys"), Arc::clone(&clock) as _);
        let real =
            EmbeddedIdentity::open(config, &keys, Arc::clone(&table) as _, times, ids.clone());
        let identity = around(real.unwrap());
        let letters = Arc::new(Letters::default());
        let users = Users::new(
            Arc::clone(&table) as _,
            Arc::clone(&identity),
            Arc::clone(&clock) as _,
            Arc::clone(&ids) as _,
            Some(Arc::clone(&letters) as _),
            service,
        );
        let (router, document) = Arc::clone(&users).routes().split_for_parts();
        let document = edge::openapi::finish(document, "0.0.0");
        let plenty = Rate { per_sec: 100_000, burst: 100_000 };
        let edge = edge::Edge {
            config: edge::Config {
                auth_rate: plenty,
                address_rate: plenty,
                user_rate: plenty,
                ..edge::Config::default()
            },
            identity: Arc::clone(&identity),
            limiter: MemoryLimiter::new(Arc::clone(&clock) as _),
            ids: Arc::clone(&ids) as _,
            tracer: None,
        };
        let app = edge.wrap(router, &document);
        Self { table, clock, ids, identity, users, letters, app, _dir: dir }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = match body {
            Some((media_type, body)) => {
                request.header("content-type", media_type).body(Body::from(body))
            }
            None => request.body(Body::empty()),
        };
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(parts.status.as_u16() < 500, "{path}: {body:?}");
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, person: &Person, path: &str) -> Answer {
        self.send(Method::GET, path, Some(&person.access), None).await
    }

    /// Sends JSON; without a person, nobody is signed in.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        person: Option<&Person>,
        body: Value,
    ) -> Answer {
        let token = person.map(|person| person.access.as_str());
        self.send(method, path, token, Some(("application/json", body.to_string()))).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, None, body).await
    }

    pub(crate) async fn patch(&self, person: &Person, body: Value) -> Answer {
        self.call(Method::PATCH, "/users/me", Some(person), body).await
    }

    /// Registers somebody with a handle, the address `{handle}@example.org` and a display name.
    pub(crate) async fn person(&self, handle: &str, display_name: &str) -> Person {
        let body = json!({
            "email": format!("{handle}@example.org"), "password": PASSWORD,
            "handle": handle, "displayName": display_name,
        });
        let answer = self.post("/auth/register", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Person::of(&answer)
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({ "email": email, "password": password })).await
    }

    /// The events told so far, in the order of their ids.
    pub(crate) fn events(&self) -> Vec<Event> {
        let snapshot = self.table.snapshot().unwrap();
        let rows = snapshot.items("outbox#").map(|row| row.unwrap().json());
        let mut events: Vec<Event> = rows.map(Result::unwrap).collect();
        events.sort_by_key(|event| event.id);
        events
    }

    /// The short names of the events told so far.
    pub(crate) fn told(&self) -> Vec<&'static str> {
        self.events().iter().map(|event| event.kind().short_name()).collect()
    }

    /// Hands every event told so far to the subscriptions, newest first and twice; answers how
    /// many deliveries failed.
    pub(crate) async fn deliver(&self) -> usize {
        let mut failed = 0;
        for subscription in Arc::clone(&self.users).subscriptions() {
            for event in self.events().into_iter().rev() {
                if !subscription.kinds.contains(&event.kind()) {
                    continue;
                }
                let message = kernel::bus::Message::from(event);
                let delivery = |receives: u32| {
                    let (id, message) = (receives.to_string(), message.clone());
                    Delivery { id, receives, message }
                };
                let batch = vec![delivery(1), delivery(2)];
                failed += subscription.handler.handle(batch).await.len();
            }
        }
        failed
    }

    /// The data keeps its rules.
    pub(crate) fn assert_sound(&self) {
        let snapshot = self.table.snapshot().unwrap();
        assert_eq!(users::audit(&snapshot).unwrap(), []);
        assert_eq!(embedded::identity::audit(&snapshot).unwrap(), []);
    }

    /// How many rows there are under a prefix.
    pub(crate) fn rows(&self, prefix: &str) -> usize {
        self.table.snapshot().unwrap().items(prefix).count()
    }
}

pub(crate) fn user_id(person: &Person) -> UserId {
    person.id.parse().unwrap()
}
