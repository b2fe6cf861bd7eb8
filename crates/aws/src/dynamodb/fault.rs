//! What can go wrong on the way to DynamoDB, in the seam's words.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_types::error::operation::BuildError;
use kernel::problem::told;
use kernel::table::TableError;

/// Rounds of asking again for what DynamoDB left undone without any progress.
const ROUNDS_MAX: u32 = 8;
const PAUSE_MIN_MILLIS: u64 = 20;
const PAUSE_MAX_MILLIS: u64 = 1000;
/// Statuses from here on tell of a failure of theirs: what was asked may be done.
const SERVER_ERRORS: u16 = 500;

/// What a refused request means. Whatever is not a plain refusal may have been done.
pub(super) fn refusal<E>(error: &SdkError<E>) -> TableError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let refused = error.raw_response().is_some_and(|raw| raw.status().as_u16() < SERVER_ERRORS);
    let code = error.as_service_error().filter(|_| refused).and_then(|error| error.code());
    match code {
        Some(
            "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "ThrottlingException",
        ) => TableError::Throttled,
        Some("TransactionConflictException" | "ReplicatedWriteConflictException") => {
            TableError::Contended
        }
        Some("ValidationException" | "ItemCollectionSizeLimitExceededException") => {
            TableError::Malformed(told(error))
        }
        _ => TableError::Unavailable(told(error)),
    }
}

/// A request that the SDK would not build: a defect.
pub(super) fn unbuilt(error: &BuildError) -> TableError {
    TableError::Malformed(told(error))
}

/// Waits before round `round` of asking again; false when the request has no time left for that.
pub(super) async fn pause(round: u32) -> bool {
    let most_millis = (PAUSE_MIN_MILLIS << round.min(16)).min(PAUSE_MAX_MILLIS);
    // Half of it by chance, so that those who were refused together do not come back together.
    let wait = Duration::from_millis(fastrand::u64(most_millis / 2..=most_millis));
    if kernel::request::time_left(Duration::MAX) < wait {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

/// Waits before what DynamoDB left undone is asked for again, `left` of the `asked` of a round: the
/// next round's number. An error after many rounds without any progress.
pub(super) async fn again(round: u32, asked: usize, left: usize) -> Result<u32, TableError> {
    let round = if left < asked { 0 } else { round + 1 };
    if round == ROUNDS_MAX || !pause(round).await {
        return Err(TableError::Throttled);
    }
    Ok(round)
}

/// Looks at each attempt of one write: was it refused, or may it have been done?
#[derive(Clone, Debug)]
pub(super) struct Watch {
    repeatable: bool,
    uncertain: Arc<AtomicBool>,
}

impl Watch {
    /// For a write that must not happen twice: once its fate is unknown it is not tried again.
    pub(super) fn once() -> Self {
        Self { repeatable: false, uncertain: Arc::default() }
    }

    /// For a write that carries a token against happening twice.
    pub(super) fn repeatable() -> Self {
        Self { repeatable: true, uncertain: Arc::default() }
    }

    /// What the operation needs to be watched.
    pub(super) fn config(&self) -> config::Builder {
        config::Builder::new().retry_classifier(self.clone())
    }

    /// Whether some attempt may have been done though it was not answered.
    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain.load(Ordering::Acquire)
    }
}

impl ClassifyRetry for Watch {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let refused = error.is_operation_error()
            && context.response().is_some_and(|raw| raw.status().as_u16() < SERVER_ERRORS);
        if refused {
            return RetryAction::NoActionIndicated;
        }
        self.uncertain.store(true, Ordering::Release);
        if self.repeatable { RetryAction::NoActionIndicated } else { RetryAction::RetryForbidden }
    }

    fn name(&self) -> &'static str {
        "writes of unknown fate"
    }
}
