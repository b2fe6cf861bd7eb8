//! Being told to stop: Ctrl-C and its kin end what runs in the foreground, and leave time to put
//! things away. Without this, whatever runs in the background would outlive us.

use std::io::{IsTerminal, stdin};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::shell::line;

/// From its making on, this process does not die of SIGINT, SIGTERM and SIGHUP, but ends by itself.
#[derive(Clone)]
pub(crate) struct Signals {
    told: Arc<AtomicBool>,
    child: Arc<Mutex<Option<Pid>>>,
    /// On a terminal, Ctrl-C reaches the whole foreground group without us. Elsewhere a child gets
    /// a group of its own, and what we are told is passed on to all of it.
    terminal: bool,
}

impl Signals {
    /// Starts to listen, on a thread of its own and to the end of the process.
    pub(crate) fn listen() -> Result<Self> {
        let signals =
            Self { told: Arc::default(), child: Arc::default(), terminal: stdin().is_terminal() };
        let mut incoming = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            .context("cannot listen to signals")?;
        let listener = signals.clone();
        thread::spawn(move || {
            for signal in &mut incoming {
                listener.told.store(true, Ordering::SeqCst);
                if !(listener.terminal && signal == SIGINT) {
                    listener.end_child();
                }
            }
        });
        Ok(signals)
    }

    /// An error once we were told to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.told.load(Ordering::SeqCst) {
            bail!("told to stop");
        }
        Ok(())
    }

    /// Runs a command to its end, which comes early when we are told to stop; an exit code other
    /// than zero is an error, and so is having been told.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.check()?;
        let line = line(command);
        if !self.terminal {
            command.process_group(0);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pid::from_child(&child));
        if self.check().is_err() {
            // Told between the check above and now.
            self.end_child();
        }
        let status = child.wait().with_context(|| format!("cannot wait for `{line}`"));
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = status?;
        self.check()?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    fn end_child(&self) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *child {
            // One that has ended meanwhile needs no signal.
            let _ = if self.terminal {
                kill_process(pid, Signal::TERM)
            } else {
                kill_process_group(pid, Signal::TERM)
            };
        }
    }
}
