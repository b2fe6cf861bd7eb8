//! An encryption as a data directory has it.
#![expect(clippy::unwrap_used, reason = "a failed expectation of a test ends it")]

use std::path::Path;

use conformance::{SeededIds, TestClock};
use embedded::encryption::{Encryption, OperatorKeys};

/// The one of `dir`, which has it from the first call on.
pub(crate) fn encryption(dir: &Path) -> Encryption {
    let operator = OperatorKeys::parse(&"5a".repeat(32)).unwrap();
    Encryption::begin(dir, Some(&operator), &*SeededIds::new(TestClock::new(), 3)).unwrap()
}
