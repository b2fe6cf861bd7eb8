//! The one error that people see (RFC 9457), its public text kept apart from its inner cause.
//!
//! A handler returns a [`Problem`]; the edge renders it with the request's id and logs the cause,
//! once.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::table::TableError;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $text:literal $title:literal,)*) => {
        /// What went wrong, in the stable words that client programs read.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The stable, machine-readable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status it is answered with.
            pub const fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// The short summary for people; the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or the request line or a header cannot be understood.
    MalformedRequest = 400 "malformed_request" "The request cannot be read",
    /// The cursor was not made by this list.
    InvalidCursor = 400 "invalid_cursor" "The cursor is not valid",
    /// No access token, or one that is not good.
    Unauthenticated = 401 "unauthenticated" "Sign in first",
    /// Wrong e-mail address or password.
    BadCredentials = 401 "bad_credentials" "The e-mail address or the password is wrong",
    /// A refresh token that is unknown, used, expired or revoked.
    InvalidRefreshToken = 401 "invalid_refresh_token" "The refresh token is not valid",
    /// The thing is somebody else's.
    Forbidden = 403 "forbidden" "Not yours to do",
    /// An operator has suspended the account.
    AccountSuspended = 403 "account_suspended" "The account is suspended",
    /// One of the two blocks the other.
    Blocked = 403 "blocked" "There is a block between you",
    /// More than is allowed before the e-mail address is confirmed.
    EmailUnconfirmed = 403 "email_unconfirmed" "Confirm your e-mail address first",
    /// The request came from a web page that may not make it.
    ForbiddenOrigin = 403 "forbidden_origin" "This origin is not allowed",
    /// Unknown or deleted.
    NotFound = 404 "not_found" "Not found",
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    /// The body did not arrive in time.
    RequestTimeout = 408 "request_timeout" "The request arrived too slowly",
    /// Another account has the e-mail address.
    EmailTaken = 409 "email_taken" "The e-mail address is taken",
    /// Another account has the handle.
    HandleTaken = 409 "handle_taken" "The handle is taken",
    /// Another request changed the same thing at the same moment, repeatedly.
    Conflict = 409 "conflict" "Changed by another request at the same time",
    /// The body is over the limit.
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    /// The address is over the limit.
    UriTooLong = 414 "uri_too_long" "The address is too long",
    /// The body is not `application/json`.
    UnsupportedMediaType = 415 "unsupported_media_type" "The media type is not supported",
    /// A field is missing, of the wrong type, or breaks a rule.
    ValidationFailed = 422 "validation_failed" "The input breaks a rule",
    /// The password breaks the policy.
    WeakPassword = 422 "weak_password" "The password is too weak",
    /// The code of a letter is wrong, used or too old.
    WrongCode = 422 "wrong_code" "The code is not right",
    /// Following oneself.
    SelfFollow = 422 "self_follow" "You cannot follow yourself",
    /// Blocking oneself.
    SelfBlock = 422 "self_block" "You cannot block yourself",
    /// Muting oneself.
    SelfMute = 422 "self_mute" "You cannot mute yourself",
    /// Reporting oneself, or a post of one's own.
    SelfReport = 422 "self_report" "You cannot report yourself",
    /// The idempotency key was used with another body.
    IdempotencyMismatch = 422 "idempotency_mismatch" "The key was used for another request",
    /// The route needs a WebSocket upgrade.
    UpgradeRequired = 426 "upgrade_required" "A WebSocket upgrade is needed",
    /// The request bucket is empty.
    RateLimited = 429 "rate_limited" "Too many requests",
    /// The 11th post in a minute.
    PostRateLimited = 429 "post_rate_limited" "Too many posts",
    /// More reports than one may make on a day.
    ReportRateLimited = 429 "report_rate_limited" "Too many reports",
    /// Too many failed sign-ins on one account.
    TooManyAttempts = 429 "too_many_attempts" "Too many failed sign-ins",
    /// The user's 21st socket.
    TooManySockets = 429 "too_many_sockets" "Too many open sockets",
    /// The header section is over the limit.
    HeadersTooLarge = 431 "headers_too_large" "The headers are too large",
    /// A defect of ours.
    Internal = 500 "internal" "Something went wrong on our side",
    /// A part that the request needs does not work at present.
    Unavailable = 503 "unavailable" "Not available at present",
    /// More is asked at once than the server can answer in time; nothing was done.
    Overloaded = 503 "overloaded" "Too busy at present",
    /// The request could not be finished in the time it had.
    DeadlineExceeded = 504 "deadline_exceeded" "The request took too long",
}

/// One broken rule of one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's path in the body, or the parameter's name.
    pub field: String,
    /// What the rule wants.
    pub message: String,
}

impl FieldError {
    /// An error at `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// An answer that is not what was asked for. `detail` and `errors` are for the caller; `cause` is
/// for the log alone.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Kind of problem.
    pub code: Code,
    /// What happened this time, for people.
    pub detail: Cow<'static, str>,
    /// The fields at fault, where the input is.
    pub errors: Vec<FieldError>,
    /// When trying again makes sense.
    pub retry_after_secs: Option<u64>,
    /// The inner cause; never shown.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of kind `code`, told in `detail`.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_secs: None,
            cause: None,
        }
    }

    /// 404: there is no such `what`.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."))
    }

    /// 422: one field breaks a rule.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(field, message)])
    }

    /// 422: some fields break rules.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::ValidationFailed, "Mend the fields named in `errors`.") }
    }

    /// 401: no good access token.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unauthenticated, detail)
    }

    /// 503: try again soon.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Unavailable, "A part of the service does not answer. Try again soon.")
            .retry_after_secs(1)
            .because(cause)
    }

    /// 500: a defect of ours.
    pub fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "The request was fine; we failed. It has been logged.")
            .because(cause)
    }

    /// The same problem with the time after which to try again.
    #[must_use]
    pub fn retry_after_secs(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// The same problem with its inner cause.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Unmet(_) | TableError::Contended => {
                Self::new(Code::Conflict, "Another request was faster. Try again.").because(error)
            }
            TableError::Throttled | TableError::Unavailable(_) => Self::unavailable(error),
            TableError::Malformed(_) => Self::internal(error),
        }
    }
}

/// A bare response that carries the problem; the edge renders the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status());
        let mut response = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error with all its causes, for the log and the operator.
pub fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Errors often say already what their cause says.
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = error.source();
    }
    told
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_have_an_error_status() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_none_twice() {
        let problem = Problem::from(TableError::Unavailable("disk 7 fell off".into()));
        let text = told(&problem);
        assert!(text.starts_with("unavailable: ") && text.contains("disk 7"), "{text}");
        let twice = Problem::internal(Problem::new(Code::Internal, "moon").because(fmt::Error));
        let outer = std::io::Error::other(twice.to_string());
        assert_eq!(told(&outer).matches("internal: ").count(), 1);
        assert!(told(&twice).ends_with(&fmt::Error.to_string()));
    }

    #[test]
    fn a_panic_s_text_is_found_in_each_of_its_forms() {
        for panic in [&"moon" as &(dyn Any + Send), &"moon".to_owned()] {
            assert_eq!(panic_text(panic), "moon");
        }
        assert_eq!(panic_text(&7), "no message");
    }

    #[test]
    fn the_cause_stays_inside() {
        let problem = Problem::from(TableError::Unavailable("disk 7 fell off".into()));
        assert_eq!(problem.code.status(), 503);
        assert!(!problem.to_string().contains("disk 7"));
        assert!(problem.source().is_some_and(|cause| cause.to_string().contains("disk 7")));
    }
}
