//! Which crate may depend on which. Every crate has a role, and a role knows only those listed for
//! it here, so that a new crate is refused until somebody decides what it is.

use anyhow::{Context, Result};
use serde_json::Value;

/// What a crate is in the house.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// The shared words and the seams.
    Kernel,
    /// What every request passes first.
    Edge,
    /// A service: users, posts, social, timeline.
    Slice,
    /// Every seam in one process.
    Embedded,
    /// Every seam on AWS.
    Aws,
    /// The suites of the seams; never in a program.
    Conformance,
    /// A program. Only programs choose a backend.
    App,
    /// The developer's commands.
    Xtask,
}

impl Role {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "kernel" => Self::Kernel,
            "edge" => Self::Edge,
            "users" | "posts" | "social" | "timeline" => Self::Slice,
            "embedded" => Self::Embedded,
            "aws" => Self::Aws,
            "conformance" => Self::Conformance,
            "mini-sns" | "lambda" => Self::App,
            "xtask" => Self::Xtask,
            _ => return None,
        })
    }

    /// What it may know, always and only in its tests.
    fn may_know(self) -> (&'static [Self], &'static [Self]) {
        use Role::{Aws, Conformance, Edge, Embedded, Kernel, Slice};
        match self {
            Self::Kernel | Self::Xtask => (&[], &[]),
            Self::Edge => (&[Kernel], &[Conformance, Embedded]),
            Self::Slice => (&[Kernel, Edge], &[Conformance, Embedded]),
            Self::Embedded | Self::Aws => (&[Kernel], &[Conformance]),
            Self::Conformance => (&[Kernel], &[]),
            Self::App => (&[Kernel, Edge, Slice, Embedded, Aws], &[Conformance]),
        }
    }
}

/// A dependency of a crate of this workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Arrow {
    from: String,
    to: String,
    /// Whether only tests, benches and examples see it.
    dev: bool,
    /// Whether `to` is a crate of this workspace.
    ours: bool,
}

/// The arrows in what `cargo metadata --no-deps` prints.
pub(super) fn read(metadata: &[u8]) -> Result<Vec<Arrow>> {
    let metadata: Value = serde_json::from_slice(metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut arrows = Vec::new();
    for package in packages {
        let from = package["name"].as_str().context("a package has no name")?;
        let dependencies = package["dependencies"].as_array();
        for dependency in dependencies.context("a package has no dependencies")? {
            let to = dependency["name"].as_str().context("a dependency has no name")?;
            arrows.push(Arrow {
                from: from.to_owned(),
                to: to.to_owned(),
                dev: dependency["kind"] == "dev",
                ours: dependency["path"].is_string(),
            });
        }
    }
    Ok(arrows)
}

/// A line for each arrow that must not be.
pub(super) fn breaches(arrows: &[Arrow]) -> Vec<String> {
    arrows.iter().filter_map(breach).collect()
}

fn breach(arrow: &Arrow) -> Option<String> {
    let Arrow { from, to, dev, ours } = arrow;
    let Some(from_role) = Role::of(from) else {
        return Some(format!("{from} has no role: give it one in xtask/src/walls/arrows.rs"));
    };
    if !ours {
        let may = from == "aws" || from == "lambda" || !is_aws_sdk(to);
        return (!may).then(|| format!("{from} -> {to}: only aws and lambda know the AWS SDK"));
    }
    let Some(to_role) = Role::of(to) else {
        return Some(format!("{to} has no role: give it one in xtask/src/walls/arrows.rs"));
    };
    let (always, in_tests) = from_role.may_know();
    if always.contains(&to_role) || *dev && in_tests.contains(&to_role) {
        return None;
    }
    let kind = if *dev { " (in tests)" } else { "" };
    Some(format!("{from} -> {to}{kind}: {from_role:?} may not know {to_role:?}"))
}

/// `aws-lc-rs` is the cryptography that rustls uses everywhere, not a part of the SDK.
fn is_aws_sdk(name: &str) -> bool {
    let prefixes = ["aws-sdk-", "aws-smithy-", "aws-config", "aws-types", "aws_lambda", "lambda_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "serde_dynamo"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(from: &str, to: &str, dev: bool) -> Arrow {
        Arrow { from: from.to_owned(), to: to.to_owned(), dev, ours: true }
    }

    fn foreign(from: &str, to: &str) -> Arrow {
        Arrow { from: from.to_owned(), to: to.to_owned(), dev: false, ours: false }
    }

    #[test]
    fn forbidden_arrows_are_found() {
        let forbidden = [
            ours("timeline", "posts", false),
            ours("timeline", "posts", true),
            ours("users", "embedded", false),
            ours("users", "aws", false),
            ours("users", "aws", true),
            ours("embedded", "aws", false),
            ours("aws", "embedded", true),
            ours("embedded", "social", false),
            ours("kernel", "edge", false),
            ours("kernel", "conformance", true),
            ours("edge", "mini-sns", false),
            ours("lambda", "mini-sns", false),
            ours("mini-sns", "conformance", false),
            ours("xtask", "kernel", false),
            ours("mini-sns", "utils", false),
            ours("search", "kernel", false),
            foreign("posts", "aws-sdk-dynamodb"),
            foreign("mini-sns", "lambda_http"),
        ];
        for arrow in forbidden {
            assert_eq!(breaches(std::slice::from_ref(&arrow)).len(), 1, "{arrow:?}");
        }
    }

    #[test]
    fn allowed_arrows_are_left_alone() {
        let allowed = [
            ours("users", "kernel", false),
            ours("users", "edge", false),
            ours("users", "embedded", true),
            ours("embedded", "conformance", true),
            ours("mini-sns", "timeline", false),
            ours("lambda", "aws", false),
            foreign("aws", "aws-sdk-dynamodb"),
            foreign("lambda", "lambda_http"),
            foreign("embedded", "aws-lc-rs"),
            foreign("xtask", "clap"),
        ];
        assert_eq!(breaches(&allowed), Vec::<String>::new());
    }

    #[test]
    fn a_breach_says_which_arrow_and_why() {
        assert_eq!(
            breaches(&[ours("timeline", "posts", true)]),
            ["timeline -> posts (in tests): Slice may not know Slice"]
        );
    }

    #[test]
    fn arrows_are_read_from_metadata() {
        let metadata = br#"{"packages":[{"name":"posts","dependencies":[
            {"name":"kernel","kind":null,"path":"/house/crates/kernel"},
            {"name":"embedded","kind":"dev","path":"/house/crates/embedded"},
            {"name":"axum","kind":null}]}]}"#;
        let arrows = [
            ours("posts", "kernel", false),
            ours("posts", "embedded", true),
            foreign("posts", "axum"),
        ];
        assert_eq!(read(metadata).unwrap(), arrows);
        assert!(read(b"{}").is_err());
    }
}
