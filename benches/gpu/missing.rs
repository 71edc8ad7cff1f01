//! What a machine lacks for the GPU's test.

use std::process::{Command, Stdio};

use pilotage_tensorrt::{Device, Places, Product, TensorRt, TensorRtError, find_headers};

/// Each lack with what to do about it; empty where there is none.
pub fn here(places: &Places) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Err(error) = Device::first() {
        lacks.push(format!("a GPU: {error}"));
    }
    let libraries = places.libraries.as_deref();
    if let Err(error) = TensorRt::installed(Product::TensorRt, libraries) {
        lacks.push(format!("TensorRT: {error}"));
    }
    // There may be a shim of an earlier run.
    let shim = TensorRt::open(Product::TensorRt, libraries, &places.shims);
    if matches!(shim, Ok(_) | Err(TensorRtError::NoLibrary { .. })) && lacks.is_empty() {
        return lacks;
    }
    if let Err(error) = find_headers(&places.headers) {
        lacks.push(format!("TensorRT's headers, for the shim: {error}"));
    }
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let asked = Command::new(&compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !asked.is_ok_and(|status| status.success()) {
        lacks.push(format!(
            "a C++ compiler ({}), for the shim: sudo apt-get install g++",
            compiler.display()
        ));
    }
    lacks
}
