//! The files of the web client as they are served: each at an address that carries the hash of its
//! content, and a page that knows these addresses. The build embeds what this packs; with
//! `--web-dir` the program packs at each request.

use std::path::Path;
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Where all but the page lie.
pub(crate) const ASSETS: &str = "/assets/";

/// Folders of the client that are for its developers alone.
const NOT_SERVED: [&str; 2] = ["test", "tools"];
/// Endings of what is served.
const SERVED: [&str; 6] = ["css", "js", "png", "svg", "txt", "webmanifest"];

/// The module that the page starts.
const ENTRY: &str = "app.js";

const MAP_START: &str = "<script type=\"importmap\">";
const MAP_END: &str = "</script>";
/// How the element that starts the client begins.
const MODULE: &str = "<script type=\"module\"";

/// One file that is served.
pub(crate) struct File {
    /// Its path in `web/`, as in `views/home.js`.
    pub(crate) name: String,
    /// The beginning of its SHA-256, in hexadecimal.
    pub(crate) hash: String,
    /// What is sent.
    pub(crate) body: Vec<u8>,
}

impl File {
    fn new(name: String, body: Vec<u8>) -> Self {
        Self { name, hash: hash(&body), body }
    }

    /// Its path below [`ASSETS`], as in `views/home.0123456789abcdef.js`.
    pub(crate) fn address(&self) -> String {
        match self.name.rsplit_once('.') {
            Some((stem, ending)) => format!("{stem}.{}.{ending}", self.hash),
            None => self.name.clone(),
        }
    }
}

/// The page that starts the client.
pub(crate) struct Page {
    pub(crate) html: String,
    /// Its content security policy: nothing but this host's own files, and one inline import map.
    pub(crate) policy: String,
}

/// The first 64 bits of the SHA-256, in hexadecimal.
pub(crate) fn hash(body: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(body).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name of the file that an address below [`ASSETS`] stands for, whatever hash it carries.
pub(crate) fn name_of(address: &str) -> Option<String> {
    let (rest, ending) = address.rsplit_once('.')?;
    let (stem, _) = rest.rsplit_once('.')?;
    let name = format!("{stem}.{ending}");
    let plain = name.split('/').all(|part| !part.starts_with('.') && !part.is_empty());
    (plain && is_served(&name)).then_some(name)
}

fn is_served(name: &str) -> bool {
    let top = name.split('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    !NOT_SERVED.contains(&top) && SERVED.contains(&ending)
}

/// Everything in `folder` that is served beside the page, by name.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    collect(folder, "", &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    // A manifest names icons, so it comes last.
    let (manifests, mut files): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|file| file.name.ends_with(".webmanifest"));
    for manifest in manifests {
        let text = point(&String::from_utf8_lossy(&manifest.body), &files);
        files.push(File::new(manifest.name, text.into_bytes()));
    }
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(own) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = format!("{prefix}{own}");
        if path.is_dir() {
            if !NOT_SERVED.contains(&name.as_str()) {
                collect(&path, &format!("{name}/"), found)?;
            }
        } else if is_served(&name) {
            let body = fs::read(&path)?;
            let own = name.ends_with(".js") && !name.starts_with("vendor/");
            let text = if own { String::from_utf8(body.clone()).ok() } else { None };
            let body = text.map_or(body, |text| without_comments(&text).into_bytes());
            found.push(File::new(name, body));
        }
    }
    Ok(())
}

/// The page of `folder`, which names `files` by their addresses.
pub(crate) fn page(folder: &Path, files: &[File]) -> io::Result<Page> {
    let template = fs::read_to_string(folder.join("index.html"))?;
    dress(&template, files).ok_or_else(|| io::Error::other("index.html has no import map"))
}

/// Fills the import map, so that every module finds every other at its address, and lets the
/// browser fetch at once what the first one needs.
fn dress(template: &str, files: &[File]) -> Option<Page> {
    let (head, rest) = template.split_once(MAP_START)?;
    let (map, tail) = rest.split_once(MAP_END)?;
    let mut map: Map<String, Value> = serde_json::from_str(map).ok()?;
    let imports = map.get_mut("imports")?.as_object_mut()?;
    let preloads: String = needed(ENTRY, imports, files)
        .into_iter()
        .map(|file| format!("<link rel=\"modulepreload\" href=\"{ASSETS}{}\">\n", file.address()))
        .collect();
    let text = point(&Value::Object(imports.clone()).to_string(), files);
    *imports = serde_json::from_str(&text).ok()?;
    for file in files.iter().filter(|file| is_module(file, template)) {
        let address = format!("{ASSETS}{}", file.address());
        imports.insert(format!("{ASSETS}{}", file.name), Value::String(address));
    }
    let map = Value::Object(map).to_string();
    let inline = STANDARD.encode(Sha256::digest(map.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'self' 'sha256-{inline}'; style-src 'self'; \
         img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    let (head, tail) = (point(head, files), point(tail.trim_start(), files));
    // What the first paint waits for is asked for first.
    let (paint, rest) = tail.split_at(tail.find(MODULE).unwrap_or(0));
    let html = format!("{head}{MAP_START}{map}{MAP_END}\n{paint}{preloads}{rest}");
    Some(Page { html, policy })
}

/// Whether it is imported by others; a script that the page names itself is not.
fn is_module(file: &File, template: &str) -> bool {
    let own = format!("<script src=\"{ASSETS}{}\"", file.name);
    file.name.ends_with(".js") && !template.contains(&own)
}

/// A module and those that it imports, directly or not, without those that it fetches when it wants
/// them.
fn needed<'a>(entry: &str, imports: &Map<String, Value>, files: &'a [File]) -> Vec<&'a File> {
    let mut found: Vec<&File> = Vec::new();
    let mut names = vec![entry.to_owned()];
    while let Some(name) = names.pop() {
        let Some(file) = files.iter().find(|file| file.name == name) else { continue };
        if found.iter().any(|known| known.name == name) {
            continue;
        }
        found.push(file);
        let text = String::from_utf8_lossy(&file.body);
        // `from"x"` and `from "x"`; what is not an import names no file.
        let sources = text.split("from").skip(1).filter_map(|rest| {
            rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
        });
        names.extend(sources.filter_map(|source| resolve(&name, source, imports)));
    }
    found
}

/// The name of the file that `source` means in a module.
fn resolve(module: &str, source: &str, imports: &Map<String, Value>) -> Option<String> {
    if let Some(address) = imports.get(source).and_then(Value::as_str) {
        return address.strip_prefix(ASSETS).map(str::to_owned);
    }
    let mut parts: Vec<&str> = module.split('/').collect();
    parts.pop();
    for part in source.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Leaves out comments that begin a line: they are for whoever reads the source.
fn without_comments(text: &str) -> String {
    let (mut kept, mut inside) = (String::with_capacity(text.len()), false);
    for line in text.lines() {
        let code = line.trim_start();
        let begins = code.starts_with("/*");
        if !inside && !begins {
            if !code.starts_with("//") {
                kept.push_str(line);
                kept.push('\n');
            }
            continue;
        }
        inside = !code.contains("*/");
        // A type may stand before an expression.
        let rest = code.split_once("*/").map_or("", |(_, rest)| rest.trim());
        if !rest.is_empty() {
            kept.push_str(rest);
            kept.push('\n');
        }
    }
    kept
}

/// The text with the addresses of files in place of their names.
fn point(text: &str, files: &[File]) -> String {
    files.iter().fold(text.to_owned(), |text, file| {
        let name = format!("\"{ASSETS}{}\"", file.name);
        text.replace(&name, &format!("\"{ASSETS}{}\"", file.address()))
    })
}
