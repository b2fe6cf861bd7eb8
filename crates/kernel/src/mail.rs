//! Letters to people.

use std::str::FromStr;

use async_trait::async_trait;
use serde::Deserialize;

use crate::Problem;

/// A letter in plain text; what it says may be secret, so not `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The address.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
}

/// Who brings letters.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands the letter on. Whether it arrives is told nobody.
    async fn send(&self, letter: Letter) -> Result<(), Problem>;
}

/// What people may do before they have confirmed their e-mail address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum EmailConfirmation {
    /// Everything, and they are not asked.
    Off,
    /// Post a few times a day.
    Limit,
    /// Not post.
    Require,
}

impl FromStr for EmailConfirmation {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "off" => Ok(Self::Off),
            "limit" => Ok(Self::Limit),
            "require" => Ok(Self::Require),
            _ => Err("one of off, limit, require is wanted"),
        }
    }
}

impl TryFrom<String> for EmailConfirmation {
    type Error = &'static str;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_the_same_from_text_and_from_a_file() {
        for (word, wanted) in [
            ("off", Some(EmailConfirmation::Off)),
            ("limit", Some(EmailConfirmation::Limit)),
            ("require", Some(EmailConfirmation::Require)),
            ("Off", None),
            ("", None),
        ] {
            let (text, file) = (word.parse(), serde_json::from_value(word.into()));
            assert_eq!((text.ok(), file.ok()), (wanted, wanted), "{word}");
        }
        let line = serde_json::from_str::<EmailConfirmation>(r#""maybe""#).unwrap_err().to_string();
        assert!(line.contains("off, limit, require"), "{line}");
    }
}
