//! Every requirement that AWS provides, in the templates with its value, for each environment. The
//! names of the tests are in docs/requirements.md. Alarms are tested beside their rules, releases
//! beside the canary's machine.

mod doors;
mod duties;
mod events;
mod stores;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::policy::list;
use super::resolve::{ENVIRONMENTS, resolved};
use super::{read, translated};
use crate::signals::Signals;

/// The services, each a stack.
const SERVICES: [&str; 4] = ["user", "post", "social", "timeline"];

/// A stack in one environment.
struct Stack(Value);

/// The stack `name` in `env`.
fn stack(name: &str, env: &str) -> Stack {
    stack_with(name, &[("Env", env)])
}

/// The same with these parameters.
fn stack_with(name: &str, parameters: &[(&str, &str)]) -> Stack {
    static ALL: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        read(&translated(&Signals::listen().unwrap()).unwrap()).expect("templates that are JSON")
    });
    Stack(resolved(&all[name], parameters))
}

/// Each environment.
fn everywhere() -> impl Iterator<Item = &'static str> {
    ENVIRONMENTS.into_iter()
}

impl Stack {
    /// The properties of the resources of a kind, by their names in the template.
    fn all(&self, kind: &str) -> Vec<(&str, &Value)> {
        let resources = self.0["Resources"].as_object().unwrap().iter();
        let mut found: Vec<_> = resources
            .filter(|(_, it)| it["Type"] == kind)
            .map(|(name, it)| (name.as_str(), &it["Properties"]))
            .collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// The properties of the only resource of a kind.
    fn one(&self, kind: &str) -> &Value {
        match self.all(kind)[..] {
            [(_, only)] => only,
            ref several => panic!("{} of {kind}", several.len()),
        }
    }

    /// The properties of a resource.
    fn named(&self, name: &str) -> &Value {
        &self.0["Resources"][name]["Properties"]
    }

    /// What a stack of functions has, by the functions' own names: properties, and the name in the
    /// template.
    fn functions(&self) -> BTreeMap<&str, (&str, &Value)> {
        let all = self.all("AWS::Lambda::Function").into_iter();
        all.map(|(logical, it)| (it["FunctionName"].as_str().unwrap(), (logical, it))).collect()
    }
}

/// The names of the functions in a stack, without what all begin with.
fn names(stack: &Stack, env: &str) -> Vec<String> {
    let prefix = format!("mini-sns-{env}-");
    let all = stack.functions();
    all.keys().map(|name| name.strip_prefix(&prefix).unwrap().to_owned()).collect()
}

/// The texts in a value that may be a list.
fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().filter_map(Value::as_str).collect()
}
