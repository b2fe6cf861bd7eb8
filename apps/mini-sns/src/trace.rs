//! Tracing: what is done for requests and events is recorded at the seams, and what is worth
//! keeping goes to an OpenTelemetry collector. Without `--otlp-endpoint` nothing is wrapped and
//! nothing recorded.

mod export;
mod otlp;
mod seams;
#[cfg(test)]
mod suites;

use std::sync::Arc;

use kernel::bus::Subscription;
use kernel::peers::Peers;
use kernel::sockets::Sockets;
use kernel::spans::Tracer;
use kernel::table::Table;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::seams::{Observer, Recorded, RecordedBus};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::values::ServiceName;
use crate::world::Seams;

/// Who records, and the task that exports.
pub(crate) struct Tracing {
    observer: Observer,
    end: CancellationToken,
    exporting: TaskTracker,
}

impl Tracing {
    /// Starts it, where there is somewhere to export to.
    pub(crate) fn start(settings: &Settings, seams: &Seams) -> Result<Option<Self>, Failure> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let (clock, ids) = (seams.clock(), seams.ids());
        let resource = otlp::resource(&ids.ulid().to_string());
        let (sink, exporter) = export::exporter(endpoint, resource, Arc::clone(&clock))?;
        let tracer = Tracer::new(sink, settings.trace_slow.0);
        let (end, exporting) = (CancellationToken::new(), TaskTracker::new());
        exporting.spawn(exporter.run(end.clone()));
        Ok(Some(Self { observer: Observer { tracer, clock, ids }, end, exporting }))
    }

    pub(crate) fn tracer(&self) -> Arc<Tracer> {
        Arc::clone(&self.observer.tracer)
    }

    /// The same seams, recorded.
    pub(crate) fn seams(&self, seams: Seams) -> Seams {
        let tables = seams.tables.into_iter();
        let recorded = |(name, table): (ServiceName, _)| -> (ServiceName, Arc<dyn Table>) {
            (name, Recorded::new(table, name.word()))
        };
        Seams {
            tables: tables.map(recorded).collect(),
            bus: Arc::new(RecordedBus { inner: seams.bus, observer: self.observer.clone() }),
            feed: Recorded::new(seams.feed, "feed"),
            ..seams
        }
    }

    pub(crate) fn sockets(&self, sockets: Arc<dyn Sockets>) -> Arc<dyn Sockets> {
        Recorded::new(sockets, "sockets")
    }

    pub(crate) fn peers(&self, peers: Arc<dyn Peers>) -> Arc<dyn Peers> {
        Recorded::new(peers, "peers")
    }

    pub(crate) fn subscription(&self, subscription: Subscription) -> Subscription {
        self.observer.watch(subscription)
    }

    /// Exports what is left, for a moment.
    pub(crate) async fn finish(&self) {
        self.end.cancel();
        self.exporting.close();
        self.exporting.wait().await;
    }
}
