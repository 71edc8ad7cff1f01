//! Why there is no plan, and what to do about it.

use pilotage_engine::{EngineError, GateResult, ValidationError};
use pilotage_graph::GraphError;
use tensorrt_rs::{CudaError, PlanError, ShimError, TensorRtError};

use crate::cache::CacheError;
use crate::nhwc::PortMismatch;

/// Why no plan was prepared or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// There is no device or driver, or a call of the driver failed.
    #[error("{error}{remedy}", error = .0, remedy = cuda_remedy(.0))]
    Cuda(CudaError),
    /// TensorRT is missing, or a call of it failed.
    #[error("{error}{remedy}", error = .0, remedy = remedy(.0))]
    TensorRt(TensorRtError),
    /// No shim could be compiled.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// The headers are of another version than the library.
    #[error(
        "the library is {library}, but the headers here are of another version ({made}); \
         install the -dev packages of the same version"
    )]
    OtherHeaders {
        /// The library's version, as text.
        library: String,
        /// The file names of the shims that these headers would produce.
        made: String,
    },
    /// The engine file has no model for TensorRT.
    #[error(
        "a {precision} engine brings no model for TensorRT; compile it with `precision = \"int8\"` or \"fp16\""
    )]
    NoModel {
        /// The engine file's precision.
        precision: String,
    },
    /// The recipe's table `[tensorrt]` is malformed.
    #[error("the engine's [tensorrt] cannot be read: {0}")]
    Options(serde_json::Error),
    /// The engine file has no usable validation set.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// The engine file's model is malformed, or keeps data in other files.
    #[error("the engine's model cannot be read: {0}")]
    Model(GraphError),
    /// The plan cannot be loaded.
    #[error("the plan was built, but does not load: {0}")]
    Plan(PlanError),
    /// The plan's inputs or outputs differ from the engine file's.
    #[error(transparent)]
    Ports(#[from] PortMismatch),
    /// An inference failed.
    #[error("the plan was built, but does not run: {0}")]
    Run(EngineError),
    /// The plan's error against fp32 exceeds the gate. The plan was not stored.
    #[error(
        "the plan is too far from fp32 and is not used; more calibration frames, another method, \
         or `precision = \"fp16\"` in the recipe brings it nearer:{}",
        .0.iter().map(gate_line).collect::<String>()
    )]
    Gate(Vec<GateResult>),
    /// Another process builds the plan, and reported why it cannot.
    #[error("{0}")]
    Reported(String),
    /// The process that builds the plan ended, or answered what it should not.
    #[error("the process that builds the plan has failed: {0}")]
    Process(String),
    /// The plan could not be loaded from the cache, or stored there.
    #[error(transparent)]
    Keep(#[from] CacheError),
}

/// The messages contain those of their causes, so the causes are not sources too.
macro_rules! causes {
    ($($variant:ident($cause:ty)),*) => {
        $(
            impl From<$cause> for PrepareError {
                fn from(cause: $cause) -> Self {
                    Self::$variant(cause)
                }
            }
        )*
    };
}

causes!(
    Cuda(CudaError),
    TensorRt(TensorRtError),
    Model(GraphError),
    Plan(PlanError),
    Run(EngineError)
);

impl PrepareError {
    /// Whether the error only means that this machine has no NVIDIA GPU or no TensorRT.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Cuda(CudaError::NoDriver { .. } | CudaError::NoDevice)
                | Self::TensorRt(TensorRtError::NoLibrary { .. })
        )
    }
}

/// What to do about an error of TensorRT.
fn remedy(error: &TensorRtError) -> &'static str {
    match error {
        TensorRtError::NoLibrary { .. } => ", or drive with the CPU engine",
        TensorRtError::NoShim { .. } => {
            "; make it on this machine, as root, with `pilotage compile --for-this-machine`"
        }
        TensorRtError::DamagedShim { .. } => {
            "; delete it and make it anew with `pilotage compile --for-this-machine`"
        }
        TensorRtError::WrongShim { .. } => {
            "; make it anew with `pilotage compile --for-this-machine`"
        }
        _ => "",
    }
}

/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: i32 = 2;

fn cuda_remedy(error: &CudaError) -> &'static str {
    match error {
        CudaError::Call {
            code: OUT_OF_MEMORY,
            ..
        } => ", or drive with the CPU engine",
        _ => "",
    }
}

fn gate_line(result: &GateResult) -> String {
    format!(
        "\n  {}: mean squared error {:.3e} of {:.3e} allowed, worst {:.3e} of {:.3e} {}",
        result.output, result.mse, result.most_mse, result.worst, result.most_worst, result.unit
    )
}

#[cfg(test)]
mod tests {
    use tensorrt_rs::{Product, RejectedShim, Version};

    use super::*;

    #[test]
    fn errors_of_tensorrt_name_the_remedy() {
        let version = Version {
            product: Product::TensorRt,
            number: 100_300,
        };
        let tried = vec![RejectedShim::Missing("/var/lib/none.so".into())];
        let error = PrepareError::from(TensorRtError::NoShim { version, tried });
        assert!(std::error::Error::source(&error).is_none());
        assert_eq!(
            error.to_string(),
            "there is no shim for TensorRT 10.3.0 (/var/lib/none.so is not there); make it on this \
             machine, as root, with `pilotage compile --for-this-machine`"
        );
    }
}
