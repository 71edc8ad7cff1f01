//! What can go wrong, and what to do about it.

use std::path::PathBuf;

use crate::version::{Product, Version};

/// TensorRT cannot be had, or it said no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorRtError {
    /// No library of that product.
    #[error(
        "{product} is not on this machine ({reason}); on a Jetson install the Debian package \
         tensorrt-libs (part of nvidia-jetpack), or drive with the CPU engine"
    )]
    NoLibrary {
        /// The product looked for.
        product: Product,
        /// What the loader said, for each name tried.
        reason: String,
    },
    /// A library without one of the names that make it TensorRT.
    #[error("{library} is not the TensorRT library it should be: it has no {symbol}")]
    NoSymbol {
        /// The library's name.
        library: String,
        /// The missing entry point.
        symbol: &'static str,
    },
    /// No shim for this version.
    #[error(
        "there is no shim for {version} ({}); make it on this machine, as root, with \
         `pilotage compile --for-this-machine`", .tried.join("; ")
    )]
    NoShim {
        /// The library's version.
        version: Version,
        /// Where it was looked for, and why it was not taken.
        tried: Vec<String>,
    },
    /// A shim that is not what was written.
    #[error(
        "{}: the shim is damaged ({reason}); delete it and make it anew with \
         `pilotage compile --for-this-machine`", .path.display()
    )]
    DamagedShim {
        /// The shim.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A shim made for another version: calling it would crash.
    #[error(
        "{}: this shim was made for {made_for}, and the library is {library}; make it anew with \
         `pilotage compile --for-this-machine`", .path.display()
    )]
    WrongShim {
        /// The shim.
        path: PathBuf,
        /// What it was made for, in words.
        made_for: String,
        /// What is there, in words.
        library: String,
    },
    /// The ONNX parser refused the model.
    #[error("TensorRT cannot read the model{}: {reason}", at_node(*.node, .name, .operator))]
    Parse {
        /// Index of the node in the model, where known.
        node: Option<usize>,
        /// The node's name; empty before TensorRT 10.
        name: String,
        /// The node's operator; empty before TensorRT 10.
        operator: String,
        /// What the parser said.
        reason: String,
    },
    /// The device would be slower in INT8 than in FP16.
    #[error("this device has no fast INT8; compile for fp16")]
    NoFastInt8,
    /// The caller's progress function asked for it.
    #[error("the build was cancelled")]
    Cancelled,
    /// This version cannot do what was asked for.
    #[error("TensorRT cannot do that here: {0}")]
    Unsupported(String),
    /// TensorRT failed.
    #[error("{doing} failed: {reason}{}", driver_hint(.reason))]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// TensorRT's first error.
        reason: String,
    },
}

fn at_node(node: Option<usize>, name: &str, operator: &str) -> String {
    let Some(node) = node else {
        return String::new();
    };
    match (name, operator) {
        ("", "") => format!(" at node {node}"),
        ("", operator) => format!(" at node {node} ({operator})"),
        (name, "") => format!(" at node {node} (`{name}`)"),
        (name, operator) => format!(" at node {node} (`{name}`, {operator})"),
    }
}

/// CUDA's error 35, cudaErrorInsufficientDriver, is also what a machine without any driver gives.
fn driver_hint(reason: &str) -> &'static str {
    // "CUDA initialization failure with error: 35", "Cuda failure: 35", "(cudaError 35)"
    let code = |start: &str| {
        reason.match_indices(start).any(|(place, _)| {
            let rest = reason.get(place + start.len()..).unwrap_or_default();
            let digits = rest.trim_start_matches([' ', ':', '(', '=']);
            let end = digits.find(|c: char| !c.is_ascii_digit());
            digits.get(..end.unwrap_or(digits.len())) == Some("35")
        })
    };
    let insufficient = reason.contains("driver version is insufficient")
        || ["with error", "Cuda failure", "CUDA error", "cudaError"]
            .into_iter()
            .any(code);
    if insufficient {
        "; this machine has no NVIDIA driver, or one older than this TensorRT wants"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_absence_is_told_from_other_numbers() {
        for reason in [
            "CUDA initialization failure with error: 35. Please check your CUDA installation",
            "Cuda failure: 35",
            "(cudaError 35)",
            "CUDA driver version is insufficient for CUDA runtime version",
        ] {
            assert!(!driver_hint(reason).is_empty(), "{reason}");
        }
        for reason in [
            "CUDA error: 700, at layer 35",
            "CUDA initialization failure with error: 350",
            "no CUDA kernel for node 35",
        ] {
            assert!(driver_hint(reason).is_empty(), "{reason}");
        }
    }
}
