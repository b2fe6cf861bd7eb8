//! The way of spans to the collector: a bounded queue, and a task that sends batches of it over
//! HTTP. A collector that is away costs nobody anything but its spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::Clock;
use kernel::spans::{Sink, Traced};
use opentelemetry_proto::tonic::resource::v1::Resource;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::otlp::{self, Dial};
use crate::failure::Failure;

/// Spans that wait, at most; further ones are dropped, and counted.
const WAITING_MAX: usize = 16_384;
/// Spans in one request, about.
const BATCH_SPANS: usize = 1_024;
/// How long the first span of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(500);
/// Time that a request may take.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Time that the last spans have at the end.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// The pause after a request that failed; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The queue's end for those who have spans.
struct Queue {
    spans: UnboundedSender<Vec<Traced>>,
    waiting: Arc<AtomicUsize>,
}

impl Sink for Queue {
    fn take(&self, spans: Vec<Traced>) {
        let count = spans.len();
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        if waiting + count > WAITING_MAX || self.spans.send(spans).is_err() {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            dropped(count);
        }
    }
}

fn dropped(spans: usize) {
    metrics::counter!("trace_spans_dropped_total").increment(u64::try_from(spans).unwrap_or(0));
}

/// The task that sends.
pub(super) struct Exporter {
    queue: UnboundedReceiver<Vec<Traced>>,
    waiting: Arc<AtomicUsize>,
    /// What is sent next.
    batch: Vec<Traced>,
    http: Client,
    url: Url,
    resource: Resource,
    clock: Arc<dyn Clock>,
    dial: Dial,
    /// Whether it was told in the log that the collector is away.
    is_away: bool,
}

/// The queue's two ends. `endpoint` is a collector's address; its path, where it has none, is the
/// standard's.
pub(super) fn exporter(
    endpoint: &str,
    resource: Resource,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<dyn Sink>, Exporter), Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::usage(format!("otlp_endpoint: {error}"));
    let mut url = Url::parse(endpoint).map_err(|error| refused(&error))?;
    if url.path() == "/" {
        url.set_path("/v1/traces");
    }
    let http = Client::builder().timeout(SEND_MAX).build().map_err(|error| refused(&error))?;
    let (sender, queue) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let dial = Dial::of(&*clock);
    let sink = Arc::new(Queue { spans: sender, waiting: Arc::clone(&waiting) });
    let batch = Vec::new();
    let exporter =
        Exporter { queue, waiting, batch, http, url, resource, clock, dial, is_away: false };
    // Known from the start, so that the first is an increase.
    dropped(0);
    Ok((sink, exporter))
}

/// An address without the password that it may hold.
fn told(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Exporter {
    /// Sends until `end`, and then what is left.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let work = async {
            let mut pause = PAUSE_FIRST;
            loop {
                self.gather().await;
                if self.send().await {
                    pause = PAUSE_FIRST;
                } else {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        };
        end.run_until_cancelled(work).await;
        while let Ok(spans) = self.queue.try_recv() {
            self.batch.extend(spans);
        }
        if !self.batch.is_empty() {
            let _ = timeout(FLUSH_MAX, self.send()).await;
        }
    }

    /// Waits until there is a batch.
    async fn gather(&mut self) {
        while self.batch.is_empty() {
            match self.queue.recv().await {
                Some(spans) => self.batch.extend(spans),
                None => std::future::pending().await,
            }
        }
        let more = async {
            while self.batch.len() < BATCH_SPANS
                && let Some(spans) = self.queue.recv().await
            {
                self.batch.extend(spans);
            }
        };
        let _ = timeout(BATCH_WAIT, more).await;
    }

    /// Sends the batch; false where it is to be tried again later.
    async fn send(&mut self) -> bool {
        self.dial.follow(&*self.clock);
        let body = otlp::request(&self.resource, &self.batch, &self.dial);
        let request =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        let why = match request.body(body).send().await {
            Ok(answer) if answer.status().is_success() => {
                self.done();
                if std::mem::take(&mut self.is_away) {
                    tracing::info!(collector = told(&self.url), "traces are exported again");
                }
                return true;
            }
            Ok(answer) => {
                let status = answer.status();
                if status.is_client_error() && status != reqwest::StatusCode::TOO_MANY_REQUESTS {
                    // It would be refused again.
                    dropped(self.batch.len());
                    self.done();
                }
                format!("it answers {status}")
            }
            Err(error) => kernel::problem::told(&error.without_url()),
        };
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(collector = told(&self.url), why, "traces cannot be exported");
        }
        false
    }

    /// The batch waits no longer.
    fn done(&mut self) {
        self.waiting.fetch_sub(self.batch.len(), Ordering::Relaxed);
        self.batch.clear();
    }
}
