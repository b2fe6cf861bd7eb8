//! All or nothing.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};
use kernel::table::{Condition, TableError, Write};

use super::DynamoTable;
use super::fault::{Watch, pause, refusal, told, unbuilt};
use super::item::is_live;
use super::plan::{Action, Planned, Request, plan};

/// Tries of one commit while others are in its way. The caller may try on, reading afresh.
const TRIES: u32 = 6;

/// Why a try of a commit failed. Nothing was written.
enum Obstacle {
    /// A guess whether an item has expired was wrong; try the other one.
    Guess,
    /// Others were in the way, or there was too much at once: try again a little later.
    Busy(TableError),
    /// It will not do (or, after `Unavailable`, may have been done).
    Final(TableError),
}

impl From<TableError> for Obstacle {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Contended => Self::Busy(error),
            other => Self::Final(other),
        }
    }
}

impl DynamoTable {
    pub(super) async fn commit_all(&self, writes: &[Write]) -> Result<(), TableError> {
        let mut planned = plan(writes);
        let mut last = TableError::Contended;
        for round in 0..TRIES {
            let outcome = match &mut planned[..] {
                [] => Ok(()),
                [one] => self.commit_one(one).await,
                many => self.transact(many).await,
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Obstacle::Guess) => {}
                Err(Obstacle::Final(error)) => return Err(error),
                Err(Obstacle::Busy(error)) => {
                    last = error;
                    if round + 1 == TRIES || !pause(round).await {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    async fn commit_one(&self, planned: &mut Planned<'_>) -> Result<(), Obstacle> {
        if let Write::Check { .. } = planned.write {
            return self.check_one(planned).await.map_err(Obstacle::Final);
        }
        let request = planned.request(self.clock.now());
        let condition = request.condition.map(str::to_owned);
        let values = request.values.given();
        let config = Watch::once().config();
        let (operation, sent) = match request.action {
            Action::Put(item) => {
                let put = self.client.put_item().table_name(&self.name).set_item(Some(item));
                let put = put.set_condition_expression(condition);
                let put = put.set_expression_attribute_values(values);
                let put = put.set_return_consumed_capacity(self.capacity());
                self.asked("PutItem");
                let sent = put.customize().config_override(config).send().await;
                ("PutItem", sent.map(|sent| sent.consumed_capacity).map_err(|e| plain(&e)))
            }
            Action::Update(change) => {
                let update = self.client.update_item().table_name(&self.name);
                let update = update.set_key(Some(request.key)).update_expression(change);
                let update = update.set_condition_expression(condition);
                let update = update.set_expression_attribute_values(values);
                let update = update.set_return_consumed_capacity(self.capacity());
                self.asked("UpdateItem");
                let sent = update.customize().config_override(config).send().await;
                ("UpdateItem", sent.map(|sent| sent.consumed_capacity).map_err(|e| plain(&e)))
            }
            Action::Delete | Action::Check => {
                let delete = self.client.delete_item().table_name(&self.name);
                let delete = delete.set_key(Some(request.key));
                let delete = delete.set_condition_expression(condition);
                let delete = delete.set_expression_attribute_values(values);
                let delete = delete.set_return_consumed_capacity(self.capacity());
                self.asked("DeleteItem");
                let sent = delete.customize().config_override(config).send().await;
                ("DeleteItem", sent.map(|sent| sent.consumed_capacity).map_err(|e| plain(&e)))
            }
        };
        match sent {
            Ok(capacity) => {
                self.used(operation, &capacity);
                Ok(())
            }
            Err(TableError::Unmet(_)) if planned.guess_again() => Err(Obstacle::Guess),
            Err(TableError::Unmet(_)) => Err(Obstacle::Final(TableError::Unmet(planned.index))),
            Err(other) => Err(other.into()),
        }
    }

    /// A check alone is a read.
    async fn check_one(&self, planned: &Planned<'_>) -> Result<(), TableError> {
        let item = self.get_item(planned.write.key()).await?;
        let item = item.filter(|item| is_live(item, self.clock.now()));
        let holds = match planned.write.condition() {
            Condition::Always => true,
            Condition::Absent => item.is_none(),
            Condition::Present => item.is_some(),
            Condition::Version(version) => item.is_some_and(|item| item.version == version),
        };
        if holds { Ok(()) } else { Err(TableError::Unmet(planned.index)) }
    }

    async fn transact(&self, planned: &mut [Planned<'_>]) -> Result<(), Obstacle> {
        let now = self.clock.now();
        let items = planned.iter().map(|planned| self.transaction_item(planned.request(now)));
        let items: Vec<_> = items.collect::<Result<_, _>>()?;
        let watch = Watch::repeatable();
        self.asked("TransactWriteItems");
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(format!("{:032x}", fastrand::u128(..)))
            .set_return_consumed_capacity(self.capacity())
            .customize()
            .config_override(watch.config())
            .send()
            .await;
        let error = match sent {
            Ok(sent) => {
                self.used("TransactWriteItems", sent.consumed_capacity());
                return Ok(());
            }
            Err(error) => error,
        };
        if watch.is_uncertain() {
            // A late attempt may still be done, whatever the last one was told.
            return Err(Obstacle::Final(TableError::Unavailable(told(&error))));
        }
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                Err(judge(planned, cancelled.cancellation_reasons()))
            }
            Some(TransactWriteItemsError::IdempotentParameterMismatchException(_)) => {
                // Somebody else drew the same token.
                Err(Obstacle::Busy(TableError::Contended))
            }
            _ => Err(refusal(&error).into()),
        }
    }

    fn transaction_item(&self, request: Request) -> Result<TransactWriteItem, TableError> {
        let Request { key, action, condition, values } = request;
        let (condition, values) = (condition.map(str::to_owned), values.given());
        let item = TransactWriteItem::builder();
        let item = match action {
            Action::Put(attributes) => item.put(
                Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(attributes))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(|error| unbuilt(&error))?,
            ),
            Action::Update(change) => item.update(
                Update::builder()
                    .table_name(&self.name)
                    .set_key(Some(key))
                    .update_expression(change)
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(|error| unbuilt(&error))?,
            ),
            Action::Delete => item.delete(
                Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(key))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(|error| unbuilt(&error))?,
            ),
            Action::Check => item.condition_check(
                ConditionCheck::builder()
                    .table_name(&self.name)
                    .set_key(Some(key))
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(|error| unbuilt(&error))?,
            ),
        };
        Ok(item.build())
    }
}

/// What the refusal of a plain write means.
fn plain<E>(error: &SdkError<E>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("ConditionalCheckFailedException") => TableError::Unmet(0),
        _ => refusal(error),
    }
}

/// What the reasons of a cancelled transaction mean: the first that is not just a wrong guess
/// decides, since nothing is known for sure of the writes after it.
fn judge(planned: &mut [Planned<'_>], reasons: &[CancellationReason]) -> Obstacle {
    let mut guessed = false;
    let mut decided = None;
    for (planned, reason) in planned.iter_mut().zip(reasons) {
        let error = match reason.code() {
            None | Some("None") => continue,
            Some("ConditionalCheckFailed") if planned.guess_again() => {
                guessed = true;
                continue;
            }
            Some("ConditionalCheckFailed") => Obstacle::Final(TableError::Unmet(planned.index)),
            Some("TransactionConflict") => Obstacle::Busy(TableError::Contended),
            Some("ProvisionedThroughputExceeded" | "ThrottlingError") => {
                Obstacle::Busy(TableError::Throttled)
            }
            Some(code) => {
                let message = reason.message().unwrap_or_default();
                Obstacle::Final(TableError::Malformed(format!("{code}: {message}")))
            }
        };
        decided = decided.or(Some(error));
    }
    let unexplained = || TableError::Unavailable("cancelled without a reason".to_owned());
    match decided {
        Some(obstacle) => obstacle,
        None if guessed => Obstacle::Guess,
        None => Obstacle::Final(unexplained()),
    }
}
