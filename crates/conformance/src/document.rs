//! Tables in documents that tests measure.

use std::path::Path;
use std::{env, fs};

/// Holds the table between the marks `name` of a document to what was measured; with
/// `MINI_SNS_TEST_WRITE` set, writes it there.
///
/// # Panics
/// When the document says otherwise, cannot be read, or lacks the marks.
pub fn compare(document: impl AsRef<Path>, name: &str, table: &str) {
    let path = document.as_ref();
    let document = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let (head, rest) = document.split_once(&begin).expect("the table begins with its mark");
    let (documented, tail) = rest.split_once(&end).expect("the table ends with its mark");
    if env::var_os("MINI_SNS_TEST_WRITE").is_some() {
        fs::write(path, format!("{head}{begin}{table}{end}{tail}"))
            .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
        return;
    }
    assert_eq!(documented, table, "{} is held to what is measured", path.display());
}
