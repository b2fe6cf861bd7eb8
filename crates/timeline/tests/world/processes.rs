//! Several processes on one table, and how one of them dies.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kernel::bus::{Delivery, Handler, Subscription};
use kernel::feed::Feed;
use timeline::{Parts, Timeline};

use super::World;

/// After this the lease of a process that died is over.
pub(crate) const LEASE_OVER: Duration = Duration::from_secs(5);

/// A process that serves the timeline beside others, on the same table, cache and hub.
pub(super) struct Process {
    pub(super) app: Router,
    subscriptions: Vec<Subscription>,
}

impl Process {
    pub(super) fn start(timeline: &Arc<Timeline>) -> Arc<Self> {
        let (app, _) = timeline.clone().routes().split_for_parts();
        Arc::new(Self { app, subscriptions: timeline.clone().subscriptions() })
    }

    pub(super) fn handler(&self, queue: &str) -> &dyn Handler {
        &*self.subscriptions.iter().find(|s| s.queue == queue).unwrap().handler
    }
}

impl World {
    /// Starts one process more.
    pub(crate) fn join(&self) -> Arc<Timeline> {
        let timeline = Timeline::new(self.parts.clone(), self.config.clone());
        self.processes.lock().unwrap().push(Process::start(&timeline));
        timeline
    }

    /// A process with a cache of its own.
    pub(crate) fn beside(&self, feed: Arc<dyn Feed>) -> Arc<Timeline> {
        Timeline::new(Parts { feed, ..self.parts.clone() }, self.config.clone())
    }

    /// The routes of each process.
    pub(crate) fn apps(&self) -> Vec<Router> {
        self.processes.lock().unwrap().iter().map(|process| process.app.clone()).collect()
    }

    /// Any of the processes.
    pub(super) fn process(&self) -> Arc<Process> {
        let processes = self.processes.lock().unwrap();
        let which = if processes.len() > 1 { self.random() % processes.len() } else { 0 };
        Arc::clone(&processes[which])
    }

    /// Lets a process take a batch of what waits and die in the midst of it; a new one takes its
    /// place. Its lease runs out, and what it had in hand comes again.
    pub(crate) async fn crash(&self, most: usize, polls: usize) {
        let Some((queue, batch)) = self.take_some(most) else { return };
        let again = batch.iter().map(|first| Delivery { receives: 2, ..first.clone() }).collect();
        let process = self.process();
        let handler = process.handler(queue);
        conformance::jostling::begin(handler.handle(batch), polls).await;
        let timeline = Timeline::new(self.parts.clone(), self.config.clone());
        {
            let mut processes = self.processes.lock().unwrap();
            let place = processes.iter().position(|other| Arc::ptr_eq(other, &process)).unwrap();
            processes[place] = Process::start(&timeline);
        }
        self.clock.advance(LEASE_OVER);
        let failed = self.process().handler(queue).handle(again).await;
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Delivers one batch of what waits, in any order; false when nothing waits.
    pub(crate) async fn deliver_some(&self, most: usize) -> bool {
        let Some((queue, batch)) = self.take_some(most) else { return false };
        let process = self.process();
        let failed = process.handler(queue).handle(batch).await;
        assert!(failed.is_empty(), "{failed:?}");
        true
    }
}
