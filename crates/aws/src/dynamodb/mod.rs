//! The table on DynamoDB, one table a service.
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `pk` | S | the partition |
//! | `sk` | S | the sort key behind a dot, since DynamoDB takes no empty key; the order stays |
//! | `body` | B | the body; not there when empty |
//! | `n` | N | the counter; not there when zero since the last put |
//! | `v` | N | the version |
//! | `expms` | N | the moment of expiry in milliseconds: reads and conditions go by it |
//! | `exp` | N | the same in seconds, rounded up, for DynamoDB's own deletion, which lags by days |
//!
//! An item that has expired and is not deleted yet counts as absent: an addition to it starts over.
//! No one expression says that for both cases, so an addition without a condition is tried as if
//! the item had not expired, under the condition that this is so, and only when that fails as a
//! replacement of the expired item.
//!
//! A commit of one write is a plain conditional request, at half the price of a transaction; it is
//! not repeated when its fate is unknown, since it might then happen twice. More writes are a
//! transaction with a token, which makes its repetition harmless. When nobody can know whether a
//! commit was made, it answers `Unavailable`, as the seam demands.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use kernel::outbox;
use kernel::sequence::Ticket;
use kernel::table::{Item, Items, Key, Query, Scatter, Table, TableError, Write, check};
use kernel::{Clock, request};
use tracing::Instrument;

use crate::config::Renewal;

mod commit;
mod create;
mod fault;
mod item;
mod meter;
mod plan;
mod read;
mod restore;
mod scatter;

pub use create::create;
pub use meter::{Meter, Usage};
pub use restore::{Changed, make_equal, partitions};

/// A client for DynamoDB where `sdk` says, or at `url`.
pub fn client(sdk: &SdkConfig, url: Option<&str>) -> Client {
    let renewal = Renewal::new();
    let mut config = aws_sdk_dynamodb::config::Builder::from(sdk)
        .identity_cache(renewal.clone())
        .retry_classifier(renewal);
    config
        .set_endpoint_url(url.map(str::to_owned).or_else(|| sdk.endpoint_url().map(str::to_owned)));
    Client::from_conf(config.build())
}

/// The name of a service's table in an environment.
pub fn name(env: &str, service: &str) -> String {
    format!("mini-sns-{env}-{service}-ddb")
}

/// A [`Table`] on one table of DynamoDB.
#[derive(Clone)]
pub struct DynamoTable {
    client: Client,
    name: String,
    clock: Arc<dyn Clock>,
    meter: Option<Arc<Meter>>,
    relay: Option<outbox::Sender>,
}

impl DynamoTable {
    /// The table `name`, whose items expire by `clock`.
    pub fn new(client: Client, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { client, name: name.into(), clock, meter: None, relay: None }
    }

    /// The same table, with the rows of the outbox handed to `relay` once they are committed.
    #[must_use]
    pub fn telling(self, relay: outbox::Sender) -> Self {
        Self { relay: Some(relay), ..self }
    }

    /// The same table, with what it costs counted in `meter`.
    #[must_use]
    pub fn metered(self, meter: Arc<Meter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// What to ask DynamoDB to tell of the cost.
    fn capacity(&self) -> Option<ReturnConsumedCapacity> {
        self.meter.as_ref().map(|_| ReturnConsumedCapacity::Total)
    }

    fn asked(&self, operation: &'static str) {
        metrics::counter!(
            "dynamodb_requests_total", "table" => self.name.clone(), "operation" => operation
        )
        .increment(1);
        if let Some(meter) = &self.meter {
            meter.asked(operation);
        }
    }

    fn used<'a>(
        &self,
        operation: &'static str,
        capacity: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        let Some(meter) = &self.meter else { return };
        let units = capacity.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        metrics::histogram!(
            "dynamodb_capacity_units", "table" => self.name.clone(), "operation" => operation
        )
        .record(units);
        meter.used(operation, units);
    }
}

/// A commit under way, of which the relay is to hear. Where nobody knows in the end whether it was
/// made, or its asker goes away before the end, the relay has to look.
struct Telling<'a> {
    relay: &'a outbox::Sender,
    writes: &'a [Write],
    is_known: bool,
}

impl Telling<'_> {
    fn end(mut self, committed: &Result<(), TableError>) {
        self.is_known = !matches!(committed, Err(TableError::Unavailable(_)));
        if committed.is_ok() {
            self.relay.committed(self.writes);
        }
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.is_known && self.writes.iter().any(|write| outbox::is_row(write.key())) {
            self.relay.miss();
        }
    }
}

#[async_trait]
impl Table for DynamoTable {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, TableError> {
        check::get(keys)?;
        match keys {
            [key] => Ok(vec![self.get_item(key).await?]),
            keys => self.batch_get(keys).await,
        }
    }

    async fn query(&self, query: Query) -> Result<Items, TableError> {
        check::query(&query)?;
        self.walk(&query).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), TableError> {
        check::commit(&writes)?;
        let Some(relay) = &self.relay else { return self.commit_all(&writes).await };
        let telling = Telling { relay, writes: &writes, is_known: false };
        let committed = self.commit_all(&writes).await;
        telling.end(&committed);
        committed
    }

    /// DynamoDB does not know that an asker went away, and does what it was sent. So the request
    /// goes on without them, and the ticket stays with it up to its answer.
    async fn commit_ordered(&self, writes: Vec<Write>, ticket: &Ticket) -> Result<(), TableError> {
        let (table, ticket) = (self.clone(), ticket.clone());
        let committing = async move {
            let outcome = table.commit(writes).await;
            drop(ticket);
            outcome
        };
        let committing = tokio::spawn(request::carried(committing).in_current_span());
        committing.await.unwrap_or_else(|ended| Err(TableError::Unavailable(ended.to_string())))
    }

    async fn scatter(&self, writes: Vec<Scatter>) -> Result<(), TableError> {
        check::scatter(&writes)?;
        self.scatter_all(&writes).await
    }
}
