//! What commands need from elsewhere: programs of the system, Debian's packages, environments of
//! Python, and a place in the user's cache.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::output;
use crate::signals::Signals;

/// Where programs are that only servers need.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The folder of what was fetched for `part`, in the user's cache.
pub(crate) fn cache(part: &str) -> Result<PathBuf> {
    let place = users_cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?.join(part);
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(place)
}

fn users_cache(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
    let base = match (xdg.map(PathBuf::from), home) {
        (Some(xdg), _) if xdg.is_absolute() => xdg,
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    Ok(base.join("mini-sns"))
}

/// Brings those of `wanted` that are missing: programs, each with Debian's package. `what` needs
/// them.
pub(crate) fn programs(what: &str, wanted: &[(&str, &str)], signals: &Signals) -> Result<()> {
    let missing = wanted.iter().filter(|(program, _)| find(program).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { packages(what, &missing, signals) }
}

/// Brings packages of Debian, which `what` needs.
pub(crate) fn packages(what: &str, names: &[&str], signals: &Signals) -> Result<()> {
    let list = names.join(", ");
    if find("apt-get").is_none() {
        bail!("{what}: Debian's {list} is needed; install it");
    }
    println!("{what}: installing {list} by apt");
    update(signals)?;
    let install = ["apt-get", "-o", "Acquire::Retries=3", "install", "-y"];
    signals.run(as_root()?.args(install).arg("--no-install-recommends").args(names))
}

/// Fetches apt's lists anew.
pub(crate) fn update(signals: &Signals) -> Result<()> {
    signals.run(as_root()?.args(["apt-get", "-o", "Acquire::Retries=3", "update"]))
}

/// A command line that the rest is added to, which runs as root.
fn as_root() -> Result<Command> {
    let user = output(Command::new("id").arg("-u"))?;
    let mut command = Command::new(if user.trim_ascii() == b"0" { "env" } else { "sudo" });
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}

/// The environment of Python with these packages of PyPI, at `part` of the user's cache.
pub(crate) fn python(part: &str, what: &str, packages: &str, signals: &Signals) -> Result<PathBuf> {
    programs(what, &[("python3", "python3-venv")], signals)?;
    // Debian's python3 comes without the part that makes environments.
    let makes_environments =
        Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    if !makes_environments.is_ok_and(|made| made.status.success()) {
        self::packages(what, &["python3-venv"], signals)?;
    }
    let place = cache(part)?;
    // Several target directories share the cache.
    let lock = File::create(place.with_extension("lock")).context("cannot open a lock")?;
    lock.lock().context("cannot lock the cache")?;
    environment(&place, what, packages, signals)
}

/// An environment cannot be moved, so a mark tells that it is whole, and of which packages.
fn environment(place: &Path, what: &str, packages: &str, signals: &Signals) -> Result<PathBuf> {
    let mark = place.join("installed.txt");
    let python = place.join("bin/python");
    let whole = fs::read_to_string(&mark).is_ok_and(|installed| installed == packages);
    // The Python that it was made with may have gone.
    let runs = Command::new(&python).arg("--version").output();
    if !(whole && runs.is_ok_and(|ran| ran.status.success())) {
        println!("installing {what} from PyPI");
        if place.exists() {
            fs::remove_dir_all(place).with_context(|| format!("cannot remove an old {what}"))?;
        }
        signals.run(Command::new("python3").args(["-m", "venv"]).arg(place))?;
        let list = place.join("packages.txt");
        fs::write(&list, packages).context("cannot write a list of packages")?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--requirement"])
            .arg(&list);
        signals.run(&mut pip)?;
        signals.run(Command::new(&python).args(["-m", "pip", "--quiet", "check"]))?;
        fs::rename(&list, &mark).with_context(|| format!("cannot mark {what} as installed"))?;
    }
    Ok(place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_users() {
        let at = |xdg: Option<&str>, home: Option<&str>| {
            users_cache(xdg.map(Into::into), home.map(Into::into))
        };
        assert_eq!(at(Some("/x"), Some("/h")).unwrap(), Path::new("/x/mini-sns"));
        assert_eq!(at(None, Some("/h")).unwrap(), Path::new("/h/.cache/mini-sns"));
        // A relative one is to be ignored.
        assert_eq!(at(Some("x"), Some("/h")).unwrap(), Path::new("/h/.cache/mini-sns"));
        assert!(at(None, None).is_err());
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("bash").is_some());
        assert!(find("no-such-program").is_none());
    }
}
