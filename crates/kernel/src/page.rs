//! Pages of lists: how many entries, from where, and the opaque cursors between them.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Code, Problem};

/// Entries on a page: 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit(usize);

impl Limit {
    /// The largest page that there can be: what one read of a table gives on every backend.
    pub const MAX: usize = 100;

    /// So many entries; none outside 1 to 100.
    pub fn new(entries: usize) -> Option<Self> {
        (1..=Self::MAX).contains(&entries).then_some(Self(entries))
    }

    /// The number of entries.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// How much a client may ask for at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries on a page where `limit` is left out.
    pub page_default: usize,
    /// Entries on a page, at most; no more than [`Limit::MAX`].
    pub page_max: usize,
    /// Ids in one list parameter, at most; no more than [`crate::table::GET_KEYS_MAX`].
    pub ids_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { page_default: 20, page_max: Limit::MAX, ids_max: 100 }
    }
}

impl Limits {
    /// Reads a `limit` parameter; 422 outside 1 to the largest page.
    pub fn page(&self, text: Option<&str>) -> Result<Limit, Problem> {
        let max = self.page_max.min(Limit::MAX);
        let entries = text.map_or(Some(self.page_default), |text| text.parse().ok());
        let limit = entries.filter(|entries| *entries <= max).and_then(Limit::new);
        let rule = || Problem::invalid("limit", format!("A whole number from 1 to {max}."));
        limit.ok_or_else(rule)
    }

    /// The ids in a comma-separated parameter named `field`, in their order, each once. A text that
    /// is not an id is left out, just as an unknown id is; too many texts are 422.
    pub fn ids<T: FromStr + PartialEq>(&self, field: &str, text: &str) -> Result<Vec<T>, Problem> {
        let mut ids = Vec::new();
        for (index, part) in text.split(',').enumerate() {
            if index == self.ids_max {
                return Err(Problem::invalid(field, format!("{} ids at most.", self.ids_max)));
            }
            match part.trim().parse() {
                Ok(id) if !ids.contains(&id) => ids.push(id),
                _ => {}
            }
        }
        Ok(ids)
    }
}

/// Which way a cursor leads from its place in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To older entries (`nextCursor`).
    Older,
    /// To newer entries (`prevCursor`).
    Newer,
}

/// A place in a list and a direction. Clients see it as opaque text that is bound to its list;
/// it carries no right by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Which way it leads.
    pub direction: Direction,
    /// The place: usually a sort key. The entry at it is not part of what the cursor leads to.
    pub at: String,
}

impl Cursor {
    const VERSION: u8 = 1;

    /// A cursor to what is older than `at`.
    pub fn older(at: impl Into<String>) -> Self {
        Self { direction: Direction::Older, at: at.into() }
    }

    /// A cursor to what is newer than `at`.
    pub fn newer(at: impl Into<String>) -> Self {
        Self { direction: Direction::Newer, at: at.into() }
    }

    /// The text that clients hold, good only for the list named `list`.
    pub fn render(&self, list: &str) -> String {
        let mut bytes = Vec::with_capacity(self.at.len() + 6);
        bytes.push(Self::VERSION);
        bytes.push(match self.direction {
            Direction::Older => b'o',
            Direction::Newer => b'n',
        });
        bytes.extend_from_slice(self.at.as_bytes());
        bytes.extend_from_slice(&checksum(list, &bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a client's cursor; 400 when it was not made by the list named `list`.
    pub fn parse(list: &str, text: &str) -> Result<Self, Problem> {
        Self::decode(list, text).ok_or_else(|| {
            Problem::new(Code::InvalidCursor, "Use a cursor that this list answered, unchanged.")
        })
    }

    fn decode(list: &str, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*sum) != checksum(list, content) {
            return None;
        }
        let direction = match content {
            [Self::VERSION, b'o', ..] => Direction::Older,
            [Self::VERSION, b'n', ..] => Direction::Newer,
            _ => return None,
        };
        let at = String::from_utf8(content[2..].to_vec()).ok()?;
        Some(Self { direction, at })
    }
}

/// FNV-1a over the list's name and the content: catches slips, keeps no secret.
fn checksum(list: &str, content: &[u8]) -> u32 {
    let bytes = list.as_bytes().iter().chain(&[0]).chain(content);
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// One page of a list, newest entry first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Leads to older entries; null when there are none.
    pub next_cursor: Option<String>,
    /// Leads to newer entries, also those still to come; never null on a page with entries.
    pub prev_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The same page with each entry turned into another.
    pub fn map<U>(self, entry: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(entry).collect(),
            next_cursor: self.next_cursor,
            prev_cursor: self.prev_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_whole_numbers_from_1_to_100() {
        let limits = Limits::default();
        assert_eq!(limits.page(None).unwrap().get(), 20);
        assert_eq!(limits.page(Some("100")).unwrap().get(), 100);
        for bad in ["0", "101", "-1", "1.5", "", "x", "99999999999999999999"] {
            assert_eq!(limits.page(Some(bad)).unwrap_err().code.status(), 422, "{bad}");
        }
    }

    #[test]
    fn limits_are_as_they_are_set() {
        let limits = Limits { page_default: 5, page_max: 10, ids_max: 2 };
        assert_eq!(limits.page(None).unwrap().get(), 5);
        assert_eq!(limits.page(Some("10")).unwrap().get(), 10);
        assert_eq!(limits.page(Some("11")).unwrap_err().code.status(), 422);
        assert!(limits.ids::<u8>("ids", "1,2").is_ok());
        assert!(limits.ids::<u8>("ids", "1,2,3").is_err());
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let text = Cursor::older("a").render("posts");
        assert!(Cursor::parse("posts", &text).is_ok());
        assert_eq!(Cursor::parse("likes", &text).unwrap_err().code, Code::InvalidCursor);
    }

    proptest! {
        #[test]
        fn cursors_come_back_as_they_were(at in ".{0,80}", newer: bool) {
            let cursor = if newer { Cursor::newer(at) } else { Cursor::older(at) };
            prop_assert_eq!(Cursor::parse("l", &cursor.render("l")).unwrap(), cursor);
        }

        #[test]
        fn no_text_makes_the_reader_fail(text in ".{0,80}") {
            let _ = Cursor::parse("l", &text);
        }
    }
}
