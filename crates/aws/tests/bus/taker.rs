//! A bus for the tests of the relays, which takes what it is given, but for the events that it is
//! told to refuse.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kernel::Event;
use kernel::bus::{Bus, BusError, Message};
use tokio::sync::watch;
use ulid::Ulid;

pub(crate) struct Taker {
    refused: Mutex<BTreeSet<Ulid>>,
    taken: Mutex<Vec<Event>>,
    calls: watch::Sender<usize>,
}

impl Taker {
    pub(crate) fn new(refused: BTreeSet<Ulid>) -> Arc<Self> {
        let (taken, calls) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { refused: Mutex::new(refused), taken, calls })
    }

    /// What it took, in the order of arrival.
    pub(crate) fn taken(&self) -> Vec<Event> {
        self.taken.lock().unwrap().clone()
    }

    /// Takes everything from now on.
    pub(crate) fn relent(&self) {
        self.refused.lock().unwrap().clear();
    }

    /// Waits for `count` calls.
    pub(crate) async fn called(&self, count: usize) {
        self.calls.subscribe().wait_for(|calls| *calls >= count).await.unwrap();
    }

    /// Waits until it has taken `count` events.
    pub(crate) async fn took(&self, count: usize) {
        let enough = |_: &usize| self.taken.lock().unwrap().len() >= count;
        self.calls.subscribe().wait_for(enough).await.unwrap();
    }
}

#[async_trait]
impl Bus for Taker {
    async fn publish(&self, events: &[Event]) -> Result<(), BusError> {
        let mut refused = Vec::new();
        for (index, event) in events.iter().enumerate() {
            match self.refused.lock().unwrap().contains(&event.id) {
                true => refused.push(index),
                false => self.taken.lock().unwrap().push(event.clone()),
            }
        }
        self.calls.send_modify(|calls| *calls += 1);
        match refused.is_empty() {
            true => Ok(()),
            false => Err(BusError { refused, reason: "so says the test".into() }),
        }
    }

    async fn enqueue(&self, _: &str, _: &[Message]) -> Result<(), BusError> {
        unreachable!("a relay publishes")
    }
}
