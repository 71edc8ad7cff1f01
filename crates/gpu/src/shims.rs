//! Opens TensorRT through the right one of Pilotage's shims.

use std::path::{Path, PathBuf};

use tensorrt_rs::{
    Product, RejectedShim, TensorRt, TensorRtError, Warnings, compile_shim, find_headers,
};

use crate::error::PrepareError;
use crate::paths::{COMPILED_SHIMS, TensorRtPaths};

/// Opens TensorRT with a shim that exists.
pub(crate) fn existing(places: &TensorRtPaths) -> Result<TensorRt, TensorRtError> {
    TensorRt::open(
        Product::TensorRt,
        places.libraries.as_deref(),
        &places.shims,
    )
}

/// Opens TensorRT. Compiles its shim first if the shim is missing or cannot be used.
pub(crate) fn open(
    places: &TensorRtPaths,
    notes: &mut Vec<String>,
) -> Result<TensorRt, PrepareError> {
    match existing(places) {
        // The usual case on a new machine.
        Err(TensorRtError::NoShim { tried, .. })
            if tried
                .iter()
                .all(|rejected| matches!(rejected, RejectedShim::Missing(_))) => {}
        Err(
            error @ (TensorRtError::NoShim { .. }
            | TensorRtError::DamagedShim { .. }
            | TensorRtError::WrongShim { .. }),
        ) => log::warn!("{error}"),
        opened => return Ok(opened?),
    }
    let version = TensorRt::installed(Product::TensorRt, places.libraries.as_deref())?;
    // Use the headers of the library's version. A folder with unusable headers does not prevent the
    // use of the next one.
    let expected = version.shim_file();
    let folder = places
        .shims
        .folders()
        .first()
        .map_or(Path::new(COMPILED_SHIMS), PathBuf::as_path);
    let (mut others, mut failed) = (Vec::new(), None);
    for headers in find_headers(&places.headers)? {
        let compiled = headers.shim_file().and_then(|file| match file == expected {
            true => compile_shim(&headers, folder, Warnings::Allowed).map(Some),
            false => {
                others.push(format!("{} in {}", file, headers.folder.display()));
                Ok(None)
            }
        });
        match compiled {
            Ok(Some(shim)) => {
                notes.push(format!("compiled {}", shim.display()));
                return Ok(existing(places)?);
            }
            Ok(None) => {}
            Err(error) => {
                log::warn!("{error}");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Err(PrepareError::OtherHeaders {
            library: version.to_string(),
            made: others.join(", "),
        }),
    }
}
