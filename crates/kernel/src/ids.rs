//! Identifiers as parameters: services ask an [`Ids`], so that tests are seeded.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::clock::{Clock, Time};

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub Ulid);

        impl $name {
            /// The id's 26 characters behind `prefix`, as keys are made: in one allocation and
            /// without the formatting machinery, since a page of a timeline makes sixty.
            pub fn prefixed(self, prefix: &str) -> String {
                let mut text = String::with_capacity(prefix.len() + ulid::ULID_LEN);
                text.push_str(prefix);
                let mut id = [0; ulid::ULID_LEN];
                text.push_str(self.0.array_to_str(&mut id));
                text
            }

            /// The id's 26 characters.
            pub fn text(self) -> String {
                self.prefixed("")
            }

            /// The moment the id was made.
            pub fn created_at(self) -> Time {
                Time::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; ulid::ULID_LEN];
                f.write_str(self.0.array_to_str(&mut text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Takes the 26 characters of a ULID, in the one spelling this system writes.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Ulid::from_string(text).map_err(|_| InvalidId)?;
                let mut canonical = [0; ulid::ULID_LEN];
                if id.array_to_str(&mut canonical) == text { Ok(Self(id)) } else { Err(InvalidId) }
            }
        }
    };
}

ulid_id! {
    /// A person.
    UserId
}
ulid_id! {
    /// A post; ids sort by creation time.
    PostId
}

/// A text that is not an id of this system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an id: 26 characters of Crockford's Base32 are expected")]
pub struct InvalidId;

/// Where identifiers and secrets come from.
pub trait Ids: Send + Sync {
    /// A new ULID, larger than every one given before by this source.
    fn ulid(&self) -> Ulid;

    /// 256 bits that nobody can guess.
    fn secret(&self) -> [u8; 32];
}

/// Monotonic ULIDs from a clock, secrets from the operating system.
pub struct SystemIds {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    last: Ulid,
    /// Random bytes asked for ahead: every request takes some, and asking is a system call.
    ahead: [u8; 1024],
    used: usize,
}

impl State {
    fn random(&mut self) -> u128 {
        const EACH: usize = size_of::<u128>();
        if self.used + EACH > self.ahead.len() {
            self.ahead = random();
            self.used = 0;
        }
        let taken = &mut self.ahead[self.used..self.used + EACH];
        self.used += EACH;
        taken.iter_mut().fold(0, |number, byte| number << 8 | u128::from(std::mem::take(byte)))
    }
}

impl SystemIds {
    /// A source that stamps its ids with `clock`'s time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { last: Ulid::nil(), ahead: [0; 1024], used: 1024 };
        Self { clock, state: Mutex::new(state) }
    }
}

impl Ids for SystemIds {
    fn ulid(&self) -> Ulid {
        let now = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let random = state.random();
        state.last = if now > state.last.timestamp_ms() {
            Ulid::from_parts(now, random)
        } else {
            // The clock stood still or went back: step on from the last id by a random amount.
            Ulid(state.last.0.saturating_add(1 + (random & 0xFFFF_FFFF)))
        };
        state.last
    }

    fn secret(&self) -> [u8; 32] {
        random()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks for randomness")]
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without the operating system's randomness nothing here could be kept safe.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    struct StoppedClock;
    impl Clock for StoppedClock {
        fn now(&self) -> Time {
            Time::from_millis(1_700_000_000_000)
        }
    }

    #[test]
    fn ids_grow_even_when_the_clock_stands_still() {
        let ids = SystemIds::new(Arc::new(StoppedClock));
        let many: Vec<Ulid> = (0..1000).map(|_| ids.ulid()).collect();
        assert!(many.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_list_keeps_its_order_and_leaves_out_what_is_no_id() {
        let (a, b) = ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAA");
        let ids: Vec<UserId> = Limits::default().ids("ids", &format!("{a},x,{b},,{a}")).unwrap();
        assert_eq!(ids, [a.parse().unwrap(), b.parse().unwrap()]);
        assert!(Limits::default().ids::<UserId>("ids", &[a; 100].join(",")).is_ok());
        let refused = Limits::default().ids::<UserId>("ids", &[a; 101].join(",")).unwrap_err();
        assert_eq!(refused.code.status(), 422);
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let text = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(text.parse::<UserId>().unwrap().to_string(), text);
        for bad in ["", "01arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FA", "x"] {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidId), "{bad}");
        }
    }
}
