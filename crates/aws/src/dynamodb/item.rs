//! Items as DynamoDB's attributes, and back.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kernel::Time;
use kernel::table::{Item, Key, TableError};

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// What stands before each sort key.
const MARK: char = '.';

pub(super) fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

pub(super) fn sort(sort: &str) -> AttributeValue {
    AttributeValue::S(format!("{MARK}{sort}"))
}

pub(super) fn binary(body: &Bytes) -> AttributeValue {
    AttributeValue::B(Blob::new(body.to_vec()))
}

/// The attributes that say when an item ends.
pub(super) fn expiry(at: Time) -> [(&'static str, AttributeValue); 2] {
    let secs_up = at.millis().div_euclid(1000) + i64::from(at.millis().rem_euclid(1000) > 0);
    [("expms", number(at.millis())), ("exp", number(secs_up))]
}

/// A version for a write. Drawn, for counting would have to read what is overwritten: in 64 bits no
/// two writes of one item draw the same.
pub(super) fn next_version() -> u64 {
    fastrand::u64(1..)
}

/// The attributes of a key alone.
pub(super) fn key(key: &Key) -> Attributes {
    let pk = AttributeValue::S(key.partition.clone());
    HashMap::from([("pk".to_owned(), pk), ("sk".to_owned(), sort(&key.sort))])
}

/// The attributes of an item that is written whole.
pub(super) fn whole(
    at: &Key,
    body: &Bytes,
    count: i64,
    version: u64,
    expires_at: Option<Time>,
) -> Attributes {
    let mut attributes = key(at);
    attributes.insert("v".to_owned(), number(version));
    if !body.is_empty() {
        attributes.insert("body".to_owned(), binary(body));
    }
    if count != 0 {
        attributes.insert("n".to_owned(), number(count));
    }
    let expiry = expires_at.map(expiry).into_iter().flatten();
    attributes.extend(expiry.map(|(name, value)| (name.to_owned(), value)));
    attributes
}

/// The item of these attributes, expired or not.
pub(super) fn read(mut attributes: Attributes) -> Result<Item, TableError> {
    let partition = text(&mut attributes, "pk")?;
    let marked = text(&mut attributes, "sk")?;
    let sort = marked.strip_prefix(MARK).ok_or_else(|| unreadable("sk", &marked))?;
    let body = match attributes.remove("body") {
        None => Bytes::new(),
        Some(AttributeValue::B(blob)) => blob.into_inner().into(),
        Some(other) => return Err(unreadable("body", &other)),
    };
    let version = parsed(&mut attributes, "v")?;
    Ok(Item {
        key: Key::new(partition, sort),
        body,
        count: parsed(&mut attributes, "n")?.unwrap_or(0),
        version: version.ok_or_else(|| unreadable("v", &"nothing"))?,
        expires_at: parsed(&mut attributes, "expms")?.map(Time::from_millis),
    })
}

/// Whether an item is there for those who read at `now`.
pub(super) fn is_live(item: &Item, now: Time) -> bool {
    item.expires_at.is_none_or(|at| at > now)
}

fn text(attributes: &mut Attributes, name: &str) -> Result<String, TableError> {
    match attributes.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        other => Err(unreadable(name, &other)),
    }
}

fn parsed<T: std::str::FromStr>(
    attributes: &mut Attributes,
    name: &str,
) -> Result<Option<T>, TableError> {
    match attributes.remove(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => {
            text.parse().map(Some).map_err(|_| unreadable(name, &text))
        }
        Some(other) => Err(unreadable(name, &other)),
    }
}

fn unreadable(name: &str, value: &dyn std::fmt::Debug) -> TableError {
    TableError::Malformed(format!("the attribute {name} cannot be {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_back_as_written() {
        for (body, count, expires_at) in
            [("", 0, None), ("{}", -3, Some(Time::from_millis(1_700_000_000_001)))]
        {
            let (key, body) = (Key::new("p", ""), Bytes::from(body));
            let attributes = whole(&key, &body, count, 7, expires_at);
            let item = Item { key, body, count, version: 7, expires_at };
            assert_eq!(read(attributes), Ok(item));
        }
    }

    #[test]
    fn deletion_never_comes_before_the_expiry() {
        for (millis, secs) in [(0, "0"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2")] {
            let [_, (name, value)] = expiry(Time::from_millis(millis));
            assert_eq!((name, value), ("exp", AttributeValue::N(secs.to_owned())));
        }
    }

    #[test]
    fn foreign_attributes_are_told_as_malformed() {
        let good = || whole(&Key::new("p", "s"), &Bytes::from("x"), 1, 1, None);
        for (name, value) in [
            ("pk", number(1_i64)),
            ("sk", AttributeValue::S("no mark".to_owned())),
            ("body", AttributeValue::S("text".to_owned())),
            ("v", AttributeValue::N("1e99".to_owned())),
            ("n", AttributeValue::Bool(true)),
            ("expms", AttributeValue::S("soon".to_owned())),
        ] {
            let mut attributes = good();
            attributes.insert(name.to_owned(), value);
            assert!(matches!(read(attributes), Err(TableError::Malformed(_))), "{name}");
        }
        let mut attributes = good();
        attributes.remove("v");
        assert!(matches!(read(attributes), Err(TableError::Malformed(_))));
    }
}
