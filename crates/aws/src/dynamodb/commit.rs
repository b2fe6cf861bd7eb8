//! All or nothing.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};
use kernel::problem::told;
use kernel::table::{Condition, TableError, Write};

use super::DynamoTable;
use super::fault::{Watch, pause, refusal, unbuilt};
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
        let Request { key, action, condition, values } = planned.request(self.clock.now());
        let (condition, values) = (condition.map(str::to_owned), values.given());
        let config = Watch::once().config();
        // The SDK's builders have the same methods, but share no trait.
        macro_rules! send {
            ($operation:literal, $builder:expr) => {{
                let request = $builder
                    .table_name(&self.name)
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .set_return_consumed_capacity(self.capacity());
                self.asked($operation);
                let sent = request.customize().config_override(config).send().await;
                sent.map(|sent| self.used($operation, &sent.consumed_capacity))
                    .map_err(|error| plain(&error))
            }};
        }
        let client = &self.client;
        let sent = match action {
            Action::Put(item) => send!("PutItem", client.put_item().set_item(Some(item))),
            Action::Update(change) => {
                let update = client.update_item().set_key(Some(key)).update_expression(change);
                send!("UpdateItem", update)
            }
            Action::Delete => send!("DeleteItem", client.delete_item().set_key(Some(key))),
            Action::Check => return self.check_one(planned).await.map_err(Obstacle::Final),
        };
        match sent {
            Ok(()) => Ok(()),
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
        // As above.
        macro_rules! built {
            ($builder:expr) => {
                $builder
                    .table_name(&self.name)
                    .set_condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .build()
                    .map_err(|error| unbuilt(&error))?
            };
        }
        let item = TransactWriteItem::builder();
        let item = match action {
            Action::Put(attributes) => item.put(built!(Put::builder().set_item(Some(attributes)))),
            Action::Update(change) => {
                item.update(built!(Update::builder().set_key(Some(key)).update_expression(change)))
            }
            Action::Delete => item.delete(built!(Delete::builder().set_key(Some(key)))),
            Action::Check => {
                item.condition_check(built!(ConditionCheck::builder().set_key(Some(key))))
            }
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
    match decided {
        Some(obstacle) => obstacle,
        None if guessed => Obstacle::Guess,
        None => {
            let cause = "cancelled without a reason";
            Obstacle::Final(TableError::Unavailable(cause.to_owned()))
        }
    }
}
