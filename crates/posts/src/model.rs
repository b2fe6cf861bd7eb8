//! What may be posted, how often, and what counts as the same request.

use std::time::Duration;

use kernel::{Code, FieldError, PostId, Problem, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

/// The span over which posts are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
const DAY_SECS: i64 = 24 * 60 * 60;

/// A text as it is stored: NFC, trimmed, otherwise as written.
pub(crate) fn plain_text(text: &str, characters_max: usize) -> Result<String, Problem> {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        let message = "No control characters other than newline and tab.";
        return Err(Problem::invalid("text", message));
    }
    // ASCII is in NFC, and without a carriage return every byte of it is one character.
    let (text, characters) = if text.is_ascii() {
        let text = text.trim().to_owned();
        let characters = text.len();
        (text, characters)
    } else {
        let text = match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => text.trim().to_owned(),
            _ => text.nfc().collect::<String>().trim().to_owned(),
        };
        // A character is of one code point or more, so few of these are no more of those.
        let points = text.chars().take(characters_max + 1).count();
        let characters = match points > characters_max {
            true => text.graphemes(true).take(characters_max + 1).count(),
            false => points,
        };
        (text, characters)
    };
    if characters == 0 || characters > characters_max {
        let message = format!("1 to {characters_max} characters, spaces around them not counted.");
        return Err(Problem::invalid("text", message));
    }
    Ok(text)
}

/// A key under which a client may send the same post again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IdempotencyKey(pub(crate) String);

impl IdempotencyKey {
    /// The header's name.
    pub(crate) const HEADER: &str = "idempotency-key";

    /// Reads the header's values as they were sent, none for one that is not text.
    pub(crate) fn parse<'a>(
        mut values: impl Iterator<Item = Option<&'a str>>,
        characters_max: usize,
    ) -> Result<Option<Self>, Problem> {
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.filter(|key| {
            (1..=characters_max).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic())
        });
        match (key, values.next()) {
            (Some(key), None) => Ok(Some(Self(key.to_owned()))),
            _ => {
                let message = format!("One key of 1 to {characters_max} visible characters.");
                Err(Problem::invalid("Idempotency-Key", message))
            }
        }
    }
}

/// What an idempotency key made. The text is not kept: a request that matches brings it along.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The post.
    pub(crate) post: PostId,
    /// Of the text as it was sent.
    sha256: [u8; 32],
}

impl Receipt {
    /// The receipt of `post`, made from a body with `text`.
    pub(crate) fn new(post: PostId, text: &str) -> Self {
        Self { post, sha256: Sha256::digest(text).into() }
    }

    /// The post that this receipt's request made; refused when `asked` is for another body.
    pub(crate) fn replay(&self, asked: &Receipt) -> Result<PostId, Problem> {
        if self.sha256 == asked.sha256 {
            return Ok(self.post);
        }
        let detail = "Use a new Idempotency-Key for another post.";
        let error = FieldError::new("Idempotency-Key", "It was used for another post.");
        Err(Problem { errors: vec![error], ..Problem::new(Code::IdempotencyMismatch, detail) })
    }
}

/// What decides whether a user may write another post, or report another one's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AuthorState {
    /// When posts were written, in milliseconds since 1970, and how many then; those that still
    /// count and no others, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    posted: Vec<(i64, usize)>,
    /// The user is deleted, for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
    /// The user's e-mail address is confirmed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) confirmed: bool,
    /// The day of the last post before that, and the posts of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<(i64, usize)>,
    /// The day of the last report, and the reports of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<(i64, usize)>,
}

/// How much a user may post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowance {
    /// In a sliding minute.
    pub(crate) posts_per_minute: usize,
    /// On a day (UTC) before their e-mail address is confirmed; none where that does not matter.
    pub(crate) unconfirmed_posts_per_day: Option<usize>,
}

/// Up to this many posts a minute are remembered one by one; of more, those of [`COUNTED_MILLIS`]
/// are counted together, so that a generous limit does not make the state, which each post writes
/// anew, as long as the minute is busy.
const REMEMBERED_MAX: usize = 60;
/// So much longer than a minute a post counts at most, where they are counted together.
const COUNTED_MILLIS: i64 = 10_000;

impl AuthorState {
    /// The state of a deleted user.
    pub(crate) fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }

    /// The state after one more post at `now`, if the allowance covers it.
    pub(crate) fn admit(&self, now: Time, allowance: Allowance) -> Result<Self, Problem> {
        self.check_there()?;
        let unconfirmed = self.admit_unconfirmed(now, allowance.unconfirmed_posts_per_day)?;
        let posts_max = allowance.posts_per_minute;
        let start = (now - WINDOW).millis();
        let counted = self.posted.iter().copied().filter(|(at, _)| *at > start);
        let mut posted: Vec<(i64, usize)> = counted.collect();
        let total: usize = posted.iter().map(|(_, count)| count).sum();
        if total >= posts_max {
            let detail = format!("{posts_max} posts a minute at most. Wait a little.");
            let wait = until_below(&posted, total, posts_max, now);
            return Err(Problem::new(Code::PostRateLimited, detail).retry_after_secs(wait));
        }
        let each = if posts_max > REMEMBERED_MAX { COUNTED_MILLIS } else { 1 };
        // The end of the time it is counted with: never counted for less than a minute.
        let at = now.millis().div_euclid(each) * each + each - 1;
        match posted.last_mut() {
            Some((last, count)) if *last >= at => *count += 1,
            _ => posted.push((at, 1)),
        }
        Ok(Self { posted, unconfirmed, ..self.clone() })
    }

    /// Refuses a deleted user, whose request was on its way during the deletion.
    pub(crate) fn check_there(&self) -> Result<(), Problem> {
        match self.gone {
            true => Err(Problem::unauthenticated("The account has been deleted.")),
            false => Ok(()),
        }
    }

    /// The state after one more report at `now`, if so many on a day (UTC) cover it.
    pub(crate) fn admit_report(&self, now: Time, reports_max: usize) -> Result<Self, Problem> {
        let (today, before) = on_day(self.reported, now);
        if before >= reports_max {
            let detail = format!("{reports_max} reports a day at most. The operators have those.");
            let tomorrow = Time::from_millis((today + 1) * 1000 * DAY_SECS);
            let wait = tomorrow.since(now).as_millis().div_ceil(1000);
            let problem = Problem::new(Code::ReportRateLimited, detail);
            return Err(problem.retry_after_secs(wait.try_into().unwrap_or(60).max(1)));
        }
        Ok(Self { reported: Some((today, before + 1)), ..self.clone() })
    }

    /// The day and its posts after one more, where they are counted.
    fn admit_unconfirmed(
        &self,
        now: Time,
        posts_max: Option<usize>,
    ) -> Result<Option<(i64, usize)>, Problem> {
        let Some(posts_max) = posts_max.filter(|_| !self.confirmed) else { return Ok(None) };
        let (today, before) = on_day(self.unconfirmed, now);
        if before >= posts_max {
            let detail = match posts_max {
                0 => "Who wants to post confirms their e-mail address first.".to_owned(),
                _ => format!("{posts_max} posts a day until the e-mail address is confirmed."),
            };
            return Err(Problem::new(Code::EmailUnconfirmed, detail));
        }
        Ok(Some((today, before + 1)))
    }
}

/// The day of `now`, and what was counted on it before.
fn on_day(counted: Option<(i64, usize)>, now: Time) -> (i64, usize) {
    let today = now.secs().div_euclid(DAY_SECS);
    (today, counted.filter(|(day, _)| *day == today).map_or(0, |(_, count)| count))
}

/// Seconds until fewer than `posts_max` of the `total` posts count.
fn until_below(posted: &[(i64, usize)], total: usize, posts_max: usize, now: Time) -> u64 {
    let mut left = total;
    let freed = posted.iter().find(|(_, count)| {
        left -= count;
        left < posts_max
    });
    let wait = freed.map_or(WINDOW, |(at, _)| (Time::from_millis(*at) + WINDOW).since(now));
    wait.as_millis().div_ceil(1000).try_into().unwrap_or(60).max(1)
}

/// The day on which a post was written, counted from 1970-01-01.
pub(crate) fn day(post: PostId) -> u64 {
    post.0.timestamp_ms() / (24 * 60 * 60 * 1000)
}

/// The shard of its day that a post is listed in: by the random part of its id.
pub(crate) fn shard(post: PostId, shards: u32) -> u32 {
    // The lowest bits of ids given in one millisecond differ by random amounts; mix them all the
    // same, since a seeded source may only change the middle.
    let random = post.0.random();
    let mixed = (random ^ (random >> 32) ^ (random >> 64)) % u128::from(shards.max(1));
    u32::try_from(mixed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generous_limit_holds_in_any_minute_and_its_state_stays_short() {
        let allowance = Allowance { posts_per_minute: 600, unconfirmed_posts_per_day: None };
        let at = |millis: i64| Time::from_millis(1_000_000_000_000 + millis);
        let (mut state, mut admitted) = (AuthorState::default(), Vec::new());
        for millis in (0..300_000).step_by(50) {
            if let Ok(next) = state.admit(at(millis), allowance) {
                state = next;
                admitted.push(millis);
            }
            let in_minute = admitted.iter().filter(|earlier| **earlier > millis - 60_000).count();
            assert!(in_minute <= 600, "at {millis}");
            assert!(state.posted.len() <= 8, "at {millis}");
        }
        // Twice as many were tried as are allowed, and none waits for more than ten seconds longer.
        assert!(admitted.len() >= 600 * 300 / 70, "{} of 3000", admitted.len());
    }
}
