//! A recipe and its model into an engine file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pilotage_config::{ConfigError, Source};
use pilotage_engine::plan::{MAX_ITEMS, Plan};
use pilotage_engine::{Bundle, BundleError, Layout, Manifest, Output};
use pilotage_graph::{ElementType, Graph, GraphError, ReadOptions, ValueId};
use pilotage_vision::Preprocess;
use sha2::{Digest, Sha256};

use crate::lower::{LowerError, PortLayout, lower};
use crate::pixels::take_pixels;
use crate::recipe::{Recipe, RecipeError, RecipeOutput};
use crate::simplify::simplify;

/// Why there is no engine. Messages begin with the file they are about.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The recipe says something that does not fit the model.
    #[error(transparent)]
    Content(#[from] ConfigError),
    /// The model file is not ONNX that Pilotage can take.
    #[error("{path}: {reason}")]
    Model {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<GraphError>,
    },
    /// The model is no driving network.
    #[error("{path}: {nodes} nodes, more than the {MAX_ITEMS} an engine may have")]
    TooManyNodes {
        /// The ONNX file.
        path: PathBuf,
        /// How many there are.
        nodes: usize,
    },
    /// The model has no plan.
    #[error("{path}: {reason}")]
    Lower {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: LowerError,
    },
    /// The plan makes no engine file.
    #[error("{path}: {reason}")]
    Bundle {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<BundleError>,
    },
}

/// The files that an engine is made from, the recipe first; what a build has to
/// watch. The model is left out where the recipe cannot be read.
pub fn sources(recipe: &Path) -> Vec<PathBuf> {
    let mut files = vec![recipe.to_owned()];
    if let Ok((content, _)) = Recipe::read(recipe) {
        files.push(beside(recipe, &content.model));
    }
    files
}

/// Compiles a recipe to the bytes of an engine file, named after the recipe.
/// The same recipe and model give the same bytes.
///
/// The engine's input is raw: pixel values 0 to 255 as f32, in the order of axes
/// that the manifest's preprocessing says (scale 1, mean 0, deviation 1). The
/// recipe's scale, mean and deviation are part of the network, folded into its
/// first layer where that is exact (a layer without padding), else a step of its
/// own. Outputs are in the model's order.
///
/// # Errors
/// Names the file, and line and key where the recipe is at fault.
pub fn compile(recipe: &Path) -> Result<Vec<u8>, CompileError> {
    let (content, text) = Recipe::read(recipe)?;
    let file = recipe.display().to_string();
    let source = Source::new(&file, &text);
    let path = beside(recipe, &content.model);
    let options = ReadOptions::default();
    let bytes = read_at_most(&path, options.max_bytes).map_err(|error| {
        source.error(
            "model",
            format!(
                "{} cannot be read ({error}); put the ONNX file there or name another",
                path.display()
            ),
        )
    })?;
    let mut graph = Graph::read(&bytes, &options).map_err(|reason| CompileError::Model {
        path: path.clone(),
        reason: Box::new(reason),
    })?;

    if graph.nodes.len() > MAX_ITEMS {
        return Err(CompileError::TooManyNodes {
            path,
            nodes: graph.nodes.len(),
        });
    }
    let input = image_input(&graph, &content.input, &source)?;
    let outputs = resolve_outputs(&graph, &content.output, &source)?;
    take_pixels(&mut graph, input, &content.input);
    let ports = match content.input.layout {
        pilotage_vision::Layout::Nchw => PortLayout::Native,
        pilotage_vision::Layout::Nhwc => PortLayout::Model,
    };
    let plan = lower(&simplify(&graph), ports).map_err(|reason| CompileError::Lower {
        path: path.clone(),
        reason,
    })?;
    let preprocess = raw_pixels(&content.input, &plan);
    let as_json = |value: Result<serde_json::Value, serde_json::Error>, key| {
        value.map_err(|error| source.error(key, error))
    };
    let name = recipe.file_stem().unwrap_or_default();
    let manifest = Manifest {
        name: name.to_string_lossy().into_owned(),
        domain: content.domain,
        preprocessing: as_json(serde_json::to_value(&preprocess), "input")?,
        outputs,
        source_sha256: hexadecimal(&Sha256::digest(&bytes)),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let bundle = Bundle { manifest, plan };
    bundle.write().map_err(|reason| CompileError::Bundle {
        path,
        reason: Box::new(reason),
    })
}

fn beside(recipe: &Path, model: &Path) -> PathBuf {
    recipe.parent().unwrap_or(Path::new("")).join(model)
}

/// The file's content, if it is no longer than `limit` bytes; no more is read.
fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let too_large = || {
        let message = format!("it is larger than the {limit} bytes a model may have");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    let file = File::open(path)?;
    let limit = limit as u64;
    if file.metadata()?.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // A device or a file that grows is longer than it says.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(too_large()),
        false => Ok(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The model's one input, which has to be the picture the recipe describes.
fn image_input(
    graph: &Graph,
    preprocess: &Preprocess,
    source: &Source<'_>,
) -> Result<ValueId, ConfigError> {
    let &[input] = &graph.inputs[..] else {
        let names: Vec<&str> = graph
            .inputs
            .iter()
            .map(|&v| graph.value(v).name.as_str())
            .collect();
        return Err(source.error(
            "model",
            format!(
                "it has {} inputs ({}); only a model of one input, the picture, can drive",
                names.len(),
                names.join(", ")
            ),
        ));
    };
    let value = graph.value(input);
    let shape = preprocess.shape();
    if value.element_type != ElementType::F32 || value.shape != shape {
        return Err(source.error(
            "input",
            format!(
                "the model's input `{}` is {} {:?}, but width, height, colour and layout here \
                 make float32 {shape:?}",
                value.name, value.element_type, value.shape
            ),
        ));
    }
    Ok(input)
}

/// The recipe's outputs with their names filled in, each found in the model.
fn resolve_outputs(
    graph: &Graph,
    outputs: &[RecipeOutput],
    source: &Source<'_>,
) -> Result<Vec<Output>, ConfigError> {
    let names = || -> String {
        let names = graph.outputs.iter().map(|&v| &graph.value(v).name);
        names
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut resolved = Vec::with_capacity(outputs.len());
    for (i, output) in outputs.iter().enumerate() {
        let found = match (&output.name, &graph.outputs[..]) {
            (None, &[only]) => only,
            (None, _) => {
                let reason = format!("the model has several outputs: name one of {}", names());
                return Err(source.error(&format!("output.{i}.name"), reason));
            }
            (Some(name), all) => {
                let known = all.iter().find(|v| graph.value(**v).name == *name);
                *known.ok_or_else(|| {
                    let reason = format!("the model has no output `{name}`, only {}", names());
                    source.error(&format!("output.{i}.name"), reason)
                })?
            }
        };
        let value = graph.value(found);
        if value.element_type != ElementType::F32 {
            let reason = format!("the model's `{}` is {}", value.name, value.element_type);
            return Err(source.error(&format!("output.{i}.name"), reason));
        }
        let elements: usize = value.shape.iter().product();
        if output.index >= elements {
            let reason = format!(
                "the model's `{}` has {elements} elements, counted from 0",
                value.name
            );
            return Err(source.error(&format!("output.{i}.index"), reason));
        }
        resolved.push(Output {
            name: value.name.clone(),
            index: output.index,
            meaning: output.meaning,
            scale: output.scale,
            offset: output.offset,
        });
    }
    Ok(resolved)
}

/// What is left to do with a frame: everything but arithmetic on pixel values.
fn raw_pixels(recipe: &Preprocess, plan: &Plan) -> Preprocess {
    let takes_nhwc = plan.inputs.iter().any(|port| port.layout == Layout::Nhwc);
    Preprocess {
        layout: match takes_nhwc {
            true => pilotage_vision::Layout::Nhwc,
            false => recipe.layout,
        },
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..recipe.clone()
    }
}

#[cfg(test)]
mod tests;
