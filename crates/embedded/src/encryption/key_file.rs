//! The file that a locked data key lies in.
//!
//! ```text
//! mini-sns data key 1
//! locked-with {id of the operator's key}
//! key {base64}
//! sha256 {hash of the lines before}
//! ```

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::EncryptionError;
use crate::directory::{private_file, sync_dir};

/// The first line, which the lock is bound to.
pub(super) const WORDS: &str = "mini-sns data key 1";

/// A locked data key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    /// The id of the operator's key.
    pub(super) locked_with: String,
    pub(super) locked: Vec<u8>,
}

impl KeyFile {
    /// None where there is no such file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, EncryptionError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(source) => return Err(EncryptionError::Io { path: path.to_owned(), source }),
        };
        let what = "it is not what was written".to_owned();
        let damaged = || EncryptionError::Damaged { path: path.to_owned(), what };
        Self::parse(&String::from_utf8_lossy(&bytes)).map(Some).ok_or_else(damaged)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let locked_with = lines.next()?.strip_prefix("locked-with ")?.to_owned();
        let locked = STANDARD.decode(lines.next()?.strip_prefix("key ")?).ok()?;
        Some(Self { locked_with, locked }).filter(|this| this.text() == text)
    }

    fn text(&self) -> String {
        let Self { locked_with, locked } = self;
        let key = STANDARD.encode(locked);
        let lines = format!("{WORDS}\nlocked-with {locked_with}\nkey {key}\n");
        let hash = Sha256::digest(lines.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{lines}sha256 {hash}\n")
    }

    /// Puts it in place of the one before at once and for good.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = private_file(&fresh)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_and_any_other_byte_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("KEY");
        assert!(KeyFile::read(&path).is_ok_and(|found| found.is_none()));
        let file = KeyFile { locked_with: "0011".to_owned(), locked: vec![9; 48] };
        file.write(&path).unwrap();
        assert!(KeyFile::read(&path).is_ok_and(|found| found == Some(file)));
        let written = fs::read(&path).unwrap();
        for at in 0..written.len() {
            let mut other = written.clone();
            other[at] ^= 2;
            fs::write(&path, &other).unwrap();
            assert!(matches!(KeyFile::read(&path), Err(EncryptionError::Damaged { .. })), "{at}");
        }
    }
}
