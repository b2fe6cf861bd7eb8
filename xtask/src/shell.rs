//! Running other programs: from the workspace's root, with their output shown, and a failure that
//! names the command line.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root. Asked when it runs, not when it was built: a target directory may serve
/// several checkouts.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    let xtask = PathBuf::from(xtask);
    Ok(xtask.parent().context("xtask lies in the workspace")?.to_owned())
}

/// `cargo` with these arguments, at the workspace's root.
///
/// The outer `cargo run` tells its child about xtask's own package. An inner cargo that inherited
/// that would see changed variables and build again what is already built.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root()?);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command to its end; an exit code other than zero is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end and gives back its standard output; its errors are shown.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let line = line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    Ok(output.stdout)
}

/// Whether `cargo <name>` is there.
pub(crate) fn has_cargo_command(name: &str) -> Result<bool> {
    let mut command = cargo(&[name, "--version"])?;
    Ok(command.output().is_ok_and(|output| output.status.success()))
}

/// Where a program is, where it is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The place of what was fetched for `part`, in the user's cache.
pub(crate) fn cache(part: &str) -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME").map(PathBuf::from), env::var_os("HOME")) {
        (Some(xdg), _) if xdg.is_absolute() => xdg,
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        (_, None) => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    Ok(base.join("mini-sns").join(part))
}

/// The command line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
