//! A service's routes behind API Gateway: the edge around them as everywhere, `/internal/*` beside
//! them for the other functions, and `/health`.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use edge::internal::{Guard, Internal};
use edge::{Edge, Health};
use http_body_util::BodyExt;
use kernel::identity::Identity;
use kernel::identity::session::Sessions;
use kernel::internal::Service;
use kernel::limiter::Limiter;
use kernel::peers::Peers;
use kernel::table::{Key, Table, get_one};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tower::ServiceExt;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::function::{Failure, Function, read, written};
use crate::rest::{RestAnswer, RestEvent, is_signed};
use crate::settings::Refused;
use crate::world::World;

/// What one service brings.
pub(crate) struct Api {
    pub(crate) routes: OpenApiRouter,
    pub(crate) document: OpenApi,
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
        };
        let routes = Router::from(self.health.routes().merge(self.routes));
        let mut router = edge.wrap(routes, &document);
        if let Some(Reads { service, peers, sessions }) = self.reads {
            let guard = Guard::Signed(Arc::new(is_signed));
            let internal = Internal { config, guard, peers, sessions, ids: Arc::clone(&world.ids) };
            router = internal.beside(router, &[service]);
        }
        Ok(Arc::new(Served(router)))
    }
}

/// A router that answers events.
struct Served(Router);

#[async_trait]
impl Function for Served {
    async fn invoke(&self, event: &RawValue, _until: Instant) -> Result<Box<RawValue>, Failure> {
        let request = read::<RestEvent>(event)?.into_request()?;
        let Ok(response) = self.0.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Failure::unreadable)?.to_bytes();
        written(&RestAnswer::new(&parts, body))
    }
}
