//! Problems as people see them (RFC 9457), and as the log sees them.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use kernel::problem::told;
use kernel::{Code, FieldError, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use crate::routes::Route;
use crate::trace::Names;

/// The media type of every problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Names the kind of problem for good.
    #[schema(example = "urn:mini-sns:problem:validation_failed")]
    r#type: String,
    /// The kind of problem, for people.
    #[schema(example = "The input breaks a rule")]
    title: &'a str,
    /// The status of the answer.
    #[schema(example = 422)]
    status: u16,
    /// What happened this time, for people.
    detail: &'a str,
    /// The kind of problem, for programs.
    #[schema(example = "validation_failed")]
    code: &'a str,
    /// The request's id, to be quoted to the operator.
    request_id: &'a str,
    /// The fields at fault, where the input is.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
}

/// Turns a response that carries a problem, or an error that the framework answered bare, into a
/// rendered problem. A handler's own error page or document stays as it is.
pub(crate) fn render(response: &mut Response, names: &Names, route: &Route, token_sent: bool) {
    let carried = response.extensions_mut().remove::<Problem>();
    let Some(problem) = carried.or_else(|| bare(response)) else { return };
    log(&problem, names, route);
    let code = problem.code;
    let body = ProblemBody {
        r#type: format!("urn:mini-sns:problem:{}", code.as_str()),
        title: code.title(),
        status: code.status(),
        detail: &problem.detail,
        code: code.as_str(),
        request_id: &names.request_id,
        errors: &problem.errors,
    };
    // Strings, numbers and lists of strings always serialise.
    *response.body_mut() = Body::from(serde_json::to_vec(&body).unwrap_or_default());
    *response.status_mut() =
        StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.remove(CONTENT_LENGTH);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(secs) = problem.retry_after_secs {
        headers.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    if let (Code::MethodNotAllowed, Some(allow)) = (code, &route.allow) {
        headers.insert(ALLOW, allow.clone());
    }
    if code.status() == 401 {
        let challenge = if token_sent && code == Code::Unauthenticated {
            "Bearer realm=\"mini-sns\", error=\"invalid_token\""
        } else {
            "Bearer realm=\"mini-sns\""
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
}

/// The problem that stands for an error without a body of its own, or with a text in the
/// framework's words, which may tell too much.
fn bare(response: &Response) -> Option<Problem> {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_bare = content_type.is_none_or(|text| text.starts_with(b"text/plain"));
    if !is_bare || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let code = code_of(status);
    let detail = match code {
        Code::NotFound => "Nothing has this address.",
        Code::MethodNotAllowed => "See the header `Allow`.",
        Code::Unauthenticated => "Send `Authorization: Bearer <access token>`.",
        Code::UpgradeRequired => "Open a WebSocket here.",
        Code::Internal => "The request was fine; we failed. It has been logged.",
        _ => "The request cannot be served as it is.",
    };
    Some(Problem::new(code, detail))
}

fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::Forbidden,
        404 | 410 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        409 | 412 => Code::Conflict,
        413 => Code::BodyTooLarge,
        414 => Code::UriTooLong,
        415 => Code::UnsupportedMediaType,
        422 => Code::ValidationFailed,
        426 => Code::UpgradeRequired,
        429 => Code::RateLimited,
        431 => Code::HeadersTooLarge,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        other if other < 500 => Code::MalformedRequest,
        _ => Code::Internal,
    }
}

/// The one place where a problem's cause is logged.
fn log(problem: &Problem, names: &Names, route: &Route) {
    let cause = problem.cause.as_deref().map(|cause| told(cause)).unwrap_or_default();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                code = problem.code.as_str(),
                detail = %problem.detail,
                cause,
                route = route.name,
                request_id = names.request_id,
                trace_id = %names.trace.trace_id,
                "problem"
            )
        };
    }
    match problem.code.status() {
        // Counted; a line each would be work where there is too much of it.
        _ if problem.code == Code::Overloaded => line!(debug),
        503 => line!(warn),
        500.. => line!(error),
        _ if !cause.is_empty() => line!(debug),
        _ => {}
    }
}
