//! `pilotage compile --for-this-machine`: builds a plan from an engine file and validates it on
//! this machine.

use std::path::PathBuf;

use pilotage_engine::{Bundle, GateResult};
use pilotage_graph::{Graph, GraphError, ReadOptions};
use tensorrt_rs::{Device, Progress, RunOptions, Shims};

use crate::cache::PlanCache;
use crate::engine::TensorRtEngine;
use crate::error::PrepareError;
use crate::machine::{Target, model_of};
use crate::nhwc::NhwcAdapter;
use crate::shims;

/// The folders of TensorRT, its shims and its plans on this machine.
#[derive(Debug, Clone)]
pub struct TensorRtPaths {
    /// The folder of TensorRT's libraries. `None`: the loader's search path.
    pub libraries: Option<PathBuf>,
    /// The folders of the shims. A missing shim is compiled.
    pub shims: Shims,
    /// The folders of TensorRT's headers. Empty: `TENSORRT_INCLUDE`, or where JetPack installs
    /// them.
    pub headers: Vec<PathBuf>,
    /// The folder of the plans.
    pub plans: PathBuf,
}

impl Default for TensorRtPaths {
    fn default() -> Self {
        Self {
            libraries: None,
            shims: shims::installed_shims(),
            headers: Vec::new(),
            plans: PlanCache::INSTALLED.into(),
        }
    }
}

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

/// Compiles the shim if needed, builds the plan of `bundle` for this machine's GPU, compares it
/// with the fp32 answers in the bundle, and stores it only if it passes the gate. A plan that was
/// stored before is not built again, but compared again.
///
/// The model in the bundle is untrusted: `pilotage-graph` parses it before TensorRT is loaded, and
/// NVIDIA's parser reads only what `pilotage-graph` writes of it. That parser runs in this process,
/// with its rights: see [`prepare_elsewhere`].
///
/// # Errors
/// When any of these steps fails. In that case no plan is stored.
pub fn prepare(
    bundle: &Bundle,
    places: &TensorRtPaths,
    progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
) -> Result<Prepared, PrepareError> {
    prepare_by(bundle, places, |target, model| {
        target.validate_or_build(model, None, progress)
    })
}

/// As [`prepare`], where `elsewhere` calls [`validate_or_build`] in another process and returns its result. Here
/// the shim is compiled and the plan is stored; nothing of the model or of a plan is passed to
/// NVIDIA's libraries here.
///
/// `elsewhere` is called again, with a reason to build no INT8 plan, if an INT8 model has ended its
/// process ([`PrepareError::Process`]).
///
/// # Errors
/// As [`prepare`], and those of `elsewhere`.
pub fn prepare_elsewhere(
    bundle: &Bundle,
    places: &TensorRtPaths,
    mut elsewhere: impl FnMut(Option<&str>) -> Result<Validated, PrepareError>,
) -> Result<Prepared, PrepareError> {
    prepare_by(bundle, places, |target, _| match elsewhere(None) {
        Err(error @ PrepareError::Process(_)) if target.is_int8() => {
            elsewhere(Some(&format!("no INT8 plan: {error}")))
        }
        validated => validated,
    })
}

/// Loads the plan that is stored for `bundle`, or builds one, and compares it with the fp32 answers
/// in the bundle. Nothing is compiled or written. With `without_int8`, a reason, no INT8 plan is
/// loaded or built.
///
/// # Errors
/// When any of these steps fails.
pub fn validate_or_build(
    bundle: &Bundle,
    places: &TensorRtPaths,
    without_int8: Option<&str>,
    progress: &(dyn Fn(Progress<'_>) -> bool + Sync),
) -> Result<Validated, PrepareError> {
    let device = Device::first()?;
    let model = readable_model(bundle)?;
    let target = Target::new(bundle, places, device, shims::existing(places)?)?;
    target.validate_or_build(&model, without_int8, progress)
}

fn prepare_by(
    bundle: &Bundle,
    places: &TensorRtPaths,
    validate_or_build: impl FnOnce(&Target<'_>, &[u8]) -> Result<Validated, PrepareError>,
) -> Result<Prepared, PrepareError> {
    let device = Device::first()?;
    let model = readable_model(bundle)?;
    let mut notes = Vec::new();
    let library = shims::open(places, &mut notes)?;
    let target = Target::new(bundle, places, device, library)?;
    let validated = validate_or_build(&target, &model)?;
    target.store(validated, notes)
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

/// Loads the plan that [`prepare`] stored for `bundle`, and compares it again with the fp32 answers
/// in the bundle. Nothing is compiled, built or written.
///
/// # Errors
/// When there is no such plan, or loading or comparing it fails.
pub fn load(
    bundle: &Bundle,
    places: &TensorRtPaths,
    options: RunOptions,
) -> Result<ValidatedPlan, PrepareError> {
    let device = Device::first()?;
    let target = Target::new(bundle, places, device, shims::existing(places)?)?;
    target.stored(options)
}

/// The bundle's model after [`rewritten`]. Empty if there is none: [`Target::new`] reports that, after
/// TensorRT was found.
fn readable_model(bundle: &Bundle) -> Result<Vec<u8>, PrepareError> {
    Ok(model_of(bundle).map_or_else(|_| Ok(Vec::new()), rewritten)?)
}

/// Parses the model and writes the resulting graph for NVIDIA's parser. Nothing that the reader
/// skips (unused nodes, functions, unknown fields) reaches NVIDIA's parser, and no tensor with data
/// in another file. A model that [`Graph::write`] wrote stays the same, byte for byte.
fn rewritten(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    Ok(Graph::read(model, &ReadOptions::default())?.write())
}
