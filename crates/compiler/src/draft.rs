//! Drafts a recipe for a model.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pilotage_engine::Meaning;
use pilotage_graph::{ElementType, Graph, GraphError, ValueId};
use pilotage_vehicle::Domain;

use crate::float16::widen;
use crate::model_file::{ModelFile, Problem};
use crate::recipe::Precision;

/// The parts of a recipe that cannot be derived from the model.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftOptions {
    /// The meaning of each output element, in the model's order. `None` for elements that the car
    /// does not use.
    pub meanings: Vec<Option<Meaning>>,
    /// The precision of the engine.
    pub precision: Precision,
    /// The domain in which the engine may drive.
    pub domain: Domain,
    /// The constant throttle of a model that only steers.
    pub throttle: Option<f32>,
    /// The folder of frames, as it is written in the recipe.
    pub frames: Option<PathBuf>,
}

/// Why a recipe cannot be drafted.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}")]
    Read {
        /// The model.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The file is not ONNX, or uses ONNX features that Pilotage does not support.
    #[error("{path}: {reason}")]
    Model {
        /// The model.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<GraphError>,
    },
    /// The model does not have exactly one image input.
    #[error(
        "{path}: the model must have one input, an image (float32, 1 x channels x height x width \
         or 1 x height x width x channels, of 1 or 3 channels), but has: {inputs}. Write a recipe \
         (docs/recipes.md)"
    )]
    Inputs {
        /// The model.
        path: PathBuf,
        /// The model's inputs.
        inputs: String,
    },
    /// The model takes several images at once.
    #[error(
        "{path}: its input `{input}` is {shape:?}, a batch of {} pictures; a car drives by one: \
         export the model with a batch of 1 or with an open batch axis", shape[0]
    )]
    Batch {
        /// The model.
        path: PathBuf,
        /// The input's name.
        input: String,
        /// The input's shape.
        shape: [usize; 4],
    },
    /// The number of meanings differs from the number of output elements.
    #[error(
        "{path}: its outputs are {outputs}; say what each number is, in this order, such as \
         --outputs {example} (steering, throttle, speed, yaw_rate, or - for one the car has no \
         use for)"
    )]
    Meanings {
        /// The model.
        path: PathBuf,
        /// The model's outputs.
        outputs: String,
        /// An example value for `--outputs` with the right number of entries.
        example: String,
    },
}

/// The text of a recipe for `model`, whose path in the recipe is `named`. The input is the whole
/// frame in RGB with values from 0 to 1. Its size and layout are the model's.
///
/// # Errors
/// If the model cannot be read, or `wishes` does not fit it.
pub fn draft(model: &Path, named: &Path, wishes: &DraftOptions) -> Result<String, DraftError> {
    let path = || model.to_owned();
    let ModelFile { mut graph, .. } = ModelFile::read(model).map_err(|problem| match problem {
        Problem::File(reason) => DraftError::Read {
            path: path(),
            reason,
        },
        Problem::Graph(reason) => DraftError::Model {
            path: path(),
            reason: Box::new(reason),
        },
    })?;
    widen(&mut graph);
    let Some(picture) = picture(&graph) else {
        return Err(unlike_picture(path(), &graph));
    };
    let numbers = numbers(&graph);
    if numbers.len() != wishes.meanings.len() {
        let example = (0..numbers.len()).map(|i| ["steering", "throttle"].get(i).unwrap_or(&"-"));
        return Err(DraftError::Meanings {
            path: path(),
            outputs: ports(&graph, &graph.outputs),
            example: example.copied().collect::<Vec<_>>().join(","),
        });
    }
    let throttle = wishes.throttle.map_or(String::new(), |constant| {
        format!("throttle = {{ constant = {constant:?} }}\n")
    });
    let mut text = format!(
        "# Made from the model; docs/recipes.md explains every key.\n\
         model = {}\nprecision = \"{}\"\ndomain = \"{}\"\n{throttle}\n\
         [input]\n\
         # The whole frame, values 0 to 1. Crop, scale, mean and std have to match the\n\
         # training.\n\
         width = {}\nheight = {}\ncolour = \"{}\"\nlayout = \"{}\"\n",
        quoted(&named.to_string_lossy()),
        wishes.precision.name(),
        match wishes.domain {
            Domain::Simulated => "simulated",
            Domain::Physical => "physical",
        },
        picture.width,
        picture.height,
        if picture.channels == 1 { "grey" } else { "rgb" },
        if picture.last { "nhwc" } else { "nchw" },
    );
    let elements = numbers.iter().zip(&wishes.meanings);
    for ((name, index), meaning) in elements.filter_map(|(at, meaning)| Some((at, (*meaning)?))) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[output]]\nname = {}\nindex = {index}\nmeaning = \"{}\"\n",
            quoted(name),
            meaning.name()
        );
    }
    if let Some(frames) = &wishes.frames {
        let frames = quoted(&frames.to_string_lossy());
        let _ = write!(text, "\n[calibration]\nframes = {frames}\n");
    }
    Ok(text)
}

/// Why the model's inputs are not one image.
fn unlike_picture(path: PathBuf, graph: &Graph) -> DraftError {
    if let &[input] = &graph.inputs[..]
        && let Ok(shape) = <[usize; 4]>::try_from(&graph.value(input).shape[..])
        && shape[0] != 1
    {
        let input = graph.value(input).name.clone();
        return DraftError::Batch { path, input, shape };
    }
    let inputs = ports(graph, &graph.inputs);
    DraftError::Inputs { path, inputs }
}

struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    /// Whether the channels are the last axis.
    last: bool,
}

/// The model's only input, if it is an image.
fn picture(graph: &Graph) -> Option<Picture> {
    let &[input] = &graph.inputs[..] else {
        return None;
    };
    let value = graph.value(input);
    let &[1, a, b, c] = &value.shape[..] else {
        return None;
    };
    let channels = |count| count == 1 || count == 3;
    if value.element_type != ElementType::F32 {
        return None;
    }
    // For 3 x H x 3, the first axis is the channels.
    let last = match (channels(a), channels(c)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => return None,
    };
    let (channels, height, width) = if last { (c, a, b) } else { (a, b, c) };
    Some(Picture {
        width,
        height,
        channels,
        last,
    })
}

/// Every output element: the name of its output and its index there.
fn numbers(graph: &Graph) -> Vec<(String, usize)> {
    // Driving networks have few outputs. This bounds the list.
    const MOST: usize = 64;
    let outputs = graph.outputs.iter().map(|&v| graph.value(v));
    let each = outputs.flat_map(|value| {
        let count: usize = value.shape.iter().product();
        (0..count).map(|index| (value.name.clone(), index))
    });
    each.take(MOST).collect()
}

fn ports(graph: &Graph, ports: &[ValueId]) -> String {
    let all = ports.iter().map(|&v| {
        let value = graph.value(v);
        format!("`{}` {} {:?}", value.name, value.element_type, value.shape)
    });
    all.collect::<Vec<_>>().join(", ")
}

/// Formats a TOML basic string. JSON uses the same syntax.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
