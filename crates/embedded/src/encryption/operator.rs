//! The operator's keys: given at each start, kept nowhere.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Secret;
use super::cipher::derived;
use super::key_file::{KeyFile, WORDS};

/// Bytes of a key's id.
const ID_BYTES: usize = 8;

/// Keys of the operator's, of which the first locks and each unlocks. Shown nowhere.
#[derive(Clone)]
pub struct OperatorKeys(Vec<OperatorKey>);

#[derive(Clone)]
pub(super) struct OperatorKey {
    /// Names it without telling it.
    id: String,
    wrapping: Secret,
}

impl OperatorKeys {
    /// Reads keys of 32 bytes each, as 64 hexadecimal digits or in base64, one a line (or a word).
    /// A refusal does not show what was given.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<OperatorKey> = Vec::new();
        for (index, word) in text.split([',', '\n', ' ', '\t', '\r']).enumerate() {
            if word.is_empty() {
                continue;
            }
            let secret = secret(word).ok_or_else(|| {
                format!("key {} is not 32 bytes in hexadecimal or base64", index + 1)
            })?;
            let key = OperatorKey::new(&secret);
            if keys.iter().any(|known| known.id == key.id) {
                return Err(format!("key {} is there twice", index + 1));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(Self(keys)) }
    }

    pub(super) fn first(&self) -> &OperatorKey {
        &self.0[0]
    }

    pub(super) fn named(&self, id: &str) -> Option<&OperatorKey> {
        self.0.iter().find(|key| key.id == id)
    }

    pub(super) fn ids(&self) -> String {
        self.0.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl OperatorKey {
    fn new(secret: &Secret) -> Self {
        let id = derived(secret, "mini-sns id of an operator's key");
        let id = id[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, wrapping: derived(secret, "mini-sns locking of a data key") }
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &self.wrapping);
        LessSafeKey::new(key.expect("a key of this cipher has 32 bytes"))
    }

    /// The same key locks the same data key to the same bytes.
    pub(super) fn lock(&self, data_key: &Secret) -> KeyFile {
        let mut locked = data_key.to_vec();
        self.cipher()
            .seal_in_place_append_tag(nonce(), Aad::from(WORDS.as_bytes()), &mut locked)
            .expect("a key is short enough to be sealed");
        KeyFile { locked_with: self.id.clone(), locked }
    }

    pub(super) fn unlock(&self, file: &KeyFile) -> Option<Secret> {
        let mut locked = file.locked.clone();
        let aad = Aad::from(WORDS.as_bytes());
        let opened = self.cipher().open_in_place(nonce(), aad, &mut locked).ok()?;
        (&*opened).try_into().ok()
    }
}

/// Of a cipher that needs none to differ.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn secret(word: &str) -> Option<Secret> {
    if word.len() == 64 {
        let digit = |at: usize| u8::from_str_radix(word.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = word
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| (0..32).map(digit).collect())?;
        return bytes?.try_into().ok();
    }
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [&STANDARD, &URL_SAFE];
    let mut read = alphabets.iter().map(|it| GeneralPurpose::new(it, config).decode(word));
    read.find_map(|bytes| bytes.ok()?.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_key_is_the_same_in_hexadecimal_and_in_base64() {
        let id = |text: &str| OperatorKeys::parse(text).unwrap().ids();
        let expected = id(HEX);
        assert_eq!(expected.len(), 16);
        assert_eq!(id("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), expected);
        assert_eq!(id("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"), expected);
        assert_eq!(id(&format!("\n{}\r\n", HEX.to_uppercase())), expected);
        let two = OperatorKeys::parse(&format!("{HEX}\n{}\n", "f".repeat(64))).unwrap();
        assert_eq!(two.0.len(), 2);
        assert_eq!(two.first().id, expected);
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        for text in ["", "\n", "hush", &HEX[1..], &format!("{HEX},hush"), &format!("{HEX} {HEX}")] {
            let Err(line) = OperatorKeys::parse(text) else { panic!("{text} was taken") };
            assert!(!line.contains("hush") && !line.contains("0203"), "{line}");
        }
    }

    #[test]
    fn a_data_key_is_unlocked_by_the_key_that_locked_it_alone() {
        let keys = OperatorKeys::parse(&format!("{HEX},{}", "f".repeat(64))).unwrap();
        let file = keys.first().lock(&[7; 32]);
        assert_eq!(keys.first().unlock(&file), Some([7; 32]));
        assert_eq!(keys.0[1].unlock(&file), None);
        for at in 0..file.locked.len() {
            let mut other = file.clone();
            other.locked[at] ^= 1;
            assert_eq!(keys.first().unlock(&other), None);
        }
    }
}
