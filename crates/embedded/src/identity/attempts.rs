//! Failed sign-ins of an account, whether it exists or not: after so many in a window the account
//! is locked, each time for twice as long. Kept in the table, so that a restart forgives nothing.

use std::time::Duration;

use kernel::table::{Key, Table, Write, get_one};
use kernel::{Code, Problem, Time};
use serde::{Deserialize, Serialize};

use super::Config;

/// The longest an account is locked, and how long after a lock the next one still grows.
const LOCK_MAX: Duration = Duration::from_hours(24);

/// What is known of an account's failures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attempts {
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

/// Where the failures of `account`, the digest of an address, are kept.
pub(super) fn key(account: &str) -> Key {
    Key::new(format!("identity#attempts#{account}"), "")
}

impl Attempts {
    /// What is kept of `account`.
    pub(super) async fn read(table: &dyn Table, account: &str) -> Result<Self, Problem> {
        let item = get_one(table, key(account)).await?;
        Ok(item.map(|item| item.json()).transpose()?.unwrap_or_default())
    }

    /// 429 while the account is locked.
    pub(super) fn check(&self, now: Time) -> Result<(), Problem> {
        if self.locked_until <= now {
            return Ok(());
        }
        let left = self.locked_until.since(now);
        let secs = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let detail = "Too many failed sign-ins on this account. Wait before the next one.";
        Err(Problem::new(Code::TooManyAttempts, detail).retry_after_secs(secs))
    }

    /// One more failure.
    pub(super) fn fail(&mut self, now: Time, config: &Config) {
        let window = Duration::from_secs(config.failed_sign_ins_window_secs);
        self.failed.retain(|at| *at + window > now);
        self.failed.push(now);
        if self.failed.len() >= config.failed_sign_ins_max {
            let lock = window.saturating_mul(1_u32.checked_shl(self.locks).unwrap_or(u32::MAX));
            self.locked_until = now + lock.min(LOCK_MAX);
            self.locks = self.locks.saturating_add(1);
            self.failed.clear();
        }
    }

    /// Keeps it for as long as it matters.
    pub(super) fn write(&self, account: &str, now: Time, config: &Config) -> Write {
        let window = now + Duration::from_secs(config.failed_sign_ins_window_secs);
        let until = if self.locks > 0 { window.max(self.locked_until + LOCK_MAX) } else { window };
        Write::put_json(key(account), self).expiring(until)
    }

    /// Whether there is anything to forget.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_grow_and_failures_outside_the_window_do_not_count() {
        let config = Config::default();
        let (mut attempts, mut now) = (Attempts::default(), Time::from_millis(0));
        for _ in 0..30 {
            attempts.fail(now, &config);
            attempts.check(now).unwrap();
            now = now + Duration::from_secs(100);
        }
        let mut locks = Vec::new();
        for _ in 0..9 {
            now = now + Duration::from_hours(1);
            while attempts.check(now).is_ok() {
                attempts.fail(now, &config);
            }
            let secs = attempts.check(now).unwrap_err().retry_after_secs.unwrap();
            locks.push(secs / 60);
            now = now + Duration::from_secs(secs);
        }
        assert_eq!(locks, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
    }
}
