//! Plans that have passed the gate on this machine.

use std::path::PathBuf;

use pilotage_engine::GateResult;

use crate::engine::TensorRtEngine;
use crate::nhwc::NhwcAdapter;

/// A plan that is stored and has passed the gate on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The plan's file.
    pub file: PathBuf,
    /// The version of TensorRT and the name of the device.
    pub backend: String,
    /// The plan's precision.
    pub precision: String,
    /// The errors against fp32, measured by this call.
    pub gate: Vec<GateResult>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The layers, as reported by TensorRT. `None` if the plan had been built before.
    pub layers: Option<String>,
}

/// A plan that has passed the gate on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// The plan's precision.
    pub precision: String,
    /// The errors against fp32.
    pub gate: Vec<GateResult>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The plan, if it was built now. `None`: it had been stored before.
    pub built: Option<Built>,
}

/// A plan that is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The plan's bytes.
    pub plan: Vec<u8>,
    /// The timing cache for the next build.
    pub timing_cache: Option<Vec<u8>>,
    /// The layers, as reported by TensorRT.
    pub layers: Option<String>,
}

/// A plan that was loaded and validated on this machine.
pub struct ValidatedPlan {
    /// The engine that runs the plan, with the ports of the CPU plan.
    pub engine: NhwcAdapter<TensorRtEngine>,
    /// The plan's precision.
    pub precision: String,
    /// The errors against fp32.
    pub gate: Vec<GateResult>,
}
