//! How one part of a data directory is sealed: values, the names in partitions, and sort keys that
//! are names.
//!
//! The one cipher is AES-256-GCM-SIV (RFC 8452): where a nonce comes again it tells whether two
//! sealed values of one place are equal, and nothing else. So values take the number of their batch
//! as their nonce, and names, which have to be found again, none.
//!
//! | what | how it is written |
//! |---|---|
//! | a value | `2, nonce (8), ciphertext, tag (16)`, bound to its key |
//! | `kind#rest` | `kind#~` and the sealed rest in base64; an id is left as it is |
//! | a hidden sort key | eight letters that stand for its beginning, and it sealed in base64 |

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use kernel::table::Key;

use super::Secret;

/// The first byte of a sealed value. Plain ones begin with another.
const SEALED: u8 = 2;
const NONCE_BYTES: usize = size_of::<u64>();
const HEAD_BYTES: usize = 1 + NONCE_BYTES;
/// What tells a sealed rest of a partition from an id.
const MARK: char = '~';
/// Characters of a hidden sort key that each of its two buckets stands for, and letters of one.
const BUCKETS: [usize; 2] = [2, 3];
const BUCKET_BYTES: usize = 3;
const BUCKET_LETTERS: usize = 4;
const ID_LETTERS: usize = 26;

/// A key for one purpose, made from another one.
pub(super) fn derived(key: &Secret, purpose: &str) -> Secret {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes());
    let mut derived = Secret::default();
    derived.copy_from_slice(tag.as_ref());
    derived
}

/// How rows are written.
#[derive(Clone, Default)]
pub(crate) enum Cipher {
    /// As they are.
    #[default]
    Plain,
    /// Sealed.
    Sealed(Arc<Keys>),
}

/// The keys of one part.
pub(crate) struct Keys {
    values: LessSafeKey,
    names: LessSafeKey,
    buckets: hmac::Key,
    /// The beginnings of partitions whose sort keys are names.
    hidden: &'static [&'static str],
}

impl Cipher {
    pub(super) fn new(data_key: &Secret, part: &str, hidden: &'static [&'static str]) -> Self {
        let key = |purpose: &str| derived(data_key, &format!("mini-sns {purpose} of {part}"));
        let cipher = |purpose| {
            let key = UnboundKey::new(&AES_256_GCM_SIV, &key(purpose));
            LessSafeKey::new(key.expect("a key of this cipher has 32 bytes"))
        };
        let (values, names) = (cipher("values"), cipher("names"));
        let buckets = hmac::Key::new(hmac::HMAC_SHA256, &key("buckets"));
        Self::Sealed(Arc::new(Keys { values, names, buckets, hidden }))
    }

    pub(crate) const fn is_on(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// A value as it is written under the stored key `key`.
    pub(crate) fn seal(&self, number: u64, key: &[u8], value: Vec<u8>) -> Vec<u8> {
        let Self::Sealed(keys) = self else { return value };
        let mut out = Vec::with_capacity(HEAD_BYTES + value.len() + MAX_TAG_LEN);
        out.push(SEALED);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&value);
        let tag = keys.values.seal_in_place_separate_tag(
            nonce(number),
            Aad::from(key),
            &mut out[HEAD_BYTES..],
        );
        out.extend_from_slice(tag.expect("a row is short enough to be sealed").as_ref());
        out
    }

    /// A value as it was, where it was written so under the stored key `key`.
    pub(crate) fn open<'a>(&self, key: &[u8], stored: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Self::Sealed(keys) = self else { return Some(Cow::Borrowed(stored)) };
        let (head, sealed) = stored.split_first_chunk::<HEAD_BYTES>()?;
        let (&[format], number) = head.split_first_chunk::<1>()?;
        if format != SEALED {
            return None;
        }
        let number = u64::from_le_bytes(number.try_into().ok()?);
        let mut value = sealed.to_vec();
        let length = keys.values.open_in_place(nonce(number), Aad::from(key), &mut value).ok()?;
        let length = length.len();
        value.truncate(length);
        Some(Cow::Owned(value))
    }

    /// A partition as it is written.
    pub(crate) fn partition<'a>(&self, partition: &'a str) -> Cow<'a, str> {
        let Self::Sealed(keys) = self else { return Cow::Borrowed(partition) };
        let (kind, rest) = halves(partition);
        if is_readable(rest) {
            return Cow::Borrowed(partition);
        }
        Cow::Owned(format!("{kind}{MARK}{}", keys.name(kind, rest)))
    }

    /// A key as it is written.
    pub(crate) fn key<'a>(&self, key: &'a Key) -> (Cow<'a, str>, Cow<'a, str>) {
        let partition = self.partition(&key.partition);
        match self {
            Self::Sealed(keys) if keys.hides(&key.partition) => {
                let beginnings =
                    BUCKETS.map(|length| keys.bucket(&key.partition, &key.sort, length));
                let sort = keys.name(&key.partition, &key.sort);
                (partition, Cow::Owned(beginnings.concat() + &sort))
            }
            _ => (partition, Cow::Borrowed(&key.sort)),
        }
    }

    /// A key as it was, from what is written.
    pub(crate) fn open_key(&self, stored: Key) -> Option<Key> {
        let Self::Sealed(keys) = self else { return Some(stored) };
        let (kind, rest) = halves(&stored.partition);
        let partition = match rest.strip_prefix(MARK) {
            Some(sealed) => format!("{kind}{}", keys.named(kind, sealed)?),
            None if is_readable(rest) => stored.partition,
            None => return None,
        };
        if !keys.hides(&partition) {
            return Some(Key { partition, sort: stored.sort });
        }
        let sealed = stored.sort.get(BUCKETS.len() * BUCKET_LETTERS..)?;
        let sort = keys.named(&partition, sealed)?;
        Some(Key { partition, sort })
    }

    /// What all written partitions begin with that stand for one that begins with `prefix`. More
    /// may.
    pub(crate) fn prefix<'a>(&self, prefix: &'a str) -> &'a str {
        match self {
            Self::Plain => prefix,
            Self::Sealed(_) => {
                let (kind, rest) = halves(prefix);
                if kind.ends_with('#') && !is_readable(rest) { kind } else { prefix }
            }
        }
    }

    /// Where the sort keys of `partition` are hidden: what all those are written with at their
    /// beginning that themselves begin with `beginning`.
    pub(crate) fn hidden(&self, partition: &str, beginning: &str) -> Option<String> {
        let Self::Sealed(keys) = self else { return None };
        let known = |length: &usize| beginning.chars().count() >= *length;
        let buckets = BUCKETS.into_iter().take_while(known);
        let letters = buckets.map(|length| keys.bucket(partition, beginning, length));
        keys.hides(partition).then(|| letters.collect())
    }
}

impl Keys {
    fn hides(&self, partition: &str) -> bool {
        self.hidden.iter().any(|hidden| partition.starts_with(hidden))
    }

    /// The same name in the same context is the same text.
    fn name(&self, context: &str, name: &str) -> String {
        let mut sealed = name.as_bytes().to_vec();
        self.names
            .seal_in_place_append_tag(nonce(0), Aad::from(context.as_bytes()), &mut sealed)
            .expect("a name is short enough to be sealed");
        BASE64.encode(sealed)
    }

    fn named(&self, context: &str, sealed: &str) -> Option<String> {
        let mut sealed = BASE64.decode(sealed).ok()?;
        let aad = Aad::from(context.as_bytes());
        let name = self.names.open_in_place(nonce(0), aad, &mut sealed).ok()?;
        String::from_utf8(name.to_vec()).ok()
    }

    /// Letters that stand for the first `length` characters of a sort key.
    fn bucket(&self, partition: &str, sort: &str, length: usize) -> String {
        let end = sort.char_indices().nth(length).map_or(sort.len(), |(at, _)| at);
        let text = [partition.as_bytes(), &[0], &sort.as_bytes()[..end]].concat();
        BASE64.encode(&hmac::sign(&self.buckets, &text).as_ref()[..BUCKET_BYTES])
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..NONCE_BYTES].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// A partition's kind with its `#`, and what of that kind it is.
fn halves(partition: &str) -> (&str, &str) {
    let at = partition.find('#').map_or(partition.len(), |at| at + 1);
    partition.split_at(at)
}

/// Ids tell nobody's name. No name looks like one: those are folded to small letters.
fn is_readable(rest: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    let is_number = |byte: u8| byte.is_ascii_digit();
    rest.is_empty()
        || (rest.len() == ID_LETTERS && rest.bytes().all(is_letter) && !rest.bytes().all(is_number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn cipher() -> Cipher {
        Cipher::new(&[7; 32], "user", &["names#"])
    }

    fn stored(key: &Key) -> Key {
        let cipher = cipher();
        let (partition, sort) = cipher.key(key);
        Key::new(partition, sort)
    }

    proptest! {
        #[test]
        fn values_come_back_as_they_were_under_their_key_alone(
            number: u64,
            key in prop::collection::vec(any::<u8>(), 0..50),
            value in prop::collection::vec(any::<u8>(), 0..200),
            at: usize,
            bit in 0..8_u8,
        ) {
            let sealed = cipher().seal(number, &key, value.clone());
            assert_eq!(cipher().open(&key, &sealed).as_deref(), Some(&value[..]));
            let mut changed = sealed.clone();
            changed[at % sealed.len()] ^= 1 << bit;
            assert_eq!(cipher().open(&key, &changed), None);
            assert_eq!(cipher().open(&key, &sealed[..at % sealed.len()]), None);
            assert_eq!(cipher().open(&[&key[..], b"x"].concat(), &sealed), None);
            assert_eq!(Cipher::new(&[7; 32], "post", &[]).open(&key, &sealed), None);
            assert_eq!(Cipher::new(&[8; 32], "user", &[]).open(&key, &sealed), None);
        }

        #[test]
        fn keys_come_back_as_they_were(
            partition in "[a-z#~]{0,3}(names#)?[^\0]{1,40}",
            sort: String,
        ) {
            let key = Key::new(partition, sort);
            let stored = stored(&key);
            assert!(!stored.partition.contains('\0'));
            assert_eq!(cipher().open_key(stored), Some(key));
        }

        #[test]
        fn what_is_no_key_of_ours_is_refused_and_never_panics(partition: String, sort: String) {
            if let Some(key) = cipher().open_key(Key::new(partition.clone(), sort.clone())) {
                assert_eq!(stored(&key), Key::new(partition, sort));
            }
        }

        #[test]
        fn a_hidden_sort_key_is_found_by_each_beginning(sort: String, letters in 0..6_usize) {
            let beginning: String = sort.chars().take(letters).collect();
            let prefix = cipher().hidden("names#x", &beginning).unwrap();
            assert!(stored(&Key::new("names#x", sort)).sort.starts_with(&prefix));
        }
    }

    #[test]
    fn names_are_sealed_and_ids_are_not() {
        let partition = |text: &str| stored(&Key::new(text, "")).partition;
        for readable in ["days", "handle#", &format!("profile#{ID}")] {
            assert_eq!(partition(readable), readable);
        }
        for sealed in ["handle#ann", "handle#00000000000000000000000000", "a#b#c", "handle#~x"] {
            let stored = partition(sealed);
            let (kind, _) = halves(sealed);
            assert!(stored.starts_with(&format!("{kind}~")), "{stored}");
            assert!(!stored.contains(&sealed[kind.len()..]), "{stored}");
        }
        assert_ne!(partition("a#same")[3..], partition("b#same")[3..], "nor can kinds be compared");
        assert_eq!(cipher().hidden("other#x", "a"), None);
    }

    #[test]
    fn a_name_in_the_place_of_another_kind_is_refused() {
        let moved = stored(&Key::new("a#name", "")).partition.replacen('a', "b", 1);
        assert_eq!(cipher().open_key(Key::new(moved, "")), None);
        assert_eq!(
            cipher().open_key(Key::new("a#name", "")),
            None,
            "nor is one that is not sealed"
        );
    }
}
