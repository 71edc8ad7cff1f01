//! Rules for the whole checkout: its pages name files, headings, tests and crates that exist, and
//! its errors print each cause once; files import in one direction.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dates;
mod dependencies;
mod errors;
mod imports;
mod links;
mod named_tests;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap().to_owned()
}

/// The Rust files of the checkout.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["crates", "cross", "src", "tests", "xtask"] {
        add_sources(&root().join(folder), &mut files);
    }
    files
}

fn add_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_sources(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}
