//! Running other programs: from the workspace's root, with their output shown, and a failure that
//! names the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

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

/// What cargo knows of the workspace.
pub(crate) fn metadata() -> Result<Value> {
    let told = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"])?)?;
    serde_json::from_slice(&told).context("cargo's metadata")
}

/// Where cargo builds, which need not be the workspace's own folder.
pub(crate) fn target() -> Result<PathBuf> {
    let target = metadata()?["target_directory"].as_str().map(PathBuf::from);
    target.context("cargo names no target directory")
}

/// The files in a folder whose names end so, by name; none is an error.
pub(crate) fn files(folder: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.to_string_lossy().ends_with(end));
    files.sort();
    if files.is_empty() {
        bail!("{} has no file named *{end}", folder.display());
    }
    Ok(files)
}

/// The command line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
