//! What Cognito's refusals mean here.

use std::error::Error;

use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use kernel::Problem;
use kernel::problem::told;

/// A call that Cognito did not do. The text is one line and holds nothing that was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Cognito's {operation}: {reason}")]
pub struct Fault {
    operation: &'static str,
    reason: String,
}

impl Fault {
    /// What `operation` failed with. Only codes and messages: the body of an answer that cannot be
    /// read may hold tokens.
    pub(super) fn of<E, R>(operation: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => told(error),
        };
        Self { operation, reason }
    }

    /// An answer to `operation` that makes no sense.
    pub(super) fn answer(operation: &'static str, reason: impl Into<String>) -> Self {
        Self { operation, reason: reason.into() }
    }
}

/// Throttling, outages, expired credentials, a pool that is not there: nothing of the caller's
/// making, and worth another try.
pub(super) fn unavailable<E, R>(operation: &'static str, error: &SdkError<E, R>) -> Problem
where
    E: Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    Problem::unavailable(Fault::of(operation, error))
}
