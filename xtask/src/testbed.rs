//! `cargo xtask testbed`: what stands in for AWS in tests, started on loopback and stopped again.
//!
//! | part | stand-in |
//! |---|---|
//! | `dynamodb` | Amazon's DynamoDB Local |
//! | `dynoxide` | another `DynamoDB`, quicker and of today's limits |
//! | `services` | `MiniStack`: EventBridge, SQS, Cognito, Lambda, API Gateway |
//! | `guarded` | another `MiniStack`, which looks at what roles may do, for stacks |
//! | `redis` | one redis-server |
//! | `redisCluster` | three of them, in cluster mode |
//!
//! What runs is written in `testbed.json` in the target directory ([`state`]), which is what the
//! tests read. Programs are installed once ([`mod@install`]); data lies in a temporary directory
//! that goes with the last process.

mod answer;
mod install;
mod parts;
mod process;
mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::install::Programs;
pub(crate) use self::install::install;
use self::parts::Part;
use self::state::Bed;
use crate::shell::target;
use crate::signals::Signals;

/// The variable that tells tests where `testbed.json` is.
pub(crate) const VARIABLE: &str = "MINI_SNS_TESTBED";
/// The file's name in the target directory.
const FILE: &str = "testbed.json";
/// Held while the bed is changed.
const LOCK_FILE: &str = "testbed.lock";
/// Held, shared, by each run of the tests.
const USE_FILE: &str = "testbed.use";
/// Patience with a part that starts, or that is busy: a loaded machine takes its time.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Patience with a part when only asked how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do with the test bed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Installs what is missing, and starts what is not running
    Up,
    /// Stops everything, and removes its data
    Down,
    /// Asks each part whether it answers; exit code 1 when one does not
    Status,
    /// Installs what is missing, and starts nothing
    Install,
}

/// Does it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.action {
        Action::Install => install(&Signals::listen()?).map(|_| ()),
        Action::Up => {
            let signals = Signals::listen()?;
            let place = Place::find()?;
            let _lock = place.lock()?;
            let mut bed = up(&place, &signals)?;
            bed.keep = true;
            bed.write(&place.file())?;
            println!("{bed}{VARIABLE}={}", place.file().display());
            Ok(())
        }
        Action::Down => {
            let place = Place::find()?;
            let _lock = place.lock()?;
            down(&place)
        }
        Action::Status => status(&Place::find()?),
    }
}

/// The test bed for the time of one run of tests.
pub(crate) struct Borrowed {
    place: Place,
    in_use: File,
}

impl Borrowed {
    /// Brings the bed up where it is not.
    pub(crate) fn take(signals: &Signals) -> Result<Self> {
        let place = Place::find()?;
        let _lock = place.lock()?;
        let in_use = place.open(USE_FILE)?;
        in_use.lock_shared().context("cannot lock the test bed")?;
        let bed = up(&place, signals)?;
        print!("{bed}");
        Ok(Self { place, in_use })
    }

    /// The file that [`VARIABLE`] names.
    pub(crate) fn file(&self) -> PathBuf {
        self.place.file()
    }

    /// Takes the bed down, unless it was brought up to stay, or other tests are at it: the last of
    /// them takes it down.
    pub(crate) fn give_back(self) -> Result<()> {
        let _lock = self.place.lock()?;
        self.in_use.unlock().context("cannot unlock the test bed")?;
        let kept = Bed::read(&self.place.file())?.is_some_and(|bed| bed.keep);
        if kept || self.in_use.try_lock().is_err() {
            return Ok(());
        }
        down(&self.place)
    }
}

/// The target directory that cargo uses, which need not be the workspace's own.
struct Place(PathBuf);

impl Place {
    fn find() -> Result<Self> {
        let target = target()?;
        fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        Ok(Self(target))
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    fn open(&self, name: &str) -> Result<File> {
        let path = self.0.join(name);
        File::create(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// One at a time changes the bed.
    fn lock(&self) -> Result<File> {
        let file = self.open(LOCK_FILE)?;
        file.lock().context("cannot lock the test bed")?;
        Ok(file)
    }
}

/// Starts what does not run. On failure nothing is left of what this call started.
fn up(place: &Place, signals: &Signals) -> Result<Bed> {
    let found = Bed::read(&place.file())?;
    let missing = missing(found.as_ref(), signals)?;
    if let (Some(bed), []) = (&found, &missing[..]) {
        return Ok(bed.clone());
    }
    let programs = install(signals)?;
    let mut bed = match found {
        Some(bed) => bed,
        None => Bed::new()?,
    };
    let started = start(&mut bed, &missing, &programs, &place.file(), signals);
    if let Err(error) = started {
        for part in missing {
            bed.stop(part)?;
        }
        if bed.is_empty() {
            bed.remove(&place.file())?;
        } else {
            bed.write(&place.file())?;
        }
        return Err(error.context("the test bed did not come up"));
    }
    Ok(bed)
}

/// The parts that are not there or do not answer. A busy one gets the same time as one that starts.
fn missing(bed: Option<&Bed>, signals: &Signals) -> Result<Vec<Part>> {
    let answers =
        |part: &Part| bed.is_some_and(|bed| bed.wait(*part, START_TIMEOUT, signals).is_ok());
    let missing = Part::ALL.into_iter().filter(|part| !answers(part)).collect();
    // One that was not waited for is not missing.
    signals.check()?;
    Ok(missing)
}

/// Starts all these parts, then waits for each. What runs is written down at once, so that even a
/// killed `up` leaves nothing that `down` does not know.
fn start(
    bed: &mut Bed,
    parts: &[Part],
    programs: &Programs,
    file: &Path,
    signals: &Signals,
) -> Result<()> {
    for part in parts {
        bed.stop(*part)?;
        bed.start(*part, programs, file)?;
    }
    for part in parts {
        bed.wait(*part, START_TIMEOUT, signals)?;
    }
    Ok(())
}

fn down(place: &Place) -> Result<()> {
    let Some(mut bed) = Bed::read(&place.file())? else {
        println!("the test bed is not up");
        return Ok(());
    };
    for part in Part::ALL {
        bed.stop(part)?;
    }
    bed.remove(&place.file())?;
    println!("the test bed is down");
    Ok(())
}

fn status(place: &Place) -> Result<()> {
    let Some(bed) = Bed::read(&place.file())? else {
        bail!("the test bed is not up; start it: cargo xtask testbed up");
    };
    print!("{bed}");
    let signals = Signals::listen()?;
    let mut silent = Vec::new();
    for part in Part::ALL {
        if let Err(error) = bed.wait(part, STATUS_TIMEOUT, &signals) {
            println!("{error:#}");
            silent.push(part.name());
        }
    }
    if !silent.is_empty() {
        bail!("no answer: {}; start anew: cargo xtask testbed up", silent.join(", "));
    }
    println!("every part answers");
    Ok(())
}
