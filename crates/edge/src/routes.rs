//! What the OpenAPI document says of each route: who may call it, how it is limited, what it is
//! called in metrics.

use std::collections::HashMap;

use http::{HeaderValue, Method};
use kernel::{Code, Problem};
use utoipa::openapi::OpenApi;

use crate::openapi::{is_public, operations};
use crate::record::Meters;

/// Who may call an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// Who has a good access token.
    SignedIn,
}

/// Which buckets a route counts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// The user's, or the address's where nobody is signed in.
    Usual,
    /// The address's own for signing in.
    Auth,
    /// None: what load balancers and verifiers poll.
    Exempt,
}

/// A path of the document, or what stands for all others.
pub(crate) struct Route {
    /// The path as the router spells it; `other` for those that are not in the document.
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) allow: Option<HeaderValue>,
    pub(crate) meters: Meters,
    operations: Vec<(Method, Access)>,
}

/// The routes by path.
pub(crate) struct Routes {
    documented: HashMap<String, Route>,
    other: Route,
}

impl Routes {
    /// Reads the document; `pages` are further paths that anybody may GET.
    pub(crate) fn new<'a>(document: &OpenApi, pages: impl Iterator<Item = &'a str>) -> Self {
        let mut documented = HashMap::new();
        for (path, item) in &document.paths.paths {
            let access = |operation| {
                if is_public(operation) { Access::Public } else { Access::SignedIn }
            };
            let operations = operations(item).map(|(method, op)| (method, access(op))).collect();
            documented.insert(path.clone(), Route::new(path, operations));
        }
        for path in pages {
            let operations = vec![(Method::GET, Access::Public)];
            documented.entry(path.to_owned()).or_insert_with(|| Route::new(path, operations));
        }
        Self { documented, other: Route::new("other", Vec::new()) }
    }

    /// The routes between services, each of which is asked by POST alone.
    pub(crate) fn internal(paths: &[&str]) -> Self {
        let route = |path: &&str| {
            let operations = vec![(Method::POST, Access::SignedIn)];
            ((*path).to_owned(), Route::new(path, operations))
        };
        let documented = paths.iter().map(route).collect();
        Self { documented, other: Route::new("other", Vec::new()) }
    }

    /// The route that the router matched.
    pub(crate) fn find(&self, matched: Option<&str>) -> &Route {
        matched.and_then(|path| self.documented.get(path)).unwrap_or(&self.other)
    }
}

impl Route {
    fn new(name: &str, operations: Vec<(Method, Access)>) -> Self {
        let class = match name {
            "/health" | "/.well-known/jwks.json" => Class::Exempt,
            _ if name.starts_with("/auth/") => Class::Auth,
            _ => Class::Usual,
        };
        let mut allowed: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        let allow = HeaderValue::from_str(&allowed.join(", ")).ok();
        let allow = allow.filter(|value| !value.is_empty());
        Self { name: name.to_owned(), class, allow, meters: Meters::default(), operations }
    }

    /// Who may call `method` here; 405 where the document has other methods only.
    ///
    /// A path that the router matched but the document does not have wants a token, and one under
    /// `/internal/` is not there at all. One that the router did not match has only its fallback,
    /// which is public.
    pub(crate) fn access(&self, matched: Option<&str>, method: &Method) -> Result<Access, Problem> {
        let Some(path) = matched else { return Ok(Access::Public) };
        if path.starts_with("/internal/") {
            return Err(Problem::new(Code::NotFound, "Nothing has this address."));
        }
        if self.operations.is_empty() {
            return Ok(Access::SignedIn);
        }
        let find = |wanted: &Method| self.operations.iter().find(|(method, _)| method == wanted);
        let get_for_head = || (method == Method::HEAD).then(|| find(&Method::GET)).flatten();
        match find(method).or_else(get_for_head) {
            Some((_, access)) => Ok(*access),
            None => Err(Problem::new(Code::MethodNotAllowed, "See the header `Allow`.")),
        }
    }
}
