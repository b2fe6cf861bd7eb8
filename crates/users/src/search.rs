//! Finding people by the beginning of their handle or display name: a row for each text, holding
//! the profile, so that a page of results is one walk.

use kernel::page::{Cursor, Direction};
use kernel::table::{Item, Key, Order, Query, Table, TableError};
use kernel::{Code, Limit, Page, Problem, Profile, fold};

/// Ends the text in a sort key; no text holds it, and it sorts before whatever a text may hold.
const END: char = '\u{1}';
/// Bytes of a text in a sort key, at most; longer names are found by their beginning.
const TEXT_BYTES_MAX: usize = 512;
/// A row for the handle.
const HANDLE: char = 'h';
/// A row for the display name.
const NAME: char = 'n';

/// A text as it stands in a sort key.
fn indexed(text: &str) -> String {
    let folded = fold(text);
    let mut end = folded.len().min(TEXT_BYTES_MAX);
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    folded[..end].to_owned()
}

fn partition(text: &str) -> Option<String> {
    Some(format!("search#{}", text.chars().next()?))
}

/// The rows that a profile is found by.
pub(crate) fn keys(profile: &Profile) -> Vec<Key> {
    let texts = [(indexed(&profile.handle), HANDLE), (indexed(&profile.display_name), NAME)];
    let keys = texts.into_iter().filter_map(|(text, kind)| {
        Some(Key::new(partition(&text)?, format!("{text}{END}{}{kind}", profile.user_id)))
    });
    keys.collect()
}

/// What is searched for.
pub(crate) struct Search {
    text: String,
    partition: String,
}

impl Search {
    /// Reads the parameter `q`.
    pub(crate) fn parse(q: Option<&str>) -> Result<Self, Problem> {
        let invalid = |message: &str| Problem::invalid("q", message);
        let q = q.ok_or_else(|| invalid("This parameter is required."))?;
        if q.chars().any(char::is_control) {
            return Err(invalid("No control characters."));
        }
        let text = fold(q);
        // One that is cut could find too much.
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid("At most 512 bytes."));
        }
        let partition = partition(&text).ok_or_else(|| invalid("At least one character."))?;
        Ok(Self { text, partition })
    }

    /// Whether a row is a result of its own: somebody found by both texts is shown once.
    fn shows(&self, row: &Item, profile: &Profile) -> bool {
        row.key.sort.ends_with(HANDLE) || !profile.handle.starts_with(&self.text)
    }

    fn query(&self, cursor: Option<&Cursor>, limit: usize) -> Query {
        let all = Query::all(self.partition.as_str(), limit).starting_with(&self.text);
        match cursor {
            None => all,
            Some(Cursor { direction: Direction::Older, at }) => all.above(at.as_str()),
            Some(Cursor { direction: Direction::Newer, at }) => all.below(at.as_str()).descending(),
        }
    }

    /// One page of results in the order of the alphabet, going on from `cursor`. What other lists
    /// call older is further down the alphabet here.
    pub(crate) async fn page(
        &self,
        table: &dyn Table,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<Profile>, Problem> {
        let list = format!("search:{}", self.text);
        let cursor = cursor.map(|text| Cursor::parse(&list, text)).transpose()?;
        if cursor.as_ref().is_some_and(|cursor| !cursor.at.starts_with(&self.text)) {
            return Err(Problem::new(Code::InvalidCursor, "Use a cursor that this list answered."));
        }
        let mut found = self.walk(table, self.query(cursor.as_ref(), limit.get() + 1)).await?;
        let more = found.len() > limit.get();
        found.truncate(limit.get());
        let newer = cursor.filter(|cursor| cursor.direction == Direction::Newer);
        if newer.is_some() {
            found.reverse();
        }
        let next = match (found.last(), &newer) {
            (Some((sort, _)), _) if more || newer.is_some() => Some(Cursor::older(sort.as_str())),
            // Nothing before: what comes after begins with the entry at the cursor itself, whose
            // key less its last letter is the greatest key before it.
            (None, Some(cursor)) => Some(Cursor::older(cursor.at.trim_end_matches([HANDLE, NAME]))),
            _ => None,
        };
        let prev = found.first().map(|(sort, _)| Cursor::newer(sort.as_str())).or(newer);
        Ok(Page {
            next_cursor: next.map(|cursor| cursor.render(&list)),
            prev_cursor: prev.map(|cursor| cursor.render(&list)),
            items: found.into_iter().map(|(_, profile)| profile).collect(),
        })
    }

    /// Results with their sort keys: as many as the query's limit, or fewer at the end.
    async fn walk(
        &self,
        table: &dyn Table,
        mut query: Query,
    ) -> Result<Vec<(String, Profile)>, TableError> {
        let mut found = Vec::new();
        loop {
            let rows = table.query(query.clone()).await?;
            for row in rows.items {
                let profile: Profile = row.json()?;
                if found.len() < query.limit && self.shows(&row, &profile) {
                    found.push((row.key.sort, profile));
                }
            }
            query = match rows.next {
                Some(next) if found.len() < query.limit => match query.order {
                    Order::Ascending => query.above(next),
                    Order::Descending => query.below(next),
                },
                _ => return Ok(found),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(indexed(&"ä".repeat(400)).len(), 512);
        assert_eq!(indexed(&format!("a{}", "ä".repeat(400))).len(), 511);
    }
}
