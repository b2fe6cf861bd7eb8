//! Packs the web client and the operator's console into the program: every file of `web/` and of
//! `console/`, hashed and compressed.

#![expect(dead_code, reason = "the program uses the rest of the module")]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/web/pack.rs"]
mod pack;

use pack::File;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/web/pack.rs");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut code = String::new();
    for (name, folder) in [("WEB", "web"), ("CONSOLE", "console")] {
        // Relative, so that another checkout with the same target directory looks at its own.
        println!("cargo::rerun-if-changed=../../{folder}");
        code.push_str(&format!("static {name}: Site = {};\n", site(&root, folder, &out)?));
    }
    fs::write(out.join("web.rs"), code)?;
    Ok(())
}

/// Packs a folder with its page, and gives the expression that embeds them.
fn site(root: &Path, name: &str, out: &Path) -> Result<String, Box<dyn Error>> {
    let folder = root.join(name);
    let files = pack::files(&folder)?;
    let page = pack::page(&folder, &files)?;
    let mut code = String::from("Site {\n    files: &[\n");
    for (index, file) in files.iter().enumerate() {
        code.push_str(&format!("        {},\n", packed(out, &format!("{name}{index}"), file)?));
    }
    let html = page.html.into_bytes();
    let page_file = File { name: "index.html".into(), hash: pack::hash(&html), body: html };
    code.push_str(&format!(
        "    ],\n    page: {},\n    policy: {:?},\n}}",
        packed(out, &format!("{name}-page"), &page_file)?,
        page.policy
    ));
    Ok(code)
}

/// Writes a file's bodies below `out`, and gives the expression that embeds them.
fn packed(out: &Path, stem: &str, file: &File) -> Result<String, Box<dyn Error>> {
    let write = |ending: &str, body: &[u8]| -> Result<String, Box<dyn Error>> {
        let name = format!("{stem}.{ending}");
        fs::write(out.join(&name), body)?;
        Ok(format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))"))
    };
    let body = write("plain", &file.body)?;
    let (brotli, gzip) = (brotli(&file.body)?, gzip(&file.body)?);
    // What is compressed already only grows.
    let worth_it = brotli.len() < file.body.len();
    let (brotli, gzip) = if worth_it {
        let (brotli, gzip) = (write("br", &brotli)?, write("gz", &gzip)?);
        (format!("Some({brotli})"), format!("Some({gzip})"))
    } else {
        ("None".to_owned(), "None".to_owned())
    };
    Ok(format!(
        "Packed {{ address: {:?}, hash: {:?}, body: {body}, brotli: {brotli}, gzip: {gzip} }}",
        file.address(),
        file.hash
    ))
}

fn brotli(body: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, 11, 22);
    writer.write_all(body)?;
    writer.flush()?;
    Ok(writer.into_inner())
}

fn gzip(body: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(body)?;
    Ok(writer.finish()?)
}
