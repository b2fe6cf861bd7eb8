//! A set of bootstraps, each of which starts as it is needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Mutex as Turn;

use crate::programs::BOOTSTRAPS;
use crate::runtime::Function;

/// The file of a bootstrap.
pub(crate) fn program(name: &str) -> &'static Path {
    let found = BOOTSTRAPS.iter().find(|(other, _)| *other == name);
    Path::new(found.expect("the bootstrap is listed").1)
}

/// The file of a bootstrap that is an example: beside the directory of the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

/// Functions with the same settings, each one process that starts with its first event.
pub(crate) struct Functions {
    variables: Vec<(String, String)>,
    running: Turn<HashMap<String, Arc<Function>>>,
    /// The trace of each invocation of a function by a function.
    asked: Mutex<Vec<String>>,
}

impl Functions {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            variables: variables.iter().map(owned).collect(),
            running: Turn::default(),
            asked: Mutex::default(),
        }
    }

    /// The function `name`.
    pub(crate) async fn get(&self, name: &str) -> Arc<Function> {
        self.start(name, name, &[]).await
    }

    /// The relay of a service.
    pub(crate) async fn relay(&self, service: &str) -> Arc<Function> {
        let own = [("MINI_SNS_SERVICE".to_owned(), service.to_owned())];
        self.start(&format!("relay {service}"), "relay", &own).await
    }

    /// The function of an example, for whoever asks alone: it may end.
    pub(crate) async fn example(&self, name: &str) -> Function {
        Function::start(&example(name), &self.variables).await
    }

    async fn start(&self, key: &str, name: &str, own: &[(String, String)]) -> Arc<Function> {
        let mut running = self.running.lock().await;
        if let Some(function) = running.get(key) {
            return Arc::clone(function);
        }
        let variables = [&self.variables[..], own].concat();
        let function = Arc::new(Function::start(program(name), &variables).await);
        running.insert(key.to_owned(), Arc::clone(&function));
        function
    }

    /// Ends all processes: the next event of each function finds one that remembers nothing.
    pub(crate) async fn forget(&self) {
        self.running.lock().await.clear();
    }

    /// Notes that a function invokes another, as part of this trace.
    pub(crate) fn was_asked(&self, trace: &str) {
        self.asked.lock().unwrap().push(trace.to_owned());
    }

    /// The traces of all that functions have asked functions until now.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Everything that all of them have logged.
    pub(crate) async fn log(&self) -> Vec<String> {
        self.running.lock().await.values().flat_map(|function| function.log()).collect()
    }
}
