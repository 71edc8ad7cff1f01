//! `cargo xtask shims`: compiles the shim for TensorRT against headers of any version.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tensorrt_rs::{Warnings, compile_shim, find_headers};

use crate::checkout::Checkout;

/// Compiles one shim for each folder of headers, into `out` or target/shims. Returns true when all
/// compile.
pub fn run(checkout: &Checkout, include: &[PathBuf], out: Option<&Path>) -> Result<bool> {
    let out = out.map_or_else(|| checkout.root().join("target/shims"), Path::to_owned);
    let mut all = true;
    for headers in find_headers(include)? {
        match compile_shim(&headers, &out, Warnings::Denied) {
            Ok(shim) => println!("{} from {}", shim.display(), headers.folder.display()),
            Err(error) => {
                println!("error: {error}");
                all = false;
            }
        }
    }
    Ok(all)
}
