//! Failed sign-ins of an account, kept in the table, so that a restart forgives nothing.

use kernel::Problem;
use kernel::identity::attempts::Attempts;
use kernel::table::{Key, Table, get_one};

/// Where the failures of `account`, the digest of an address, are kept.
pub(super) fn key(account: &str) -> Key {
    Key::new(format!("identity#attempts#{account}"), "")
}

/// What is kept of `account`.
pub(super) async fn read(table: &dyn Table, account: &str) -> Result<Attempts, Problem> {
    let item = get_one(table, key(account)).await?;
    Ok(item.map(|item| item.json()).transpose()?.unwrap_or_default())
}
