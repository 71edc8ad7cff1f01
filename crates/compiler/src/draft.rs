//! Drafts a recipe for a model.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use pilotage_engine::{GateLimits, Meaning};
use pilotage_graph::{ElementType, Graph, GraphError, RECIPE_KEY, ValueId, widen};
use pilotage_vehicle::Domain;
use pilotage_vision::{ColourOrder, Layout, Preprocess};

use crate::model_file::{ModelFile, Problem, metadata_of};
use crate::recipe::{CalibrationRecipe, MOST_BYTES, OnGateFailure, Precision};

/// The parts of a recipe that cannot be derived from the model, and settings that differ from the
/// defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DraftOptions {
    /// The meaning of each output element, in the model's order. `None` for elements that the car
    /// does not use.
    pub meanings: Vec<Option<Meaning>>,
    /// The precision of the engine.
    pub precision: Precision,
    /// The domain in which the engine may drive. It has no default.
    pub domain: Option<Domain>,
    /// The constant throttle of a model that only steers.
    pub throttle: Option<f32>,
    /// What to do if the engine's error exceeds a limit.
    pub on_gate_failure: OnGateFailure,
    /// Limits of the error, by the meaning of the output.
    pub gate: BTreeMap<Meaning, GateLimits>,
    /// The frames for calibration; the path as it is written in the recipe.
    pub calibration: Option<CalibrationRecipe>,
}

/// An output of so many elements is probably one of bins.
const LIKE_BINS: usize = 5;

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
    /// The text in its metadata is no recipe.
    #[error(
        "{path}: the recipe in its metadata has {bytes} bytes, which are too many; write a recipe \
         (docs/recipes.md)"
    )]
    Metadata {
        /// The model.
        path: PathBuf,
        /// The length of the text.
        bytes: usize,
    },
    /// The model does not have exactly one image input.
    #[error(
        "{path}: the model must have one input, an image (float32, 1 x channels x height x width \
         or 1 x height x width x channels, of 1 or 3 channels), but has: {inputs}. Write a recipe \
         (docs/recipes.md): its [memory] is for several pictures, a state and the latest answers, \
         [[measurement]] for what sensors measure, [command] for what an operator sets, [scan] for a \
         lidar, [fixed_inputs] for constants"
    )]
    Inputs {
        /// The model.
        path: PathBuf,
        /// The model's inputs.
        inputs: String,
    },
    /// The model takes several images at once.
    #[error(
        "{path}: its input `{input}` is {shape:?}, a batch of {} pictures; the engine takes one frame \
         at a time: export the model with a batch of 1 or with an open batch axis", shape[0]
    )]
    Batch {
        /// The model.
        path: PathBuf,
        /// The input's name.
        input: String,
        /// The input's shape.
        shape: [usize; 4],
    },
    /// There is no domain.
    #[error(
        "{path}: state where the engine may drive: --domain physical if the model was trained on \
         pictures of the car's camera, --domain simulated if it was trained in the simulator; an \
         engine of the simulated domain never arms a physical car"
    )]
    Domain {
        /// The model.
        path: PathBuf,
    },
    /// A limit is for an output that the car does not use.
    #[error("{path}: --gate {}: no output has this meaning", meaning.name())]
    Gate {
        /// The model.
        path: PathBuf,
        /// The meaning that no output has.
        meaning: Meaning,
    },
    /// The number of meanings differs from the number of output elements.
    #[error(
        "{path}: its outputs are {outputs}; state what each number means, in this order, such as \
         --outputs {example} (steering, throttle, speed, yaw_rate, or - for one that the car does \
         not use), and where the engine may drive: --domain physical, or simulated{}",
        if *bins { "; for outputs that are bins, write a recipe (`bins` in docs/recipes.md)" } else { "" }
    )]
    Meanings {
        /// The model.
        path: PathBuf,
        /// The model's outputs.
        outputs: String,
        /// An example value for `--outputs` with the right number of entries.
        example: String,
        /// An output has so many elements that they may be bins.
        bins: bool,
    },
}

/// The recipe that the model at this path was trained for: the text in its metadata
/// ([`RECIPE_KEY`]), if there is one. Its paths are relative to the model's folder. The model may be
/// of an unknown origin, and so is the text.
///
/// # Errors
/// If the model cannot be read, or the text is longer than a recipe can be.
pub fn embedded_recipe(model: &Path) -> Result<Option<String>, DraftError> {
    let path = || model.to_owned();
    let mut entries = metadata_of(model).map_err(|problem| not_read(path(), problem))?;
    let text = entries.remove(RECIPE_KEY);
    match text {
        Some(text) if text.len() as u64 > MOST_BYTES => Err(DraftError::Metadata {
            path: path(),
            bytes: text.len(),
        }),
        text => Ok(text),
    }
}

/// The graph of the model at this path, with weights in files beside it, and the entries of its
/// metadata.
///
/// # Errors
/// If the model cannot be read.
pub fn read_model(model: &Path) -> Result<(Graph, BTreeMap<String, String>), DraftError> {
    let error = |problem| not_read(model.to_owned(), problem);
    let graph = ModelFile::read(model).map_err(error)?.graph;
    Ok((graph, metadata_of(model).map_err(error)?))
}

/// The model's only input as the whole frame, RGB or grey, with values from 0 to 1. `None` if the
/// model does not have exactly one input, or it is not an image: float32, of four axes with a batch
/// of 1 and 1 or 3 channels.
pub fn picture_input(graph: &Graph) -> Option<Preprocess> {
    let picture = picture(graph)?;
    let side = |pixels: usize| u32::try_from(pixels).ok();
    let mut input = Preprocess::new(side(picture.width)?, side(picture.height)?);
    if picture.channels == 1 {
        input.colour = ColourOrder::Grey;
    }
    if picture.last {
        input.layout = Layout::Nhwc;
    }
    Some(input)
}

fn not_read(path: PathBuf, problem: Problem) -> DraftError {
    match problem {
        Problem::File(reason) => DraftError::Read { path, reason },
        Problem::Graph(reason) => DraftError::Model {
            path,
            reason: Box::new(reason),
        },
    }
}

/// The text of a recipe for `model`, whose path in the recipe is `named`. The input is the whole
/// frame in RGB with values from 0 to 1. Its size and layout are the model's.
///
/// # Errors
/// If the model cannot be read, or `options` does not fit it.
pub fn draft(model: &Path, named: &Path, options: &DraftOptions) -> Result<String, DraftError> {
    let path = || model.to_owned();
    let read = ModelFile::read(model).map_err(|problem| not_read(path(), problem));
    let ModelFile { mut graph, .. } = read?;
    widen(&mut graph);
    let Some(picture) = picture(&graph) else {
        return Err(unlike_picture(path(), &graph));
    };
    let numbers = numbers(&graph);
    if numbers.len() != options.meanings.len() {
        return Err(DraftError::Meanings {
            path: path(),
            outputs: ports(&graph, &graph.outputs),
            example: example(numbers.len()),
            bins: graph.outputs.iter().any(|&v| {
                let elements: usize = graph.value(v).shape.iter().product();
                elements >= LIKE_BINS
            }),
        });
    }
    let Some(domain) = options.domain else {
        return Err(DraftError::Domain { path: path() });
    };
    let used = |meaning: &&Meaning| options.meanings.contains(&Some(**meaning));
    if let Some(&meaning) = options.gate.keys().find(|meaning| !used(meaning)) {
        return Err(DraftError::Gate {
            path: path(),
            meaning,
        });
    }
    Ok(text(named, options, domain, &picture, &numbers))
}

/// A value for `--outputs` with this many entries.
fn example(numbers: usize) -> String {
    if numbers == 1 {
        return "steering --throttle 0.15".to_owned();
    }
    let names = (0..numbers).map(|i| *["steering", "throttle"].get(i).unwrap_or(&"-"));
    names.collect::<Vec<_>>().join(",")
}

/// The recipe. Writing to a string cannot fail.
fn text(
    model: &Path,
    options: &DraftOptions,
    domain: Domain,
    picture: &Picture,
    numbers: &[(String, usize)],
) -> String {
    let mut text = format!(
        "# Made from the model; docs/recipes.md explains every key.\n\
         model = {}\nprecision = \"{}\"\ndomain = \"{}\"\n",
        quoted(&model.to_string_lossy()),
        options.precision.name(),
        domain.name(),
    );
    if let Some(constant) = options.throttle {
        let _ = writeln!(text, "throttle = {{ constant = {constant:?} }}");
    }
    if options.on_gate_failure == OnGateFailure::Mixed {
        text.push_str("on_gate_failure = \"mixed\"\n");
    }
    let _ = write!(
        text,
        "\n[input]\n\
         # The whole frame, values 0 to 1. Crop, scale, mean and std have to match the\n\
         # training.\n\
         width = {}\nheight = {}\ncolour = \"{}\"\nlayout = \"{}\"\n",
        picture.width,
        picture.height,
        if picture.channels == 1 { "grey" } else { "rgb" },
        if picture.last { "nhwc" } else { "nchw" },
    );
    let elements = numbers.iter().zip(&options.meanings);
    for ((name, index), meaning) in elements.filter_map(|(at, meaning)| Some((at, (*meaning)?))) {
        let _ = write!(
            text,
            "\n[[output]]\nname = {}\nindex = {index}\nmeaning = \"{}\"\n",
            quoted(name),
            meaning.name()
        );
        if let Some(GateLimits { mse, worst }) = options.gate.get(&meaning) {
            let limits = [("mse", mse), ("worst", worst)];
            let limits = limits.map(|(key, limit)| limit.map(|limit| format!("{key} = {limit:?}")));
            let limits: Vec<String> = limits.into_iter().flatten().collect();
            let _ = writeln!(text, "gate = {{ {} }}", limits.join(", "));
        }
    }
    if let Some(calibration) = &options.calibration {
        let frames = quoted(&calibration.frames.to_string_lossy());
        let _ = write!(
            text,
            "\n[calibration]\nframes = {frames}\nmax_frames = {}\n",
            calibration.max_frames
        );
        if let Some(method) = calibration.method {
            let _ = writeln!(text, "method = \"{}\"", method.name());
        }
    }
    text
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
