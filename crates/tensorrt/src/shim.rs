//! Finds a shim, checks that it is trusted and intact, and loads it.

#![allow(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;
use sha2::{Digest, Sha256};

use crate::error::{RejectedShim, TensorRtError};
use crate::ffi::{ABI, Describe, ShimInfo};
use crate::loader::loader_message;
use crate::trust::{Owner, trusted};
use crate::version::{Product, Version};

/// The folders that a shim may be loaded from. A shim is code that runs with the program's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shims {
    /// Folders that must belong to root and be writable by root only. The first trusted shim that
    /// is found in them is used.
    RootOnly(Vec<PathBuf>),
    /// A folder that belongs to root or the current user, and that no other user can write.
    In(PathBuf),
}

impl Shims {
    /// The folders, in the order in which they are searched. A shim that is compiled on this
    /// machine belongs in the first folder.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        match self {
            Self::RootOnly(folders) => folders,
            Self::In(folder) => std::slice::from_ref(folder),
        }
    }

    fn owner(&self) -> Owner {
        match self {
            Self::RootOnly(_) => Owner::Root,
            Self::In(_) => Owner::RootOrUser,
        }
    }

    /// Finds the shim for `version` and returns its path without symlinks. Opening that path opens
    /// the file that was checked, and the checksum is read from that file's folder.
    pub(crate) fn find(&self, version: Version) -> Result<PathBuf, TensorRtError> {
        let mut tried = Vec::new();
        for folder in self.folders() {
            let path = folder.join(version.shim_file());
            if !path.exists() {
                tried.push(RejectedShim::Missing(path));
                continue;
            }
            match trusted(&path, self.owner()) {
                Ok(real) => return Ok(real),
                Err(untrusted) => tried.push(RejectedShim::Untrusted(untrusted)),
            }
        }
        Err(TensorRtError::NoShim { version, tried })
    }
}

/// The file with a shim's SHA-256, in the same folder.
pub(crate) fn checksum_file(shim: &Path) -> PathBuf {
    shim.with_extension("so.sha256")
}

/// A shim's SHA-256 in hexadecimal digits.
pub(crate) fn checksum(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Loads a shim after its checksum was compared: loading a truncated library would end the process
/// with a signal.
pub(crate) fn open(path: &Path) -> Result<(Library, ShimInfo), TensorRtError> {
    let damaged = |reason: String| TensorRtError::DamagedShim {
        path: path.to_owned(),
        reason,
    };
    let content = fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let expected = fs::read_to_string(checksum_file(path))
        .map_err(|error| damaged(format!("its checksum cannot be read: {error}")))?;
    if expected.trim() != checksum(&content) {
        return Err(damaged("its checksum is another".into()));
    }
    // SAFETY: the file is intact and was compiled from shim.cpp, whose static initializers
    // have no preconditions.
    let shim = unsafe { Library::new(path) }.map_err(|error| damaged(loader_message(&error)))?;
    // SAFETY: every version of the interface has this function with this signature. It returns the
    // address of a constant in the shim.
    let info = unsafe {
        let describe = shim
            .get::<Describe>("tensorrt_rs_shim_describe\0")
            .map_err(|error| damaged(loader_message(&error)))?;
        *describe()
    };
    Ok((shim, info))
}

/// Compares the shim's versions with the library's, so that no function is called through a virtual
/// table of another version.
pub(crate) fn check(
    path: &Path,
    info: ShimInfo,
    version: Version,
    parser: Option<i32>,
) -> Result<(), TensorRtError> {
    let wrong = |made_for: String, library: String| TensorRtError::WrongShim {
        path: path.to_owned(),
        made_for,
        library,
    };
    if info.abi != ABI {
        return Err(wrong(
            format!("interface {} of another version of tensorrt-rs", info.abi),
            format!("for interface {ABI}"),
        ));
    }
    let product = match info.product {
        1 => Product::TensorRtRtx,
        _ => Product::TensorRt,
    };
    let made_for = Version {
        product,
        number: info.version,
    };
    if info.product != version.product.number() || made_for != version {
        return Err(wrong(made_for.to_string(), version.to_string()));
    }
    match parser {
        Some(parser) if parser != info.parser_version => Err(wrong(
            format!("version {} of the ONNX parser", info.parser_version),
            format!("{version} with version {parser} of the ONNX parser"),
        )),
        _ => Ok(()),
    }
}
