//! A set of bootstraps, each of which starts as it is needed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;

use crate::programs::BOOTSTRAPS;
use crate::runtime::Function;

/// The file of a bootstrap.
pub(crate) fn program(name: &str) -> &'static Path {
    let found = BOOTSTRAPS.iter().find(|(other, _)| *other == name);
    Path::new(found.expect("the bootstrap is listed").1)
}

/// Functions with the same settings, each one process that starts with its first event.
pub(crate) struct Functions {
    variables: Vec<(String, String)>,
    running: Mutex<HashMap<String, Arc<Function>>>,
    /// Requests of functions to functions.
    internal: AtomicUsize,
}

impl Functions {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            variables: variables.iter().map(owned).collect(),
            running: Mutex::default(),
            internal: AtomicUsize::new(0),
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

    /// Counts a request of a function to another.
    pub(crate) fn count_internal(&self) {
        self.internal.fetch_add(1, Ordering::SeqCst);
    }

    /// Requests of functions to functions until now.
    pub(crate) fn internal(&self) -> usize {
        self.internal.load(Ordering::SeqCst)
    }

    /// Everything that all of them have logged.
    pub(crate) async fn log(&self) -> Vec<String> {
        self.running.lock().await.values().flat_map(|function| function.log()).collect()
    }
}
