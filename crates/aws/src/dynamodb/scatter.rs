//! Many plain writes, in batches.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt};
use kernel::table::{Scatter, TableError};

use super::DynamoTable;
use super::fault::{again, refusal, unbuilt};
use super::item;

/// Writes in one request, at most.
const BATCH_WRITES_MAX: usize = 25;
/// Requests under way at once.
const BATCHES_AT_ONCE: usize = 8;

impl DynamoTable {
    pub(super) async fn scatter_all(&self, writes: &[Scatter]) -> Result<(), TableError> {
        let wrote = AtomicBool::new(false);
        let batches: Vec<_> =
            writes.chunks(BATCH_WRITES_MAX).map(|batch| self.batch_write(batch, &wrote)).collect();
        // Others are under way when one fails, and may be done.
        let alone = batches.len() == 1;
        let mut batches = stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE);
        while let Some(outcome) = batches.next().await {
            match outcome {
                Ok(()) => {}
                Err(TableError::Throttled) if !alone || wrote.load(Ordering::Acquire) => {
                    let cause = "throttled in the midst of a scatter";
                    return Err(TableError::Unavailable(cause.to_owned()));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Writes a batch. DynamoDB leaves undone what is too much for it at the moment.
    async fn batch_write(&self, batch: &[Scatter], wrote: &AtomicBool) -> Result<(), TableError> {
        let mut wanted: Vec<WriteRequest> = batch.iter().map(request).collect::<Result<_, _>>()?;
        let mut round = 0;
        loop {
            let asked = wanted.len();
            self.asked("BatchWriteItem");
            let mut answer = self
                .client
                .batch_write_item()
                .request_items(&self.name, wanted)
                .set_return_consumed_capacity(self.capacity())
                .send()
                .await
                .map_err(|error| refusal(&error))?;
            self.used("BatchWriteItem", answer.consumed_capacity());
            let left = answer.unprocessed_items.as_mut().and_then(|left| left.remove(&self.name));
            wanted = left.unwrap_or_default();
            wrote.fetch_or(wanted.len() < asked, Ordering::AcqRel);
            if wanted.is_empty() {
                return Ok(());
            }
            round = again(round, asked, wanted.len()).await?;
        }
    }
}

fn request(write: &Scatter) -> Result<WriteRequest, TableError> {
    let request = WriteRequest::builder();
    let request = match write {
        Scatter::Put { key, body, expires_at } => {
            let attributes = item::whole(key, body, 0, item::next_version(), *expires_at);
            let put = PutRequest::builder().set_item(Some(attributes)).build();
            request.put_request(put.map_err(|error| unbuilt(&error))?)
        }
        Scatter::Delete(key) => {
            let delete = DeleteRequest::builder().set_key(Some(item::key(key))).build();
            request.delete_request(delete.map_err(|error| unbuilt(&error))?)
        }
    };
    Ok(request.build())
}
