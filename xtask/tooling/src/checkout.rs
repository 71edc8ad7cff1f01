//! Paths in the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the project, and the paths under `target/` that the tasks use.
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was built from.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("xtask/tooling has no parent directory")?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root for cargo tools that only this project uses; the programs are in its `bin`.
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// The Python environment of this project.
    pub fn python(&self) -> PathBuf {
        self.root.join("target/python")
    }

    /// The folder of ONNX's backend test cases.
    pub fn onnx_cases(&self) -> PathBuf {
        self.root.join("target/onnx-cases")
    }

    /// NVIDIA's headers, one folder for each version.
    pub fn tensorrt_headers(&self) -> PathBuf {
        self.root.join("target/tensorrt-headers")
    }

    /// The builds, corpora, logs and findings of fuzzing.
    pub fn fuzz(&self) -> PathBuf {
        self.root.join("target/fuzz")
    }

    /// Cargo's target directory: `CARGO_TARGET_DIR`, or `target/` if it is not set.
    pub fn builds(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }
}

/// Whether this runs in continuous integration, where no test may be skipped.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}
