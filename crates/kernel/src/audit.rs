//! Checking a service's whole data against its own rules, for operators and tests. Only a backend
//! that can walk everything at one moment offers a [`Snapshot`]; services never serve from it.

use crate::table::{Item, TableError};

/// One service's data at one moment.
pub trait Snapshot: Send + Sync {
    /// Every item that has not expired whose partition begins with `prefix`, in the order of
    /// partition and sort key.
    fn items<'a>(
        &'a self,
        prefix: &str,
    ) -> Box<dyn Iterator<Item = Result<Item, TableError>> + Send + 'a>;
}

/// A rule that the data breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The rule, in a few words: `like count equals likes`.
    pub rule: &'static str,
    /// Where: an item's partition and sort key.
    pub place: String,
    /// What was found, what was expected.
    pub detail: String,
}

/// How many items there are whose partition begins with `prefix`.
pub fn count(snapshot: &dyn Snapshot, prefix: &str) -> Result<u64, TableError> {
    snapshot.items(prefix).try_fold(0, |count, item| item.map(|_| count + 1))
}
