//! Where things lie in the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the project and the places under `target/` that tasks use.
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was built from.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent directory")?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// The top directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Root of privately installed cargo tools; programs are in its `bin`.
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// The private Python environment.
    pub fn python(&self) -> PathBuf {
        self.root.join("target/python")
    }

    /// Where ONNX's backend test cases are written out.
    pub fn onnx_cases(&self) -> PathBuf {
        self.root.join("target/onnx-cases")
    }

    /// NVIDIA's headers, a folder for each version.
    pub fn tensorrt_headers(&self) -> PathBuf {
        self.root.join("target/tensorrt-headers")
    }

    /// Fuzzing's builds, growing corpora, logs and findings.
    pub fn fuzz(&self) -> PathBuf {
        self.root.join("target/fuzz")
    }

    /// Where cargo puts its builds: `target/`, unless `CARGO_TARGET_DIR` says otherwise.
    pub fn builds(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }
}

/// Whether this is a run of continuous integration, where nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}
