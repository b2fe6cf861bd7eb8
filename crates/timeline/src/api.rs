//! The routes: the feed by pages, and the door to a socket.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use edge::{Caller, Query};
use kernel::{Code, Page, Post, Problem, Profile};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Timeline;
use crate::upgrade::{self, Upgrade};

/// One entry of a feed: its shape for the document, since answers are put together from bytes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimelineItem {
    /// The post; `authorId` tells its author also where `author` is null.
    post: Post,
    /// Who wrote it, as they are now; as they last were, or null, while the user service does not
    /// answer.
    #[schema(required)]
    author: Option<Profile>,
    /// By how many it is liked; may lag by 3 s. Null while the social service does not answer.
    #[schema(required)]
    like_count: Option<u64>,
    /// Whether the viewer likes it. Null while the social service does not answer.
    #[schema(required)]
    liked: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Entries on the page, 1 to 100; 20 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
    /// A cursor that this list answered.
    cursor: Option<String>,
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The posts of those the caller follows and their own, newest first.
#[utoipa::path(
    get,
    path = "/timeline",
    tag = "timeline",
    summary = "Read your timeline",
    params(PageParams),
    responses(
        (status = 200, description = "A page, newest first", body = Page<TimelineItem>,
            headers(("X-Cache" = String, description = "`hit` or `miss`"))),
        (status = 400, description = "The cursor is not one of this list"),
        (status = 401, description = "No good access token"),
        (status = 422, description = "The limit is not 1 to 100"),
        (status = 429, description = "Too many requests"),
        (status = 503, description = "The timeline or the post service does not answer at present"),
    ),
)]
pub(crate) async fn timeline(
    State(timeline): State<Arc<Timeline>>,
    Caller(caller): Caller,
    Query(params): Query<PageParams>,
) -> Result<Response, Problem> {
    let limit = timeline.config.limits.page(params.limit.as_deref())?;
    let answer = timeline.page(caller.user_id, limit, params.cursor.as_deref()).await?;
    let cache = HeaderValue::from_static(if answer.hit { "hit" } else { "miss" });
    Ok(([(CONTENT_TYPE, JSON), (X_CACHE, cache)], answer.body).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SocketParams {
    /// An access token, for clients that cannot send the `Authorization` header.
    token: Option<String>,
}

/// A WebSocket that tells what arrives in the caller's timeline.
#[utoipa::path(
    get,
    path = "/ws",
    tag = "timeline",
    summary = "Open a live connection",
    description = "Checks its own access token, from `?token=` or the `Authorization` header. \
                   Subprotocol `mini-sns.v1` optional; JSON text frames.",
    params(SocketParams),
    security(()),
    responses(
        (status = 101, description = "The socket is open; the first frame is `hello`"),
        (status = 401, description = "No good access token"),
        (status = 403, description = "The page's origin is not allowed"),
        (status = 422, description = "A parameter does not fit"),
        (status = 426, description = "Not a WebSocket upgrade"),
        (status = 429, description = "The user has 20 open sockets"),
        (status = 503, description = "A part does not answer at present"),
    ),
)]
pub(crate) async fn socket(
    State(timeline): State<Arc<Timeline>>,
    Query(params): Query<SocketParams>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<Upgrade, Problem>,
) -> Result<Response, Problem> {
    let bearer = || {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    let Some(token) = params.token.as_deref().or_else(bearer) else {
        return Err(Problem::unauthenticated("Send the access token as `?token=`."));
    };
    let principal = timeline.parts.identity.verify(token).await?;
    if !origin_is_good(&headers, &uri, &timeline.config.origins) {
        let detail = "Web pages of this origin may not open a socket.";
        return Err(Problem::new(Code::ForbiddenOrigin, detail));
    }
    match upgrade {
        Ok(upgrade) => timeline.open(upgrade, principal, token).await,
        Err(problem) => Ok((upgrade::wanted(), problem).into_response()),
    }
}

/// A page may open a socket when it is our own or configured; a program sends no origin.
fn origin_is_good(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let named = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let page = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_pages_and_configured_ones_may_open_a_socket() {
        let good = |origin: &str, allowed: &[String]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("sns.example:8080"));
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            origin_is_good(&headers, &Uri::from_static("/ws"), allowed)
        };
        assert!(good("https://sns.example:8080", &[]));
        assert!(good("http://sns.example:8080", &[]));
        assert!(!good("https://sns.example", &[]));
        assert!(!good("https://evil.example", &[]));
        assert!(!good("null", &[]));
        assert!(good("https://app.example", &["https://app.example".into()]));
        assert!(origin_is_good(&HeaderMap::new(), &Uri::from_static("/ws"), &[]));
    }
}
