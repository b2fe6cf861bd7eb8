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
const SERVED: [&str; 5] = ["css", "js", "png", "svg", "webmanifest"];

const MAP_START: &str = "<script type=\"importmap\">";
const MAP_END: &str = "</script>";

/// One file that is served.
pub(crate) struct File {
    /// Its path in `web/`, as in `views/home.js`.
    pub(crate) name: String,
    /// The first half of its SHA-256, in hexadecimal.
    pub(crate) hash: String,
    /// What is sent.
    pub(crate) body: Vec<u8>,
}

impl File {
    fn new(name: String, body: Vec<u8>) -> Self {
        Self { name, hash: hash(&body), body }
    }

    /// Its path below [`ASSETS`], as in `views/home.0123456789abcdef0123456789abcdef.js`.
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

/// The first half of the SHA-256, in hexadecimal.
pub(crate) fn hash(body: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(body).iter().take(16).fold(String::new(), |mut text, byte| {
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
            found.push(File::new(name, fs::read(&path)?));
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
/// browser fetch all of them at once.
fn dress(template: &str, files: &[File]) -> Option<Page> {
    let (head, rest) = template.split_once(MAP_START)?;
    let (map, tail) = rest.split_once(MAP_END)?;
    let mut map: Map<String, Value> = serde_json::from_str(&point(map, files)).ok()?;
    let imports = map.get_mut("imports")?.as_object_mut()?;
    let mut preloads = String::new();
    for file in files.iter().filter(|file| file.name.ends_with(".js")) {
        let address = format!("{ASSETS}{}", file.address());
        if template.contains(&format!("<script src=\"{ASSETS}{}\"", file.name)) {
            continue;
        }
        preloads.push_str(&format!("<link rel=\"modulepreload\" href=\"{address}\">\n"));
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
    let (head, tail) = (point(head, files), point(tail, files));
    let html = format!("{head}{MAP_START}{map}{MAP_END}\n{preloads}{}", tail.trim_start());
    Some(Page { html, policy })
}

/// The text with the addresses of files in place of their names.
fn point(text: &str, files: &[File]) -> String {
    files.iter().fold(text.to_owned(), |text, file| {
        let name = format!("\"{ASSETS}{}\"", file.name);
        text.replace(&name, &format!("\"{ASSETS}{}\"", file.address()))
    })
}
