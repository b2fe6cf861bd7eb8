//! The writes of a commit as DynamoDB's expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kernel::Time;
use kernel::table::{Condition, Key, Write};

use super::item::{self, Attributes, number};

const IS_ABSENT: &str = "attribute_not_exists(pk) OR expms <= :now";
const IS_PRESENT: &str = "attribute_exists(pk) AND (attribute_not_exists(expms) OR expms > :now)";
const IS_AT_VERSION: &str = "v = :version AND (attribute_not_exists(expms) OR expms > :now)";
const IS_NOT_EXPIRED: &str = "attribute_not_exists(expms) OR expms > :now";
const IS_EXPIRED: &str = "expms <= :now";
/// What an addition does to an item, or to nothing.
const ADDED: &str = "SET v = :next, n = if_not_exists(n, :zero) + :delta";

/// A write of a commit on its way.
pub(super) struct Planned<'a> {
    /// Its place in the commit.
    pub(super) index: usize,
    pub(super) write: &'a Write,
    /// Whether it goes over an item that has expired; only of an addition without a condition.
    over_expired: bool,
}

/// What DynamoDB is asked to do with one item.
pub(super) struct Request {
    pub(super) key: Attributes,
    pub(super) action: Action,
    pub(super) condition: Option<&'static str>,
    pub(super) values: Values,
}

/// What the names in an expression stand for.
#[derive(Default)]
pub(super) struct Values(HashMap<String, AttributeValue>);

pub(super) enum Action {
    /// Replace it by these attributes.
    Put(Attributes),
    /// Change it by this expression.
    Update(&'static str),
    /// Remove it.
    Delete,
    /// Only look whether the condition holds.
    Check,
}

/// The writes that ask something of DynamoDB: a check of nothing does not.
pub(super) fn plan(writes: &[Write]) -> Vec<Planned<'_>> {
    let asks = |write: &Write| !matches!(write, Write::Check { condition: Condition::Always, .. });
    let writes = writes.iter().enumerate().filter(|(_, write)| asks(write));
    writes.map(|(index, write)| Planned { index, write, over_expired: false }).collect()
}

impl Planned<'_> {
    /// Its condition did not hold. True when that was not the caller's condition but only our guess
    /// whether the item has expired; then the other guess is next.
    pub(super) fn guess_again(&mut self) -> bool {
        let guessed = self.guesses();
        self.over_expired ^= guessed;
        guessed
    }

    /// What to ask at `now`.
    pub(super) fn request(&self, now: Time) -> Request {
        let request = match self.write {
            Write::Put { key, body, expires_at, .. } => put(key, body, 0, *expires_at),
            Write::Add { key, delta, condition } => self.add(key, *delta, *condition),
            Write::Delete { key, .. } => Request::new(key, Action::Delete),
            Write::Check { key, .. } => Request::new(key, Action::Check),
        };
        self.under_condition(request, now)
    }

    /// Puts replace whatever is there, while an addition to an expired item starts from nothing.
    fn guesses(&self) -> bool {
        matches!(self.write, Write::Add { condition: Condition::Always, .. })
    }

    fn add(&self, key: &Key, delta: i64, condition: Condition) -> Request {
        if self.over_expired || condition == Condition::Absent {
            return put(key, &Bytes::new(), delta, None);
        }
        let mut values = Values::default();
        values.add(":next", number(item::next_version()));
        values.add(":zero", number(0_i64));
        values.add(":delta", number(delta));
        Request { values, ..Request::new(key, Action::Update(ADDED)) }
    }

    fn under_condition(&self, mut request: Request, now: Time) -> Request {
        request.condition = match self.write.condition() {
            Condition::Always if !self.guesses() => None,
            Condition::Always if self.over_expired => Some(IS_EXPIRED),
            Condition::Always => Some(IS_NOT_EXPIRED),
            Condition::Absent => Some(IS_ABSENT),
            Condition::Present => Some(IS_PRESENT),
            Condition::Version(version) => {
                request.values.add(":version", number(version));
                Some(IS_AT_VERSION)
            }
        };
        if request.condition.is_some() {
            request.values.add(":now", number(now.millis()));
        }
        request
    }
}

fn put(key: &Key, body: &Bytes, count: i64, expires_at: Option<Time>) -> Request {
    Request::new(key, Action::Put(item::whole(key, body, count, item::next_version(), expires_at)))
}

impl Request {
    fn new(key: &Key, action: Action) -> Self {
        Self { key: item::key(key), action, condition: None, values: Values::default() }
    }
}

impl Values {
    fn add(&mut self, name: &str, value: AttributeValue) {
        self.0.insert(name.to_owned(), value);
    }

    /// As DynamoDB wants them: it takes no empty map.
    pub(super) fn given(self) -> Option<HashMap<String, AttributeValue>> {
        Some(self.0).filter(|values| !values.is_empty())
    }
}
