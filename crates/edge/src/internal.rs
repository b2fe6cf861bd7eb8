//! `/internal/*`: what other services' processes read here, over the [`Peers`] and the [`Sessions`]
//! of this process.
//!
//! These routes stand beside the edge, not behind it: [`Internal::beside`]. They are not in the
//! OpenAPI document, no user's token opens them and no user's bucket counts them, while the limits
//! of bodies and addresses, the deadline, the names of a request, the rendering of problems and the
//! log line are those of every request. Where all services live in one process there are no such
//! routes: the address answers 404.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Json as Answer, Router};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::identity::session::{SessionName, Sessions};
use kernel::internal::{
    Claims, EDGES_MAX, Edges, FOLLOWERS, FOLLOWING, Ids, LIKE_COUNTS, Newest, POSTS, POSTS_EXIST,
    POSTS_NEWEST, PROFILES, SESSIONS_OPEN, Service, TOKEN_SECS, TOKEN_USE, VIEWED, View,
    WeakSecret, strong,
};
use kernel::peers::{Followers, Peers, Viewed};
use kernel::spans::Tracer;
use kernel::table::GET_KEYS_MAX;
use kernel::{Clock, Post, PostId, Problem, Profile, UserId};
use tokio::time::Instant;
use tracing::Instrument;

use crate::body::Upload;
use crate::gate::{answered, check_uri, close_unless, in_time};
use crate::record::record;
use crate::render::render;
use crate::routes::Routes;
use crate::token::{self, Sent};
use crate::trace::Names;
use crate::{Config, Json};

/// Seconds by which the clocks of two machines may differ.
const SKEW_SECS: i64 = 5;

/// How callers prove that they are a service.
#[derive(Clone)]
pub enum Guard {
    /// By a service token.
    Token(TokenVerifier),
    /// By being here: what leads to this router is open to services alone, as an invocation is that
    /// IAM allows. Of a router that anybody else reaches this makes an open door.
    Platform,
}

/// When the caller stops waiting, where it is known: an extension of a request.
#[derive(Clone, Copy, Debug)]
pub struct Until(pub Instant);

/// Verifies service tokens.
#[derive(Clone)]
pub struct TokenVerifier {
    keys: Arc<[DecodingKey]>,
    clock: Arc<dyn Clock>,
}

impl TokenVerifier {
    /// A verifier for tokens over any of `secrets`: more than one while the secret is replaced.
    pub fn new(secrets: &[&[u8]], clock: Arc<dyn Clock>) -> Result<Self, WeakSecret> {
        if secrets.is_empty() {
            return Err(WeakSecret);
        }
        let keys = secrets.iter().map(|secret| Ok(DecodingKey::from_secret(strong(secret)?)));
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, clock })
    }

    /// Whether `token` is a service token for `service` that is good now.
    fn accepts(&self, token: &str, service: Service) -> bool {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[service.name()]);
        rules.set_required_spec_claims(&["exp", "aud"]);
        // Against our own clock, below.
        rules.validate_exp = false;
        // The signature is compared in constant time, and before any claim is read.
        let claims = self.keys.iter().find_map(|key| {
            jsonwebtoken::decode::<Claims>(token, key, &rules).ok().map(|data| data.claims)
        });
        let now = self.clock.now().secs();
        claims.is_some_and(|claims| {
            claims.token_use == TOKEN_USE
                && claims.exp > now
                && claims.iat <= now + SKEW_SECS
                && claims.exp <= claims.iat + TOKEN_SECS
        })
    }
}

impl Guard {
    fn admits(&self, parts: &Parts, service: Service, config: &Config) -> bool {
        match self {
            Self::Token(verifier) => {
                // Of no route that takes it from elsewhere than the header.
                let sent = token::sent(parts, "", config.token_max_bytes);
                matches!(sent, Sent::Token(token) if verifier.accepts(token, service))
            }
            Self::Platform => true,
        }
    }
}

/// Everything that the internal routes need.
pub struct Internal {
    /// The limits that hold for every request.
    pub config: Config,
    /// Who may ask.
    pub guard: Guard,
    /// The reads of the services that live in this process.
    pub peers: Arc<dyn Peers>,
    /// Which sessions are open, where the user service lives in this process.
    pub sessions: Option<Arc<dyn Sessions>>,
    /// Request and trace ids.
    pub ids: Arc<dyn kernel::Ids>,
    /// Who records what is done for a request; nobody where none.
    pub tracer: Option<Arc<Tracer>>,
}

impl Internal {
    /// The router with the routes of those services beside it; the others' are not there. What no
    /// route matches still falls to the router's own answer.
    pub fn beside(self, router: Router, services: &[Service]) -> Router {
        let door = Arc::new(self);
        let all = services.iter().fold(Router::new(), |all, service| {
            let (routes, paths) = routes(*service, door.sessions.as_ref());
            let door = Arc::new(Door {
                service: *service,
                routes: Routes::internal(paths),
                internal: Arc::clone(&door),
            });
            let routes = routes.route_layer(from_fn_with_state(Arc::clone(&door), pass));
            all.merge(routes.with_state(Arc::clone(&door.internal.peers)))
        });
        // Of two routers without a fallback of their own, that of the second one stays.
        all.merge(router)
    }
}

type Reads = Arc<dyn Peers>;

fn routes(
    service: Service,
    sessions: Option<&Arc<dyn Sessions>>,
) -> (Router<Reads>, &'static [&'static str]) {
    let router = Router::new();
    match service {
        Service::User => {
            let router = router.route(PROFILES, post(profiles));
            let router = match sessions.cloned() {
                Some(sessions) => {
                    router.route(SESSIONS_OPEN, post(sessions_open).layer(Extension(sessions)))
                }
                None => router,
            };
            (router, &[PROFILES, SESSIONS_OPEN])
        }
        Service::Post => (
            router
                .route(POSTS, post(posts))
                .route(POSTS_EXIST, post(posts_exist))
                .route(POSTS_NEWEST, post(newest_posts)),
            &[POSTS, POSTS_EXIST, POSTS_NEWEST],
        ),
        Service::Social => (
            router
                .route(LIKE_COUNTS, post(like_counts))
                .route(VIEWED, post(viewed))
                .route(FOLLOWERS, post(followers))
                .route(FOLLOWING, post(following)),
            &[LIKE_COUNTS, VIEWED, FOLLOWERS, FOLLOWING],
        ),
    }
}

/// What stands before one service's routes.
struct Door {
    service: Service,
    routes: Routes,
    internal: Arc<Internal>,
}

/// Serves one request.
async fn pass(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let config = &door.internal.config;
    let (version, method) = (parts.version, parts.method.clone());
    let internal = &door.internal;
    let names = Names::of(&parts.headers, internal.ids.ulid(), config.trace_sample_percent)
        .recorded(internal.tracer.as_ref());
    let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = door.routes.find(matched.as_deref());
    let mut upload = Upload::new(&parts, body);
    let serving = door.serve(&names, parts, &mut upload, next).instrument(names.span());
    let mut response = answered(serving).await;
    let elapsed = started.elapsed();
    let drained = upload.drain().await;
    names.tell(response.headers_mut());
    render(&mut response, &names, route, false);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    close_unless(drained, version, &mut response);
    record(route, &method, &names, None, response.status(), elapsed);
    response
}

impl Door {
    async fn serve(
        &self,
        names: &Names,
        parts: Parts,
        upload: &mut Upload,
        next: Next,
    ) -> Result<Response, Problem> {
        let config = &self.internal.config;
        if !self.internal.guard.admits(&parts, self.service, config) {
            return Err(Problem::unauthenticated("Only services may ask this."));
        }
        check_uri(&parts, config)?;
        let body = upload.take(&parts, config).await?;
        let budget = Duration::from_millis(config.deadline_millis);
        let budget = match parts.extensions.get() {
            Some(Until(end)) => budget.min(end.saturating_duration_since(Instant::now())),
            None => budget,
        };
        let request = Request::from_parts(parts, body);
        in_time(names.scope(Instant::now() + budget), next.run(request)).await
    }
}

/// 422 where more is asked than the seam allows: both halves are ours, so this is a defect, and is
/// seen as one.
fn at_most(max: usize, field: &str, len: usize) -> Result<(), Problem> {
    if len <= max {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("{max} at most.")))
}

async fn profiles(
    State(peers): State<Reads>,
    Json(ask): Json<Ids<UserId>>,
) -> Result<Answer<Vec<Option<Profile>>>, Problem> {
    at_most(GET_KEYS_MAX, "ids", ask.ids.len())?;
    peers.profiles(&ask.ids).await.map(Answer)
}

async fn sessions_open(
    Extension(sessions): Extension<Arc<dyn Sessions>>,
    Json(ask): Json<Ids<SessionName>>,
) -> Result<Answer<Vec<bool>>, Problem> {
    at_most(GET_KEYS_MAX, "ids", ask.ids.len())?;
    sessions.are_open(&ask.ids).await.map(Answer)
}

async fn posts(
    State(peers): State<Reads>,
    Json(ask): Json<Ids<PostId>>,
) -> Result<Answer<Vec<Option<Post>>>, Problem> {
    at_most(GET_KEYS_MAX, "ids", ask.ids.len())?;
    peers.posts(&ask.ids).await.map(Answer)
}

async fn posts_exist(
    State(peers): State<Reads>,
    Json(ask): Json<Ids<PostId>>,
) -> Result<Answer<Vec<bool>>, Problem> {
    at_most(GET_KEYS_MAX, "ids", ask.ids.len())?;
    peers.posts_exist(&ask.ids).await.map(Answer)
}

async fn newest_posts(
    State(peers): State<Reads>,
    Json(ask): Json<Newest>,
) -> Result<Answer<Vec<Post>>, Problem> {
    at_most(GET_KEYS_MAX, "limit", ask.limit)?;
    peers.newest_posts(ask.author, ask.before, ask.limit).await.map(Answer)
}

async fn like_counts(
    State(peers): State<Reads>,
    Json(ask): Json<Ids<PostId>>,
) -> Result<Answer<Vec<u64>>, Problem> {
    at_most(GET_KEYS_MAX, "ids", ask.ids.len())?;
    peers.like_counts(&ask.ids).await.map(Answer)
}

async fn viewed(
    State(peers): State<Reads>,
    Json(ask): Json<View>,
) -> Result<Answer<Viewed>, Problem> {
    at_most(GET_KEYS_MAX, "posts", ask.posts.len())?;
    at_most(GET_KEYS_MAX, "people", ask.people.len())?;
    peers.viewed(ask.viewer, &ask.posts, &ask.people).await.map(Answer)
}

async fn followers(
    State(peers): State<Reads>,
    Json(ask): Json<Edges>,
) -> Result<Answer<Followers>, Problem> {
    at_most(EDGES_MAX, "limit", ask.limit)?;
    peers.followers(ask.user, ask.after, ask.limit).await.map(Answer)
}

async fn following(
    State(peers): State<Reads>,
    Json(ask): Json<Edges>,
) -> Result<Answer<Followers>, Problem> {
    at_most(EDGES_MAX, "limit", ask.limit)?;
    peers.following(ask.user, ask.after, ask.limit).await.map(Answer)
}
