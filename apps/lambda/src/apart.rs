//! The half of a process that handles one message apart (`processes.rs` starts it): it is asked on
//! standard input, one end of a pair of sockets, and answers there.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic;
use std::sync::Arc;

use kernel::problem::panic_text;
use serde_json::value::RawValue;

use crate::function::{Asked, Failure};

/// The argument that tells a bootstrap that it is such a process. Lambda gives none.
pub(crate) const ARGUMENT: &str = "apart";

/// What it answers of a message: why it failed, where it did.
pub(crate) type Answer = Result<(), String>;

/// The end of the channel that such a process has; none in the function's own process.
pub(crate) fn channel() -> io::Result<Option<Channel>> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != ARGUMENT) {
        return Ok(None);
    }
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(Some(Channel(Arc::new(channel))))
}

/// Where the process is asked, and answers.
pub(crate) struct Channel(Arc<UnixStream>);

impl Channel {
    /// The event to be answered. Should the process panic from here on, that is the answer.
    pub(crate) fn asked(&self) -> io::Result<Asked> {
        let (channel, ending) = (Self(Arc::clone(&self.0)), panic::take_hook());
        panic::set_hook(Box::new(move |panicked| {
            let reason = format!("the handler panicked: {}", panic_text(panicked.payload()));
            // Whom could it be told that nobody listens?
            let _ = channel.failed(&reason);
            ending(panicked);
        }));
        let mut asked = Vec::new();
        (&*self.0).read_to_end(&mut asked)?;
        Ok(serde_json::from_slice(&asked)?)
    }

    /// Passes the function's answer on.
    pub(crate) fn answer(&self, answered: Result<Box<RawValue>, Failure>) -> io::Result<()> {
        match answered {
            Ok(answer) => (&*self.0).write_all(answer.get().as_bytes()),
            Err(failure) => self.failed(&failure.message),
        }
    }

    fn failed(&self, reason: &str) -> io::Result<()> {
        let answer: Answer = Err(reason.to_owned());
        (&*self.0).write_all(&serde_json::to_vec(&answer)?)
    }
}
