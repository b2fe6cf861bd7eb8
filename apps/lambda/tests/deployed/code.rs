//! The bootstraps that cargo has built, small enough to be uploaded, each in a ZIP of its own.

use std::path::Path;
use std::process::Command;

use crate::programs::BOOTSTRAPS;

/// Stores a file under the name that Lambda looks for.
const PACK: &str = "import sys, zipfile
zipfile.ZipFile(sys.argv[2], 'w').write(sys.argv[1], 'bootstrap')";

/// The ZIP of each bootstrap, by name.
pub(crate) fn packed() -> Vec<(&'static str, Vec<u8>)> {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let pack = |(name, file): &(&'static str, &str)| {
        // Nine tenths of a debug build are for debuggers.
        run(Command::new("strip").arg("-o").arg(at(name)).arg(Path::new(file)));
        let zip = at(&format!("{name}.zip"));
        run(Command::new("python3").args(["-c", PACK]).arg(at(name)).arg(&zip));
        (*name, std::fs::read(zip).unwrap())
    };
    BOOTSTRAPS.iter().map(pack).collect()
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
