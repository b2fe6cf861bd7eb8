//! What every backend checks before it looks at the data.

use std::collections::HashSet;

use super::{
    COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, GET_KEYS_MAX, ITEM_BYTES_MAX, Key, PARTITION_BYTES_MAX,
    QUERY_ITEMS_MAX, Query, SCATTER_WRITES_MAX, SORT_BYTES_MAX, Scatter, TableError, Write,
};

fn malformed(what: impl Into<String>) -> Result<(), TableError> {
    Err(TableError::Malformed(what.into()))
}

fn key(key: &Key) -> Result<(), TableError> {
    partition(&key.partition)?;
    if key.sort.len() > SORT_BYTES_MAX {
        return malformed(format!("a sort key has at most {SORT_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn partition(name: &str) -> Result<(), TableError> {
    if name.is_empty() || name.len() > PARTITION_BYTES_MAX || name.contains('\0') {
        return malformed(format!("a partition has 1 to {PARTITION_BYTES_MAX} bytes, no NUL"));
    }
    Ok(())
}

fn writes<'a>(
    writes: impl ExactSizeIterator<Item = (&'a Key, usize)>,
    writes_max: usize,
    bytes_max: usize,
) -> Result<(), TableError> {
    if writes.len() == 0 || writes.len() > writes_max {
        return malformed(format!("1 to {writes_max} writes, not {}", writes.len()));
    }
    let mut seen = HashSet::with_capacity(writes.len());
    let mut total = 0;
    for (at, body_len) in writes {
        key(at)?;
        let bytes = at.partition.len() + at.sort.len() + body_len;
        if bytes > ITEM_BYTES_MAX {
            return malformed(format!("an item has at most {ITEM_BYTES_MAX} bytes"));
        }
        total += bytes;
        if !seen.insert(at) {
            return malformed(format!("two writes on {at:?}"));
        }
    }
    if total > bytes_max {
        return malformed(format!("the writes have at most {bytes_max} bytes in all"));
    }
    Ok(())
}

/// The keys of a `get`.
pub fn get(keys: &[Key]) -> Result<(), TableError> {
    if keys.is_empty() || keys.len() > GET_KEYS_MAX {
        return malformed(format!("1 to {GET_KEYS_MAX} keys, not {}", keys.len()));
    }
    keys.iter().try_for_each(key)
}

/// A query's partition and limit.
pub fn query(query: &Query) -> Result<(), TableError> {
    partition(&query.partition)?;
    if query.limit == 0 || query.limit > QUERY_ITEMS_MAX {
        return malformed(format!("a limit of 1 to {QUERY_ITEMS_MAX}, not {}", query.limit));
    }
    Ok(())
}

/// The writes of a commit.
pub fn commit(all: &[Write]) -> Result<(), TableError> {
    let sizes = all.iter().map(|write| match write {
        Write::Put { key, body, .. } => (key, body.len()),
        other => (other.key(), 0),
    });
    writes(sizes, COMMIT_WRITES_MAX, COMMIT_BYTES_MAX)
}

/// The writes of a scatter.
pub fn scatter(all: &[Scatter]) -> Result<(), TableError> {
    let sizes = all.iter().map(|write| match write {
        Scatter::Put { key, body, .. } => (key, body.len()),
        Scatter::Delete(key) => (key, 0),
    });
    writes(sizes, SCATTER_WRITES_MAX, usize::MAX)
}
