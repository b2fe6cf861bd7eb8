//! What the table costs: requests and capacity units by operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What one operation of DynamoDB was used for.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Usage {
    /// Requests, not counting the SDK's own repetitions.
    pub requests: u64,
    /// Capacity units that DynamoDB told: read units of reading operations, write units of the
    /// others. It tells none for a request that it refuses, though it may charge for it.
    pub units: f64,
}

/// Counts what tables cost. One meter may serve many tables.
#[derive(Debug, Default)]
pub struct Meter(Mutex<BTreeMap<&'static str, Usage>>);

impl Meter {
    /// The usage since the last call, by operation (`PutItem`, `Query` and so on).
    pub fn take(&self) -> BTreeMap<&'static str, Usage> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn asked(&self, operation: &'static str) {
        self.count(operation, |usage| usage.requests += 1);
    }

    pub(super) fn used(&self, operation: &'static str, units: f64) {
        self.count(operation, |usage| usage.units += units);
    }

    fn count(&self, operation: &'static str, add: impl FnOnce(&mut Usage)) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(used.entry(operation).or_default());
    }
}
