//! What every request passes first, and the extractors that handlers take their input from, so
//! that bad input is the same Problem everywhere.
//!
//! One middleware, [`Edge::wrap`], takes the steps in this order: request id and trace, length of
//! the address, CORS preflight, load shedding, access token, rate limit, the route's access (deny
//! first), body limit, deadline, handler; and on the way back: problem rendering, security headers,
//! one log line, metrics. Answers are compressed where the client asks for it.
//!
//! The limits of the header section and its time-out are the HTTP server's: whoever runs it sets
//! them (`max_buf_size`, `max_headers`, `header_read_timeout`, HTTP/2 `max_header_list_size`), and
//! serves with `into_make_service_with_connect_info::<SocketAddr>()`, so that there is a client
//! address to count on.

mod address;
mod body;
mod compress;
pub mod config;
mod cors;
pub mod docs;
pub mod extract;
mod gate;
pub mod health;
pub mod internal;
mod limits;
pub mod openapi;
mod record;
mod render;
mod routes;
mod secure;
mod shed;
mod token;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use kernel::Ids;
use kernel::identity::Identity;
use kernel::limiter::Limiter;
use kernel::spans::Tracer;
use tower::layer::layer_fn;
use utoipa::openapi::OpenApi;

pub use address::{InvalidNetwork, Network};
pub use config::Config;
pub use extract::{Caller, Json, Path, Query};
pub use health::Health;

/// Everything the edge needs.
pub struct Edge {
    /// Limits, time-outs and who is trusted.
    pub config: Config,
    /// Who verifies access tokens. Verification is asked for on every request with a token, so it
    /// should remember the tokens it has seen.
    pub identity: Arc<dyn Identity>,
    /// Who counts requests. When it fails, requests pass: being up goes before being strict.
    pub limiter: Arc<dyn Limiter>,
    /// Request and trace ids.
    pub ids: Arc<dyn Ids>,
    /// Who records what is done for a request; nobody where none.
    pub tracer: Option<Arc<Tracer>>,
}

impl Edge {
    /// The router with the edge around it and `/openapi.json` and `/docs` added.
    ///
    /// `document` (see [`openapi::finish`]) tells which operations are public; everything else that
    /// the router matches wants a good access token. Routes under `/internal/` are never reachable
    /// through the edge: mount them beside it ([`internal`]).
    pub fn wrap(self, router: Router, document: &OpenApi) -> Router {
        // The document's types always serialise.
        let shown = serde_json::to_vec(document).unwrap_or_default();
        self.wrap_part(router, document, shown.into())
    }

    /// The same around a part of the API, whose own document this is, where `/openapi.json` shows
    /// that of the whole.
    pub fn wrap_part(self, router: Router, document: &OpenApi, whole: Bytes) -> Router {
        let gate = Arc::new(gate::Gate::new(self, document));
        let gated = layer_fn(move |route| gate::Gated { gate: Arc::clone(&gate), route });
        router.merge(docs::router(whole)).layer(gated)
    }
}
