//! Standard output and standard error. A reader that has gone away is no failure; a disk that
//! takes no more is.

use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Writes text for the person or program that called.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Writes why the program ends.
pub(crate) fn error(line: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "mini-sns: {line}");
}
