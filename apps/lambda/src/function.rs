//! A function and its loop: Lambda's Runtime API gives an event, the function answers it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kernel::clock::SystemClock;
use kernel::{Clock, Problem, Time};
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument;

use crate::metering::Meters;
use crate::settings::{Refused, Settings};
use crate::{World, apart, logging, metering};

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
    let refused = |error: std::io::Error| Refused(error.to_string());
    let channel = apart::channel().map_err(refused)?;
    if channel.is_none() {
        runtime_api_is_there(&settings)?;
    }
    // One event at a time needs one thread; what it waits for together, it waits for on that one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(refused)?.block_on(async {
        let function = wire(&World::new(settings)?)?;
        if let Some(channel) = channel {
            let asked = channel.asked().map_err(refused)?;
            return channel.answer(answer(function, meters, asked).await).map_err(refused);
        }
        let handler = service_fn(move |LambdaEvent { payload, context }| {
            let deadline = i64::try_from(context.deadline).unwrap_or(i64::MAX);
            let asked = Asked { event: payload, request_id: context.request_id, deadline };
            answer(Arc::clone(&function), meters, asked)
        });
        let served = Runtime::new(handler).run().await;
        served.map_err(|error| Refused(format!("the Runtime API: {error}")))
    })
}

/// What the Runtime API's client panics for when it is not there.
fn runtime_api_is_there(settings: &Settings) -> Result<(), Refused> {
    for name in
        ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"]
    {
        settings.required(name)?;
    }
    settings.parsed::<i32>("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").map(drop)
}

/// An event, and what is told beside it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) event: Box<RawValue>,
    pub(crate) request_id: String,
    /// In milliseconds since 1970.
    pub(crate) deadline: i64,
}

tokio::task_local! {
    /// Lambda's name for the event that is being answered.
    pub(crate) static REQUEST_ID: String;
}

async fn answer(
    function: Arc<dyn Function>,
    meters: &'static Meters,
    Asked { event, request_id, deadline }: Asked,
) -> Result<Box<RawValue>, Failure> {
    let left = Time::from_millis(deadline).since(SystemClock.now()).min(LEFT_MAX);
    let span = tracing::info_span!("event", aws_request_id = request_id);
    let answering = function.invoke(&event, Instant::now() + left).instrument(span);
    let answered = REQUEST_ID.scope(request_id.clone(), answering).await;
    if let Err(Failure { kind, message }) = &answered {
        tracing::warn!(kind, message, "an event was not answered");
    }
    meters.write(&request_id, SystemClock.now());
    answered
}

/// More time than Lambda gives to any event.
const LEFT_MAX: Duration = Duration::from_mins(15);
