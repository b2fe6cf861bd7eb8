//! A function and its loop: Lambda's Runtime API gives an event, the function answers it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::clock::SystemClock;
use kernel::{Clock, Problem, Time};
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument;

use crate::metering::Meters;
use crate::settings::{Refused, Settings};
use crate::{World, logging, metering};

/// What a bootstrap was made for.
#[async_trait]
pub trait Function: Send + Sync {
    /// Answers an event (JSON) with JSON. At `until` Lambda ends the process.
    async fn invoke(&self, event: &RawValue, until: Instant) -> Result<Box<RawValue>, Failure>;
}

/// Fills a function's seams. Calls nobody.
pub type Wire = fn(&World) -> Result<Arc<dyn Function>, Refused>;

/// An event that was not answered, as Lambda is told of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure, for metrics and filters.
    pub kind: &'static str,
    /// What happened. API Gateway acts on some: `Unauthorized` of an authorizer is a 401.
    pub message: String,
}

impl Failure {
    /// An event that this function is not made for.
    pub fn unreadable(error: impl std::fmt::Display) -> Self {
        Self { kind: "UnreadableEvent", message: error.to_string() }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { kind: problem.code.as_str(), message: kernel::problem::told(&problem) }
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.kind.to_owned(), error_message: failure.message }
    }
}

/// Reads an event.
pub(crate) fn read<T: DeserializeOwned>(event: &RawValue) -> Result<T, Failure> {
    serde_json::from_str(event.get()).map_err(Failure::unreadable)
}

/// Writes an answer.
pub(crate) fn written(answer: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(answer).map_err(Failure::unreadable)
}

/// Serves events until the process is ended; the whole of a bootstrap's `main`. Settings that make
/// no sense end it at once, with one line on standard error.
pub fn run(wire: Wire) -> ExitCode {
    match serve(wire) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            complain(&refused);
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stderr, reason = "logging may not have begun, and the process ends here")]
fn complain(refused: &Refused) {
    eprintln!("mini-sns: {refused}");
}

fn serve(wire: Wire) -> Result<(), Refused> {
    let settings = Settings::of_environment();
    logging::start(&settings)?;
    let meters = metering::start(&settings)?;
    // What the Runtime API's client panics for when it is not there.
    for name in
        ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"]
    {
        settings.required(name)?;
    }
    settings.parsed::<i32>("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?;
    // One event at a time needs one thread; what it waits for together, it waits for on that one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Refused(error.to_string()))?;
    runtime.block_on(async {
        let function = wire(&World::new(settings)?)?;
        let handler = service_fn(move |event| answer(Arc::clone(&function), meters, event));
        let served = Runtime::new(handler).run().await;
        served.map_err(|error| Refused(format!("the Runtime API: {error}")))
    })
}

async fn answer(
    function: Arc<dyn Function>,
    meters: &'static Meters,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<Box<RawValue>, Failure> {
    let deadline = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
    let left = Time::from_millis(deadline).since(SystemClock.now()).min(LEFT_MAX);
    let request_id = event.context.request_id;
    let span = tracing::info_span!("event", aws_request_id = request_id);
    let answering = function.invoke(&event.payload, Instant::now() + left).instrument(span);
    let answered = answering.await;
    if let Err(Failure { kind, message }) = &answered {
        tracing::warn!(kind, message, "an event was not answered");
    }
    meters.write(&request_id, SystemClock.now());
    answered
}

/// More time than Lambda gives to any event.
const LEFT_MAX: Duration = Duration::from_mins(15);
