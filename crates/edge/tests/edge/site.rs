//! A small site behind the edge, and a client for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http};
use conformance::{SeededIds, TestClock};
use edge::{Caller, Config, Edge, Health, Json, Path};
use embedded::limiter::MemoryLimiter;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use kernel::identity::{Identity, Revoke, Tokens};
use kernel::limiter::Limiter;
use kernel::spans::Tracer;
use kernel::{Principal, Problem, Time, UserId};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) const TOKEN: &str = "good.token";
pub(crate) const USER: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
pub(crate) const SECRET: &str = "the disk at 10.1.2.3 fell off";

/// Knows one token, and those of any number of other people. The edge asks nothing else of an
/// identity.
struct OneToken;

fn not_asked<T>() -> Result<T, Problem> {
    Err(Problem::internal(std::io::Error::other("the edge only verifies tokens")))
}

#[async_trait]
impl Identity for OneToken {
    async fn create(&self, _: UserId, _: &str, _: &str) -> Result<(), Problem> {
        not_asked()
    }
    async fn sign_in(&self, _: &str, _: &str) -> Result<Tokens, Problem> {
        not_asked()
    }
    async fn refresh(&self, _: &str) -> Result<Tokens, Problem> {
        not_asked()
    }
    async fn revoke(&self, _: UserId, _: Revoke<'_>) -> Result<(), Problem> {
        not_asked()
    }
    async fn change_password(&self, _: &Principal, _: &str, _: &str) -> Result<(), Problem> {
        not_asked()
    }
    async fn check_password(&self, _: UserId, _: &str) -> Result<(), Problem> {
        not_asked()
    }
    async fn set_password(&self, _: UserId, _: &str) -> Result<(), Problem> {
        not_asked()
    }
    async fn find(&self, _: &str) -> Result<Option<UserId>, Problem> {
        not_asked()
    }
    async fn suspend(&self, _: UserId) -> Result<(), Problem> {
        unreachable!("nobody is suspended here")
    }

    async fn restore(&self, _: UserId) -> Result<(), Problem> {
        unreachable!("nobody is suspended here")
    }

    async fn delete(&self, _: UserId) -> Result<(), Problem> {
        not_asked()
    }
    async fn email(&self, _: UserId) -> Result<Option<String>, Problem> {
        not_asked()
    }
    async fn verify(&self, access_token: &str) -> Result<Arc<Principal>, Problem> {
        match access_token {
            TOKEN => Ok(Arc::new(Principal {
                user_id: USER.parse().unwrap(),
                session: "s".into(),
                expires_at: Time::from_millis(i64::MAX),
            })),
            "keys.away" => Err(Problem::unavailable(std::io::Error::other(SECRET))),
            token => match token.strip_prefix("person.").and_then(|n| n.parse::<u128>().ok()) {
                Some(number) => Ok(Arc::new(Principal {
                    user_id: UserId(number.into()),
                    session: "s".into(),
                    expires_at: Time::from_millis(i64::MAX),
                })),
                None => Err(Problem::unauthenticated("The token is not good.")),
            },
        }
    }
    async fn key_set(&self) -> Result<serde_json::Value, Problem> {
        not_asked()
    }
    fn issuer(&self) -> &str {
        "test"
    }
}

#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Words {
    text: String,
}

#[utoipa::path(get, path = "/open", tag = "posts", security(()), responses((status = 200)))]
async fn open(caller: Option<axum::Extension<Arc<Principal>>>) -> String {
    caller.map_or("nobody".into(), |principal| principal.user_id.to_string())
}

#[utoipa::path(get, path = "/mine", tag = "posts", responses((status = 200)))]
async fn mine(Caller(principal): Caller) -> String {
    let trace = kernel::request::trace().map(|trace| trace.to_string()).unwrap_or_default();
    format!("{} {trace}", principal.user_id)
}

#[utoipa::path(post, path = "/echo", tag = "posts", security(()), request_body = Words,
    responses((status = 200, body = Words), (status = 409, description = "Taken.")))]
async fn echo(Json(words): Json<Words>) -> axum::Json<Words> {
    axum::Json(words)
}

#[utoipa::path(post, path = "/auth/login", tag = "users", security(()), responses((status = 200)))]
async fn login() -> &'static str {
    "tokens"
}

#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "users", security(()),
    responses((status = 200)))]
async fn jwks() -> &'static str {
    "{}"
}

#[utoipa::path(get, path = "/things/{id}", tag = "posts", security(()),
    params(("id" = u32, Path)), responses((status = 200)))]
async fn thing(Path(id): Path<u32>) -> String {
    id.to_string()
}

#[utoipa::path(get, path = "/framework/{id}", tag = "posts", security(()),
    params(("id" = u32, Path)), responses((status = 200)))]
async fn framework(axum::extract::Path(id): axum::extract::Path<u32>) -> String {
    id.to_string()
}

#[utoipa::path(get, path = "/fail/{how}", tag = "posts", security(()),
    params(("how" = String, Path)), responses((status = 200)))]
async fn fail(Path(how): Path<String>) -> Response {
    match how.as_str() {
        "panic" => panic!("{SECRET}"),
        "internal" => Problem::internal(std::io::Error::other(SECRET)).into_response(),
        "unavailable" => Problem::unavailable(std::io::Error::other(SECRET)).into_response(),
        "bare" => (StatusCode::INTERNAL_SERVER_ERROR, SECRET).into_response(),
        "teapot" => StatusCode::IM_A_TEAPOT.into_response(),
        "never" => std::future::pending().await,
        _ => Problem::not_found("way to fail").into_response(),
    }
}

#[utoipa::path(get, path = "/big", tag = "posts", security(()), responses((status = 200)))]
async fn big() -> axum::Json<Vec<&'static str>> {
    axum::Json(vec!["a page of many posts"; 300])
}

#[utoipa::path(get, path = "/page", tag = "posts", security(()), responses((status = 200)))]
async fn page() -> impl IntoResponse {
    let headers =
        [("content-security-policy", "default-src 'self'"), ("cache-control", "max-age=60")];
    (headers, axum::response::Html("<p>hello</p>"))
}

/// Answers each text, and says `late` once the deadline of a request is long over.
#[utoipa::path(get, path = "/ws", tag = "timeline", responses((status = 101)))]
async fn ws(_: Caller, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        let _ = socket.send(Message::text("late")).await;
        while let Some(Ok(message)) = socket.recv().await {
            let _ = socket.send(message).await;
        }
    })
}

#[derive(Clone)]
pub(crate) struct Site {
    router: Router,
    pub(crate) document: OpenApi,
    pub(crate) clock: Arc<TestClock>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let clock = TestClock::new();
        let limiter = MemoryLimiter::new(clock.clone());
        Self::build(config, Health::new("1.2.3"), limiter, clock)
    }

    pub(crate) fn build(
        config: Config,
        health: Health,
        limiter: Arc<dyn Limiter>,
        clock: Arc<TestClock>,
    ) -> Self {
        let internal = Router::new().route("/internal/posts", get(async || "internal"));
        Self::over(internal, config, health, limiter, clock, None)
    }

    fn over(
        more: Router,
        config: Config,
        health: Health,
        limiter: Arc<dyn Limiter>,
        clock: Arc<TestClock>,
        tracer: Option<Arc<Tracer>>,
    ) -> Self {
        let (router, document) = OpenApiRouter::new()
            .routes(routes!(open))
            .routes(routes!(mine))
            .routes(routes!(echo))
            .routes(routes!(login))
            .routes(routes!(jwks))
            .routes(routes!(thing))
            .routes(routes!(framework))
            .routes(routes!(fail))
            .routes(routes!(big))
            .routes(routes!(page))
            .routes(routes!(ws))
            .merge(health.routes())
            .split_for_parts();
        let router = router
            .route("/hidden", get(async || "hidden"))
            .merge(more)
            .route("/assets/{*file}", get(async || "asset"));
        let document = edge::openapi::finish(document, "1.2.3");
        let ids = SeededIds::new(clock.clone(), 7);
        let edge = Edge { config, identity: Arc::new(OneToken), limiter, ids, tracer };
        Self { router: edge.wrap(router, &document), document, clock }
    }

    /// The same without the route below `/internal/` that the site itself has.
    pub(crate) fn bare(config: Config) -> Self {
        let clock = TestClock::new();
        let limiter = MemoryLimiter::new(clock.clone());
        Self::over(Router::new(), config, Health::new("1.2.3"), limiter, clock, None)
    }

    /// The same with what is done for requests recorded.
    pub(crate) fn recorded(config: Config, tracer: Arc<Tracer>) -> Self {
        let clock = TestClock::new();
        let limiter = MemoryLimiter::new(clock.clone());
        Self::over(Router::new(), config, Health::new("1.2.3"), limiter, clock, Some(tracer))
    }

    /// Adds routes beside the edge.
    pub(crate) fn mount(&mut self, add: impl FnOnce(Router) -> Router) {
        self.router = add(std::mem::take(&mut self.router));
    }

    pub(crate) async fn call(&self, request: Call) -> Answer {
        let response: Result<_, Infallible> = self.router.clone().oneshot(request.0).await;
        let (parts, body) = response.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call(Call::get(uri)).await
    }

    pub(crate) async fn listen(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        address
    }
}

/// A request in the making, from 192.0.2.1 unless said otherwise.
pub(crate) struct Call(Request<Body>);

impl Call {
    pub(crate) fn new(method: Method, uri: &str) -> Self {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        Self(request).from("192.0.2.1:1000")
    }

    pub(crate) fn get(uri: &str) -> Self {
        Self::new(Method::GET, uri)
    }

    pub(crate) fn post(uri: &str, body: impl Into<Body>) -> Self {
        let mut call = Self::new(Method::POST, uri).header("content-type", "application/json");
        *call.0.body_mut() = body.into();
        call
    }

    pub(crate) fn method(mut self, method: Method) -> Self {
        *self.0.method_mut() = method;
        self
    }

    pub(crate) fn version(mut self, version: http::Version) -> Self {
        *self.0.version_mut() = version;
        self
    }

    pub(crate) fn from(self, address: &str) -> Self {
        self.extension(ConnectInfo::<SocketAddr>(address.parse().unwrap()))
    }

    pub(crate) fn extension(mut self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.0.extensions_mut().insert(extension);
        self
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    pub(crate) fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.0.headers_mut().append(name, http::HeaderValue::from_bytes(value).unwrap());
        self
    }

    pub(crate) fn signed_in(self) -> Self {
        self.header("authorization", &format!("Bearer {TOKEN}"))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The answer is exactly the contract's problem.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let json = self.json();
        assert_eq!(json["code"], code);
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], format!("urn:mini-sns:problem:{code}"));
        assert!(!self.header("x-request-id").is_empty());
        assert_eq!(json["requestId"], self.header("x-request-id"));
        let mut members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        members.retain(|member| *member != "errors");
        members.sort_unstable();
        assert_eq!(members, ["code", "detail", "requestId", "status", "title", "type"]);
        assert!(!json["title"].as_str().unwrap().is_empty());
        assert!(!json["detail"].as_str().unwrap().is_empty());
        assert!(!text.contains(SECRET), "{text}");
        assert!(!self.header("cache-control").is_empty());
    }
}
