//! The rules that stored identities keep.

use kernel::audit::{Finding, Snapshot};
use kernel::identity::rows::{Address, account, email_key};
use kernel::table::{Item, TableError};

use super::Credentials;

/// Whether each address leads to its user and each user to their address; expects the user
/// service's data.
pub fn audit(snapshot: &dyn Snapshot) -> Result<Vec<Finding>, TableError> {
    const RULE: &str = "addresses and credentials belong together";
    let mut addresses = std::collections::HashMap::new();
    for row in snapshot.items("identity#email#") {
        let row = row?;
        let user = row.json::<Address>()?.user_id;
        addresses.insert(row.key.partition.clone(), (user.to_string(), row));
    }
    let mut findings = Vec::new();
    let mut finding = |row: &Item, detail: String| {
        let place = format!("{} {}", row.key.partition, row.key.sort);
        findings.push(Finding { rule: RULE, place, detail });
    };
    for row in snapshot.items("identity#user#") {
        let row = row?;
        let email = row.json::<Credentials>()?.email;
        let user = row.key.partition.trim_start_matches("identity#user#").to_owned();
        match addresses.remove(&email_key(&account(&email)).partition) {
            Some((owner, _)) if owner == user => {}
            Some((owner, _)) => finding(&row, format!("its address leads to {owner}")),
            None => finding(&row, "its address leads nowhere".into()),
        }
    }
    for (owner, row) in addresses.into_values() {
        finding(&row, format!("leads to {owner}, who has no credentials with it"));
    }
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(findings)
}
