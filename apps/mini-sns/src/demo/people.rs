//! Who lives in the demo world.

use super::{people_en, people_ja};

/// Somebody, and what they posted before the visitor came.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) handle: &'static str,
    pub(super) name: &'static str,
    pub(super) bio: &'static str,
    pub(super) posts: [&'static str; 4],
}

/// Everybody: the Japanese speakers first, so that neighbours share a language.
pub(super) fn everybody() -> impl Iterator<Item = &'static Profile> {
    people_ja::PEOPLE.iter().chain(&people_en::PEOPLE)
}

/// Where the English speakers begin.
pub(super) const FIRST_ENGLISH: usize = people_ja::PEOPLE.len();

/// How many there are.
pub(super) const COUNT: usize = FIRST_ENGLISH + people_en::PEOPLE.len();

/// Those whom nearly everybody follows.
pub(super) const POPULAR: [usize; 4] = [0, 7, 15, 22];

impl Profile {
    /// The e-mail address they sign in with.
    pub(super) fn email(&self) -> String {
        format!("{}@example.com", self.handle)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_keeps_the_rules_of_the_house() {
        let handles: BTreeSet<_> = everybody().map(|person| person.handle).collect();
        assert_eq!(handles.len(), COUNT, "handles are unique");
        for person in everybody() {
            let legal = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
            assert!((3..=30).contains(&person.handle.len()), "{}", person.handle);
            assert!(person.handle.chars().all(legal), "{}", person.handle);
            assert!(person.name.chars().count() <= 50 && person.bio.chars().count() <= 300);
            for post in person.posts {
                assert!((1..=500).contains(&post.chars().count()) && post == post.trim(), "{post}");
            }
        }
    }

    #[test]
    fn who_is_mentioned_lives_here() {
        let handles: BTreeSet<_> = everybody().map(|person| person.handle).collect();
        let posts = everybody().flat_map(|person| person.posts);
        let mut mentions = 0;
        for word in posts.flat_map(str::split_whitespace) {
            if let Some(handle) = word.strip_prefix('@') {
                let end = handle.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let handle = &handle[..end.unwrap_or(handle.len())];
                assert!(handles.contains(handle), "{word}");
                mentions += 1;
            }
        }
        assert!(mentions > 10);
    }
}
