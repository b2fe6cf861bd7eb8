//! Encryption at rest, by choice: the storage engine has none, so rows are sealed before it is
//! given them.
//!
//! A data directory has one *data key*, made with it and never changed. It lies in the file `KEY`,
//! locked with the *operator's key*, which is given at each start and can be replaced at any. Each
//! part of the directory (`user`, `bus`, `keys`, ...) is sealed with keys of its own, made from the
//! data key. Why so, and what stays readable, is in docs/adr/0024.

mod cipher;
mod key_file;
mod operator;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::Ids;

pub(crate) use self::cipher::Cipher;
use self::key_file::KeyFile;
pub use self::operator::OperatorKeys;

/// The name of the file that holds the locked data key.
pub const KEY: &str = "KEY";

/// Why data cannot be read or written with the keys given. The text is one line; no key is in it.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// There is no key, and one is needed.
    #[error("{} is encrypted, and no key is given", .0.display())]
    Missing(PathBuf),
    /// There is a key, and the data was made without.
    #[error("{} is not encrypted, and a key is given", .0.display())]
    NotEncrypted(PathBuf),
    /// None of the keys given is the one that locks the data key.
    #[error("{} is locked with key {wanted}, and what is given is {given}", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// The id of the key that it is locked with.
        wanted: String,
        /// The ids of those that were given.
        given: String,
    },
    /// The file is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

/// 256 bits that nobody may see.
type Secret = [u8; 32];

/// Whether, and by which key, a data directory is encrypted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Encryption(Option<Arc<Locked>>);

/// A data key and the way it is locked from now on.
struct Locked {
    data_key: Secret,
    file: KeyFile,
    /// Whether the file that was read says something else.
    relocked: bool,
}

/// The same data key is the same encryption, however it is locked.
impl PartialEq for Locked {
    fn eq(&self, other: &Self) -> bool {
        self.data_key == other.data_key
    }
}

impl Eq for Locked {}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Encryption(on)" } else { "Encryption(off)" })
    }
}

impl Encryption {
    /// Of new data: with a key of the operator's, makes a data key and keeps it in `dir` before
    /// anything is sealed with it.
    pub fn begin(
        dir: &Path,
        operator: Option<&OperatorKeys>,
        ids: &dyn Ids,
    ) -> Result<Self, EncryptionError> {
        // One that a start has made that was cut short is as good as a new one.
        if dir.join(KEY).exists() {
            return Self::open(dir, operator);
        }
        let Some(operator) = operator else { return Ok(Self::default()) };
        let data_key = ids.secret();
        let file = operator.first().lock(&data_key);
        let this = Self(Some(Arc::new(Locked { data_key, file, relocked: true })));
        std::fs::create_dir_all(dir)
            .map_err(|source| EncryptionError::Io { path: dir.to_owned(), source })?;
        this.keep(dir)?;
        Ok(this)
    }

    /// Of data that is there, or of its copies: the key in `dir`, by one of the operator's. Nothing
    /// is changed.
    pub fn open(dir: &Path, operator: Option<&OperatorKeys>) -> Result<Self, EncryptionError> {
        let path = dir.join(KEY);
        let found = KeyFile::read(&path)?;
        let (found, operator) = match (found, operator) {
            (None, None) => return Ok(Self::default()),
            (None, Some(_)) => return Err(EncryptionError::NotEncrypted(dir.to_owned())),
            (Some(_), None) => return Err(EncryptionError::Missing(dir.to_owned())),
            (Some(found), Some(operator)) => (found, operator),
        };
        let key = operator.named(&found.locked_with).ok_or_else(|| EncryptionError::WrongKey {
            path: path.clone(),
            wanted: found.locked_with.clone(),
            given: operator.ids(),
        })?;
        let data_key = key.unlock(&found).ok_or_else(|| EncryptionError::Damaged {
            path,
            what: "its key does not open it".to_owned(),
        })?;
        let file = operator.first().lock(&data_key);
        let relocked = file != found;
        Ok(Self(Some(Arc::new(Locked { data_key, file, relocked }))))
    }

    /// Whether anything is encrypted at all.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the operator has put a new key first since.
    pub fn is_relocked(&self) -> bool {
        self.0.as_ref().is_some_and(|locked| locked.relocked)
    }

    /// Once a start went well: where the operator has put a new key first, the data key is locked
    /// with that from now on. Says whether it was.
    pub fn settle(&self, dir: &Path) -> Result<bool, EncryptionError> {
        let relocked = self.is_relocked();
        let is_so = || KeyFile::read(&dir.join(KEY)).is_ok_and(|it| it.as_ref() == self.file());
        if !relocked || is_so() {
            return Ok(false);
        }
        self.keep(dir)?;
        Ok(true)
    }

    /// Keeps the locked data key in `dir` too: with a data directory, or with its copies.
    pub fn keep(&self, dir: &Path) -> Result<(), EncryptionError> {
        let Some(file) = self.file() else { return Ok(()) };
        let path = dir.join(KEY);
        file.write(&path).map_err(|source| EncryptionError::Io { path, source })
    }

    fn file(&self) -> Option<&KeyFile> {
        self.0.as_ref().map(|locked| &locked.file)
    }

    /// How the part `part` is sealed. `hidden` are the beginnings of partitions whose sort keys
    /// nobody may read either.
    pub(crate) fn cipher(&self, part: &str, hidden: &'static [&'static str]) -> Cipher {
        self.0.as_ref().map_or(Cipher::Plain, |it| Cipher::new(&it.data_key, part, hidden))
    }
}
