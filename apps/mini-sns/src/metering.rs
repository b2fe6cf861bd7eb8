//! Metrics in Prometheus' text form, with the histogram buckets of this system.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds in seconds: from a cached read to the edge's deadline.
const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How often the recorder drops what is no longer needed.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts recording for the whole process.
pub(crate) fn start() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .map_err(|error| format!("metrics: {error}"))?;
    builder.install_recorder().map_err(|error| format!("metrics: {error}"))
}

/// Sets the gauges that are about this process.
pub(crate) fn record_process() {
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
}

/// Sets the gauges about reports that wait for an operator.
pub(crate) fn record_reports(open: i64, oldest: Duration) {
    metrics::gauge!("reports_open").set(open as f64);
    metrics::gauge!("reports_oldest_age_seconds").set(oldest.as_secs_f64());
}

/// As Linux tells it; elsewhere it is not told.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibi: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibi * 1024)
}

/// Keeps the recorder's memory bounded, for as long as the process lives.
pub(crate) async fn keep_up(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
