//! What a socket is given when it resumes: the rows that arrived while it was away.

use std::collections::HashMap;

use bytes::Bytes;
use kernel::{Problem, UserId};

use crate::model::Row;
use crate::read::Part;
use crate::turn::arrival_at;
use crate::{Timeline, live, store};

/// What lies after a cursor.
pub(crate) enum Gap {
    /// These rows, in the order of arrival.
    Rows(Vec<Row>),
    /// Too much, or too long ago.
    TooWide,
}

impl Timeline {
    /// Whether rows that arrived after `seen` may have been forgotten: removals are, in time.
    pub(crate) fn is_too_old(&self, seen: u64) -> bool {
        seen < arrival_at(self.parts.clock.now() - self.config.resume)
    }

    /// Everything that arrived after `seen` and up to `until`, which must be visible.
    pub(crate) async fn gap(&self, viewer: UserId, seen: u64, until: u64) -> Result<Gap, Problem> {
        let table = &*self.parts.table;
        let mut rows = store::scan(table, viewer).await?.rows;
        rows.retain(|row| row.arrival > seen && row.arrival <= until);
        // Asked after the rows were read: what was cut before that is known by now.
        let cut = store::cut(table, viewer).await?;
        if rows.len() > self.config.resume_entries_max || cut > seen {
            return Ok(Gap::TooWide);
        }
        rows.sort_by_key(|row| row.arrival);
        Ok(Gap::Rows(rows))
    }

    /// The frames of some rows, in their order; what may not be shown any more is left out.
    pub(crate) async fn frames(&self, viewer: UserId, rows: &[Row]) -> Result<Vec<Bytes>, Problem> {
        let live: Vec<_> = rows.iter().filter(|row| !row.gone).map(Row::entry).collect();
        let part = if live.is_empty() { None } else { Some(self.part(viewer, &live).await?) };
        let items = part.iter().flat_map(Part::items);
        let items: HashMap<_, _> = items.map(|item| (item.post_id, item)).collect();
        let frames = rows.iter().filter_map(|row| match items.get(&row.post_id) {
            Some(item) => Some(live::entry(row.arrival, item)),
            None if row.gone => Some(live::removed(row.post_id)),
            // Deleted a moment ago.
            None => None,
        });
        Ok(frames.collect())
    }
}
