//! How an item and its key become bytes.
//!
//! A key is `partition 0x00 sort`; a partition holds no NUL, so keys sort by partition first. Keys
//! that begin with NUL are the store's own: its position, and the index of items by expiry.
//!
//! A value is `format, header length, header, body`. The header is a row of variable-length
//! integers (version, counter, expiry), the trailing ones left out where they are zero. A reader
//! skips integers that it does not know, so fields can be added at the end without a new format.
//!
//! Where the store is encrypted, its [`Cipher`] changes values and names of keys into what is
//! stored; what is said above of keys holds for those too.

use std::borrow::Cow;

use bytes::Bytes;
use kernel::Time;
use kernel::table::{Item, Key, TableError};

use crate::encryption::Cipher;

/// Where the store keeps the number of its last batch.
pub(super) const POSITION_KEY: &[u8] = b"\0seq";
/// The first possible key of an item.
pub(super) const FIRST_ITEM_KEY: &[u8] = &[1];

const EXPIRY_PREFIX: &[u8; 2] = b"\0x";
const EXPIRY_HEADER_LEN: usize = EXPIRY_PREFIX.len() + size_of::<u64>();
const FORMAT: u8 = 1;

/// An item without its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) body: Bytes,
    pub(super) count: i64,
    pub(super) version: u64,
    pub(super) expires_at: Option<Time>,
}

impl Row {
    /// Whether the item still counts as present.
    pub(super) fn is_live(&self, now: Time) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }

    pub(super) fn into_item(self, key: Key) -> Item {
        let Self { body, count, version, expires_at } = self;
        Item { key, body, count, version, expires_at }
    }

    /// As it is stored under the stored key `key`.
    pub(super) fn stored(&self, cipher: &Cipher, key: &[u8]) -> Vec<u8> {
        cipher.seal(self.version, key, self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let expiry = self.expires_at.map_or(0, |at| zigzag(at.millis()).saturating_add(1));
        let fields = [self.version, zigzag(self.count), expiry];
        let known = match fields {
            [_, 0, 0] => 1,
            [_, _, 0] => 2,
            _ => 3,
        };
        let mut out = Vec::with_capacity(2 + 10 * known + self.body.len());
        out.extend([FORMAT, 0]);
        for field in &fields[..known] {
            put_varint(&mut out, *field);
        }
        // Three integers of at most ten bytes each.
        out[1] = u8::try_from(out.len() - 2).unwrap_or(u8::MAX);
        out.extend_from_slice(&self.body);
        out
    }

    fn decode(value: Cow<'_, [u8]>) -> Option<Self> {
        let (row, body_len) = Self::head(&value)?;
        let body = match value {
            Cow::Borrowed(value) => Bytes::copy_from_slice(&value[value.len() - body_len..]),
            Cow::Owned(value) => {
                let at = value.len() - body_len;
                Bytes::from(value).slice(at..)
            }
        };
        Some(Self { body, ..row })
    }

    /// The row without its body, and how long that is.
    fn head(value: &[u8]) -> Option<(Self, usize)> {
        let (&[format, header_len], rest) = value.split_first_chunk::<2>()?;
        if format != FORMAT {
            return None;
        }
        let (mut header, body) = rest.split_at_checked(usize::from(header_len))?;
        let mut field = || {
            if header.is_empty() { Some(0) } else { take_varint(&mut header) }
        };
        let (version, count, expiry) = (field()?, field()?, field()?);
        let row = Self {
            body: Bytes::new(),
            count: unzigzag(count),
            version,
            expires_at: expiry.checked_sub(1).map(|code| Time::from_millis(unzigzag(code))),
        };
        Some((row, body.len()))
    }
}

/// A value that is there must be readable; anything else is a defect or a damaged disk.
pub(super) fn decode(cipher: &Cipher, key: &[u8], value: &[u8]) -> Result<Row, TableError> {
    cipher.open(key, value).and_then(Row::decode).ok_or_else(|| {
        TableError::Malformed(format!("stored item {:?}", String::from_utf8_lossy(key)))
    })
}

pub(super) fn encode_key(cipher: &Cipher, key: &Key) -> Vec<u8> {
    let (partition, sort) = cipher.key(key);
    join(&partition, &sort)
}

/// The bytes of the stored key in `partition` at `sort`.
pub(super) fn join(partition: &str, sort: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(partition.len() + 1 + sort.len());
    out.extend_from_slice(partition.as_bytes());
    out.push(0);
    out.extend_from_slice(sort.as_bytes());
    out
}

/// The first key after all those of `partition`.
pub(super) fn after(partition: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(partition.len() + 1);
    out.extend_from_slice(partition.as_bytes());
    out.push(1);
    out
}

pub(super) fn decode_key(cipher: &Cipher, bytes: &[u8]) -> Result<Key, TableError> {
    let parsed = || {
        let nul = bytes.iter().position(|&byte| byte == 0)?;
        let partition = std::str::from_utf8(&bytes[..nul]).ok()?;
        let sort = std::str::from_utf8(&bytes[nul + 1..]).ok()?;
        cipher.open_key(Key::new(partition, sort))
    };
    parsed().ok_or_else(|| {
        TableError::Malformed(format!("stored key {:?}", String::from_utf8_lossy(bytes)))
    })
}

/// The row of the expiry index for the item at `key`.
pub(super) fn expiry_key(at: Time, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(EXPIRY_HEADER_LEN + key.len());
    out.extend_from_slice(EXPIRY_PREFIX);
    // With the sign bit turned round, integers sort by bytes as they do by size.
    out.extend_from_slice(&(at.millis() ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// The item's key that a row of the expiry index stands for.
pub(super) fn expiring_key(index_key: &[u8]) -> Option<&[u8]> {
    index_key.get(EXPIRY_HEADER_LEN..)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(
            body in prop::collection::vec(any::<u8>(), 0..100),
            count: i64,
            version: u64,
            millis in prop::option::of(-4_000_000_000_000_i64..4_000_000_000_000),
        ) {
            let expires_at = millis.map(Time::from_millis);
            let row = Row { body: body.into(), count, version, expires_at };
            assert_eq!(Row::decode(row.encode().into()), Some(row));
        }

        #[test]
        fn keys_sort_as_their_parts(a: (String, String), b: (String, String)) {
            let key =
                |(partition, sort): (String, String)| Key::new(partition.replace('\0', ""), sort);
            let (a, b) = (key(a), key(b));
            let encode = |key| encode_key(&Cipher::Plain, key);
            assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
            assert_eq!(decode_key(&Cipher::Plain, &encode(&a)), Ok(a));
        }

        #[test]
        fn damaged_values_are_refused_and_never_panic(value: Vec<u8>) {
            let _ = Row::decode(value.into());
        }
    }

    #[test]
    fn a_plain_row_costs_two_bytes_and_its_version_and_newer_fields_are_skipped() {
        let row = Row { body: "x".into(), count: 0, version: 1, expires_at: None };
        assert_eq!(row.encode(), [FORMAT, 1, 1, b'x']);
        let newer = [FORMAT, 5, 7, 0, 0, 99, 98, b'x'];
        assert_eq!(Row::decode(newer[..].into()), Some(Row { version: 7, ..row }));
    }

    #[test]
    fn expiry_keys_sort_by_time_even_before_1970() {
        let at = |millis| expiry_key(Time::from_millis(millis), b"p\0s");
        assert!([at(-2), at(-1), at(0), at(1), at(300)].is_sorted());
        assert_eq!(expiring_key(&at(5)), Some(&b"p\0s"[..]));
    }
}
