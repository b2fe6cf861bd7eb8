//! `cargo xtask web`: checks the web client: what it took from npm, its types, its pure parts, and
//! all of it in a browser against the program.
//!
//! What the checks need is installed where it is missing: Node and Chromium by apt, packages of npm
//! by `web/package-lock.json` into the user's cache. Nothing is written into the tree.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{cargo, output, root, run as run_command};

/// What to check.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only what needs no browser and no build of the program
    #[arg(long)]
    quick: bool,
    /// Write docs/images anew from the pages, in place of the checks
    #[arg(long)]
    pictures: bool,
}

/// A program, and the Debian package that brings it.
const SYSTEM: [(&str, &str); 3] = [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium")];
/// Node of this version on has what the checks use.
const NODE_MAJOR_MIN: u32 = 20;

/// Runs the checks, the quickest first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    system_packages(arguments.quick)?;
    let web = root()?.join("web");
    let packages = packages(&web)?;
    let node = |script: &str| -> Command {
        let mut command = Command::new("node");
        command.arg(web.join(script)).current_dir(&web);
        command
    };
    run_command(node("tools/vendor.js").arg(&packages))?;
    run_command(node("tools/types.js").arg("--check"))?;
    let project = packages.join("tsconfig.json");
    fs::write(&project, tsconfig(&web)).context("cannot write the compiler's settings")?;
    run_command(Command::new(packages.join("node_modules/.bin/tsc")).arg("-p").arg(&project))?;
    let tests = |folder: &str| -> Result<Command> {
        let mut command = Command::new("node");
        command.args(["--test", "--test-concurrency=1"]).args(test_files(&web.join(folder))?);
        Ok(command)
    };
    run_command(&mut tests("test")?)?;
    if arguments.quick {
        return Ok(());
    }
    run_command(&mut cargo(&["build", "-p", "mini-sns"])?)?;
    let mut browser = if arguments.pictures {
        let mut command = node("tools/pictures.js");
        command.arg(root()?.join("docs/images"));
        command
    } else {
        tests("test/browser")?
    };
    browser.env("MINI_SNS_PACKAGES", &packages).env("MINI_SNS_BIN", program()?);
    run_command(&mut browser)
}

/// The files that hold tests in a folder, by name.
fn test_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.to_string_lossy().ends_with(".test.js"));
    files.sort();
    if files.is_empty() {
        bail!("{} has no tests", folder.display());
    }
    Ok(files)
}

/// Where cargo has put the program.
fn program() -> Result<PathBuf> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"])?)?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo names no target")?;
    Ok(Path::new(target).join("debug/mini-sns"))
}

/// The packages of npm in the user's cache, as the lock file has them.
fn packages(web: &Path) -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(xdg), _) if Path::new(&xdg).is_absolute() => PathBuf::from(xdg),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        (_, None) => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    };
    let place = base.join("mini-sns/web");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let lock = fs::read(web.join("package-lock.json")).context("web has no package-lock.json")?;
    // Written last, so that it is there when the rest is.
    let done = place.join("installed.json");
    if fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(place);
    }
    println!("installing the packages of web/package-lock.json by npm");
    for name in ["package.json", "package-lock.json"] {
        fs::copy(web.join(name), place.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    let clean = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run_command(Command::new("npm").args(clean).current_dir(&place))?;
    fs::write(&done, lock).context("cannot note that it is done")?;
    Ok(place)
}

/// The compiler's settings: outside the tree, since the packages' types are.
fn tsconfig(web: &Path) -> String {
    let below = |path: &str| web.join(path).display().to_string();
    let vendored = ["htm", "preact", "preact-hooks", "signals", "signals-core"]
        .map(|name| below(&format!("vendor/{name}.js")));
    let excluded: Vec<String> =
        vendored.into_iter().chain([below("tools"), below("test")]).collect();
    serde_json::json!({
        "compilerOptions": {
            "allowJs": true, "checkJs": true, "noEmit": true, "strict": true,
            "target": "ES2024", "lib": ["ES2024", "DOM", "DOM.Iterable"],
            "module": "ESNext", "moduleResolution": "bundler",
            "allowImportingTsExtensions": true, "skipLibCheck": true, "types": [],
            "paths": {
                "preact": ["./node_modules/preact/src/index.d.ts"],
                "preact/hooks": ["./node_modules/preact/hooks/src/index.d.ts"],
                "@preact/signals": ["./node_modules/@preact/signals/dist/signals.d.ts"],
                "htm": ["./node_modules/htm/dist/htm.d.ts"],
            },
        },
        "include": [below("**/*.js"), below("*.d.ts")],
        "exclude": excluded,
    })
    .to_string()
}

fn system_packages(quick: bool) -> Result<()> {
    let wanted = SYSTEM.iter().filter(|(program, _)| !quick || *program != "chromium");
    let missing: Vec<&str> =
        wanted.filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        if !is_there("apt-get") {
            bail!("the checks need what Debian calls {}; install them", missing.join(", "));
        }
        println!("the checks need {}; installing by apt", missing.join(", "));
        let user = output(Command::new("id").arg("-u"))?;
        let as_root = if user.trim_ascii() == b"0" { "env" } else { "sudo" };
        run_command(Command::new(as_root).args(["apt-get", "update"]))?;
        let install = ["apt-get", "install", "-y", "--no-install-recommends"];
        run_command(Command::new(as_root).args(install).args(&missing))?;
    }
    let version = output(Command::new("node").arg("--version"))?;
    let version = String::from_utf8_lossy(&version);
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    if major.parse::<u32>().is_ok_and(|major| major < NODE_MAJOR_MIN) {
        bail!("the checks need Node {NODE_MAJOR_MIN} or newer; this is {}", version.trim());
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
