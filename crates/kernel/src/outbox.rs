//! The transactional outbox: an event is a row in the commit that caused it, and a relay takes it
//! to the bus. A crash between the two loses nothing; at worst an event is published twice.

mod run;
mod stream;

use std::sync::Arc;

pub use run::{Pace, run};
pub use stream::{OutboxStream, Sender, Told, stream};

use crate::bus::Bus;
use crate::table::{Key, Query, Scatter, Table, TableError, Write};
use crate::{Event, Problem};

/// Rows are spread over this many partitions, so that none is hot.
pub const SHARDS: u128 = 16;

const PARTITION_PREFIX: &str = "outbox#";
const SWEEP_ITEMS: usize = 500;

fn key(event: &Event) -> Key {
    Key::new(partition(event.id.0 % SHARDS), event.id.to_string())
}

fn partition(shard: u128) -> String {
    format!("{PARTITION_PREFIX}{shard:02}")
}

/// The write that makes a commit tell `event`.
pub fn write(event: &Event) -> Write {
    Write::put_json(key(event), event)
}

/// Whether a key is an outbox row, for whoever streams them to the relay.
pub fn is_row(key: &Key) -> bool {
    key.partition.starts_with(PARTITION_PREFIX)
}

/// How many rows wait for the relay.
pub async fn waiting(table: &dyn Table) -> Result<usize, TableError> {
    let mut rows = 0;
    for shard in 0..SHARDS {
        let mut query = Query::all(partition(shard), SWEEP_ITEMS);
        loop {
            let found = table.query(query.clone()).await?;
            rows += found.items.len();
            let Some(next) = found.next else { break };
            query = query.above(next);
        }
    }
    Ok(rows)
}

/// Takes outbox rows to the bus, and away once the bus has them.
#[derive(Clone)]
pub struct Relay {
    table: Arc<dyn Table>,
    bus: Arc<dyn Bus>,
}

impl Relay {
    /// A relay from one service's table.
    pub fn new(table: Arc<dyn Table>, bus: Arc<dyn Bus>) -> Self {
        Self { table, bus }
    }

    /// Publishes `events`, and adds the rows of those that the bus has to `done`, for
    /// [`Relay::forget`]. Rows of refused events stay for the next sweep.
    pub async fn publish(&self, events: &[Event], done: &mut Vec<Scatter>) -> Result<(), Problem> {
        if events.is_empty() {
            return Ok(());
        }
        let published = self.bus.publish(events).await;
        let refused = published.as_ref().err().map_or(&[][..], |error| &error.refused);
        let taken = events.iter().enumerate().filter(|(index, _)| !refused.contains(index));
        done.extend(taken.map(|(_, event)| Scatter::Delete(key(event))));
        Ok(published?)
    }

    /// Drops rows of published events. Until then a crash would publish them once more.
    pub async fn forget(&self, rows: Vec<Scatter>) -> Result<(), Problem> {
        if !rows.is_empty() {
            self.table.scatter(rows).await?;
        }
        Ok(())
    }

    /// Publishes every row that is there: after a start, and whenever rows may have been missed. A
    /// row that cannot be read, or that the bus refuses for itself, stays and stops no other; the
    /// former are answered.
    pub async fn sweep(&self) -> Result<Vec<TableError>, Problem> {
        let (mut unreadable, mut refused) = (Vec::new(), None);
        for shard in 0..SHARDS {
            let mut query = Query::all(partition(shard), SWEEP_ITEMS);
            loop {
                let found = self.table.query(query.clone()).await?;
                let mut events: Vec<Event> = Vec::with_capacity(found.items.len());
                for item in &found.items {
                    match item.json() {
                        Ok(event) => events.push(event),
                        Err(error) => unreadable.push(error),
                    }
                }
                let mut done = Vec::with_capacity(events.len());
                let published = self.publish(&events, &mut done).await;
                let taken = done.len();
                self.forget(done).await?;
                if let Err(problem) = published {
                    if taken == 0 && events.len() > 1 {
                        // It is the bus, not the events.
                        return Err(problem);
                    }
                    refused = Some(problem);
                }
                let Some(next) = found.next else { break };
                query = query.above(next);
            }
        }
        refused.map_or(Ok(unreadable), Err)
    }
}
