//! `cargo xtask ci`: everything that a change must pass, the quickest checks first. The last step
//! is `cargo xtask test` itself.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::shell::{cargo, has_cargo_command, run as run_command};
use crate::{openapi, test, units, walls, workflows};

const DENY_VERSION: &str = "0.20.2";
const MACHETE_VERSION: &str = "0.9.2";

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 10] = [
    ("fmt", fmt),
    ("walls", walls::run),
    ("workflows", workflows::run),
    ("units", units::run),
    ("deny", deny),
    ("machete", machete),
    ("clippy", clippy),
    ("doc", doc),
    ("openapi", openapi::compare),
    ("test", test::run),
];

/// Runs the steps in turn and prints what each took; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let mut took = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let begin = Instant::now();
        let done = step();
        let secs = begin.elapsed().as_secs_f64();
        done.with_context(|| format!("ci: {name} failed after {secs:.1} s"))?;
        println!("== {name}: done in {secs:.1} s\n");
        took.push(format!("{name} {secs:.1} s"));
    }
    println!("ci: all passed in {:.1} s ({})", start.elapsed().as_secs_f64(), took.join(", "));
    Ok(())
}

fn fmt() -> Result<()> {
    component("fmt", "rustfmt")?;
    run_command(&mut cargo(&["fmt", "--all", "--check"])?)
}

/// Advisories need a database from elsewhere; the hosted pipeline checks them.
fn deny() -> Result<()> {
    install("deny", "cargo-deny", DENY_VERSION)?;
    run_command(&mut cargo(&["deny", "check", "licenses", "bans", "sources"])?)
}

fn machete() -> Result<()> {
    install("machete", "cargo-machete", MACHETE_VERSION)?;
    run_command(&mut cargo(&["machete"])?)
}

fn clippy() -> Result<()> {
    component("clippy", "clippy")?;
    // The program with both backends, and as it is built without a word.
    for packages in [&["--workspace", "--features", "mini-sns/aws"][..], &["-p", "mini-sns"]] {
        let strict = ["--all-targets", "--", "-D", "warnings"];
        run_command(&mut cargo(&[&["clippy"], packages, &strict].concat())?)?;
    }
    Ok(())
}

fn doc() -> Result<()> {
    let packages = ["doc", "--workspace", "--features", "mini-sns/aws"];
    let mut command = cargo(&[&packages[..], &["--no-deps", "--document-private-items"]].concat())?;
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Adds a component of the tool chain where it is missing.
fn component(command: &str, name: &str) -> Result<()> {
    if has_cargo_command(command)? {
        return Ok(());
    }
    run_command(std::process::Command::new("rustup").args(["component", "add", name]))
}

/// Builds a tool from crates.io where it is missing, which takes some minutes.
fn install(command: &str, name: &str, version: &str) -> Result<()> {
    if has_cargo_command(command)? {
        return Ok(());
    }
    run_command(&mut cargo(&["install", "--locked", name, "--version", version])?)
}
