//! `pilotage compile --for-this-machine`: builds a plan from an engine file and validates it on
//! this machine.

use std::collections::HashSet;

use pilotage_engine::Bundle;
use pilotage_graph::{Graph, GraphError, ReadOptions, ValueId};
use tensorrt_rs::{Device, Progress, RunOptions};

use crate::error::PrepareError;
use crate::machine::{Target, model_of};
use crate::paths::TensorRtPaths;
use crate::shims;
use crate::validated::{Prepared, Validated, ValidatedPlan};

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
/// in another file. An input that no node reads is left out, such as the picture of a network that reads a
/// scan alone: versions of TensorRT differ in what they make of one. Otherwise a model that [`Graph::write`] wrote
/// stays the same, byte for byte.
fn rewritten(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    let mut graph = Graph::read(model, &ReadOptions::default())?;
    let nodes = graph.nodes.iter().flat_map(|node| &node.inputs);
    let read: HashSet<ValueId> = nodes.chain(&graph.outputs).copied().collect();
    graph.inputs.retain(|input| read.contains(input));
    Ok(graph.write())
}
