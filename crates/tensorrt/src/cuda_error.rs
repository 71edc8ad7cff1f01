//! The errors of the CUDA driver, with hints for the user.

use std::ops::RangeInclusive;

/// Why there is no CUDA device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no NVIDIA driver.
    #[error(
        "there is no NVIDIA driver on this machine ({reason}); on a Jetson it comes with JetPack's \
         nvidia-l4t-cuda"
    )]
    NoDriver {
        /// The loader's error for each name of the library.
        reason: String,
    },
    /// The driver lacks a required function.
    #[error("the NVIDIA driver has no {symbol}: it is older than CUDA 10.2, or damaged")]
    NoSymbol {
        /// The function.
        symbol: &'static str,
    },
    /// The driver has no device.
    #[error(
        "the NVIDIA driver knows of no GPU here; in a container, start it with the NVIDIA runtime, \
         and anywhere else see what `sudo dmesg` says of it"
    )]
    NoDevice,
    /// A call of the driver failed.
    #[error("{doing} failed: {reason} ({name}){}", advice(*.code))]
    Call {
        /// The operation.
        doing: &'static str,
        /// The `CUresult`.
        code: i32,
        /// CUDA's name for the error.
        name: String,
        /// CUDA's description of the error.
        reason: String,
    },
}

impl CudaError {
    /// Whether every later CUDA call of this process fails too. cuda.h says of these errors: "This
    /// leaves the process in an inconsistent state and any further CUDA work will return the same
    /// error. To continue using CUDA, the process must be terminated and relaunched."
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        match self {
            Self::Call { code, .. } => STICKY.iter().any(|codes| codes.contains(code)),
            _ => false,
        }
    }

    /// Whether CUDA names no cause (`CUDA_ERROR_UNKNOWN`).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Call { code, .. } if *code == UNKNOWN)
    }
}

/// `CUDA_ERROR_UNKNOWN` of cuda.h.
const UNKNOWN: i32 = 999;

/// Error codes of cuda.h: a driver that is shut down, an invalid context, an uncorrectable memory or
/// link error, a contained error, an illegal address, a kernel that timed out, a destroyed context
/// or an assertion in a kernel, other faults of a kernel, and a leak of tensor memory.
const STICKY: [RangeInclusive<i32>; 10] = [
    4..=4,
    201..=201,
    214..=214,
    220..=220,
    226..=226,
    700..=700,
    702..=702,
    709..=710,
    714..=719,
    721..=721,
];

/// A hint for the errors with a known remedy.
fn advice(code: i32) -> &'static str {
    match code {
        2 => "; the memory is used up: end other programs (a desktop takes much of a Jetson's)",
        3 | 4 | 802 => "; restart the machine: the driver is not in order",
        UNKNOWN => {
            "; on a Jetson this user may lack the groups video and render (`sudo usermod -aG \
             video,render $USER`, then log in again); otherwise restart the machine"
        }
        34 => {
            "; this libcuda.so is CUDA's stub for building: take its folder out of LD_LIBRARY_PATH"
        }
        46 => "; another program has the GPU for itself: end it",
        803 => "; the driver's parts are of two versions: restart the machine after an update",
        804 => "; CUDA's compatibility package does not fit this GPU: uninstall cuda-compat",
        _ => "",
    }
}
