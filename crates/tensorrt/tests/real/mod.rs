//! NVIDIA's libraries and headers, which `cargo xtask test --install` installs under target/.
//!
//! That has the headers of two versions of TensorRT only: of the public registries crates.io has
//! them, in two releases of one crate. Those of 8.2 to 10.13 are on GitHub, which CI does not reach, and
//! NVIDIA's terms do not allow them in this repository. `cargo xtask stand-ins` runs the tests with them.
#![allow(dead_code, reason = "no test uses all of it")]

use std::path::{Path, PathBuf};

use tensorrt_rs::Headers;

/// A path from the top of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// The folder of TensorRT-RTX's libraries.
pub fn libraries() -> PathBuf {
    package("tensorrt_rtx_libs")
}

/// The folder of the lean runtime of TensorRT 11.4, which runs plans and cannot build them.
pub fn lean() -> PathBuf {
    package("tensorrt_lean_libs")
}

fn package(name: &str) -> PathBuf {
    let python = match std::env::var_os("PILOTAGE_PYTHON") {
        Some(python) => PathBuf::from(python).ancestors().nth(2).unwrap().to_owned(),
        None => checkout("target/python"),
    };
    let versions = std::fs::read_dir(python.join("lib")).into_iter().flatten();
    let mut folders = versions.map(|version| {
        let packages = version.unwrap().path().join("site-packages");
        packages.join(name)
    });
    folders.find(|folder| folder.is_dir()).unwrap_or_else(|| {
        panic!(
            "no {name} in {}; `cargo xtask test --install` puts it there",
            python.display()
        )
    })
}

/// The headers of the versions of TensorRT that stand-ins are built with: a folder for each in
/// `PILOTAGE_STAND_IN_HEADERS`, or one version with [`Typing::Either`](tensorrt_rs::Typing) and one with
/// [`Typing::ByModel`](tensorrt_rs::Typing).
pub fn stand_in_headers() -> Vec<Headers> {
    match std::env::var_os("PILOTAGE_STAND_IN_HEADERS") {
        Some(folders) => std::env::split_paths(&folders)
            .map(|folder| Headers { folder })
            .collect(),
        None => ["Enterprise-10.16", "Enterprise-11.4"].map(headers).into(),
    }
}

/// NVIDIA's headers of one version, for example `RTX-1.7`.
pub fn headers(version: &str) -> Headers {
    let all = std::env::var_os("PILOTAGE_TENSORRT_HEADERS")
        .map_or_else(|| checkout("target/tensorrt-headers"), PathBuf::from);
    let folder = all.join(format!("TRT-{version}"));
    assert!(
        folder.is_dir(),
        "no {}; `cargo xtask test --install` puts it there",
        folder.display()
    );
    Headers { folder }
}
