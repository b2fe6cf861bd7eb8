//! Whether the files of a stopped store are byte for byte what was written.
//!
//! The engine checks what it reads when it reads it, and much of a table it may never read:
//! filters, indexes, rows that nobody asks for. But it keeps the checksum of every table in the
//! list of those in force (`v{number}`), and that list's own in `current`, so the files can be held
//! to them without opening anything. Journals are read whole by every start and need no check here.
//!
//! What is not in the list was left by a kill; the engine removes it, whatever it holds.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use sfa::{Error, Reader};
use xxhash_rust::xxh3::Xxh3Default;

use crate::directory::{BUS, Directory, Kind, OpenError, TABLE, damaged};

/// Kind of the only checksum that the engine writes, XXH3 with 128 bits.
const XXH3: u8 = 0;
const BLOCK_BYTES: usize = 256 << 10;

/// Checks the files of the stopped table in `dir`; nothing is changed. Takes as long as reading
/// them does.
pub fn table(dir: impl AsRef<Path>) -> Result<(), OpenError> {
    check(dir.as_ref(), &TABLE)
}

/// The same for the stopped bus in `dir`.
pub fn bus(dir: impl AsRef<Path>) -> Result<(), OpenError> {
    check(dir.as_ref(), &BUS)
}

fn check(dir: &Path, kind: &Kind) -> Result<(), OpenError> {
    let directory = Directory::open(dir, kind, None)?;
    directory.check_whole()?;
    let failed = |source| OpenError::Io { dir: dir.to_owned(), what: "checking its files", source };
    let keyspaces = directory.engine().join("keyspaces");
    let entries = match fs::read_dir(keyspaces) {
        // Nothing was ever written.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        keyspace(&entry.map_err(failed)?.path()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput => damaged(dir, error.to_string()),
            _ => failed(error),
        })?;
    }
    Ok(())
}

fn keyspace(dir: &Path) -> io::Result<()> {
    let current = dir.join("current");
    if !current.try_exists()? {
        // Its making was cut short; that a whole one is missing is noticed before.
        return Ok(());
    }
    let mut reader = File::open(&current).map_err(|error| at(&current, &error))?;
    let mut list = || {
        let (version, sum) = (number(&mut reader)?, bytes(&mut reader)?);
        Ok((version, checksum(byte(&mut reader)?, sum)?))
    };
    let (version, expected) = list().map_err(|error| at(&current, &error))?;
    let list = dir.join(format!("v{version}"));
    same(&list, expected)?;
    for (table, expected) in tables(&list).map_err(|error| at(&list, &error))? {
        same(&dir.join("tables").join(table.to_string()), expected)?;
    }
    Ok(())
}

/// The tables in force, with their checksums.
fn tables(list: &Path) -> io::Result<Vec<(u64, u128)>> {
    let archive = Reader::new(list).map_err(|error| match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    })?;
    let section = archive.toc().section(b"tables").ok_or(io::ErrorKind::InvalidData)?;
    let mut reader = BufReader::new(section.buf_reader(list)?);
    let mut found = Vec::new();
    for _level in 0..byte(&mut reader)? {
        for _run in 0..byte(&mut reader)? {
            for _table in 0..u32::from_le_bytes(bytes(&mut reader)?) {
                let table = number(&mut reader)?;
                found.push((table, checksum(byte(&mut reader)?, bytes(&mut reader)?)?));
                let _seen_from = number(&mut reader)?;
            }
        }
    }
    Ok(found)
}

/// Holds a file to its checksum.
fn same(path: &Path, expected: u128) -> io::Result<()> {
    let hash = || {
        let mut reader = BufReader::with_capacity(BLOCK_BYTES, File::open(path)?);
        let mut hash = Xxh3Default::new();
        loop {
            let block = reader.fill_buf()?;
            let length = block.len();
            if length == 0 {
                return Ok(hash.digest128());
            }
            hash.update(block);
            reader.consume(length);
        }
    };
    if hash().map_err(|error| at(path, &error))? == expected {
        return Ok(());
    }
    let what = format!("{} does not match its checksum", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn checksum(kind: u8, sum: [u8; 16]) -> io::Result<u128> {
    if kind != XXH3 {
        let what = format!("checksums of kind {kind} are not known");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(u128::from_le_bytes(sum))
}

fn number(reader: &mut impl Read) -> io::Result<u64> {
    bytes(reader).map(u64::from_le_bytes)
}

fn byte(reader: &mut impl Read) -> io::Result<u8> {
    bytes(reader).map(|[byte]| byte)
}

fn bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
