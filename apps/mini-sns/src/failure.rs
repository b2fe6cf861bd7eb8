//! How the program ends when it could not do as asked: one line, and an exit code that says
//! whether to mend the call (2) or to look for the cause (1).

use std::fmt::Display;
use std::process::ExitCode;

/// The end of a command that did not do as asked.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
    code: u8,
}

impl Failure {
    /// Bad usage or configuration: the line says what and where.
    pub(crate) fn usage(line: impl Display) -> Self {
        Self { line: line.to_string(), code: 2 }
    }

    /// It was asked for rightly and failed.
    pub(crate) fn failed(line: impl Display) -> Self {
        Self { line: line.to_string(), code: 1 }
    }

    /// Writes the line to standard error and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        crate::output::error(&self.line);
        ExitCode::from(self.code)
    }
}
