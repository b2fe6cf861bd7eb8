//! The kinds of values that options have, each read the same from a flag and from a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use kernel::Time;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// A length of time: `2500ms`, `30s`, `15m`, `1h`, `30d`; a bare number is seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = time(text).filter(|time| !time.is_zero());
        time.map(Self).ok_or_else(|| SPAN_WANTED.into())
    }
}

/// A length of time that may also be none at all: `0`, `2s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        time(text).map(Self).ok_or_else(|| format!("0, or {SPAN_WANTED}"))
    }
}

fn time(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis_each: u64 = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(millis_each)?;
    (millis <= 3_650 * 86_400_000).then(|| Duration::from_millis(millis))
}

const SPAN_WANTED: &str = "a time such as 2500ms, 30s, 15m, 1h or 30d is wanted, up to ten years";

/// A moment: `2026-11-30T10:15:00Z`, with an offset in place of the Z where one likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment(pub(crate) Time);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = |_| "a moment such as 2026-11-30T10:15:00Z is wanted".to_owned();
        serde_json::from_value(text.into()).map(Self).map_err(wanted)
    }
}

/// Where copies are kept: a folder, or `s3://bucket/prefix`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CopiesAt {
    /// On this machine.
    Folder(PathBuf),
    /// In a bucket, by its address.
    Bucket(String),
}

impl FromStr for CopiesAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("s3", rest)) if !rest.starts_with('/') && !rest.is_empty() => {
                Ok(Self::Bucket(text.to_owned()))
            }
            Some(_) => Err("a folder or s3://bucket/prefix is wanted".to_owned()),
            None => Ok(Self::Folder(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for CopiesAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

/// A number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// The number of bytes, as lengths in memory are counted.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let each: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(SIZE_WANTED.into()),
        };
        let number: u64 = number.parse().map_err(|_| SIZE_WANTED)?;
        match number.checked_mul(each) {
            Some(bytes @ 1..) => Ok(Self(bytes)),
            _ => Err(SIZE_WANTED.into()),
        }
    }
}

const SIZE_WANTED: &str = "a size such as 65536, 64KiB, 16MiB or 1GiB is wanted";

/// So many of a hundred: `5`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Percent(pub(crate) u8);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.parse().ok().filter(|percent| *percent <= 100);
        percent.map(Self).ok_or_else(|| "a whole number from 0 to 100 is wanted".to_owned())
    }
}

/// Reads a value from a string or a whole number by its [`FromStr`].
struct Scalar<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

/// Some values: comma-separated in a flag, a list or comma-separated in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts
            .map(|part| part.parse().map_err(|error| format!("`{part}`: {error}")))
            .collect::<Result<_, String>>()
            .map(Self)
    }
}

struct Sequence<T>(std::marker::PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Sequence<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<List<T>, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(text) = sequence.next_element::<String>()? {
            values.push(
                text.parse().map_err(|error| de::Error::custom(format!("`{text}`: {error}")))?,
            );
        }
        Ok(List(values))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sequence(std::marker::PhantomData))
    }
}

/// A web origin: `https://app.example`, with a port where it is not the scheme's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin(pub(crate) String);

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let good = host.is_some_and(|host| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            !host.is_empty() && host.chars().all(allowed)
        });
        if good {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("https://app.example is wanted")
        }
    }
}

/// What nobody may read in a log line, a message or a process list.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Never fails: a message would show the value.
impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// An environment's name, as it stands in the names of tables and queues: `dev`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EnvName(pub(crate) String);

impl FromStr for EnvName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=32).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("1 to 32 small letters, digits and hyphens are wanted".to_owned())
        }
    }
}

impl<'de> Deserialize<'de> for EnvName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(std::marker::PhantomData))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value there is.
            pub(crate) const ALL: &[$name] = &[$($name::$variant,)*];

            /// The word that stands for it.
            pub(crate) const fn word(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|value| value.word() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|value| value.word()).collect();
                    format!("one of {} is wanted", words.join(", "))
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Scalar(std::marker::PhantomData))
            }
        }
    };
}

words! {
    /// What the services run on.
    Backend {
        /// Everything in this process.
        Embedded = "embedded",
        /// The services of AWS.
        Aws = "aws",
    }
}

words! {
    /// A service's name.
    ServiceName {
        /// Accounts and profiles.
        User = "user",
        /// Posts.
        Post = "post",
        /// Follows and likes.
        Social = "social",
        /// Timelines and sockets.
        Timeline = "timeline",
    }
}

words! {
    /// How log lines look.
    LogFormat {
        /// Pretty on a terminal, else JSON.
        Auto = "auto",
        /// For people.
        Pretty = "pretty",
        /// For programs.
        Json = "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!("2500ms".parse(), Ok(Span(Duration::from_millis(2500))));
        assert_eq!("90".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("30d".parse(), Ok(Span(Duration::from_hours(720))));
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        for bad in ["", "0s", "-1", "1.5h", "h", "99999999999999999999s", "1w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        let moment = Time::from_millis(1_700_000_000_000);
        assert_eq!("2023-11-14T23:13:20+01:00".parse(), Ok(Moment(moment)));
        assert!("2023-11-14".parse::<Moment>().is_err());
        assert_eq!("0".parse(), Ok(Age(Duration::ZERO)));
        assert_eq!("2s".parse(), Ok(Age(Duration::from_secs(2))));
        for bad in ["", "-1", "1w", "5000d"] {
            assert!(bad.parse::<Age>().is_err(), "{bad}");
        }
        assert_eq!("100".parse(), Ok(Percent(100)));
        for bad in ["", "-1", "101", "5%", "0.5"] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        for bad in ["", "0", "1kb", "99999999999GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let secrets: List<Secret> = "hush-hush, and-quiet".parse().unwrap();
        assert_eq!(secrets.0[1].reveal(), "and-quiet");
        assert!(!format!("{secrets:?}").contains("quiet"));
    }

    #[test]
    fn lists_say_which_part_is_wrong() {
        let names: List<ServiceName> = "user, post".parse().unwrap();
        assert_eq!(names.0, [ServiceName::User, ServiceName::Post]);
        let error = "user,shop".parse::<List<ServiceName>>().unwrap_err();
        assert!(error.contains("`shop`") && error.contains("timeline"), "{error}");
    }
}
