//! `cargo xtask infra`: checks the stacks of `infra/`, as far as no account is needed.
//!
//! | step | by |
//! |---|---|
//! | `infra/api.json` is what docs/openapi.json makes | [`api`] |
//! | each template is what CloudFormation takes | cfn-lint (`infra/.cfnlintrc`) |
//! | SAM's templates become CloudFormation's | aws-sam-translator ([`translated`]) |
//! | what is built is built safely | checkov (`infra/.checkov.yaml`) |
//! | nobody may do more than it must | rules of our own ([`policy`]) |
//!
//! That every requirement is in the templates with its value is told by the tests in
//! `requirements.rs`. The tools come by pip into the user's cache, at the versions in `tools.txt`.

mod api;
mod policy;
#[cfg(test)]
mod requirements;
mod resolve;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::resolve::{ENVIRONMENTS, resolved};
use crate::shell::{files, root, target};
use crate::signals::Signals;
use crate::tools::python;

/// The tools and everything below them.
const TOOLS: &str = include_str!("infra/tools.txt");
/// Makes CloudFormation's templates of SAM's.
const TRANSLATE: &str = "xtask/src/infra/translate.py";
/// What is made of the OpenAPI document.
const API: &str = "infra/api.json";
const OPENAPI: &str = "docs/openapi.json";

/// What to do with the stacks.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Checks everything (what is done when nothing is said)
    Check,
    /// Writes infra/api.json from docs/openapi.json
    Api,
    /// Puts the functions that `cargo xtask lambda --build` has built where the templates look
    Functions,
    /// Makes CloudFormation's templates of SAM's, and says where they are
    Translate,
}

/// Does it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.action.as_ref().unwrap_or(&Action::Check) {
        Action::Check => check(&Signals::listen()?).map(|_| ()),
        Action::Api => {
            fs::write(root()?.join(API), api_document()?).with_context(|| API.to_owned())?;
            println!("wrote {API}");
            Ok(())
        }
        Action::Functions => functions(),
        Action::Translate => {
            println!("{}", translated(&Signals::listen()?)?.display());
            Ok(())
        }
    }
}

/// The variable that tells tests where CloudFormation's templates are.
pub(crate) const VARIABLE: &str = "MINI_SNS_TEMPLATES";

/// Everything that can be checked without an account; where CloudFormation's templates are.
pub(crate) fn check(signals: &Signals) -> Result<PathBuf> {
    let kept = fs::read_to_string(root()?.join(API)).unwrap_or_default();
    if kept != api_document()? {
        bail!("{API} is not what {OPENAPI} makes; run `cargo xtask infra api`");
    }
    let tools = tools(signals)?;
    let infra = root()?.join("infra");
    signals.run(
        Command::new(tools.join("bin/cfn-lint"))
            .arg("--config-file")
            .arg(infra.join(".cfnlintrc"))
            .args(sources()?)
            .current_dir(root()?),
    )?;
    let templates = translated(signals)?;
    signals.run(
        Command::new(tools.join("bin/python"))
            .arg(tools.join("bin/checkov"))
            .arg("--config-file")
            .arg(infra.join(".checkov.yaml"))
            .arg("--directory")
            .arg(&templates)
            .env("LOG_LEVEL", "ERROR"),
    )?;
    let mut breaches = Vec::new();
    for (name, template) in read(&templates)? {
        for env in ENVIRONMENTS {
            let template = resolved(&template, &[("Env", env)]);
            let found = [policy::breaches(&template), policy::foreign(&name, &template)].concat();
            breaches.extend(found.into_iter().map(|it| format!("{name}, {env}: {it}")));
        }
    }
    if !breaches.is_empty() {
        bail!("the stacks allow too much:\n{}", breaches.join("\n"));
    }
    println!("infra: all stacks passed");
    Ok(templates)
}

/// `infra/api.json` as it must be.
fn api_document() -> Result<String> {
    let text = fs::read_to_string(root()?.join(OPENAPI)).with_context(|| OPENAPI.to_owned())?;
    let document: Value = serde_json::from_str(&text).with_context(|| OPENAPI.to_owned())?;
    let mut made = serde_json::to_string_pretty(&api::made_of(&document)?)?;
    made.push('\n');
    Ok(made)
}

/// Where the tools are; what is missing is installed.
fn tools(signals: &Signals) -> Result<PathBuf> {
    python("infra", "the tools that check infra/", TOOLS, signals)
}

/// The templates, by name.
fn sources() -> Result<Vec<PathBuf>> {
    let mut all = files(&root()?.join("infra"), ".yaml")?;
    // Settings of the tools.
    all.retain(|path| !path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.')));
    Ok(all)
}

/// The folder with CloudFormation's templates (JSON, by the names of SAM's). Made anew where the
/// sources have changed.
pub(crate) fn translated(signals: &Signals) -> Result<PathBuf> {
    let (root, mut digest) = (root()?, Sha256::new());
    for path in sources()?.iter().chain(&[root.join(API), root.join(TRANSLATE)]) {
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update(fs::read(path).with_context(|| format!("no {}", path.display()))?);
    }
    let digest = digest.finalize();
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let above = target()?.join("infra");
    let place = above.join(name);
    if !place.exists() {
        fs::create_dir_all(&above).context("cannot make a folder for the templates")?;
        let work = tempfile::tempdir_in(&above).context("cannot make a folder")?;
        let mut translate = Command::new(tools(signals)?.join("bin/python"));
        translate.arg(root.join(TRANSLATE)).arg(root.join("infra")).arg(work.path());
        signals.run(&mut translate)?;
        // Another may have been quicker; its result is the same.
        if let Err(error) = fs::rename(work.path(), &place)
            && !place.exists()
        {
            return Err(error).context("cannot move the templates");
        }
    }
    Ok(place)
}

/// The templates in a folder, by name.
fn read(folder: &Path) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for path in files(folder, ".json")? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        all.insert(name, serde_json::from_slice(&text).with_context(|| format!("{path:?}"))?);
    }
    Ok(all)
}

/// Lays out `target/functions/<name>/bootstrap` beside `infra/`, where the templates look for it,
/// wherever cargo has built.
fn functions() -> Result<()> {
    let built = target()?.join("lambda");
    let functions = root()?.join("target/functions");
    let entries = fs::read_dir(&built).context("run `cargo xtask lambda --build` first")?;
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        // Beside each program cargo leaves a list of its sources.
        if path.is_file() && path.extension().is_none() {
            let name = path.file_name().context("a file without a name")?;
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            let folder = functions.join(name);
            fs::create_dir_all(&folder).context("cannot make a folder for a function")?;
            fs::copy(&path, folder.join("bootstrap")).context("cannot copy a function")?;
            count += 1;
        }
    }
    println!("{count} functions in {}", functions.display());
    Ok(())
}
