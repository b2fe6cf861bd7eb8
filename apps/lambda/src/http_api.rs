//! A service's routes behind API Gateway: the edge around them as everywhere, and `/health`. What
//! the other functions read of the service has a router of its own, which no request of API Gateway
//! comes to.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use edge::internal::{Guard, Internal};
use edge::{Edge, Health};
use http::{Request, response};
use http_body_util::BodyExt;
use kernel::Clock;
use kernel::identity::Identity;
use kernel::identity::session::Sessions;
use kernel::internal::{Invocation, Service};
use kernel::limiter::Limiter;
use kernel::peers::Peers;
use kernel::table::{Key, Table, get_one};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tower::ServiceExt;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::function::{Failure, Function, read, written};
use crate::invoked::{reply, request};
use crate::rest::{RestAnswer, RestEvent};
use crate::settings::Refused;
use crate::world::World;

/// What one service brings.
pub(crate) struct Api {
    pub(crate) routes: OpenApiRouter,
    /// The part of the API's document that tells of them.
    pub(crate) document: OpenApi,
    /// What is shown at `/openapi.json`: one function shows it for all.
    pub(crate) shown: Option<&'static str>,
    pub(crate) health: Health,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) limiter: Arc<dyn Limiter>,
    /// The reads of other services that are answered here, where there are any.
    pub(crate) reads: Option<Reads>,
}

/// What other services read here.
pub(crate) struct Reads {
    pub(crate) service: Service,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) sessions: Option<Arc<dyn Sessions>>,
}

/// The health of a function: whether its table can be read.
pub(crate) fn health(table: &Arc<dyn Table>) -> Health {
    let table = Arc::clone(table);
    Health::new(env!("CARGO_PKG_VERSION")).check("store", move || {
        let table = Arc::clone(&table);
        async move { Ok(get_one(&*table, Key::new("health", "")).await.map(drop)?) }
    })
}

impl Api {
    /// The function.
    pub(crate) fn function(self, world: &World) -> Result<Arc<dyn Function>, Refused> {
        let mut config =
            edge::Config { cors_origins: world.origins(), https: true, ..edge::Config::default() };
        if let Some(span) = world.settings.span("MINI_SNS_REQUEST_TIMEOUT")? {
            config.deadline_millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        }
        let mut document = edge::health::openapi();
        document.merge(self.document);
        let document = edge::openapi::finish(document, env!("CARGO_PKG_VERSION"));
        let edge = Edge {
            config: config.clone(),
            identity: self.identity,
            limiter: self.limiter,
            ids: Arc::clone(&world.ids),
            // X-Ray records what functions do.
            tracer: None,
        };
        let routes = Router::from(self.health.routes().merge(self.routes));
        let public = match self.shown {
            Some(whole) => edge.wrap_part(routes, &document, Bytes::from_static(whole.as_bytes())),
            None => edge.wrap(routes, &document),
        };
        let internal = self.reads.map(|Reads { service, peers, sessions }| {
            let (guard, ids) = (Guard::Platform, Arc::clone(&world.ids));
            let internal = Internal { config, guard, peers, sessions, ids, tracer: None };
            internal.beside(Router::new(), &[service])
        });
        Ok(Arc::new(Served { public, internal, clock: Arc::clone(&world.clock) }))
    }
}

/// Routers that answer events.
struct Served {
    /// Requests that come by API Gateway.
    public: Router,
    /// Reads of functions that IAM lets invoke this one.
    internal: Option<Router>,
    clock: Arc<dyn Clock>,
}

/// Whose an event is. API Gateway writes the fields of its events itself and puts what people send
/// into their values, so nothing that people send is an event of a function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whose {
    request_context: Option<IgnoredAny>,
    internal: Option<IgnoredAny>,
}

#[async_trait]
impl Function for Served {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let Whose { request_context, internal } = read(event)?;
        match (request_context, internal, &self.internal) {
            (Some(_), None, _) => {
                let request = read::<RestEvent>(event)?.into_request()?;
                let (head, body) = answer(&self.public, request).await?;
                written(&RestAnswer::new(&head, body))
            }
            (None, Some(_), Some(reads)) => {
                let request = request(read::<Invocation>(event)?, self.clock.now())?;
                let (head, body) = answer(reads, request).await?;
                written(&reply(head.status, body)?)
            }
            _ => Err(Failure::unreadable("neither API Gateway's nor one that a function may send")),
        }
    }
}

async fn answer(
    router: &Router,
    request: Request<Body>,
) -> Result<(response::Parts, Bytes), Failure> {
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(Failure::unreadable)?.to_bytes();
    Ok((parts, body))
}
