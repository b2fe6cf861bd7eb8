//! Failed sign-ins of an account, kept in the table, so that every process knows of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::identity::attempts::{Attempts, Limit};
use kernel::identity::rows::{self, attempts_key};
use kernel::identity::too_busy;
use kernel::table::{Attempt, Condition, Table, get_one, retry};
use kernel::{Problem, Time, request};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Accounts share this many slots.
const SLOTS: usize = 256;
/// The time of a request that is kept for the work after the wait.
const WORK: Duration = Duration::from_millis(800);

/// Notes one more failure, unless others have locked the account meanwhile: a burst over several
/// processes is one reason to lock it, not two.
pub(super) async fn note(
    table: &dyn Table,
    account: &str,
    now: Time,
    limit: Limit,
) -> Result<(), Problem> {
    retry(|| async {
        let item = get_one(table, attempts_key(account)).await?;
        let mut attempts = Attempts::of(item.as_ref())?;
        if attempts.check(now).is_err() {
            return Ok(());
        }
        attempts.fail(now, limit);
        let row = attempts.row(account, now, limit).when(Condition::unchanged(item.as_ref()));
        Ok::<(), Attempt>(table.commit(vec![row]).await?)
    })
    .await
}

/// Who may compare a password now. Of those on one account only so many are let in at once as may
/// still fail, so that a burst cannot pass its limit; the rest wait until one is through. This
/// holds in one process: several together can be over by the sign-ins that each had under way,
/// and Cognito's own lock-out, which begins at five failures, stands behind it.
pub(super) struct Gate(Vec<Slot>);

#[derive(Default)]
struct Slot {
    inside: Mutex<usize>,
    left: Notify,
}

impl Slot {
    fn inside(&self) -> MutexGuard<'_, usize> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place inside, until this is dropped.
pub(super) struct Pass<'a> {
    slot: &'a Slot,
    rank: usize,
    is_let_in: bool,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.slot.inside() -= 1;
        // Who was turned away must not wake others who were: they wait for one who is inside.
        if self.is_let_in {
            self.slot.left.notify_waiters();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self(std::iter::repeat_with(Slot::default).take(SLOTS).collect())
    }
}

impl Gate {
    /// Waits for a place at `account`, of which `read` tells the failures so far and more; 429
    /// when that takes longer than `patience` or than the request has left.
    pub(super) async fn enter<T, F>(
        &self,
        account: &str,
        failures_max: usize,
        patience: Duration,
        read: impl Fn() -> F,
    ) -> Result<(Pass<'_>, T), Problem>
    where
        F: Future<Output = Result<(usize, T), Problem>>,
    {
        let slot = &self.0[rows::slot(account, SLOTS)];
        let left = request::time_left(patience + WORK).saturating_sub(WORK).min(patience);
        let until = Instant::now() + left;
        loop {
            let mut one_left = std::pin::pin!(slot.left.notified());
            one_left.as_mut().enable();
            if let Some(mut pass) = try_enter(slot, failures_max) {
                // An error lets others in: what was counted for this one did not happen.
                pass.is_let_in = true;
                let (failures, seen) = read().await?;
                if failures + pass.rank <= failures_max {
                    return Ok((pass, seen));
                }
                pass.is_let_in = false;
            }
            timeout_at(until, one_left).await.map_err(|_| too_busy())?;
        }
    }
}

fn try_enter(slot: &Slot, failures_max: usize) -> Option<Pass<'_>> {
    let mut inside = slot.inside();
    (*inside < failures_max).then(|| {
        *inside += 1;
        Pass { slot, rank: *inside, is_let_in: false }
    })
}
