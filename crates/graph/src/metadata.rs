//! Entries that a model carries beside its graph: ONNX's `metadata_props`.

use std::collections::BTreeMap;

use prost::Message;

use crate::onnx::ModelProto;
use crate::read::limits::limit;
use crate::read::wire;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, Graph, GraphBuilder, Op, TensorType};

    fn model(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut b = GraphBuilder::new("positive");
        let x = TensorType::new(ElementType::F32, [1, 2]);
        let x = b.input("x", x).unwrap();
        let y = b.node("relu", Op::Relu, &[x]).unwrap();
        b.output("y", y).unwrap();
        b.finish().unwrap().write_with_metadata(entries)
    }

    #[test]
    fn entries_do_not_change_the_graph() {
        let options = ReadOptions::default();
        let text = "line\nline \u{e9} \"";
        let with = model(&[(RECIPE_KEY, text), ("", "")]);
        let entries = metadata(&with, &options).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[RECIPE_KEY], text);
        let read = |bytes: &[u8]| Graph::read(bytes, &options).unwrap();
        assert_eq!(read(&with), read(&model(&[])));
        assert!(metadata(&model(&[]), &options).unwrap().is_empty());
    }

    #[test]
    fn damaged_and_oversized_models_are_refused() {
        let whole = model(&[(RECIPE_KEY, "text")]);
        for end in 1..whole.len() {
            // A cut between two fields leaves a shorter message; nothing may panic.
            let _ = metadata(&whole[..end], &ReadOptions::default());
        }
        assert!(metadata(&whole[..whole.len() - 1], &ReadOptions::default()).is_err());
        // Two bytes for each empty entry.
        let mut many = whole;
        many.extend([14 << 3 | 2, 0].repeat(1 << 16));
        let tight = ReadOptions {
            max_decoded_bytes: 1 << 24,
            ..ReadOptions::default()
        };
        assert!(metadata(&many, &tight).is_err());
        assert!(Graph::read(&many, &tight).is_err());
    }
}
