//! Failed sign-ins of an account: after so many in a window it is locked, each time for twice as
//! long. Kept by the digest of the address, whether there is such an account or not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rows;
use crate::table::{Item, TableError, Write};
use crate::{Code, Problem, Time};

/// The longest an account is locked, and how long after a lock the next one still grows.
const LOCK_MAX: Duration = Duration::from_hours(24);

/// How many failures are too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Failures in a window that lock an account.
    pub failures_max: usize,
    /// The window, and how long the first lock lasts.
    pub window: Duration,
}

/// What is known of an account's failures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// The failures since the last lock.
    #[serde(default)]
    failed: Vec<Time>,
    /// Locks so far.
    #[serde(default)]
    locks: u32,
    /// Until when it is locked.
    #[serde(default)]
    locked_until: Time,
}

impl Attempts {
    /// What an account's row says; nothing where there is none.
    pub fn of(row: Option<&Item>) -> Result<Self, TableError> {
        Ok(row.map(Item::json).transpose()?.unwrap_or_default())
    }

    /// The row that keeps this of `account` for as long as it matters.
    pub fn row(&self, account: &str, now: Time, limit: Limit) -> Write {
        let until = self.matters_until(now, limit);
        Write::put_json(rows::attempts_key(account), self).expiring(until)
    }

    /// 429 while the account is locked.
    pub fn check(&self, now: Time) -> Result<(), Problem> {
        if self.locked_until <= now {
            return Ok(());
        }
        let left = self.locked_until.since(now);
        let secs = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let detail = "Too many failed sign-ins on this account. Wait before the next one.";
        Err(Problem::new(Code::TooManyAttempts, detail).retry_after_secs(secs))
    }

    /// Failures that count at `now`.
    pub fn failures(&self, now: Time, limit: Limit) -> usize {
        self.failed.iter().filter(|at| **at + limit.window > now).count()
    }

    /// One more failure.
    pub fn fail(&mut self, now: Time, limit: Limit) {
        self.failed.retain(|at| *at + limit.window > now);
        self.failed.push(now);
        if self.failed.len() >= limit.failures_max {
            let doubled = 1_u32.checked_shl(self.locks).unwrap_or(u32::MAX);
            self.locked_until = now + limit.window.saturating_mul(doubled).min(LOCK_MAX);
            self.locks = self.locks.saturating_add(1);
            self.failed.clear();
        }
    }

    /// Until when this matters, and is to be kept.
    fn matters_until(&self, now: Time, limit: Limit) -> Time {
        let window = now + limit.window;
        if self.locks > 0 { window.max(self.locked_until + LOCK_MAX) } else { window }
    }

    /// Whether there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { failures_max: 10, window: Duration::from_mins(15) };

    #[test]
    fn locks_grow_and_failures_outside_the_window_do_not_count() {
        let (mut attempts, mut now) = (Attempts::default(), Time::from_millis(0));
        for _ in 0..30 {
            attempts.fail(now, LIMIT);
            attempts.check(now).unwrap();
            assert!((1..10).contains(&attempts.failures(now, LIMIT)));
            now = now + Duration::from_secs(100);
        }
        let mut locks = Vec::new();
        for _ in 0..9 {
            now = now + Duration::from_hours(1);
            while attempts.check(now).is_ok() {
                attempts.fail(now, LIMIT);
            }
            let secs = attempts.check(now).unwrap_err().retry_after_secs.unwrap();
            locks.push(secs / 60);
            now = now + Duration::from_secs(secs);
        }
        assert_eq!(locks, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
    }
}
