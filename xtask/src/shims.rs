//! `cargo xtask shims`: compiles the shim for TensorRT against headers of any version.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// Compiles one shim for each folder of headers, into `out` or target/shims. Returns true when all
/// compile.
pub fn run(checkout: &Checkout, include: &[PathBuf], out: Option<&Path>) -> Result<bool> {
    let default = checkout.root().join("target/shims");
    let compile = Invocation::new("cargo run --quiet --package=tensorrt-rs --example=shims --")
        .path(out.unwrap_or(&default));
    include
        .iter()
        .fold(compile, |compile, folder| compile.path(folder))
        .succeeds()
}
