//! Lists what the machine lacks for the GPU test.

use std::process::{Command, Stdio};

use pilotage_gpu::TensorRtPaths;
use tensorrt_rs::{Device, Product, TensorRt, TensorRtError, find_headers};

/// Lists each missing requirement with a remedy. Empty if nothing is missing.
pub fn here(places: &TensorRtPaths) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = Device::first() {
        missing.push(format!("a GPU: {error}"));
    }
    let libraries = places.libraries.as_deref();
    if let Err(error) = TensorRt::installed(Product::TensorRt, libraries) {
        missing.push(format!("TensorRT: {error}"));
    }
    // If nothing else is missing and an earlier run has compiled a shim, headers and compiler are
    // not needed.
    let shim = TensorRt::open(Product::TensorRt, libraries, &places.shims);
    if matches!(shim, Ok(_) | Err(TensorRtError::NoLibrary { .. })) && missing.is_empty() {
        return missing;
    }
    if let Err(error) = find_headers(&places.headers) {
        missing.push(format!("TensorRT's headers, for the shim: {error}"));
    }
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let status = Command::new(&compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        missing.push(format!(
            "a C++ compiler ({}), for the shim: sudo apt-get install g++",
            compiler.display()
        ));
    }
    missing
}
