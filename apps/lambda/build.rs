//! What makes bootstraps smaller: the API's document without the layout that is for people, and, of
//! small ones, no tables that only unwinding reads. They end at a panic.

use std::path::Path;
use std::{env, fs};

fn main() {
    let (package, out) = (env!("CARGO_MANIFEST_DIR"), env::var("OUT_DIR").unwrap_or_default());
    for file in ["build.rs", "small.ld", "../../docs/openapi.json"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let document = Path::new(package).join("../../docs/openapi.json");
    let document = fs::read_to_string(&document).expect("docs/openapi.json is there");
    // No string of JSON goes over the end of a line.
    let document: String = document.lines().map(str::trim_start).collect();
    let shown = Path::new(&out).join("openapi.json");
    fs::write(shown, document).expect("cargo's directory for this can be written to");
    if env::var_os("CARGO_FEATURE_SMALL").is_some() {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{package}/small.ld,--no-eh-frame-hdr");
    }
}
