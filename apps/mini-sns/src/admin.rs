//! The operator's listener: metrics, readiness, queues and dead letters. Never make it public.
//!
//! | route | answers |
//! |---|---|
//! | `GET /` | the console, which reads what follows |
//! | `GET /metrics` | Prometheus' text form |
//! | `GET /ready` | 200 after a round trip through table, bus and cache, else 503 |
//! | `GET /queues` | every queue's numbers, and the rows left in the outboxes |
//! | `GET /errors` | the last warnings and errors of the log, the newest first |
//! | `GET /dlq?queue=&after=&limit=` | dead letters |
//! | `GET /dlq/{id}` | one dead letter |
//! | `POST /dlq/redrive`, `POST /dlq/purge` | `{"queue"}` or `{"id"}` -> `{"count"}` |
//! | `POST /backup` | `{"base"}` -> `{"until"}` once all that is there now is copied |
//! | `GET /users?q=`, `GET /users/{who}` | accounts, by a name's beginning; one, by id or handle |
//! | `POST /users/{who}/suspend`, `/restore`, `/reset-sessions` | an order -> what it came to |
//! | `POST /users/{who}/reset-password` | an order -> the same, and a `code` |
//! | `POST /posts/{id}/remove` | an order -> the post |
//! | `GET /reports?state=&after=&limit=` | what people reported: `open`, oldest first; or `all` |
//! | `GET /reports/{id}` | one report |
//! | `POST /reports/{id}/close` | an order and `as` -> the report |
//! | `POST /reports/about/{id}/close` | the same -> the open reports about a post or a person |
//! | `GET /acts?before=&limit=` | what operators did, newest first |
//!
//! An order is `{"operator","reason","dryRun"}` ([`kernel::acts::Order`]).

pub(crate) mod client;
mod moderation;
pub(crate) mod token;

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use kernel::queues::{DeadLetter, PAGE_MAX, Queues, Which};
use kernel::{Code, Problem};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::world::World;
use crate::{recent, web};

/// What the routes work on.
struct Admin {
    world: Arc<World>,
    metrics: PrometheusHandle,
}

/// The routes, behind `token` where there is one.
pub(crate) fn router(
    world: Arc<World>,
    metrics: PrometheusHandle,
    token: Option<String>,
) -> Router {
    let router = Router::new()
        .route("/metrics", get(render_metrics))
        .route("/ready", get(ready))
        .route("/queues", get(queues))
        .route("/errors", get(errors))
        .route("/dlq", get(list))
        .route("/dlq/{id}", get(show))
        .route("/dlq/redrive", post(redrive))
        .route("/dlq/purge", post(purge))
        .merge(moderation::routes())
        .route("/backup", post(back_up))
        .with_state(Arc::new(Admin { world, metrics }));
    let router = match token {
        Some(token) => router.layer(from_fn_with_state(Arc::new(token), ask_token)),
        None => router.layer(from_fn(ask_loopback)),
    };
    // The page itself is for everybody: it asks for the token that its readings need.
    let router = router.merge(web::console());
    router.layer(from_fn(render_problem))
}

async fn render_metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    admin.world.record_metrics().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], admin.metrics.render())
}

async fn ready(State(admin): State<Arc<Admin>>) -> Result<Json<Value>, Problem> {
    admin.world.round_trip().await?;
    Ok(Json(json!({"ready": true})))
}

async fn queues(State(admin): State<Arc<Admin>>) -> Result<Json<Value>, Problem> {
    let outbox = admin.world.outbox_rows().await?;
    let queues = admin.world.seams.queues.stats().await?;
    Ok(Json(json!({"queues": queues, "outbox": outbox})))
}

async fn errors() -> Json<Value> {
    Json(json!({"items": recent::lines()}))
}

/// Which dead letters to list.
#[derive(Deserialize)]
struct List {
    queue: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Dead letters of one queue or of all, oldest first in each.
#[derive(Serialize)]
struct Letters {
    items: Vec<DeadLetter>,
    next: Option<String>,
}

async fn list(
    State(admin): State<Arc<Admin>>,
    Query(list): Query<List>,
) -> Result<Json<Letters>, Problem> {
    let queues = &admin.world.seams.queues;
    let limit = list.limit.unwrap_or(PAGE_MAX);
    if let Some(queue) = list.queue {
        let page = queues.dead_list(&queue, list.after.as_deref(), limit).await?;
        return Ok(Json(Letters { items: page.items, next: page.next }));
    }
    let mut items = Vec::new();
    for stats in queues.stats().await? {
        let left = limit.saturating_sub(items.len());
        if stats.dead > 0 && left > 0 {
            items.extend(queues.dead_list(stats.queue, None, left).await?.items);
        }
    }
    Ok(Json(Letters { items, next: None }))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let letter = admin.world.seams.queues.dead_show(&id).await?;
    let mut shown = serde_json::to_value(&letter).map_err(Problem::internal)?;
    shown["body"] = json!(letter.body);
    Ok(Json(shown))
}

/// Which dead letters are meant: one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Meant {
    queue: Option<String>,
    id: Option<String>,
    /// Only counts them.
    #[serde(default)]
    dry_run: bool,
}

impl Meant {
    fn which(&self) -> Result<Which<'_>, Problem> {
        match (&self.queue, &self.id) {
            (Some(queue), None) => Ok(Which::Queue(queue)),
            (None, Some(id)) => Ok(Which::One(id)),
            _ => Err(Problem::invalid("queue", "Name a queue or an id, one of the two.")),
        }
    }
}

/// How many of the letters meant pass.
async fn count(
    queues: &dyn Queues,
    which: Which<'_>,
    passes: impl Fn(&DeadLetter) -> bool,
) -> Result<usize, Problem> {
    let queue = match which {
        Which::One(id) => return Ok(usize::from(passes(&queues.dead_show(id).await?))),
        Which::Queue(queue) => queue,
    };
    let (mut count, mut after) = (0, None);
    loop {
        let page = queues.dead_list(queue, after.as_deref(), PAGE_MAX).await?;
        count += page.items.iter().filter(|letter| passes(letter)).count();
        after = page.next;
        if after.is_none() || page.items.is_empty() {
            return Ok(count);
        }
    }
}

async fn redrive(
    State(admin): State<Arc<Admin>>,
    Json(meant): Json<Meant>,
) -> Result<Json<Value>, Problem> {
    let (queues, which) = (&*admin.world.seams.queues, meant.which()?);
    if meant.dry_run {
        // Those that this release cannot read stay.
        let count = count(queues, which, |letter| letter.message.is_some()).await?;
        return Ok(Json(json!({"count": count})));
    }
    let count = queues.dead_redrive(which).await?;
    Ok(Json(json!({"count": count})))
}

async fn purge(
    State(admin): State<Arc<Admin>>,
    Json(meant): Json<Meant>,
) -> Result<Json<Value>, Problem> {
    let (queues, which) = (&*admin.world.seams.queues, meant.which()?);
    if meant.dry_run {
        return Ok(Json(json!({"count": count(queues, which, |_| true).await?})));
    }
    let count = queues.dead_purge(which).await?;
    Ok(Json(json!({"count": count})))
}

/// How to copy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackUp {
    base: bool,
}

async fn back_up(
    State(admin): State<Arc<Admin>>,
    Json(how): Json<BackUp>,
) -> Result<Json<Value>, Problem> {
    let until = admin.world.copy(how.base).await?;
    Ok(Json(json!({"until": until})))
}

async fn ask_token(
    State(token): State<Arc<String>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let sent =
        headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let good = sent.is_some_and(|sent| sent.ct_eq(token.as_bytes()).into());
    if good {
        return next.run(request).await;
    }
    Problem::unauthenticated("Send the admin token as `Authorization: Bearer`.").into_response()
}

/// Without a token only this machine may ask, and no web page by a name that resolves to it.
async fn ask_loopback(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if name == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return next.run(request).await;
    }
    Problem::new(Code::Forbidden, "Call the admin listener by a loopback address.").into_response()
}

/// Problems as JSON; their causes are an operator's business and shown here.
async fn render_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let status = StatusCode::from_u16(problem.code.status());
    let body = json!({
        "status": problem.code.status(),
        "code": problem.code.as_str(),
        "title": problem.code.title(),
        "detail": problem.detail,
        "cause": problem.cause.as_ref().map(ToString::to_string),
    });
    let media_type = [(CONTENT_TYPE, "application/problem+json")];
    (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), media_type, Json(body)).into_response()
}
