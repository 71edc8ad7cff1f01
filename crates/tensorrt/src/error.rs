//! The errors of TensorRT, with hints for the user.

use std::path::PathBuf;

use crate::trust::Untrusted;
use crate::version::{Product, Version};

/// TensorRT cannot be loaded, or a call of it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorRtError {
    /// The product's library was not found.
    #[error(
        "{product} is not on this machine ({reason}); on a Jetson install the Debian package \
         tensorrt-libs (part of nvidia-jetpack)"
    )]
    NoLibrary {
        /// The product.
        product: Product,
        /// The loader's error for each name that was tried.
        reason: String,
    },
    /// The library lacks an entry point of TensorRT.
    #[error("{library} is not the TensorRT library it should be: it has no {symbol}")]
    NoSymbol {
        /// The library's name.
        library: String,
        /// The missing entry point.
        symbol: &'static str,
    },
    /// There is no shim for this version.
    #[error("there is no shim for {version} ({})", join(.tried))]
    NoShim {
        /// The library's version.
        version: Version,
        /// Each path that was tried, and why it was rejected.
        tried: Vec<RejectedShim>,
    },
    /// The shim is damaged.
    #[error("{}: the shim is damaged ({reason})", .path.display())]
    DamagedShim {
        /// The shim.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The shim was compiled for another version: calling it would crash.
    #[error(
        "{}: this shim was made for {made_for}, and the library is {library}", .path.display()
    )]
    WrongShim {
        /// The shim.
        path: PathBuf,
        /// The version that the shim was compiled for, as text.
        made_for: String,
        /// The library's version, as text.
        library: String,
    },
    /// The ONNX parser rejected the model.
    #[error("TensorRT cannot read the model{}: {reason}", at_node(*.node, .name, .operator))]
    Parse {
        /// The index of the node in the model, if known.
        node: Option<usize>,
        /// The node's name; empty before TensorRT 10.
        name: String,
        /// The node's operator; empty before TensorRT 10.
        operator: String,
        /// The parser's message.
        reason: String,
    },
    /// The device runs INT8 more slowly than FP16.
    #[error("this device has no fast INT8; compile for fp16")]
    NoFastInt8,
    /// The caller's progress function cancelled the build.
    #[error("the build was cancelled")]
    Cancelled,
    /// This version or device does not support the request.
    #[error("TensorRT cannot do that here: {0}")]
    Unsupported(String),
    /// A call of TensorRT failed.
    #[error("{doing} failed: {reason}{}", driver_hint(.reason))]
    Failed {
        /// The operation.
        doing: &'static str,
        /// The first error that TensorRT logged.
        reason: String,
    },
}

/// Why a shim was not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectedShim {
    /// The folder has no shim of this version.
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    /// The shim is not trusted, for example because another user could have written it.
    #[error(transparent)]
    Untrusted(Untrusted),
}

fn join(tried: &[RejectedShim]) -> String {
    let tried: Vec<_> = tried.iter().map(ToString::to_string).collect();
    tried.join("; ")
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

/// A hint for CUDA's error 35 (cudaErrorInsufficientDriver), which TensorRT also reports on a
/// machine without a driver.
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
    fn the_driver_hint_is_given_for_error_35_only() {
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
