//! Copies in a bucket of S3, or of whatever speaks as S3 does.
//!
//! A bucket holds what a directory would hold, under the same names: an object is a file. The
//! writer works on a *spool* on this machine's disk, a directory of copies like any other, and
//! [`ship`] sends what is new there to the bucket and removes what need not be kept here. [`fetch`]
//! brings back what a restore reads. docs/adr/0023 says why.

mod fetch;
mod ship;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    RetryConfig, UpdateVersion, path,
};

pub use self::fetch::Reader;
pub(super) use self::ship::Shipper;
use super::BackupError;

/// What is sent or asked for in one request, in bytes: the memory that a transfer takes.
const PIECE_BYTES: usize = 8 << 20;
/// For one request: a piece takes so long at 1 Mbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(70);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request that fails is tried again, before whoever asked is told.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 4;
const SCHEME: &str = "s3://";

/// A bucket, or the part of one under a prefix.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// As people write it: `s3://bucket/prefix`.
    name: String,
    prefix: path::Path,
    /// Whether there is no key, so that the machine's own role has to do.
    keyless: bool,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The same place, whatever the way there.
impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Bucket {}

impl Bucket {
    /// The bucket at `s3://bucket/prefix`. What the environment says counts, by the names that
    /// AWS's own tools have: credentials, region, and the service's address where `endpoint` gives
    /// none.
    pub fn open(address: &str, endpoint: Option<&str>) -> Result<Self, BackupError> {
        let refused = |what: &str| BackupError::Refused(format!("{address}: {what}"));
        let rest = address.strip_prefix(SCHEME).unwrap_or_default();
        let bucket = rest.split('/').next().unwrap_or_default();
        if bucket.is_empty() {
            return Err(refused("an address such as s3://bucket/prefix is wanted"));
        }
        let backoff = BackoffConfig::default();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(client())
            .with_retry(RetryConfig {
                backoff,
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_TIMEOUT,
            });
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        let of = |key| builder.get_config_value(&key);
        let keyless = of(AmazonS3ConfigKey::AccessKeyId).is_none();
        let way = of(AmazonS3ConfigKey::S3Endpoint).or_else(|| of(AmazonS3ConfigKey::Endpoint));
        // Whoever names an address without TLS means one.
        let plain = way.is_some_and(|way| way.starts_with("http://"));
        let store = builder.with_allow_http(plain).build();
        let store = store.map_err(|error| refused(&why(&error)))?;
        Ok(Self { keyless, ..Self::over(Arc::new(store), address)? })
    }

    /// A bucket that is reached through `store`; its name is `s3://bucket/prefix`.
    pub fn over(store: Arc<dyn ObjectStore>, name: &str) -> Result<Self, BackupError> {
        let name = name.trim_end_matches('/');
        let (_, prefix) =
            name.strip_prefix(SCHEME).unwrap_or(name).split_once('/').unwrap_or_default();
        let prefix = path::Path::parse(prefix)
            .map_err(|_| BackupError::Refused(format!("{name}: its prefix is no path")))?;
        Ok(Self { store, name: name.to_owned(), prefix, keyless: false })
    }

    /// An object's address, as errors name it.
    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.name).trim_end_matches('/'))
    }

    fn key(&self, key: &str) -> path::Path {
        path::Path::from_iter(self.prefix.parts().chain(path::Path::from(key).parts()))
    }

    fn failed(&self, key: &str, error: &Error) -> BackupError {
        let hint = if self.keyless { "; AWS_ACCESS_KEY_ID is not set" } else { "" };
        BackupError::failed(&self.path(key), format!("{}{hint}", why(error)))
    }

    /// All objects whose names begin with `under` and a slash, with their sizes.
    async fn list(&self, under: &str) -> Result<Vec<(String, u64)>, BackupError> {
        let prefix = self.key(under);
        let found = self.store.list(Some(&prefix)).map_ok(|object| {
            let key = object.location.prefix_match(&self.prefix);
            let key = key.map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
            (key.unwrap_or_else(Vec::new).join("/"), object.size)
        });
        found.try_collect().await.map_err(|error| self.failed(under, &error))
    }

    /// A whole object with the tag of its version; none where there is none.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>, BackupError> {
        let got = match self.store.get(&self.key(key)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| self.failed(key, &error))?,
        };
        let (e_tag, version) = (got.meta.e_tag.clone(), got.meta.version.clone());
        let bytes = got.bytes().await.map_err(|error| self.failed(key, &error))?;
        Ok(Some((bytes, UpdateVersion { e_tag, version })))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BackupError> {
        match self.store.get_range(&self.key(key), range).await {
            Err(Error::NotFound { .. }) => Err(BackupError::at(&self.path(key), "it is missing")),
            got => got.map_err(|error| self.failed(key, &error)),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BackupError> {
        let put = self.store.put(&self.key(key), bytes.into()).await;
        put.map(drop).map_err(|error| self.failed(key, &error))
    }

    /// Puts an object in the place of the version `before`, or where there is none; none where
    /// something else is there.
    async fn replace(
        &self,
        key: &str,
        bytes: Bytes,
        before: Option<&UpdateVersion>,
    ) -> Result<Option<UpdateVersion>, BackupError> {
        let mode = before.map_or(PutMode::Create, |before| PutMode::Update(before.clone()));
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.key(key), bytes.into(), options).await {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(None),
            put => put
                .map(|put| Some(UpdateVersion { e_tag: put.e_tag, version: put.version }))
                .map_err(|error| self.failed(key, &error)),
        }
    }

    /// Puts the first `bytes` bytes of a file, and calls `between` after each piece but the last.
    async fn put_file(
        &self,
        key: &str,
        path: &Path,
        bytes: u64,
        mut between: impl AsyncFnMut() -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let mut file = File::open(path).map_err(|error| BackupError::file(path, &error))?;
        let mut piece = |left: u64| {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let mut piece = vec![0; length];
            file.read_exact(&mut piece).map_err(|error| BackupError::file(path, &error))?;
            Ok::<_, BackupError>(Bytes::from(piece))
        };
        if bytes <= PIECE_BYTES as u64 {
            return self.put(key, piece(bytes)?).await;
        }
        let failed = |error| self.failed(key, &error);
        let mut upload = self.store.put_multipart(&self.key(key)).await.map_err(failed)?;
        let sent = async {
            let mut left = bytes;
            while left > 0 {
                let piece = piece(left)?;
                left -= piece.len() as u64;
                upload.put_part(piece.into()).await.map_err(failed)?;
                if left > 0 {
                    between().await?;
                }
            }
            Ok(())
        };
        let sent = sent.await;
        if sent.is_err() {
            // What was sent is kept, and paid for, until somebody says that it is for nothing.
            let _ = upload.abort().await;
            return sent;
        }
        upload.complete().await.map(drop).map_err(failed)
    }

    async fn delete(&self, key: &str) -> Result<(), BackupError> {
        match self.store.delete(&self.key(key)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(|error| self.failed(key, &error)),
        }
    }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT)
}

/// Why something failed, in one line: what the service says, or else the innermost cause.
fn why(error: &Error) -> String {
    let text = error.to_string();
    let said = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        rest.split_once('<').map(|(said, _)| said.trim())
    };
    if let Some(code) = said("Code") {
        return said("Message").map_or(code.to_owned(), |message| format!("{code}: {message}"));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    cause.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}
