//! What a training starts from: a named network, or a user's ONNX model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pilotage_compiler::{DraftError, Recipe, RecipeOutput, picture_input, read_model};
use pilotage_config::{ConfigError, LONGEST_FILE};
use pilotage_engine::Meaning;
use pilotage_graph::{Graph, RECIPE_KEY, ValueId};
use pilotage_learning::{LearningError, Network};
use pilotage_vision::Preprocess;

use super::recipe::{Throttle, TrainingRecipe, WantedOutput};
use crate::architecture::Architecture;

/// Why a user's model cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model cannot be read.
    #[error(transparent)]
    Read(#[from] DraftError),
    /// The model's only input is not an image.
    #[error(
        "{}: the model must have one input, an image (float32, 1 x channels x height x width or \
         1 x height x width x channels, of 1 or 3 channels), but has {found}", path.display()
    )]
    Input {
        /// The model.
        path: PathBuf,
        /// Its inputs.
        found: String,
    },
    /// The recipe in the model's metadata is not valid.
    #[error(
        "{0}, in the recipe in the model's metadata; write [input] and [[output]] into the training \
         recipe"
    )]
    Embedded(ConfigError),
    /// An output of the recipe in the metadata is one of bins.
    #[error(
        "{}: its recipe has an output of bins, which cannot be trained; write [[output]] into the \
         training recipe", .0.display()
    )]
    Bins(PathBuf),
    /// The recipe has another input than the model.
    #[error(
        "{}: its input is {found}, and [input] is {wanted} (width x height x channels)",
        path.display()
    )]
    Size {
        /// The model.
        path: PathBuf,
        /// The model's input.
        found: String,
        /// The recipe's input.
        wanted: String,
    },
    /// The outputs are not those that are learned.
    #[error(
        "{}: its outputs are {found}, {problem}; write `name` (and `index`) into every [[output]]",
        path.display()
    )]
    Outputs {
        /// The model.
        path: PathBuf,
        /// The model's outputs.
        found: String,
        /// What does not fit.
        problem: String,
    },
    /// The model cannot be trained.
    #[error("{}: {reason}", path.display())]
    Learning {
        /// The model.
        path: PathBuf,
        /// Why.
        reason: Box<LearningError>,
    },
}

/// What a training starts from.
#[derive(Debug)]
pub enum Origin {
    /// A named network with random weights.
    Named(Architecture),
    /// A user's model, with where it has each learned control.
    Model(Box<UserModel>, Vec<Port>),
}

/// Where a network has a learned control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The output's name.
    pub output: String,
    /// The index of the element in the output.
    pub index: usize,
    /// The index among the elements of all outputs, one output after the other.
    pub element: usize,
}

/// A user's ONNX model.
#[derive(Debug)]
pub struct UserModel {
    /// The file.
    pub path: PathBuf,
    /// The model.
    pub graph: Graph,
    /// The entries of its metadata but the recipe.
    pub metadata: BTreeMap<String, String>,
    /// The whole frame as its input.
    input: Preprocess,
    /// The recipe in its metadata.
    embedded: Option<Recipe>,
}

impl UserModel {
    /// Reads a model, with weights in files beside it.
    ///
    /// # Errors
    /// If it cannot be read, has not one image as its input, or cannot be trained; all nodes that
    /// training does not support are in one error.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let (graph, mut metadata) = read_model(path)?;
        let input = picture_input(&graph).ok_or_else(|| ModelError::Input {
            path: path.to_owned(),
            found: ports(&graph, &graph.inputs),
        })?;
        Network::from_graph(&graph).map_err(|reason| ModelError::Learning {
            path: path.to_owned(),
            reason: Box::new(reason),
        })?;
        let text = metadata.remove(RECIPE_KEY);
        // A longer text is no recipe.
        let text = text.filter(|text| text.len() as u64 <= LONGEST_FILE);
        let parse = |text: String| Recipe::parse(&path.display().to_string(), &text);
        Ok(Self {
            path: path.to_owned(),
            graph,
            metadata,
            input,
            embedded: text.map(parse).transpose().map_err(ModelError::Embedded)?,
        })
    }

    /// The training recipe for this model: the size, channels and layout of the input are the
    /// model's. Without `[input]` or `[[output]]`, those of the recipe in the model's metadata are
    /// used, if there is one.
    ///
    /// # Errors
    /// If the recipe has an input of another size.
    pub fn complete(&self, recipe: &TrainingRecipe) -> Result<TrainingRecipe, ModelError> {
        let mut recipe = recipe.clone();
        let embedded = self.embedded.as_ref();
        if !recipe.has_input {
            recipe.input = embedded.map_or(&self.input, |it| &it.input).clone();
        }
        let size = |input: &Preprocess| (input.width, input.height, input.colour.channels());
        if size(&recipe.input) != size(&self.input) {
            let text = |(width, height, channels)| format!("{width} x {height} x {channels}");
            return Err(ModelError::Size {
                path: self.path.clone(),
                found: text(size(&self.input)),
                wanted: text(size(&recipe.input)),
            });
        }
        recipe.input.layout = self.input.layout;
        if let Some(embedded) = embedded.filter(|_| recipe.output.is_empty()) {
            // With a throttle that is not learned, the steering is.
            let is_learned =
                |it: &&RecipeOutput| recipe.throttle.is_none() || it.meaning == Meaning::Steering;
            let outputs = embedded.output.iter().filter(is_learned).map(wanted);
            let outputs: Option<Vec<WantedOutput>> = outputs.collect();
            recipe.output = outputs.ok_or_else(|| ModelError::Bins(self.path.clone()))?;
            let throttle = embedded.throttle.map(|throttle| Throttle {
                constant: Some(throttle.constant),
                ..Throttle::default()
            });
            recipe.throttle = recipe.throttle.or(throttle);
        }
        Ok(recipe)
    }

    /// Where the model has each of `count` learned controls: by name and index if an `[[output]]`
    /// has one of them, else in the model's order.
    ///
    /// # Errors
    /// If the model does not have these outputs.
    pub fn ports(&self, recipe: &TrainingRecipe, count: usize) -> Result<Vec<Port>, ModelError> {
        let all = elements(&self.graph);
        let wrong = |problem: String| ModelError::Outputs {
            path: self.path.clone(),
            found: ports(&self.graph, &self.graph.outputs),
            problem,
        };
        let by_name = |it: &WantedOutput| it.name.is_some() || it.index.is_some();
        if !recipe.output.iter().any(by_name) {
            return match all.len() == count {
                true => Ok(all),
                false => Err(wrong(format!(
                    "{} numbers, and {count} are learned",
                    all.len()
                ))),
            };
        }
        let mut found: Vec<Port> = Vec::new();
        for wanted in &recipe.output {
            let name = match (&wanted.name, &self.graph.outputs[..]) {
                (Some(name), _) => name,
                (None, &[only]) => &self.graph.value(only).name,
                (None, _) => return Err(wrong("and an [[output]] has no name".to_owned())),
            };
            let index = wanted.index.unwrap_or(0);
            let port = all
                .iter()
                .find(|it| it.output == *name && it.index == index);
            let Some(port) = port else {
                return Err(wrong(format!(
                    "none of them `{name}` with the index {index}"
                )));
            };
            if found.contains(port) {
                return Err(wrong(format!(
                    "and `{name}`, index {index}, is named twice"
                )));
            }
            found.push(port.clone());
        }
        Ok(found)
    }
}

/// Every element of the outputs.
fn elements(graph: &Graph) -> Vec<Port> {
    let outputs = graph.outputs.iter().map(|&output| graph.value(output));
    let each = outputs.flat_map(|value| {
        let count: usize = value.shape.iter().product();
        (0..count).map(|index| (value.name.clone(), index))
    });
    each.enumerate()
        .map(|(element, (output, index))| Port {
            output,
            index,
            element,
        })
        .collect()
}

fn wanted(output: &RecipeOutput) -> Option<WantedOutput> {
    output.bins.is_none().then(|| WantedOutput {
        meaning: output.meaning,
        scale: Some(output.scale),
        offset: Some(output.offset),
        name: output.name.clone(),
        index: Some(output.index),
    })
}

/// The types of inputs or outputs, for messages.
fn ports(graph: &Graph, ports: &[ValueId]) -> String {
    let all = ports.iter().map(|&port| {
        let value = graph.value(port);
        format!("`{}` {}", value.name, value.tensor_type())
    });
    all.collect::<Vec<_>>().join(", ")
}
