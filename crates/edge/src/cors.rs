//! Which web pages of other origins may read answers. Tokens travel in a header, never in a
//! cookie, so no answer allows credentials.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, traceparent, x-request-id",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "location, ratelimit, ratelimit-policy, retry-after, traceparent, www-authenticate, x-cache, \
     x-request-id",
);
const MAX_AGE_SECS: HeaderValue = HeaderValue::from_static("7200");

/// The origins that are allowed.
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// Texts that could never be a header are left out: no page can send them.
    pub(crate) fn new(origins: &[String]) -> Self {
        let origins = origins.iter().map(|text| text.trim_end_matches('/'));
        Self { origins: origins.filter_map(|text| HeaderValue::from_str(text).ok()).collect() }
    }

    /// The request's origin, where it is allowed.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.is_empty() {
            return None;
        }
        headers.get(ORIGIN).filter(|origin| self.origins.contains(origin)).cloned()
    }

    /// The answer to a browser that asks before it sends the real request.
    pub(crate) fn preflight(parts: &Parts, origin: Option<&HeaderValue>) -> Option<Response> {
        let asks = parts.method == Method::OPTIONS
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || origin.is_none() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECS);
        Some(response)
    }

    /// Lets the page of `origin` read the answer.
    pub(crate) fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
