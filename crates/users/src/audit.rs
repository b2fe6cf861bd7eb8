//! The rules that stored accounts keep, and mending what can be derived from the profiles.

use std::collections::HashMap;

use kernel::audit::{Finding, Snapshot};
use kernel::table::{Key, Scatter, Table, TableError, json};
use kernel::{Profile, UserId};

use crate::search;
use crate::store::{
    Absence, GONE, HANDLES, Owner, PROFILES, SEARCH, gone_key, handle_key, profile_key,
};

const MENDED_AT_ONCE: usize = 1000;

/// What a row that is derived from a profile should hold.
enum Expected {
    Owner(UserId),
    Found(Box<Profile>),
}

/// How many accounts are shown, and how many are suspended.
pub fn count(snapshot: &dyn Snapshot) -> Result<(u64, u64), TableError> {
    let mut suspended = 0;
    for item in snapshot.items(GONE) {
        if matches!(Absence::of(&item?)?, Absence::Suspended(_)) {
            suspended += 1;
        }
    }
    Ok((kernel::audit::count(snapshot, PROFILES)?, suspended))
}

/// Walks the data; `wrong` is told of each derived row that is not as its profile wants it: the
/// rule, where, and what it should be, if anything.
fn walk(
    snapshot: &dyn Snapshot,
    mut wrong: impl FnMut(&'static str, Key, Option<Expected>),
) -> Result<(), TableError> {
    const HANDLE: &str = "handles and profiles belong together";
    const FOUND: &str = "search rows and profiles belong together";
    const PLACE: &str = "a profile is kept under its own id";
    const AWAY: &str = "a suspended profile is put away";
    let mut expected = HashMap::new();
    for item in snapshot.items(PROFILES) {
        let item = item?;
        let profile: Profile = item.json()?;
        if item.key != profile_key(profile.user_id) {
            wrong(PLACE, item.key, None);
            continue;
        }
        expected.insert(handle_key(&profile.handle), Expected::Owner(profile.user_id));
        for key in search::keys(&profile) {
            expected.insert(key, Expected::Found(Box::new(profile.clone())));
        }
    }
    for item in snapshot.items(GONE) {
        let item = item?;
        // A suspended one keeps the handle, and nothing else is to be found of it.
        let Absence::Suspended(away) = Absence::of(&item)? else { continue };
        let user = away.profile.user_id;
        if item.key != gone_key(user) || away.act.subject != user.text() {
            wrong(AWAY, item.key, None);
            continue;
        }
        let owner = Expected::Owner(user);
        if let Some(Expected::Owner(other)) =
            expected.insert(handle_key(&away.profile.handle), owner)
        {
            wrong(AWAY, handle_key(&away.profile.handle), Some(Expected::Owner(other)));
        }
    }
    for (prefix, rule) in [(HANDLES, HANDLE), (SEARCH, FOUND)] {
        for item in snapshot.items(prefix) {
            let item = item?;
            // A handle that expires is held by a registration under way.
            let right = match expected.remove(&item.key) {
                Some(Expected::Owner(user)) if item.json::<Owner>()?.user_id == user => continue,
                Some(Expected::Found(profile)) if item.json::<Profile>()? == *profile => continue,
                None if prefix == HANDLES && item.expires_at.is_some() => continue,
                right => right,
            };
            wrong(rule, item.key, right);
        }
    }
    for (key, right) in expected {
        let rule = if matches!(right, Expected::Owner(_)) { HANDLE } else { FOUND };
        wrong(rule, key, Some(right));
    }
    Ok(())
}

/// The rules that the data breaks.
pub fn audit(snapshot: &dyn Snapshot) -> Result<Vec<Finding>, TableError> {
    let mut findings = Vec::new();
    walk(snapshot, |rule, key, right| {
        let place = format!("{} {}", key.partition, key.sort);
        let detail = match right {
            Some(Expected::Owner(user)) => format!("should lead to {user}"),
            Some(Expected::Found(profile)) => format!("should show {}", profile.user_id),
            None => "should not be there".to_owned(),
        };
        findings.push(Finding { rule, place, detail });
    })?;
    findings.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(findings)
}

/// Makes handle and search rows follow from the profiles again; answers how many it mended.
/// Profiles in a wrong place are left for people to judge. The service must not run meanwhile.
pub async fn repair(table: &dyn Table, snapshot: &dyn Snapshot) -> Result<usize, TableError> {
    let mut writes = Vec::new();
    walk(snapshot, |_, key, right| {
        let body = match right {
            Some(Expected::Owner(user_id)) => json(&Owner { user_id }),
            Some(Expected::Found(profile)) => json(&*profile),
            // For people to judge, as is a profile in a wrong place.
            None if key.partition.starts_with(PROFILES) => return,
            None if key.partition.starts_with(GONE) => return,
            None => return writes.push(Scatter::Delete(key)),
        };
        writes.push(Scatter::Put { key, body, expires_at: None });
    })?;
    let mended = writes.len();
    while !writes.is_empty() {
        let rest = writes.split_off(writes.len().min(MENDED_AT_ONCE));
        table.scatter(std::mem::replace(&mut writes, rest)).await?;
    }
    Ok(mended)
}
