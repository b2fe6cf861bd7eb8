//! What is asked of the server, and how often which.

use std::fmt;
use std::str::FromStr;

use super::people::Person;
use super::target::Target;
use super::wire::render;

/// Posts that one person likes and unlikes.
const LIKED: usize = 4;

/// Something measured on its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Operation {
    /// GET /timeline.
    Read,
    /// POST /posts.
    Post,
    /// POST or DELETE /posts/{postId}/likes.
    Like,
    /// Opening a WebSocket, up to its hello frame.
    Open,
    /// From the sending of a post to its frame on one follower's socket.
    Frame,
    /// From the sending of a post to its frame on the last follower's socket.
    LastFrame,
}

impl Operation {
    /// Those that a mix is made of.
    const REQUESTS: [Self; 3] = [Self::Read, Self::Post, Self::Like];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Post => "post",
            Self::Like => "like",
            Self::Open => "open",
            Self::Frame => "frame",
            Self::LastFrame => "last frame",
        }
    }
}

/// Shares of the operations: `read=90,post=8,like=2`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mix {
    shares: [u32; 3],
}

impl Mix {
    /// Reads alone.
    pub(super) const READS: Self = Self { shares: [1, 0, 0] };
    /// Posts alone.
    pub(super) const POSTS: Self = Self { shares: [0, 1, 0] };

    /// One operation, as often as its share says.
    pub(super) fn draw(&self, dice: &mut fastrand::Rng) -> Operation {
        let whole: u32 = self.shares.iter().sum();
        let mut drawn = dice.u32(..whole);
        for (operation, share) in Operation::REQUESTS.into_iter().zip(self.shares) {
            if drawn < share {
                return operation;
            }
            drawn -= share;
        }
        Operation::Read
    }

    /// Whether it asks for posts that can be liked.
    pub(super) fn likes(&self) -> bool {
        self.shares[2] > 0
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = [0; 3];
        for part in text.split(',') {
            let wanted = || format!("`{part}`: read=N, post=N or like=N is wanted");
            let (word, share) = part.split_once('=').ok_or_else(wanted)?;
            let at = Operation::REQUESTS.iter().position(|known| known.word() == word.trim());
            let share: u16 = share.trim().parse().map_err(|_| wanted())?;
            shares[at.ok_or_else(wanted)?] = u32::from(share);
        }
        if shares == [0; 3] {
            return Err("nothing to do: every share is 0".into());
        }
        Ok(Self { shares })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, post, like] = self.shares;
        write!(f, "read={read},post={post},like={like}")
    }
}

/// One connection's requests, rendered before the clock runs. Its people take turns, as the ring of
/// each kind says.
pub(super) struct Requests {
    rings: [Vec<Vec<u8>>; 3],
    next: [usize; 3],
}

impl Requests {
    /// Requests of the `people` with these numbers; `likeable` are ids of posts.
    pub(super) fn new(
        target: &Target,
        people: &[Person],
        numbers: &[usize],
        likeable: &[String],
    ) -> Self {
        let (mut reads, mut posts, mut likes) = (Vec::new(), Vec::new(), Vec::new());
        for &number in numbers {
            let token = &people[number].token;
            reads.push(render(target, "GET", "/timeline", token, ""));
            let body = serde_json::json!({ "text": text(number) }).to_string();
            posts.push(render(target, "POST", "/posts", token, &body));
        }
        // Every like is taken back in the next round, so that each request changes something.
        for (method, &number) in ["POST", "DELETE"]
            .iter()
            .flat_map(|method| numbers.iter().map(move |number| (method, number)))
        {
            let mine = likeable.iter().cycle().skip(number).take(LIKED.min(likeable.len()));
            likes.extend(mine.map(|id| {
                let path = format!("/posts/{id}/likes");
                render(target, method, &path, &people[number].token, "")
            }));
        }
        Self { rings: [reads, posts, likes], next: [0; 3] }
    }

    /// The next request of a kind.
    pub(super) fn next(&mut self, operation: Operation) -> &[u8] {
        let kind = match operation {
            Operation::Post => 1,
            Operation::Like if !self.rings[2].is_empty() => 2,
            _ => 0,
        };
        let at = self.next[kind];
        self.next[kind] = (at + 1) % self.rings[kind].len();
        &self.rings[kind][at]
    }
}

/// A text as people write it: some 50 to 150 characters, Japanese and English.
pub(super) fn text(number: usize) -> String {
    const WORDS: [&str; 8] = [
        "Morning walk along the river; the light on the water was worth the cold.",
        "今日は早起きして、駅前のパン屋に寄ってから仕事に来ました。",
        "Does anybody know a good book about distributed systems that is fun to read?",
        "新しいキーボードが届いた！打ち心地がとてもいいです。",
        "Release day. Coffee first, then the checklist, then more coffee. #shipit",
        "週末は山に登る予定。天気がもちますように。#登山",
        "Small reminder: write the test before you forget why you wanted it.",
        "昼休みに読んだ記事が面白かったので、あとで感想を書きます。",
    ];
    let again = WORDS[(number * 3 + 1) % WORDS.len()];
    format!("{} {again} ({number})", WORDS[number % WORDS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_drawn_by_its_shares() {
        let mix: Mix = "read=90,post=8,like=2".parse().unwrap();
        let mut dice = fastrand::Rng::with_seed(1);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            *seen.entry(mix.draw(&mut dice)).or_insert(0_u32) += 1;
        }
        assert!((8_800..9_200).contains(&seen[&Operation::Read]), "{seen:?}");
        assert!((700..900).contains(&seen[&Operation::Post]), "{seen:?}");
        assert!((140..260).contains(&seen[&Operation::Like]), "{seen:?}");
    }

    #[test]
    fn a_bad_mix_says_which_part() {
        for (text, part) in [("read", "`read`"), ("read=1,shop=2", "`shop=2`"), ("read=0", "0")] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
