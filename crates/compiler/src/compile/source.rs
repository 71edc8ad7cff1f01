//! The model that a recipe names.

use std::path::Path;

use pilotage_config::Source;
use pilotage_engine::plan::MAX_ITEMS;
use pilotage_engine::{Output, PathDecoder};
use pilotage_graph::{Graph, ValueId, widen};

use super::ports::{check_rules, image_input, resolve_decoder, resolve_outputs};
use super::{CompileError, ModelError, fixed};
use crate::model_file::{ModelFile, Problem};
use crate::recipe::Recipe;
use crate::table::Tensors;

/// A model as its file has it, with its ports as a recipe describes them.
#[derive(Debug, Clone)]
pub struct SourceModel {
    /// The graph, in float32, with constants for the recipe's fixed inputs.
    pub graph: Graph,
    /// The image.
    pub input: ValueId,
    /// The recipe's outputs, with all names filled in.
    pub outputs: Vec<Output>,
    /// The path that the recipe's decoder follows.
    pub decoder: Option<PathDecoder>,
}

impl SourceModel {
    /// Reads the model of a recipe. `source` is the recipe's text, for messages.
    ///
    /// # Errors
    /// If the model cannot be read, or does not fit the recipe.
    pub fn of_recipe(recipe: &Recipe, source: &Source<'_>) -> Result<Self, CompileError> {
        Ok(Self::read(recipe, source, &recipe.model)?.0)
    }

    /// The model, the names of its tensors, and the SHA-256 of its files.
    pub(super) fn read(
        recipe: &Recipe,
        source: &Source<'_>,
        path: &Path,
    ) -> Result<(Self, Tensors, [u8; 32]), CompileError> {
        let wrong = |reason| CompileError::Model {
            path: path.to_owned(),
            reason: Box::new(reason),
        };
        let ModelFile { mut graph, sha256 } =
            ModelFile::read(path).map_err(|problem| match problem {
                Problem::Graph(reason) => wrong(reason.into()),
                Problem::File(error) => CompileError::Content(source.error(
                    "model",
                    format!(
                        "{} cannot be read ({error}); put the ONNX file there or name another",
                        path.display()
                    ),
                )),
            })?;
        widen(&mut graph);
        if graph.nodes.len() > MAX_ITEMS {
            return Err(wrong(ModelError::TooManyNodes(graph.nodes.len())));
        }
        let tensors = Tensors::of(&graph);
        fixed::bind(&mut graph, &recipe.fixed_inputs, source)?;
        check_rules(&graph, recipe, source)?;
        let input = image_input(&mut graph, recipe, source)?;
        // The pictures are first among the inputs from here on.
        if let Some(place) = graph.inputs.iter().position(|&it| it == input) {
            graph.inputs[..=place].rotate_right(1);
        }
        let outputs = resolve_outputs(&graph, &recipe.output, source)?;
        let model = Self {
            decoder: resolve_decoder(&graph, recipe, &outputs, source)?,
            graph,
            input,
            outputs,
        };
        Ok((model, tensors, sha256))
    }
}
