//! Copies as a restore reads them, wherever they are: out of a bucket they are brought to a folder
//! first, file by file.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::catalog::{Catalog, Copied, MANIFEST, Plan};
use super::super::check::{Trial, check_file};
use super::super::chunk::Head;
use super::super::restore::Progress;
use super::super::{BackupError, private_dir};
use super::{Bucket, PIECE_BYTES};
use crate::directory::private_file;
use crate::encryption::KEY;

/// Reads copies, of a directory or of a bucket.
pub struct Reader {
    /// Where they are, or where those of the bucket are brought.
    dir: PathBuf,
    bucket: Option<Bucket>,
}

impl Reader {
    /// Of the copies in `dir`.
    pub const fn of_dir(dir: PathBuf) -> Self {
        Self { dir, bucket: None }
    }

    /// Of those in a bucket, which are brought to `dir`.
    pub const fn of_bucket(bucket: Bucket, dir: PathBuf) -> Self {
        Self { dir, bucket: Some(bucket) }
    }

    /// All copies, or those of one data directory.
    pub async fn catalog(&self, data: Option<&str>) -> Result<Catalog, BackupError> {
        let Some(bucket) = &self.bucket else { return Catalog::read(&self.dir, data) };
        let mut lengths = BTreeMap::new();
        for (key, bytes) in bucket.list(data.unwrap_or_default()).await? {
            let path = self.dir.join(&key);
            if path.file_name().is_some_and(|name| name == MANIFEST || name == KEY) {
                let got = bucket.get(&key).await?;
                let (bytes, _) = got.ok_or_else(|| BackupError::at(&bucket.path(&key), GONE))?;
                write(&path, &bytes)?;
            }
            lengths.insert(path, bytes);
        }
        let catalog = Catalog::read(&self.dir, data).map_err(|error| self.named(error))?;
        Ok(catalog.listed(bucket.name.as_ref(), lengths))
    }

    /// Bytes that a restore of this plan has to bring here first.
    pub fn bytes(&self, plan: &Plan) -> u64 {
        if self.bucket.is_some() { plan.size() } else { 0 }
    }

    /// Brings here what a restore of this plan reads; what is here already is not asked for again.
    pub async fn fetch(&self, plan: &Plan, progress: &Progress) -> Result<(), BackupError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        for file in plan.copied() {
            self.bring(bucket, &file, progress).await?;
            // The restore holds each chunk to its hash again, but a base to its digest only at its
            // end, when its rows are in; and what is damaged is better known before any of it is.
            self.held(check_file(&file, |_, _| Ok(())))?;
        }
        Ok(())
    }

    /// Reads all copies, and holds every chunk to its hash.
    pub async fn check(&self, catalog: &Catalog, progress: &Progress) -> Result<(), BackupError> {
        for file in catalog.copied() {
            self.look(&file, progress, |_, _| Ok(())).await?;
        }
        Ok(())
    }

    /// Reads what a restore of this plan reads, and refuses what that would refuse.
    pub async fn check_plan(&self, plan: &Plan, progress: &Progress) -> Result<(), BackupError> {
        let mut trial = Trial::of(plan);
        for file in plan.copied() {
            let take = |head: &Head, content: &[u8]| trial.take(&file.path, head, content);
            self.look(&file, progress, take).await?;
        }
        self.held(trial.end())
    }

    /// Reads a file, which is here no longer than that where it is a bucket's.
    async fn look(
        &self,
        file: &Copied,
        progress: &Progress,
        take: impl FnMut(&Head, &[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let Some(bucket) = &self.bucket else {
            check_file(file, take)?;
            progress.add(file.bytes);
            return Ok(());
        };
        self.bring(bucket, file, progress).await?;
        self.held(check_file(file, take))?;
        remove(&file.path)
    }

    async fn bring(
        &self,
        bucket: &Bucket,
        file: &Copied,
        progress: &Progress,
    ) -> Result<(), BackupError> {
        let failed = |error| BackupError::failed(&file.path, error);
        private_dir(file.path.parent().unwrap_or(&self.dir)).map_err(failed)?;
        let opened = OpenOptions::new().append(true).open(&file.path);
        let mut local = opened.or_else(|_| private_file(&file.path)).map_err(failed)?;
        let mut here = local.metadata().map_err(failed)?.len().min(file.bytes);
        progress.add(here);
        let key = self.key(&file.path);
        while here < file.bytes {
            let end = file.bytes.min(here + PIECE_BYTES as u64);
            let bytes = bucket.get_range(&key, here..end).await?;
            if bytes.len() as u64 != end - here {
                return Err(BackupError::at(&bucket.path(&key), "it ends too early"));
            }
            local.write_all(&bytes).map_err(failed)?;
            progress.add(end - here);
            here = end;
        }
        Ok(())
    }

    /// What a damaged copy comes to: it is asked for again by whoever tries again.
    pub fn held<T>(&self, outcome: Result<T, BackupError>) -> Result<T, BackupError> {
        let Err(error) = outcome else { return outcome };
        if let (Some(_), BackupError::Damaged { path, .. }) = (&self.bucket, &error)
            && path.starts_with(&self.dir)
            && path.is_file()
        {
            remove(path)?;
        }
        Err(self.named(error))
    }

    /// An error in which objects have their own names, and not those of what was brought here.
    fn named(&self, error: BackupError) -> BackupError {
        let Some(bucket) = &self.bucket else { return error };
        let inside = |path: &PathBuf| path.starts_with(&self.dir);
        match error {
            BackupError::Damaged { path, what } if inside(&path) => {
                BackupError::Damaged { path: bucket.path(&self.key(&path)), what }
            }
            BackupError::Refused(what) => {
                let here = self.dir.display().to_string();
                BackupError::Refused(what.replace(&here, &bucket.name))
            }
            other => other,
        }
    }

    fn key(&self, path: &Path) -> String {
        let key = path.strip_prefix(&self.dir).unwrap_or(path);
        key.to_string_lossy().into_owned()
    }
}

const GONE: &str = "it went while it was read";

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let failed = |error| BackupError::failed(path, error);
    private_dir(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    private_file(path).and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    fs::remove_file(path).map_err(|error| BackupError::failed(path, error))
}
