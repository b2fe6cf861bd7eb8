//! `cargo xtask web`: checks the web client and the operator's console: what they took from npm,
//! their types, their pure parts, and all of it in a browser against the program.
//!
//! What the checks need is installed where it is missing: Node and Chromium by apt, packages of npm
//! by `web/package-lock.json` into the user's cache. Nothing is written into the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{cargo, files, output, root, target};
use crate::signals::Signals;
use crate::tools::{self, cache, programs};

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

/// Who needs all this.
const CHECKS: &str = "the checks of web/";
/// A program, and the Debian package that brings it.
const SYSTEM: [(&str, &str); 3] = [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium")];
/// A font, and the Debian package that brings it. Only pictures need to be read.
const JAPANESE: (&str, &str) =
    ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "fonts-noto-cjk");
/// Node of this version on has what the checks use.
const NODE_MAJOR_MIN: u32 = 20;

/// Runs the checks, the quickest first.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let signals = Signals::listen()?;
    if arguments.pictures && !Path::new(JAPANESE.0).exists() {
        tools::packages(CHECKS, &[JAPANESE.1], &signals)?;
    }
    let checks = Checks::prepare(&signals, arguments.quick)?;
    checks.without_browser()?;
    if arguments.quick {
        return Ok(());
    }
    signals.run(&mut cargo(&["build", "-p", "mini-sns"])?)?;
    if arguments.pictures { checks.draw() } else { checks.in_browser() }
}

/// The checks, with what they need in place.
pub(crate) struct Checks<'a> {
    signals: &'a Signals,
    web: PathBuf,
    packages: PathBuf,
}

impl<'a> Checks<'a> {
    /// Installs what is missing.
    pub(crate) fn prepare(signals: &'a Signals, quick: bool) -> Result<Self> {
        system_packages(signals, quick)?;
        let web = root()?.join("web");
        let packages = packages(signals, &web)?;
        Ok(Self { signals, web, packages })
    }

    /// What npm brought, the types, and the parts that are pure.
    pub(crate) fn without_browser(&self) -> Result<()> {
        let Self { signals, packages, .. } = self;
        signals.run(self.node("tools/vendor.js").arg(packages))?;
        signals.run(self.node("tools/types.js").arg("--check"))?;
        let project = packages.join("tsconfig.json");
        fs::write(&project, tsconfig(&root()?)).context("cannot write the compiler's settings")?;
        let compiler = packages.join("node_modules/.bin/tsc");
        signals.run(Command::new(compiler).arg("-p").arg(&project))?;
        signals.run(&mut self.tests("test")?)
    }

    /// All of it in a browser, against the program that was built last.
    pub(crate) fn in_browser(&self) -> Result<()> {
        self.with_program(self.tests("test/browser")?)
    }

    /// Writes the pictures of the documentation.
    fn draw(&self) -> Result<()> {
        let mut command = self.node("tools/pictures.js");
        command.arg(root()?.join("docs/images"));
        self.with_program(command)
    }

    fn with_program(&self, mut command: Command) -> Result<()> {
        command
            .env("MINI_SNS_PACKAGES", &self.packages)
            .env("MINI_SNS_BIN", target()?.join("debug/mini-sns"));
        self.signals.run(&mut command)
    }

    fn node(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.web.join(script)).current_dir(&self.web);
        command
    }

    /// Two files at a time: each has a server and a browser.
    fn tests(&self, folder: &str) -> Result<Command> {
        let mut command = Command::new("node");
        command.args(["--test", "--test-concurrency=2", "--test-reporter=spec"]);
        for pages in ["web", "console"] {
            command.args(files(&root()?.join(pages).join(folder), ".test.js")?);
        }
        Ok(command)
    }
}

/// The packages of npm in the user's cache, as the lock file has them.
fn packages(signals: &Signals, web: &Path) -> Result<PathBuf> {
    let place = cache("web")?;
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
    signals.run(Command::new("npm").args(clean).current_dir(&place))?;
    fs::write(&done, lock).context("cannot note that it is done")?;
    Ok(place)
}

/// The compiler's settings: outside the tree, since the packages' types are.
fn tsconfig(root: &Path) -> String {
    let below = |path: &str| root.join(path).display().to_string();
    let vendored = ["htm", "preact", "preact-hooks", "signals", "signals-core"]
        .map(|name| below(&format!("web/vendor/{name}.js")));
    let others = ["web/tools", "web/test", "console/test", "console/vendor"].map(below);
    let excluded: Vec<String> = vendored.into_iter().chain(others).collect();
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
                "uplot": ["./node_modules/uplot/dist/uPlot.d.ts"],
            },
        },
        "include": [below("web/**/*.js"), below("web/*.d.ts"), below("console/**/*.js")],
        "exclude": excluded,
    })
    .to_string()
}

fn system_packages(signals: &Signals, quick: bool) -> Result<()> {
    let wanted = SYSTEM.iter().filter(|(program, _)| !quick || *program != "chromium");
    programs(CHECKS, &wanted.copied().collect::<Vec<_>>(), signals)?;
    let version = output(Command::new("node").arg("--version"))?;
    let version = String::from_utf8_lossy(&version);
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    if major.parse::<u32>().is_ok_and(|major| major < NODE_MAJOR_MIN) {
        bail!("the checks need Node {NODE_MAJOR_MIN} or newer; this is {}", version.trim());
    }
    Ok(())
}
