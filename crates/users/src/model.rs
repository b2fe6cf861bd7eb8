//! The rules of accounts and profiles.

use kernel::{Code, FieldError, Problem, Profile, Time};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::Config;

/// Bytes of an e-mail address, at most (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;
/// Bytes that one user-perceived character may take on average. The longest that people use, such
/// as families of emoji, take about 35; without a bound one letter could carry a page of accents.
const CHARACTER_BYTES_MAX: usize = 40;
/// Characters of a handle that is made up for somebody.
pub const MADE_UP_HANDLE_CHARACTERS: usize = 17;

/// A registration whose fields keep the rules; holds a password, so not `Debug`.
pub(crate) struct Registration {
    pub(crate) email: String,
    pub(crate) password: String,
    /// None to have one made up.
    pub(crate) handle: Option<String>,
    pub(crate) display_name: String,
}

impl Registration {
    /// Checks every field.
    pub(crate) fn parse(
        (address, secret): (Sent, Sent),
        (wanted_handle, name): (Sent, Sent),
        config: &Config,
    ) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let email = noting(&mut errors, required("email", address).and_then(|text| email(&text)));
        let wanted = optional("handle", wanted_handle);
        let wanted = wanted.and_then(|text| text.map(|text| handle(&text, config)).transpose());
        let wanted = noting(&mut errors, wanted);
        let name = optional("displayName", name);
        let name = name.and_then(|text| display_name(&text.unwrap_or_default(), config));
        let name = noting(&mut errors, name);
        let secret = noting(&mut errors, required("password", secret));
        let weak =
            secret.as_deref().map_or(Vec::new(), |text| weaknesses("password", text, config));
        match (email, secret, wanted, name) {
            (Some(email), Some(secret), Some(handle), Some(display_name)) if weak.is_empty() => {
                Ok(Self { email, password: password(&secret), handle, display_name })
            }
            _ => Err(refusal(errors, weak)),
        }
    }
}

/// A field of a body as it came: anything, or nothing.
pub(crate) type Sent = Option<Value>;

/// Texts that a body must have. Every one that is missing is told.
pub(crate) fn texts<const N: usize>(fields: [(&str, Sent); N]) -> Result<[String; N], Problem> {
    let mut errors = Vec::new();
    let texts = fields.map(|(field, sent)| noting(&mut errors, required(field, sent)));
    if errors.is_empty() {
        Ok(texts.map(Option::unwrap_or_default))
    } else {
        Err(Problem::invalid_fields(errors))
    }
}

fn required(field: &str, sent: Sent) -> Result<String, FieldError> {
    let missing = || FieldError::new(field, "This field is required.");
    optional(field, sent)?.ok_or_else(missing)
}

fn optional(field: &str, sent: Sent) -> Result<Option<String>, FieldError> {
    match sent {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(FieldError::new(field, "A text.")),
    }
}

/// The problem of a body with these errors. Where the password breaks the policy that is the code,
/// for it is the one that people are asked to mend in words of its own.
fn refusal(mut errors: Vec<FieldError>, weak: Vec<FieldError>) -> Problem {
    if weak.is_empty() {
        return Problem::invalid_fields(errors);
    }
    errors.extend(weak);
    Problem { errors, ..Problem::new(Code::WeakPassword, "Choose a stronger password.") }
}

fn noting<T>(errors: &mut Vec<FieldError>, result: Result<T, FieldError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

/// An address as it is kept and shown; it is compared without the differences that
/// [`kernel::fold()`] leaves out.
pub(crate) fn kept_email(text: &str) -> String {
    text.trim().nfc().collect::<String>().to_lowercase()
}

fn email(text: &str) -> Result<String, FieldError> {
    let email = kept_email(text);
    let error = |message: &str| Err(FieldError::new("email", message));
    if email.len() > EMAIL_BYTES_MAX {
        return error("At most 254 bytes.");
    }
    if email.chars().any(|c| c.is_whitespace() || is_refused(c)) {
        return error("No spaces and no control characters.");
    }
    match email.split_once('@') {
        Some((name, domain)) if !name.is_empty() && !domain.is_empty() && !domain.contains('@') => {
            Ok(email)
        }
        _ => error("An e-mail address such as `name@example.org`."),
    }
}

/// A password as it is hashed: the same text typed on two keyboards is the same password.
pub(crate) fn password(text: &str) -> String {
    text.nfc().collect()
}

/// The present password and a new one that keeps the policy.
pub(crate) fn password_change(
    current: Sent,
    new: Sent,
    config: &Config,
) -> Result<(String, String), Problem> {
    let mut errors = Vec::new();
    let current = noting(&mut errors, required("currentPassword", current));
    let new = noting(&mut errors, required("newPassword", new));
    let weak = new.as_deref().map_or(Vec::new(), |text| weaknesses("newPassword", text, config));
    match (current, new) {
        (Some(current), Some(new)) if weak.is_empty() => Ok((password(&current), password(&new))),
        _ => Err(refusal(errors, weak)),
    }
}

/// An address, the code of a letter, and a new password that keeps the policy.
pub(crate) fn password_reset(
    (address, code): (Sent, Sent),
    new: Sent,
    config: &Config,
) -> Result<(String, String, String), Problem> {
    let mut errors = Vec::new();
    let address = noting(&mut errors, required("email", address));
    let code = noting(&mut errors, required("code", code));
    let new = noting(&mut errors, required("password", new));
    let weak = new.as_deref().map_or(Vec::new(), |text| weaknesses("password", text, config));
    match (address, code, new) {
        (Some(address), Some(code), Some(new)) if weak.is_empty() => {
            Ok((kept_email(&address), code, password(&new)))
        }
        _ => Err(refusal(errors, weak)),
    }
}

/// One error for each rule that the password does not meet.
fn weaknesses(field: &str, text: &str, config: &Config) -> Vec<FieldError> {
    let password = password(text);
    let length = password.chars().count();
    let symbol = |c: char| !c.is_alphanumeric() && !c.is_control();
    let (min, max) = (config.password_characters_min, config.password_characters_max);
    let rules = [
        (length >= min, format!("At least {min} characters.")),
        (length <= max, format!("At most {max} characters.")),
        (password.chars().any(char::is_alphabetic), "At least one letter.".to_owned()),
        (password.chars().any(char::is_numeric), "At least one digit.".to_owned()),
        (password.chars().any(symbol), "At least one symbol.".to_owned()),
    ];
    let unmet = rules.into_iter().filter(|(met, _)| !met);
    unmet.map(|(_, message)| FieldError::new(field, message)).collect()
}

/// A new handle as it is stored; upper case is folded.
fn handle(text: &str, config: &Config) -> Result<String, FieldError> {
    let (min, max) = (config.handle_characters_min, config.handle_characters_max);
    let handle = kept_handle(text).filter(|handle| (min..=max).contains(&handle.len()));
    handle.ok_or_else(|| FieldError::new("handle", format!("{min} to {max} of a-z, 0-9 and _.")))
}

/// Bytes of a handle that somebody may have, whatever the present limits are.
const KEPT_HANDLE_BYTES_MAX: usize = 512;

/// A handle as it would be stored; none where nobody can have it.
pub(crate) fn kept_handle(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let may_be = text.len() <= KEPT_HANDLE_BYTES_MAX && text.bytes().all(allowed);
    (may_be && !text.is_empty()).then(|| text.to_ascii_lowercase())
}

/// A handle made up from a random secret: 60 of its bits, so that a taken one is a rarity.
pub(crate) fn made_up_handle(secret: &[u8; 32]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let letters = secret.iter().take(12).map(|byte| LETTERS[usize::from(byte % 32)]);
    format!("user_{}", letters.map(char::from).collect::<String>())
}

fn is_refused(c: char) -> bool {
    // Control characters, and the code points that are no characters in any plane.
    c.is_control() || u32::from(c) & 0xFFFE == 0xFFFE
}

fn text(
    field: &str,
    text: &str,
    characters_max: usize,
    allowed: &[char],
) -> Result<String, FieldError> {
    let text: String = text.trim().nfc().collect();
    if text.chars().any(|c| is_refused(c) && !allowed.contains(&c)) {
        return Err(FieldError::new(field, "No control characters."));
    }
    let too_many_bytes = text.len() > characters_max.saturating_mul(CHARACTER_BYTES_MAX);
    if too_many_bytes || text.graphemes(true).count() > characters_max {
        return Err(FieldError::new(field, format!("At most {characters_max} characters.")));
    }
    Ok(text)
}

fn display_name(name: &str, config: &Config) -> Result<String, FieldError> {
    text("displayName", name, config.display_name_characters_max, &[])
}

fn bio(words: &str, config: &Config) -> Result<String, FieldError> {
    text("bio", &words.replace("\r\n", "\n"), config.bio_characters_max, &['\n'])
}

/// A change of a profile (RFC 7396), its values keeping the rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Patch {
    handle: Option<String>,
    display_name: Option<String>,
    bio: Option<String>,
}

impl Patch {
    /// Reads a merge patch: null clears a text; a handle cannot be cleared; other members are not
    /// ours and change nothing.
    pub(crate) fn parse(patch: &Map<String, Value>, config: &Config) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let mut member = |name: &str, empty: Option<&str>| {
            let read = match (patch.get(name), empty) {
                (None, _) => Ok(None),
                (Some(Value::String(text)), _) => Ok(Some(text.clone())),
                (Some(Value::Null), Some(empty)) => Ok(Some(empty.to_owned())),
                (Some(Value::Null), None) => Err("It cannot be removed."),
                (Some(_), _) => Err("A text."),
            };
            let read = read.map_err(|message| FieldError::new(name, message));
            noting(&mut errors, read).flatten()
        };
        let members = (member("handle", None), member("displayName", Some("")));
        let words = member("bio", Some(""));
        let (wanted, name) = members;
        let wanted = wanted.map(|wanted| handle(&wanted, config)).transpose();
        let name = name.map(|name| display_name(&name, config)).transpose();
        let words = words.map(|words| bio(&words, config)).transpose();
        let patch = Self {
            handle: noting(&mut errors, wanted).flatten(),
            display_name: noting(&mut errors, name).flatten(),
            bio: noting(&mut errors, words).flatten(),
        };
        if errors.is_empty() { Ok(patch) } else { Err(Problem::invalid_fields(errors)) }
    }

    /// The profile after the change; none when it changes nothing.
    pub(crate) fn apply(&self, before: &Profile, now: Time) -> Option<Profile> {
        let chosen = |new: &Option<String>, old: &String| new.clone().unwrap_or(old.clone());
        let after = Profile {
            handle: chosen(&self.handle, &before.handle),
            display_name: chosen(&self.display_name, &before.display_name),
            bio: chosen(&self.bio, &before.bio),
            ..before.clone()
        };
        if after == *before {
            return None;
        }
        // Two changes never carry one time, so that of two the later one is known.
        let next = Time::from_millis(before.updated_at.millis() + 1);
        Some(Profile { updated_at: now.max(next), ..after })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration(email: &str, password: &str) -> Result<Registration, Problem> {
        let sent = (Some(email.into()), Some(password.into()));
        Registration::parse(sent, (None, None), &Config::default())
    }

    #[test]
    fn each_unmet_rule_of_a_password_is_named() {
        let told = |password: &str| {
            let problem = registration("a@b", password).err();
            problem.map_or(Vec::new(), |problem| {
                assert_eq!(problem.code, Code::WeakPassword);
                problem.errors.into_iter().map(|error| error.message).collect()
            })
        };
        assert_eq!(told("pass-word-1"), Vec::<String>::new());
        assert_eq!(told("pass word 1"), Vec::<String>::new());
        assert_eq!(told("ÄÖÜ-äöü-٣"), Vec::<String>::new());
        assert_eq!(told("abc-1"), ["At least 8 characters."]);
        assert_eq!(told("12345678"), ["At least one letter.", "At least one symbol."]);
        assert_eq!(told("abcdefg-"), ["At least one digit."]);
        assert_eq!(told(&"a1-".repeat(86)), ["At most 256 characters."]);
        assert_eq!(told("").len(), 4);
    }

    #[test]
    fn a_weak_password_is_told_with_the_other_errors() {
        let problem = registration("nobody", "short").err().unwrap();
        assert_eq!(problem.code, Code::WeakPassword);
        assert_eq!((problem.errors[0].field.as_str(), problem.errors.len()), ("email", 4));
    }

    #[test]
    fn addresses_are_folded_and_odd_ones_refused() {
        assert_eq!(email("  Ann@Example.ORG\n").unwrap(), "ann@example.org");
        assert_eq!(email("ann+tag@localhost").unwrap(), "ann+tag@localhost");
        assert_eq!(email("E\u{301}@x.org").unwrap(), "\u{e9}@x.org");
        let long = format!("{}@x.org", "a".repeat(249));
        for bad in ["", "@", "a@", "@b", "a@b@c", "a b@c", "a\u{0}@b", "a@b\u{7f}", &long] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn handles_are_folded_and_odd_ones_refused() {
        let config = Config::default();
        assert_eq!(handle("Ann_42", &config).unwrap(), "ann_42");
        let long = "a".repeat(31);
        for bad in ["", "ab", "a b", "ann-", "änn", " ann", "K\u{212a}k", &long] {
            assert!(handle(bad, &config).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lengths_are_the_operators_to_set() {
        let config = Config {
            handle_characters_min: 5,
            handle_characters_max: 20,
            password_characters_min: 12,
            ..Config::default()
        };
        for (text, fits) in [("abcd", false), ("abcde", true), (&"a".repeat(21), false)] {
            assert_eq!(handle(text, &config).is_ok(), fits, "{text}");
            assert_eq!(kept_handle(text).as_deref(), Some(text), "it may be somebody's already");
        }
        assert_eq!(handle("abcd", &config).unwrap_err().message, "5 to 20 of a-z, 0-9 and _.");
        let told = weaknesses("password", "correct-1", &config);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].message, "At least 12 characters.");
        for nobodys in ["", "a b", "\u{e4}nn", &"a".repeat(513)] {
            assert_eq!(kept_handle(nobodys), None, "{nobodys:?}");
        }
    }

    #[test]
    fn texts_are_counted_as_people_count() {
        let config = Config::default();
        let family = "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
        assert_eq!(display_name(&family.repeat(50), &config).unwrap(), family.repeat(50));
        assert!(display_name(&family.repeat(51), &config).is_err());
        assert_eq!(display_name(" e\u{301} ", &config).unwrap(), "\u{e9}");
        assert!(display_name(&format!("e{}", "\u{301}".repeat(2000)), &config).is_err());
        for bad in ["a\nb", "a\u{0}b", "a\u{85}b", "a\u{10FFFF}b"] {
            assert!(display_name(bad, &config).is_err(), "{bad:?}");
        }
        assert_eq!(bio("a\r\nb", &config).unwrap(), "a\nb");
        assert!(bio("a\tb", &config).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_once_is_accepted_again(text in "\\PC{0,60}") {
            let config = Config::default();
            if let Ok(name) = display_name(&text, &config) {
                prop_assert_eq!(display_name(&name, &config).unwrap(), name);
            }
            if let Ok(email) = email(&text) {
                prop_assert!(super::email(&email).is_ok());
            }
        }

        #[test]
        fn made_up_handles_keep_the_rules(secret: [u8; 32]) {
            let made_up = made_up_handle(&secret);
            prop_assert_eq!(made_up.len(), MADE_UP_HANDLE_CHARACTERS);
            prop_assert_eq!(handle(&made_up, &Config::default()).unwrap(), made_up);
        }
    }
}
