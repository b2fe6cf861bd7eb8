//! The middleware that every request passes.

use std::any::Any;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use axum::routing;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use kernel::problem::panic_text;
use kernel::request::{self, Scope};
use kernel::{Code, Principal, Problem};
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tracing::Instrument;
use utoipa::openapi::OpenApi;

use crate::body::Upload;
use crate::cors::Cors;
use crate::limits::{Policies, Taken};
use crate::record::record;
use crate::render::render;
use crate::routes::{Access, Class, Route, Routes};
use crate::shed::Places;
use crate::token::{self, Sent};
use crate::trace::Names;
use crate::{Config, Edge, address, compress, docs, secure};

/// Room for the headers that answers get here, so that they need not move meanwhile.
const HEADERS: usize = 16;

/// The edge, ready to serve.
pub(crate) struct Gate {
    edge: Edge,
    routes: Routes,
    policies: Policies,
    places: Places,
    cors: Cors,
    /// The headers that every answer has.
    careful: HeaderMap,
}

/// One of the router's routes behind the gate.
#[derive(Clone)]
pub(crate) struct Gated {
    pub(crate) gate: Arc<Gate>,
    pub(crate) route: routing::Route,
}

impl Service<Request> for Gated {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // As a route is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(Arc::clone(&self.gate).pass(request, self.route.clone()).map(Ok))
    }
}

/// What is known of the request being served.
struct Visit<'a> {
    method: Method,
    matched: Option<MatchedPath>,
    route: &'a Route,
    names: Names,
    address: Option<IpAddr>,
    /// The page that asks, where it is allowed to.
    origin: Option<HeaderValue>,
    principal: Option<Arc<Principal>>,
    token_sent: bool,
    taken: Option<Taken<'a>>,
}

impl Visit<'_> {
    fn path(&self) -> Option<&str> {
        self.matched.as_ref().map(MatchedPath::as_str)
    }
}

/// A handler that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panicked(String);

/// The problem that stands for a handler's panic.
fn panicked(panic: &(dyn Any + Send)) -> Problem {
    Problem::internal(Panicked(panic_text(panic).to_owned()))
}

impl Gate {
    pub(crate) fn new(edge: Edge, document: &OpenApi) -> Self {
        let pages = edge.config.public_pages.iter().map(String::as_str);
        Self {
            routes: Routes::new(document, pages.chain(docs::PAGES)),
            policies: Policies::new(&edge.config),
            places: Places::new(edge.config.requests_max),
            cors: Cors::new(&edge.config.cors_origins),
            careful: secure::headers(edge.config.https),
            edge,
        }
    }

    /// Serves one request.
    async fn pass(self: Arc<Self>, request: Request, route: routing::Route) -> Response {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        address::unsay(&mut parts, &self.edge.config.trusted_proxies);
        let version = parts.version;
        let mut upload = Upload::new(&parts, body);
        let mut visit = self.greet(&parts);
        let span = visit.names.span();
        let mut response =
            answered(self.serve(&mut visit, parts, &mut upload, route).instrument(span)).await;
        let elapsed = started.elapsed();
        let drained = upload.drain().await;
        self.finish(&visit, &mut response);
        close_unless(drained, version, &mut response);
        let (status, principal) = (response.status(), visit.principal.as_deref());
        record(visit.route, &visit.method, &visit.names, principal, status, elapsed);
        response
    }

    /// Learns what the request's head tells.
    fn greet(&self, parts: &Parts) -> Visit<'_> {
        let config = &self.edge.config;
        let matched = parts.extensions.get::<MatchedPath>().cloned();
        let ids = self.edge.ids.as_ref();
        Visit {
            method: parts.method.clone(),
            route: self.routes.find(matched.as_ref().map(MatchedPath::as_str)),
            matched,
            names: Names::of(&parts.headers, ids.ulid(), config.trace_sample_percent)
                .recorded(self.edge.tracer.as_ref()),
            address: address::client(parts, &config.trusted_proxies),
            origin: self.cors.allowed(&parts.headers),
            principal: None,
            token_sent: false,
            taken: None,
        }
    }

    /// The steps of a request up to its handler's answer.
    async fn serve<'a>(
        &'a self,
        visit: &mut Visit<'a>,
        mut parts: Parts,
        upload: &mut Upload,
        route: routing::Route,
    ) -> Result<Response, Problem> {
        let config = &self.edge.config;
        check_uri(&parts, config)?;
        if let Some(answer) = Cors::preflight(&parts, visit.origin.as_ref()) {
            return Ok(answer);
        }
        self.places.look(visit.route.class).await?;
        // One deadline for all of our own work; the time that the body takes is the client's.
        let budget = Duration::from_millis(config.deadline_millis);
        let begun = Instant::now();
        let scope = visit.names.scope(begun + budget);
        in_time(scope, self.admit(visit, &parts)).await??;
        let budget = budget.saturating_sub(begun.elapsed());
        let body = upload.take(&parts, config).await?;
        let _place = self.places.take(visit.route.class).await?;
        if let Some(principal) = &visit.principal {
            parts.extensions.insert(Arc::clone(principal));
        }
        let request = Request::from_parts(parts, body);
        let work = compress::run(route, request, config.compress_min_bytes);
        in_time(visit.names.scope(Instant::now() + budget), work).await
    }

    /// Finds out who asks, counts the request, and checks that they may ask this.
    async fn admit<'a>(&'a self, visit: &mut Visit<'a>, parts: &Parts) -> Result<(), Problem> {
        let sent = token::sent(parts, &visit.route.name, self.edge.config.token_max_bytes);
        let verified = self.verify(sent).await;
        visit.token_sent = sent != Sent::Nothing;
        visit.principal = verified.as_ref().ok().cloned().flatten();
        visit.taken = self.count(visit).await;
        visit.taken.map_or(Ok(()), |taken| taken.check())?;
        match visit.route.access(visit.path(), &visit.method)? {
            // A bad token is no worse than none where none is needed: a client whose token has
            // expired must still be able to refresh it.
            Access::Public => Ok(()),
            Access::SignedIn if visit.principal.is_some() => Ok(()),
            Access::SignedIn => {
                verified?;
                Err(Problem::unauthenticated("Send `Authorization: Bearer <access token>`."))
            }
        }
    }

    async fn verify(&self, sent: Sent<'_>) -> Result<Option<Arc<Principal>>, Problem> {
        match sent {
            Sent::Nothing => Ok(None),
            Sent::Unreadable => Err(Problem::unauthenticated("This is not an access token.")),
            Sent::Token(token) => self.edge.identity.verify(token).await.map(Some),
        }
    }

    async fn count<'a>(&'a self, visit: &Visit<'a>) -> Option<Taken<'a>> {
        let limiter = self.edge.limiter.as_ref();
        match (visit.route.class, &visit.principal) {
            (Class::Exempt, _) => None,
            (Class::Auth, _) => {
                self.policies.auth.take(limiter, &address::neighbour(visit.address)).await
            }
            (Class::Usual, Some(principal)) => {
                self.policies.user.take(limiter, &principal.user_id.text()).await
            }
            (Class::Usual, None) => {
                self.policies.address.take(limiter, &address::neighbour(visit.address)).await
            }
        }
    }

    /// Dresses the answer. That of an upgrade belongs to its protocol and only gets its names.
    fn finish(&self, visit: &Visit<'_>, response: &mut Response) {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return visit.names.tell(response.headers_mut());
        }
        // What `/auth/*` answers holds tokens. Before problems get their weaker `no-store`.
        if visit.principal.is_some() || visit.route.class == Class::Auth {
            secure::keep_private(response.headers_mut());
        }
        render(response, &visit.names, visit.route, visit.token_sent);
        let headers = response.headers_mut();
        headers.reserve(HEADERS);
        // What the handler has set itself stays: a page has a content security policy of its own.
        for (name, value) in &self.careful {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        visit.names.tell(headers);
        if let Some(taken) = &visit.taken {
            taken.tell(headers);
        }
        self.cors.allow(visit.origin.as_ref(), headers);
    }
}

/// Runs `work` as part of the request, until its deadline. (Neither this nor the next is an `async
/// fn`: each would keep room for the work twice.)
pub(crate) fn in_time<F: Future>(
    scope: Scope,
    work: F,
) -> impl Future<Output = Result<F::Output, Problem>> {
    timeout_at(scope.deadline, request::within(scope, work)).map_err(|_| {
        Problem::new(Code::DeadlineExceeded, "It may or may not have been done. Look first.")
    })
}

/// The answer of whatever serves, be it a problem or a panic.
pub(crate) fn answered(
    serving: impl Future<Output = Result<Response, Problem>>,
) -> impl Future<Output = Response> {
    AssertUnwindSafe(serving).catch_unwind().map(|served| {
        let served = served.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        served.unwrap_or_else(IntoResponse::into_response)
    })
}

/// What was not read would be taken for the next request. HTTP/2 has no such header.
pub(crate) fn close_unless(drained: bool, version: Version, response: &mut Response) {
    if !drained && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

pub(crate) fn check_uri(parts: &Parts, config: &Config) -> Result<(), Problem> {
    let bytes = parts.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if bytes > config.uri_max_bytes {
        let detail = format!("An address has at most {} bytes.", config.uri_max_bytes);
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    Ok(())
}
