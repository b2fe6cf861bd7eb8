//! Lists of people, newest first, without those who are deleted.

use kernel::fill::Fill;
use kernel::{Limit, Page, Problem, Profile, Time, UserId};
use ulid::Ulid;

use crate::{Social, model, store};

/// A page of the people in a partition by time, with the time of each. `name` binds its cursors.
pub(crate) async fn people(
    social: &Social,
    name: &str,
    partition: &str,
    limit: Limit,
    cursor: Option<&str>,
) -> Result<Page<(Profile, Time)>, Problem> {
    let fill = Fill::new(name, limit, cursor)?;
    let newest = social.sequence.newest(fill.reaches_newest()).await;
    let mut fill = fill.until(newest);
    while fill.wanted() > 0 {
        let mut rows = match fill.query(partition) {
            Some(query) => social.table.query(query).await?.items,
            None => Vec::new(),
        };
        let more = rows.len() > fill.wanted();
        rows.truncate(fill.wanted());
        let users = rows.iter().map(store::held_id).collect::<Result<Vec<UserId>, _>>()?;
        let profiles =
            if users.is_empty() { Vec::new() } else { social.peers.profiles(&users).await? };
        let mut entries = Vec::with_capacity(rows.len());
        for (row, profile) in rows.into_iter().zip(profiles) {
            let at: Ulid = store::row_id(&row)?;
            let entry = profile.map(|profile| (profile, model::made_at(at)));
            entries.push((row.key.sort, entry));
        }
        fill.add(entries, more);
    }
    Ok(fill.page())
}
