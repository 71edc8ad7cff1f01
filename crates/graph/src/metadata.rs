//! Entries that a model carries beside its graph: ONNX's `metadata_props`.

use std::collections::BTreeMap;

use prost::Message;

use crate::onnx::ModelProto;
use crate::read::{limit, wire};
use crate::{GraphError, ReadOptions};

/// The key of the recipe that a model was trained for. Its value is the text of a recipe as
/// docs/recipes.md describes it: the input's size, crop, colour, scale, mean and std; the outputs
/// with their meaning, scale and offset; the domain; a constant throttle; the folder of calibration
/// frames. Its `model` is the name of the model's own file, and its paths are relative to the
/// folder of that file. `pilotage-training train` writes it; an entry of an unknown origin is
/// untrusted like every other part of a model.
pub const RECIPE_KEY: &str = "pilotage.recipe";

/// The entries of an ONNX model's `metadata_props`. Of a key that occurs several times, which ONNX
/// forbids, the last entry counts.
///
/// ```
/// use pilotage_graph::{ElementType, GraphBuilder, Op, ReadOptions, TensorType, metadata};
///
/// let mut b = GraphBuilder::new("positive");
/// let x = b.input("x", TensorType::new(ElementType::F32, [1, 2]))?;
/// let y = b.node("relu", Op::Relu, &[x])?;
/// b.output("y", y)?;
/// let model = b.finish()?.write_with_metadata(&[("camera", "front")]);
/// assert_eq!(metadata(&model, &ReadOptions::default())?["camera"], "front");
/// # Ok::<(), pilotage_graph::GraphError>(())
/// ```
///
/// # Errors
/// When the bytes are not an ONNX model, or exceed a limit of `options`.
pub fn metadata(
    bytes: &[u8],
    options: &ReadOptions,
) -> Result<BTreeMap<String, String>, GraphError> {
    limit("the file", bytes.len(), options.max_bytes)?;
    wire::check(bytes, options.max_decoded_bytes)?;
    let model = ModelProto::decode(bytes).map_err(|error| GraphError::NotOnnx {
        detail: error.to_string(),
    })?;
    let entries = model.metadata_props.into_iter();
    Ok(entries.map(|entry| (entry.key, entry.value)).collect())
}
