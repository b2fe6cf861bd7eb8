//! Where a backend keeps what it knows of identities, in the user service's own table.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::table::Key;
use crate::{UserId, fold};

/// Whose an address is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The user.
    pub user_id: UserId,
    /// Whether they are suspended, where the row of the address says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

impl Address {
    /// The address of a user.
    pub fn of(user_id: UserId) -> Self {
        Self { user_id, suspended: false }
    }
}

/// What stands for an address in keys: the same for all that compare equal, and of one length,
/// whatever was sent. In hexadecimal digits.
pub fn account(email: &str) -> String {
    let digest = Sha256::digest(fold(email));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which of `slots` an account has, where accounts share them.
pub fn slot(account: &str, slots: usize) -> usize {
    let digits = account.get(..8).unwrap_or_default();
    usize::from_str_radix(digits, 16).unwrap_or_default() % slots.max(1)
}

/// The row of an account's [`Address`].
pub fn email_key(account: &str) -> Key {
    Key::new(format!("identity#email#{account}"), "")
}

/// The row of a user.
pub fn user_key(user: UserId) -> Key {
    Key::new(user.prefixed("identity#user#"), "")
}

/// The row of an account's failed sign-ins, whether there is such an account or not.
pub fn attempts_key(account: &str) -> Key {
    Key::new(format!("identity#attempts#{account}"), "")
}

/// The partition of a user's sessions.
pub fn sessions(user: UserId) -> String {
    user.prefixed("identity#session#")
}

/// The row of a session.
pub fn session_key(user: UserId, session: &str) -> Key {
    Key::new(sessions(user), session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_compare_equal_are_one_account_in_one_slot() {
        let (ann, same) = (account("Ann@Example.org"), account("ann@example.ORG"));
        assert_eq!((&ann, ann.len()), (&same, 64));
        let slots: std::collections::HashSet<_> =
            (0..1000).map(|n| slot(&account(&format!("{n}@example.org")), 256)).collect();
        assert!(slots.len() > 200 && slots.iter().all(|slot| *slot < 256));
    }
}
