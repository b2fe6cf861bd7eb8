//! The layout of the data directory, and whether everything is there that has to be.
//!
//! - `MANIFEST` is written last by the first start: from then on every part must be there. It names
//!   this data by an id, and holds the issuer that the keys belong to.
//! - `user`, `post`, `social`, `timeline` and `bus` each say in `PART` which part of which data
//!   they are.
//! - `KEY` is there where the data is encrypted, and holds its key, locked; `MANIFEST` says so too.
//! - `keys` holds `signing.json` and `issuer`.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use embedded::backup;
use embedded::encryption::{Encryption, KEY, OperatorKeys};
use kernel::Ids;

use crate::failure::Failure;

const FORMAT: u32 = 1;
const WORDS: &str = "mini-sns data ";
/// The last line of the manifest of encrypted data.
const ENCRYPTED: &str = "encrypted\n";
const PARTS: [&str; 5] = ["user", "post", "social", "timeline", "bus"];

/// A data directory as it was found.
pub(crate) struct Data {
    root: PathBuf,
    /// None before the first start has come to its end.
    manifest: Option<Manifest>,
}

struct Manifest {
    id: String,
    issuer: String,
    is_encrypted: bool,
}

impl Data {
    /// Looks whether every part is there, and changes nothing.
    pub(crate) fn look(root: &Path) -> Result<Self, Failure> {
        let this = Self::read(root)?;
        if backup::unfinished(root)
            .map_err(|error| Failure::usage(format!("data: {error}")))?
            .is_some()
        {
            let (root, way_out) = (root.display(), "finish it with `mini-sns restore`");
            return Err(Failure::usage(format!(
                "data: {root} holds a part of a restore: {way_out}"
            )));
        }
        let was_written = |part: &&str| embedded::table::was_written(&root.join(part));
        if this.is_new() && PARTS.iter().any(was_written) {
            return Err(damaged(root, "its MANIFEST file is missing"));
        }
        this.check_all()?;
        Ok(this)
    }

    /// The same where there has to be some.
    pub(crate) fn existing(root: &Path) -> Result<Self, Failure> {
        let this = Self::look(root)?;
        if this.is_new() {
            let place = root.display();
            return Err(Failure::usage(format!("data: there is no Mini-SNS data in {place}")));
        }
        Ok(this)
    }

    fn read(root: &Path) -> Result<Self, Failure> {
        let manifest = read(&root.join("MANIFEST"))?.map(|text| Manifest::parse(root, &text));
        Ok(Self { root: root.to_owned(), manifest: manifest.transpose()? })
    }

    /// At the end of a restore: all parts are there, and what goes on from them is other data than
    /// what was copied, with copies of its own.
    pub(crate) fn adopt(root: &Path, ids: &dyn Ids) -> Result<(), Failure> {
        let mut this = Self::read(root)?;
        let keys = this.keys();
        let issuer =
            read(&keys.join("issuer"))?.ok_or_else(|| damaged(&keys, "issuer is missing"))?;
        this.finish(ids, issuer.trim_end())?;
        this.check_all()
    }

    fn check_all(&self) -> Result<(), Failure> {
        self.manifest.as_ref().map_or(Ok(()), |manifest| self.check(manifest))
    }

    fn check(&self, manifest: &Manifest) -> Result<(), Failure> {
        if manifest.is_encrypted && !self.has_key() {
            return Err(damaged(&self.root, "its KEY file is missing; its copies have it too"));
        }
        for name in PARTS {
            let part = self.root.join(name);
            if !part.is_dir() {
                return Err(damaged(&part, "it is missing"));
            }
            match read(&part.join("PART"))? {
                None => return Err(damaged(&part, "its PART file is missing")),
                Some(text) if text != manifest.mark(name) => {
                    return Err(damaged(&part, "it is another part, or one of other data"));
                }
                Some(_) => {}
            }
            if !part.join("POSITION").exists() {
                return Err(damaged(&part, "its POSITION file is missing"));
            }
        }
        let way_out = "restore it; with the one of new data everybody has to sign in again";
        let keys = self.keys();
        if !keys.join("signing.json").is_file() {
            return Err(damaged(&keys, &format!("signing.json is missing; {way_out}")));
        }
        match read(&keys.join("issuer"))? {
            Some(issuer) if issuer.trim_end() == manifest.issuer => Ok(()),
            Some(_) => Err(damaged(&keys, "issuer is not the one that MANIFEST names")),
            None => Err(damaged(&keys, "issuer is missing")),
        }
    }

    /// Whether and how the data is encrypted; new data gets a key of its own here.
    pub(crate) fn encryption(
        &self,
        operator: Option<&OperatorKeys>,
        ids: &dyn Ids,
    ) -> Result<Encryption, Failure> {
        let found = match &self.manifest {
            None => Encryption::begin(&self.root, operator, ids),
            Some(_) => Encryption::open(&self.root, operator),
        };
        found.map_err(|error| Failure::usage(format!("data: {error}")))
    }

    /// Once a start went well: the operator's newest key is the one that counts.
    pub(crate) fn settle(&self, encryption: &Encryption) -> Result<(), Failure> {
        let settled = encryption.settle(&self.root);
        if settled.map_err(|error| Failure::usage(format!("data: {error}")))? {
            tracing::info!("the data is locked with the first of the keys given from now on");
        }
        Ok(())
    }

    /// Whether no start has come to its end here.
    const fn is_new(&self) -> bool {
        self.manifest.is_none()
    }

    /// Where a part lies.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn has_key(&self) -> bool {
        self.root.join(KEY).is_file()
    }

    /// Where the signing keys lie.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The `iss` of access tokens. It must stay what it was, or nobody's tokens are good any more:
    /// so the first one is kept with the keys, whatever address the server moves to.
    pub(crate) fn issuer(&self, first: impl FnOnce() -> String) -> String {
        self.manifest.as_ref().map_or_else(first, |manifest| manifest.issuer.clone())
    }

    /// At the end of a first start: everything is made, and has to be there from now on.
    pub(crate) fn finish(&mut self, ids: &dyn Ids, issuer: &str) -> Result<(), Failure> {
        if self.manifest.is_some() {
            return Ok(());
        }
        let (id, issuer) = (ids.ulid().to_string(), issuer.to_owned());
        let manifest = Manifest { id, issuer, is_encrypted: self.has_key() };
        let write = || {
            for part in PARTS {
                replace(&self.part(part).join("PART"), &manifest.mark(part))?;
            }
            let issuer = format!("{}\n", manifest.issuer);
            replace(&self.keys().join("issuer"), &issuer)?;
            replace(&self.root.join("MANIFEST"), &manifest.text())
        };
        write()
            .map_err(|error| Failure::usage(format!("data: {}: {error}", self.root.display())))?;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// The name of this data among all others; none before its first start has come to its end.
    pub(crate) fn id(&self) -> Option<&str> {
        self.manifest.as_ref().map(|manifest| manifest.id.as_str())
    }
}

impl Manifest {
    fn text(&self) -> String {
        let Self { id, issuer, is_encrypted } = self;
        let encrypted = if *is_encrypted { ENCRYPTED } else { "" };
        format!("{WORDS}{FORMAT}\nid {id}\nissuer {issuer}\n{encrypted}")
    }

    fn parse(root: &Path, text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines();
        let format = lines.next().and_then(|line| line.strip_prefix(WORDS)?.parse::<u32>().ok());
        let unreadable = || damaged(root, "its MANIFEST file cannot be read");
        let found = format.ok_or_else(unreadable)?;
        if found > FORMAT {
            return Err(Failure::usage(format!(
                "data: {} has format {found}; this version reads formats up to {FORMAT}",
                root.display()
            )));
        }
        let mut field = |name| lines.next()?.strip_prefix(name).map(str::to_owned);
        let (id, issuer) = (field("id "), field("issuer "));
        let is_encrypted = text.ends_with(ENCRYPTED);
        let this = id.zip(issuer).map(|(id, issuer)| Self { id, issuer, is_encrypted });
        this.filter(|this| this.text() == text).ok_or_else(unreadable)
    }

    /// What a part's PART file says.
    fn mark(&self, part: &str) -> String {
        format!("{part} of {}\n", self.id)
    }
}

fn damaged(path: &Path, what: &str) -> Failure {
    Failure::usage(format!("data: {} is damaged: {what}", path.display()))
}

/// A small file's text; none when it is not there. What is no text is damage like any other.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Failure::usage(format!("data: {}: {error}", path.display()))),
    }
}

/// Writes a file as a whole and for good.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
