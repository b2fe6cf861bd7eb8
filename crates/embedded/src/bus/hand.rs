//! Which messages are in hand, written before their handler runs: one small file a worker,
//! overwritten in place and never synced. It outlives the process, which is all it is for: a
//! message that ends the process at each receive is found here at the next start, is tried alone
//! from then on, and comes to the dead letters like any other. A row in the engine would do that at
//! twice the writes, and a receive would wait for the sync of somebody else's publish.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::directory::OpenError;

const DIR: &str = "hand";

/// A message in hand: its position, and the receives it has had, this one included.
pub(super) type InHand = (u64, u32);

/// One worker's file.
pub(super) struct Slot {
    file: File,
    text: String,
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Slot {
    /// Makes the file of worker `index` of `queue`.
    pub(super) fn create(bus: &Path, queue: &str, index: usize) -> std::io::Result<Self> {
        let file = File::create(dir(bus).join(format!("{queue}.{index}")))?;
        Ok(Self { file, text: String::new() })
    }

    /// Says what is in hand now. One write into the page cache: a few microseconds.
    pub(super) fn write(&mut self, messages: impl Iterator<Item = InHand>) -> std::io::Result<()> {
        use std::fmt::Write as _;
        self.text.clear();
        for (pos, receives) in messages {
            // Writing to a string does not fail.
            let _ = write!(self.text, "{pos}:{receives} ");
        }
        let sum = checksum(self.text.as_bytes());
        // The line ends what counts; behind it may lie the rest of a longer one.
        let _ = writeln!(self.text, "{sum:08x}");
        self.file.rewind()?;
        self.file.write_all(self.text.as_bytes())
    }
}

fn dir(bus: &Path) -> PathBuf {
    bus.join(DIR)
}

fn parse(text: &[u8]) -> Option<Vec<InHand>> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let (list, sum) = line.split_at_checked(line.len().checked_sub(8)?)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum != checksum(list) {
        return None;
    }
    let list = std::str::from_utf8(list).ok()?;
    let entries = list.split_ascii_whitespace().map(|entry| {
        let (pos, receives) = entry.split_once(':')?;
        Some((pos.parse().ok()?, receives.parse().ok()?))
    });
    entries.collect()
}

/// What was in hand when the last process ended, by queue; files that make no sense (cut off by a
/// power failure) say nothing.
pub(super) fn read(bus: &Path) -> Result<Vec<(String, Vec<InHand>)>, OpenError> {
    let dir = dir(bus);
    let refused = |source| super::store::refused(&dir, "what was in hand", source);
    std::fs::create_dir_all(&dir).map_err(refused)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((queue, _)) = name.rsplit_once('.') else { continue };
        let text = std::fs::read(entry.path()).map_err(refused)?;
        found.extend(parse(&text).map(|messages| (queue.to_owned(), messages)));
    }
    Ok(found)
}

/// Forgets what was in hand, once it is counted.
pub(super) fn clear(bus: &Path) -> Result<(), OpenError> {
    let dir = dir(bus);
    let refused = |source| super::store::refused(&dir, "what was in hand", source);
    for entry in std::fs::read_dir(&dir).map_err(refused)? {
        std::fs::remove_file(entry.map_err(refused)?.path()).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_counts_even_when_it_is_shorter() {
        let bus = tempfile::tempdir().unwrap();
        assert!(read(bus.path()).unwrap().is_empty());
        let mut slot = Slot::create(bus.path(), "a-b", 0).unwrap();
        slot.write([(1, 1), (2, 1), (300, 2)].into_iter()).unwrap();
        slot.write(std::iter::once((7, 2))).unwrap();
        assert_eq!(read(bus.path()).unwrap(), [("a-b".to_owned(), vec![(7, 2)])]);
        slot.write(std::iter::empty()).unwrap();
        assert_eq!(read(bus.path()).unwrap(), [("a-b".to_owned(), vec![])]);
        clear(bus.path()).unwrap();
        assert!(read(bus.path()).unwrap().is_empty());
    }

    #[test]
    fn a_torn_file_says_nothing() {
        for torn in ["", "1:1 2:1 ", "1:1 00000000\n", "\0\0\0\0\0\0\0\0\0\0", "x\n"] {
            assert_eq!(parse(torn.as_bytes()), None, "{torn}");
        }
    }
}
