//! That each function of Lambda links its own service and no other. Services are optional
//! dependencies of `apps/lambda`, each behind a feature of its name; a bootstrap needs one of these
//! features at most, and `cargo xtask lambda` builds it with no other.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lambda::{Bootstrap, bootstraps};

const PACKAGE: &str = "lambda";
const SERVICES: [&str; 4] = ["users", "posts", "social", "timeline"];

/// A line for each breach in what `cargo metadata --no-deps` prints.
pub(super) fn breaches(metadata: &[u8]) -> Result<Vec<String>> {
    let metadata: Value = serde_json::from_slice(metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let package = packages.iter().find(|package| package["name"] == PACKAGE);
    let package = package.with_context(|| format!("there is no package {PACKAGE}"))?;
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = dependency["name"].as_str().unwrap_or_default();
        let for_tests = dependency["kind"] == "dev";
        if SERVICES.contains(&name) && !for_tests && dependency["optional"] != true {
            found.push(format!("{PACKAGE} -> {name}: a service is optional there"));
        }
    }
    for name in SERVICES {
        if package["features"][name] != serde_json::json!([format!("dep:{name}")]) {
            found
                .push(format!("{PACKAGE}: the feature {name} is to bring {name} and nothing else"));
        }
    }
    for Bootstrap { name, features } in bootstraps(package) {
        let is_service = |feature: &String| SERVICES.contains(&feature.as_str());
        if features.len() > 1 || !features.iter().all(is_service) {
            found.push(format!("{PACKAGE}: {name} links more than one service: {features:?}"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(required: &[&str], optional: bool, posts: &[&str]) -> Vec<u8> {
        let features = json!({
            "default": SERVICES, "users": ["dep:users"], "posts": posts,
            "social": ["dep:social"], "timeline": ["dep:timeline"],
        });
        json!({"packages": [{
            "name": PACKAGE,
            "features": features,
            "dependencies": [
                {"name": "posts", "kind": null, "optional": optional},
                {"name": "users", "kind": "dev", "optional": false},
                {"name": "axum", "kind": null, "optional": false},
            ],
            "targets": [
                {"name": "lambda", "kind": ["lib"]},
                {"name": "posts", "kind": ["bin"], "required-features": required},
                {"name": "relay", "kind": ["bin"]},
            ],
        }]})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn functions_with_one_service_are_left_alone() {
        let found = breaches(&metadata(&["posts"], true, &["dep:posts"])).unwrap();
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn functions_that_could_link_another_service_are_found() {
        let one = |metadata: Vec<u8>| assert_eq!(breaches(&metadata).unwrap().len(), 1);
        one(metadata(&["posts", "timeline"], true, &["dep:posts"]));
        one(metadata(&["default"], true, &["dep:posts"]));
        one(metadata(&["posts"], false, &["dep:posts"]));
        one(metadata(&["posts"], true, &["dep:posts", "timeline"]));
    }
}
