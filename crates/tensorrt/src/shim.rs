//! Where shims are, and which of them may be opened.

#![allow(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;
use sha2::{Digest, Sha256};

use crate::error::TensorRtError;
use crate::ffi::{ABI, Describe, ShimInfo};
use crate::library::said;
use crate::trust::{Owner, trusted};
use crate::version::{Product, Version};

/// The folders a shim may come from: a shim is code, run with the pilot's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shims {
    /// [`Shims::PACKAGED`] and [`Shims::MADE_HERE`], when root owns them and nobody else may write.
    Installed,
    /// A folder of root's or the present user's own, that nobody else may write.
    In(PathBuf),
}

impl Shims {
    /// Those that the package brings.
    pub const PACKAGED: &'static str = "/usr/lib/pilotage/shims";
    /// Those compiled on this machine by `pilotage compile --for-this-machine`.
    pub const MADE_HERE: &'static str = "/var/lib/pilotage/shims";

    /// Where a shim that is compiled on this machine goes.
    pub(crate) fn made_here(&self) -> &Path {
        match self {
            Self::Installed => Path::new(Self::MADE_HERE),
            Self::In(folder) => folder,
        }
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Installed => Owner::Root,
            Self::In(_) => Owner::RootOrUser,
        }
    }

    /// The shim for `version`: its path without links, so that what was looked at is opened, and
    /// the checksum is that beside it.
    pub(crate) fn find(&self, version: Version) -> Result<PathBuf, TensorRtError> {
        let folders: &[&Path] = match self {
            // What was made against this machine's own headers is the better fit.
            Self::Installed => &[Path::new(Self::MADE_HERE), Path::new(Self::PACKAGED)],
            Self::In(folder) => &[folder],
        };
        let mut tried = Vec::new();
        for folder in folders {
            let path = folder.join(version.shim_file());
            if !path.exists() {
                tried.push(format!("{} {NOT_THERE}", path.display()));
                continue;
            }
            match trusted(&path, self.owner()) {
                Ok(real) => return Ok(real),
                Err(reason) => tried.push(reason),
            }
        }
        Err(TensorRtError::NoShim { version, tried })
    }
}

/// How the reason ends where there is no file.
pub(crate) const NOT_THERE: &str = "is not there";

/// The file with a shim's SHA-256, written beside it.
pub(crate) fn checksum_file(shim: &Path) -> PathBuf {
    shim.with_extension("so.sha256")
}

/// A shim's SHA-256, as hexadecimal digits.
pub(crate) fn checksum(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Opens a shim, once it is sure to be whole: loading half a library ends in a signal.
pub(crate) fn open(path: &Path) -> Result<(Library, ShimInfo), TensorRtError> {
    let damaged = |reason: String| TensorRtError::DamagedShim {
        path: path.to_owned(),
        reason,
    };
    let content = fs::read(path).map_err(|error| damaged(error.to_string()))?;
    let wanted = fs::read_to_string(checksum_file(path))
        .map_err(|error| damaged(format!("its checksum cannot be read: {error}")))?;
    if wanted.trim() != checksum(&content) {
        return Err(damaged("its checksum is another".into()));
    }
    // SAFETY: what was compiled from shim.cpp, whole, runs nothing when it is opened.
    let shim = unsafe { Library::new(path) }.map_err(|error| damaged(said(&error)))?;
    // SAFETY: every interface since the first has this function, of this signature; its result
    // is a constant of the shim's.
    let info = unsafe {
        let describe = shim
            .get::<Describe>("pilotage_shim_describe\0")
            .map_err(|error| damaged(said(&error)))?;
        *describe()
    };
    Ok((shim, info))
}

/// Whether `info` is for this library; a virtual table of another version is never called.
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
            format!("interface {} of another Pilotage", info.abi),
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
