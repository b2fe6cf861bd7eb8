//! The keys that access tokens are signed with: two Ed25519 pairs in one file, of which the first
//! signs and both verify. The file is replaced as a whole, so a crash leaves the old or the new;
//! where the data is encrypted, it is one sealed value.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kernel::{Ids, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encryption::{Cipher, Encryption};

/// Pairs in the file: the one that signs and the one before it.
const PAIRS_MAX: usize = 2;
const FILE: &str = "signing.json";

/// Why the signing keys cannot be used. The text is one line that says what and where.
#[derive(Debug, thiserror::Error)]
#[error("signing keys {}: {reason}", path.display())]
pub struct KeysError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl KeysError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }

    fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        let way_out = "restore it; with the one of new data everybody has to sign in again";
        Self::new(path, format!("damaged ({reason}); {way_out}"))
    }
}

/// A private key as it is stored: a JSON Web Key (RFC 8037). Never logged, so not `Debug`.
#[derive(Clone, Serialize, Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    d: String,
}

#[derive(Serialize, Deserialize)]
struct PrivateSet {
    keys: Vec<PrivateJwk>,
}

struct Pair {
    stored: PrivateJwk,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Pair {
    fn from_seed(seed: &[u8; 32]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| error.to_string())?;
        let public = pair.public_key().as_ref();
        let pkcs8 = pair.to_pkcs8v1().map_err(|error| error.to_string())?;
        let x = URL_SAFE_NO_PAD.encode(public);
        // RFC 7638: the thumbprint of the public key names it.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()));
        let (kty, crv, d) = ("OKP".into(), "Ed25519".into(), URL_SAFE_NO_PAD.encode(seed));
        Ok(Self {
            stored: PrivateJwk { kty, crv, kid, x, d },
            signing: EncodingKey::from_ed_der(pkcs8.as_ref()),
            verifying: DecodingKey::from_ed_der(public),
        })
    }

    /// Rebuilds a pair and compares what the file says of it, so that damage is noticed.
    fn from_stored(stored: &PrivateJwk) -> Result<Self, String> {
        let seed = URL_SAFE_NO_PAD.decode(&stored.d).ok();
        let seed: Option<[u8; 32]> = seed.and_then(|bytes| bytes.try_into().ok());
        let pair = Self::from_seed(&seed.ok_or("a private key is not 32 bytes")?)?;
        if pair.stored.x != stored.x || pair.stored.kid != stored.kid {
            return Err("a public key does not belong to its private key".into());
        }
        Ok(pair)
    }
}

/// The keys at work.
pub(super) struct Keys {
    path: PathBuf,
    cipher: Cipher,
    pairs: RwLock<Arc<[Pair]>>,
}

impl Keys {
    /// Reads `signing.json` in `dir`, or makes it with one new pair where there is none.
    pub(super) fn open(dir: &Path, cipher: Cipher, ids: &dyn Ids) -> Result<Self, KeysError> {
        let path = dir.join(FILE);
        let pairs = match read(&path, &cipher)? {
            Some(pairs) => pairs,
            None => {
                let pair = Pair::from_seed(&ids.secret());
                let pairs = vec![pair.map_err(|reason| KeysError::new(&path, reason))?];
                store(&path, &cipher, &pairs)?;
                pairs
            }
        };
        Ok(Self { path, cipher, pairs: RwLock::new(pairs.into()) })
    }

    /// Signs with a new pair from now on; the present one goes on verifying, the one before it no
    /// longer does.
    pub(super) fn rotate(&self, ids: &dyn Ids) -> Result<(), KeysError> {
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = Pair::from_seed(&ids.secret());
        let fresh = fresh.map_err(|reason| KeysError::new(&self.path, reason))?;
        let mut next = vec![fresh];
        for pair in pairs.iter().take(PAIRS_MAX - 1) {
            let kept = Pair::from_stored(&pair.stored);
            next.push(kept.map_err(|reason| KeysError::new(&self.path, reason))?);
        }
        store(&self.path, &self.cipher, &next)?;
        *pairs = next.into();
        Ok(())
    }

    fn current(&self) -> Arc<[Pair]> {
        Arc::clone(&self.pairs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A signed JWT of `claims`.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, Problem> {
        let pairs = self.current();
        let header =
            Header { kid: Some(pairs[0].stored.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &pairs[0].signing).map_err(Problem::internal)
    }

    /// The claims of a JWT that one of the keys has signed. What they say is not looked at.
    pub(super) fn open_token<T: DeserializeOwned + Clone>(&self, token: &str) -> Option<T> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let pairs = self.current();
        let pair = pairs.iter().find(|pair| pair.stored.kid == kid)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Times are judged by our own clock, the other claims by the caller.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<T>(token, &pair.verifying, &validation).ok()?;
        Some(data.claims)
    }

    /// The public halves as a JSON Web Key Set.
    pub(super) fn key_set(&self) -> serde_json::Value {
        let pairs = self.current();
        let keys = pairs.iter().map(|pair| {
            serde_json::json!({
                "kty": pair.stored.kty, "crv": pair.stored.crv, "x": pair.stored.x,
                "kid": pair.stored.kid, "alg": "EdDSA", "use": "sig",
            })
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

/// The file in `dir` that a rotation would replace, which has to be whole. Nothing is written.
pub fn check_keys(dir: &Path, encryption: &Encryption) -> Result<PathBuf, KeysError> {
    let path = dir.join(FILE);
    match read(&path, &cipher(encryption))? {
        Some(_) => Ok(path),
        None => Err(KeysError::damaged(&path, "it is missing")),
    }
}

/// How the file is sealed.
pub(super) fn cipher(encryption: &Encryption) -> Cipher {
    encryption.cipher("keys", &[])
}

/// The pairs in the file; none where there is no file.
fn read(path: &Path, cipher: &Cipher) -> Result<Option<Vec<Pair>>, KeysError> {
    match fs::read(path) {
        Ok(bytes) => {
            let opened = cipher.open(FILE.as_bytes(), &bytes);
            let opened = opened.ok_or_else(|| KeysError::damaged(path, "not as sealed"))?;
            parse(path, &opened).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeysError::new(path, error.to_string())),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Pair>, KeysError> {
    // serde's own message could quote the secret; its place is enough.
    let set: PrivateSet = serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("not a key set, line {} column {}", error.line(), error.column());
        KeysError::damaged(path, place)
    })?;
    if set.keys.is_empty() || set.keys.len() > PAIRS_MAX {
        return Err(KeysError::damaged(path, format!("{} keys", set.keys.len())));
    }
    let pairs = set.keys.iter().map(Pair::from_stored).collect::<Result<_, _>>();
    pairs.map_err(|reason| KeysError::damaged(path, reason))
}

fn store(path: &Path, cipher: &Cipher, pairs: &[Pair]) -> Result<(), KeysError> {
    let set = PrivateSet { keys: pairs.iter().map(|pair| pair.stored.clone()).collect() };
    let bytes =
        serde_json::to_vec_pretty(&set).map_err(|error| KeysError::new(path, error.to_string()))?;
    // The cipher needs no nonce that differs.
    let bytes = cipher.seal(0, FILE.as_bytes(), bytes);
    replace(path, &bytes).map_err(|error| KeysError::new(path, error.to_string()))
}

/// Puts `bytes` in place of the file at once and for good, readable by its owner alone.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let fresh = path.with_extension("new");
    // A file left by a crash would keep its own permissions.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}
