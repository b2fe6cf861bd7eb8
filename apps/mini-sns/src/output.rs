//! Standard output and standard error. A reader that has gone away is no reason to panic.

use std::io::Write;

/// Writes text for the person or program that called.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes one line.
pub(crate) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Writes why the program ends.
pub(crate) fn error(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "mini-sns: {line}");
}
