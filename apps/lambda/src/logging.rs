//! Log lines on standard output, one JSON object each, where Lambda collects them.

use std::panic;

use kernel::problem::panic_text;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{Refused, Settings};

const FILTER: &str = "MINI_SNS_LOG_FILTER";

/// Starts logging. A panic is a line too, and the end of the process, however it was built: the
/// one event that it had was not finished by anything that could go on.
pub(crate) fn start(settings: &Settings) -> Result<(), Refused> {
    let filter = settings.get(FILTER).unwrap_or("info");
    let filter: Targets = filter.parse().map_err(|error| Refused::setting(FILTER, error))?;
    // It would write whole events, with the tokens in them.
    let filter = filter.with_target("lambda_runtime", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stdout);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| Refused(error.to_string()))?;
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(tracing::field::display);
        tracing::error!(place, reason = panic_text(panicked.payload()), "the function panicked");
        std::process::abort();
    }));
    Ok(())
}
