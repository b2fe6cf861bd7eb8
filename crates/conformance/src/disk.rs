//! What lies on a disk, for tests of what must not be read there.

use std::fs;
use std::path::Path;

/// All bytes of all files of a directory.
///
/// # Panics
/// When it cannot be read.
pub fn bytes(dir: &Path) -> Vec<u8> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the directory can be read") {
        let path = entry.expect("its entries can be read").path();
        let mut content = if path.is_dir() {
            bytes(&path)
        } else {
            fs::read(&path).expect("its files can be read")
        };
        // Journals are made long beforehand.
        content.truncate(content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        found.extend(content);
    }
    found
}

/// Whether a text is among them.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
