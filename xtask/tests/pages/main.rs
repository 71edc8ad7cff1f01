//! The pages of the checkout name what is there: files, headings, tests and crates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dependencies;
mod links;
mod named_tests;

use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap().to_owned()
}
