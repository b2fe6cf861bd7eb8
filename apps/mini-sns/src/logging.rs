//! Log lines on standard error: pretty for people, JSON for programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

use crate::recent::Recent;
use crate::values::LogFormat;

/// Starts logging; the error says what is wrong with the filter.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    // Each try again of a bucket that is away; that it is, is told by whoever asked.
    let filter = EnvFilter::try_new(format!("object_store=warn,{filter}"))
        .map_err(|error| format!("log_filter: {error}"))?;
    let pretty = match format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    // The global subscriber can be set only once; a second start (in tests) keeps the first.
    let _ = if pretty {
        lines.with_ansi(std::io::stderr().is_terminal()).finish().with(Recent).try_init()
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(true);
        lines.with_span_list(false).finish().with(Recent).try_init()
    };
    Ok(())
}
