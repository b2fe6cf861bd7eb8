//! A new store from a copy of another: what a restore needs and the seam does not offer, for items
//! keep their versions and counters.

use std::io;
use std::path::{Path, PathBuf};

use fjall::PersistMode;
use kernel::table::{Item, TableError};

use crate::directory::{Directory, OpenError, TABLE, sync_dir};

use super::codec::{self, Row};
use super::engine::{self, Batch, Engine};
use super::{Options, Store};

const BATCH_ROWS_MAX: usize = 1000;

/// Why a copy was not taken in. The directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is something already.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// Where.
        dir: PathBuf,
    },
    /// The new store cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An item cannot be read from the copy, or not be written.
    #[error(transparent)]
    Item(#[from] TableError),
}

impl Store {
    /// Makes a store in `dir`, which must be empty or absent, out of `items`; returns how many
    /// there were. The store appears under its name only when it is whole and durable.
    pub fn import(
        dir: impl AsRef<Path>,
        options: &Options,
        items: impl IntoIterator<Item = Result<Item, TableError>>,
    ) -> Result<u64, ImportError> {
        let dir = dir.as_ref();
        let failed = |what| move |source| OpenError::Io { dir: dir.to_owned(), what, source };
        let is_empty = match std::fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed("looking for what is there")(error).into()),
        };
        if !is_empty {
            return Err(ImportError::NotEmpty { dir: dir.to_owned() });
        }
        let mut unfinished = dir.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(failed("clearing an older import"))?;
        }
        let count = fill(&unfinished, options, items)?;
        std::fs::rename(&unfinished, dir).map_err(failed("naming the finished store"))?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed("syncing the directory"))?;
        Ok(count)
    }
}

fn fill(
    path: &Path,
    options: &Options,
    items: impl IntoIterator<Item = Result<Item, TableError>>,
) -> Result<u64, ImportError> {
    let directory = Directory::open(path, &TABLE)?;
    let (engine, _) = Engine::open(&directory, options)?;
    let (mut count, mut rows, mut position) = (0, 0, 1);
    let mut batch = engine.batch(BATCH_ROWS_MAX, PersistMode::Buffer);
    for item in items {
        let Item { key, body, count: counter, version, expires_at } = item?;
        // The next batch gives its rows a version that none of these has.
        position = position.max(version);
        let key = codec::encode_key(&key);
        if let Some(at) = expires_at {
            batch.put(&codec::expiry_key(at, &key), Vec::new());
        }
        batch.put(&key, Row { body, count: counter, version, expires_at }.encode());
        (count, rows) = (count + 1, rows + 1);
        if rows == BATCH_ROWS_MAX {
            commit(batch)?;
            batch = engine.batch(BATCH_ROWS_MAX, PersistMode::Buffer);
            rows = 0;
        }
    }
    commit(batch)?;
    let mut last = engine.batch(1, PersistMode::SyncAll);
    last.put(codec::POSITION_KEY, position.to_le_bytes().to_vec());
    commit(last)?;
    directory.position.write(position).map_err(|source| OpenError::Io {
        dir: path.to_owned(),
        what: "writing POSITION",
        source,
    })?;
    Ok(count)
}

fn commit(batch: Batch) -> Result<(), TableError> {
    batch.commit().map_err(|error| engine::unavailable(&error))
}
