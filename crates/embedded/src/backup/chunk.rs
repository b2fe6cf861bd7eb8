//! Chunks: what the files of a backup are made of, one after the other and nothing else.
//!
//! | bytes | hold |
//! |---|---|
//! | 0..4 | `MSNB` |
//! | 4 | the format, 1 |
//! | 5 | what it holds: 1 rows of a base, 2 batches, 3 the signing keys |
//! | 6 | of which part, by its place in the base's manifest |
//! | 7 | 1 where the content is compressed (LZ4), else 0 |
//! | 8..12 | length of the content before it was compressed, little-endian, as all numbers here |
//! | 12..16 | length of what follows the head |
//! | 16..48 | SHA-256 of bytes 0..16 and of what follows the head |
//!
//! Rows are key length (4), value length (4; all ones: the row is removed), key, value. A batch is
//! its number (8), its moment in milliseconds (8), its count of rows (4), its rows.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fjall::Slice;
use kernel::Time;
use sha2::{Digest, Sha256};

use super::BackupError;
use super::tap::{Batch, Row};
use crate::directory::private_file;

const MAGIC: &[u8; 4] = b"MSNB";
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 48;
const HASHED: std::ops::Range<usize> = 0..16;
const REMOVED: u32 = u32::MAX;
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of content after which a chunk is closed; one batch is never cut.
pub(super) const CONTENT_BYTES: usize = 1 << 20;

/// What a chunk holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Rows = 1,
    Batches = 2,
    Keys = 3,
}

/// A file in the making.
pub(super) struct ChunkWriter {
    file: BufWriter<File>,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Over the hashes of all chunks, in their order.
    digest: Sha256,
}

impl ChunkWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, private_file(path)?);
        Ok(Self { file, path: path.to_owned(), bytes: 0, digest: Sha256::new() })
    }

    pub(super) fn write(&mut self, kind: Kind, part: u8, content: &[u8]) -> io::Result<()> {
        let packed = lz4_flex::block::compress(content);
        let (flag, stored) =
            if packed.len() < content.len() { (1, &packed[..]) } else { (0, content) };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&[FORMAT, kind as u8, part, flag]);
        head[8..12].copy_from_slice(&length(content)?.to_le_bytes());
        head[12..16].copy_from_slice(&length(stored)?.to_le_bytes());
        let hash = hash(&head, stored);
        head[16..].copy_from_slice(&hash);
        self.file.write_all(&head)?;
        self.file.write_all(stored)?;
        self.digest.update(hash);
        self.bytes += (HEAD_BYTES + stored.len()) as u64;
        Ok(())
    }

    /// What was written is on disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// The digest of all that was written.
    pub(super) fn digest(&self) -> String {
        hex(&self.digest.clone().finalize())
    }
}

fn hash(head: &[u8; HEAD_BYTES], stored: &[u8]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(&head[HASHED]).chain_update(stored);
    hash.finalize().into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chunk's place and what it is said to be.
#[derive(Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; HEAD_BYTES],
    pub(super) kind: Kind,
    pub(super) part: u8,
}

impl Head {
    fn number(&self, at: usize) -> usize {
        let bytes: [u8; 4] = std::array::from_fn(|index| self.bytes[at + index]);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
    }

    fn stored(&self) -> usize {
        self.number(12)
    }
}

/// Reads a file chunk by chunk. Each [`next`](Self::next) is followed by [`read`](Self::read) or
/// [`skip`](Self::skip).
pub(super) struct ChunkReader {
    file: BufReader<File>,
    path: PathBuf,
    /// Where the next chunk begins.
    pub(super) at: u64,
    bytes: u64,
    digest: Sha256,
}

impl ChunkReader {
    /// The first `bytes` bytes of a file, which has to have them.
    pub(super) fn open(path: &Path, bytes: u64) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|error| BackupError::file(path, &error))?;
        let found = file.metadata().map_err(|error| BackupError::file(path, &error))?.len();
        if found < bytes {
            let what = format!("it has {found} bytes, and its manifest tells of {bytes}");
            return Err(BackupError::at(path, what));
        }
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(Self { file, path: path.to_owned(), at: 0, bytes, digest: Sha256::new() })
    }

    fn damaged(&self) -> BackupError {
        BackupError::at(&self.path, format!("the chunk at byte {} is damaged", self.at))
    }

    /// The next chunk's head; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Head>, BackupError> {
        let left = self.bytes - self.at;
        if left == 0 {
            return Ok(None);
        }
        let mut bytes = [0; HEAD_BYTES];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged())?;
        let [_, _, _, _, format, kind, part, _, ..] = bytes;
        let kind = match kind {
            1 => Kind::Rows,
            2 => Kind::Batches,
            3 => Kind::Keys,
            _ => return Err(self.damaged()),
        };
        let head = Head { bytes, kind, part };
        // The length is trusted with no more than the file has.
        let fits = (HEAD_BYTES + head.stored()) as u64 <= left;
        if !bytes.starts_with(MAGIC) || format != FORMAT || !fits {
            return Err(self.damaged());
        }
        self.digest.update(&bytes[HASHED.end..]);
        Ok(Some(head))
    }

    /// The content of the chunk, once its hash is right.
    pub(super) fn read(&mut self, head: &Head) -> Result<Vec<u8>, BackupError> {
        let mut stored = vec![0; head.stored()];
        self.file.read_exact(&mut stored).map_err(|_| self.damaged())?;
        if hash(&head.bytes, &stored) != head.bytes[HASHED.end..] {
            return Err(self.damaged());
        }
        let content = match head.bytes[7] {
            0 => stored,
            _ => {
                lz4_flex::block::decompress(&stored, head.number(8)).map_err(|_| self.damaged())?
            }
        };
        self.at += (HEAD_BYTES + head.stored()) as u64;
        Ok(content)
    }

    /// Goes past the chunk.
    pub(super) fn skip(&mut self, head: &Head) -> Result<(), BackupError> {
        let stored = i64::try_from(head.stored()).map_err(|_| self.damaged())?;
        self.file.seek_relative(stored).map_err(|error| BackupError::file(&self.path, &error))?;
        self.at += (HEAD_BYTES + head.stored()) as u64;
        Ok(())
    }

    /// Goes to where a chunk begins.
    pub(super) fn go_to(&mut self, at: u64) -> Result<(), BackupError> {
        self.file
            .seek(SeekFrom::Start(at))
            .map_err(|error| BackupError::file(&self.path, &error))?;
        self.at = at;
        Ok(())
    }

    /// The digest of all chunks so far.
    pub(super) fn digest(&self) -> String {
        hex(&self.digest.clone().finalize())
    }
}

pub(super) fn put_row(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(REMOVED);
    out.extend_from_slice(&length(key).to_le_bytes());
    out.extend_from_slice(&value.map_or(REMOVED, length).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}

pub(super) fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    out.extend_from_slice(&batch.position.to_le_bytes());
    out.extend_from_slice(&batch.at.millis().to_le_bytes());
    let count = u32::try_from(batch.rows.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for (key, value) in &batch.rows {
        put_row(out, key, value.as_deref());
    }
}

/// A chunk's content, taken piece by piece; none where it ends too early.
pub(super) struct Content<'a>(pub(super) &'a [u8]);

impl Content<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn slice(&mut self, length: u32) -> Option<Slice> {
        let (slice, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Slice::from(slice))
    }

    pub(super) fn row(&mut self) -> Option<Row> {
        let key_len = u32::from_le_bytes(self.bytes()?);
        let value_len = u32::from_le_bytes(self.bytes()?);
        let key = self.slice(key_len)?;
        let value = if value_len == REMOVED { None } else { Some(self.slice(value_len)?) };
        Some((key, value))
    }

    pub(super) fn batch(&mut self) -> Option<Batch> {
        let position = u64::from_le_bytes(self.bytes()?);
        let at = Time::from_millis(i64::from_le_bytes(self.bytes()?));
        let count = u32::from_le_bytes(self.bytes()?);
        let rows: Option<_> = (0..count).map(|_| self.row()).collect();
        Some(Batch { position, at, rows: rows? })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
