//! A recipe for a model that has none yet.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pilotage_engine::{Domain, Meaning};
use pilotage_graph::{ElementType, Graph, GraphError, ReadOptions, ValueId};

use crate::compile::read_at_most;
use crate::float16::widen;
use crate::recipe::Precision;

/// What a model does not say of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Wishes {
    /// What each number of the outputs is, in the model's order; none for those
    /// that the car has no use for.
    pub meanings: Vec<Option<Meaning>>,
    /// What the engine computes in.
    pub precision: Precision,
    /// Where it may drive.
    pub domain: Domain,
    /// The folder of frames, as it is to stand in the recipe.
    pub frames: Option<PathBuf>,
}

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}")]
    Read {
        /// The model.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// It is not ONNX that Pilotage can take.
    #[error("{path}: {reason}")]
    Model {
        /// The model.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<GraphError>,
    },
    /// No input, or several, could be the picture.
    #[error(
        "{path}: none of its inputs is alone a picture (float32, 1 x channels x height x width or \
         1 x height x width x channels, of 1 or 3 channels): {inputs}. Write a recipe \
         (docs/recipes.md)"
    )]
    Inputs {
        /// The model.
        path: PathBuf,
        /// What there are.
        inputs: String,
    },
    /// Too few or too many meanings.
    #[error(
        "{path}: its outputs are {outputs}; say what each number is, in this order, such as \
         --outputs {example} (steering, throttle, speed, yaw_rate, or - for one the car has no \
         use for)"
    )]
    Meanings {
        /// The model.
        path: PathBuf,
        /// What there are.
        outputs: String,
        /// As many as there are numbers.
        example: String,
    },
}

/// The text of a recipe for `model`, which it names as `named`. The picture is the
/// whole frame in RGB with values of 0 to 1; its size and layout are the model's.
///
/// # Errors
/// When the model cannot be read, or something about it has to be said in a recipe.
pub fn draft(model: &Path, named: &Path, wishes: &Wishes) -> Result<String, DraftError> {
    let options = ReadOptions::default();
    let path = || model.to_owned();
    let bytes = read_at_most(model, options.max_bytes).map_err(|reason| DraftError::Read {
        path: path(),
        reason,
    })?;
    let mut graph = Graph::read(&bytes, &options).map_err(|reason| DraftError::Model {
        path: path(),
        reason: Box::new(reason),
    })?;
    widen(&mut graph);
    let Some(picture) = picture(&graph) else {
        return Err(DraftError::Inputs {
            path: path(),
            inputs: ports(&graph, &graph.inputs),
        });
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
    let mut text = format!(
        "# Made from the model; docs/recipes.md explains every key.\n\
         model = {}\nprecision = \"{}\"\ndomain = \"{}\"\n\n\
         [input]\n\
         # The whole frame, values 0 to 1. Crop, scale, mean and std have to be what the\n\
         # training did.\n\
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
    let wanted = numbers.iter().zip(&wishes.meanings);
    for ((name, index), meaning) in wanted.filter_map(|(at, meaning)| Some((at, (*meaning)?))) {
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

struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    /// Channels are the last axis.
    last: bool,
}

/// The model's only input, if it is a picture.
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
    // Of 3 x H x 3 the first axis is meant: exporters of both kinds give wide pictures.
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

/// Every number of the outputs: its output's name and its place there.
fn numbers(graph: &Graph) -> Vec<(String, usize)> {
    // A network with more answers than this is none that drives.
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

/// As a TOML basic string, which JSON's strings are too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
