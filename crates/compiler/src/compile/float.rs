//! Engines in floating point.

use std::collections::{BTreeMap, BTreeSet};

use pilotage_graph::{ElementType, Node, ValueId};

use super::{CompileError, CompiledModel, Model, ModelError, centre};
use crate::calibrate::magnitudes;
use crate::float16::{self, NarrowError, narrow, with_followers};
use crate::lower::{PortLayout, Weights, lower_weights};
use crate::progress::{Run, Stage};
use crate::recipe::{LayerPrecision, Precision};
use crate::report::LayerReport;

impl Model {
    /// Compiles the model in floating point, with `layers` as its layer reports.
    pub(super) fn float(&self, layers: Vec<LayerReport>) -> Result<CompiledModel, CompileError> {
        let ports = PortLayout::of_images(self.channels_last());
        let weights = match self.recipe.precision {
            Precision::Fp16 => Weights::Half,
            _ => Weights::AsTheyAre,
        };
        let plan = lower_weights(&self.simple, ports, weights);
        let mut sections = BTreeMap::new();
        if self.recipe.precision == Precision::Fp16 {
            let float32 = self.float32_nodes();
            let model = narrow(&self.simple, |node| !float32.contains(&node.name));
            let model = model.map_err(|reason| self.error(reason))?;
            sections.insert("model.fp16.onnx".to_owned(), model.write());
        }
        Ok(CompiledModel {
            plan: plan.map_err(|reason| self.error(reason))?,
            layers,
            sections,
            ..CompiledModel::default()
        })
    }

    /// The nodes that an fp16 engine computes in float32: the layers that the recipe lists as
    /// fp32, and the nodes that follow each of them.
    pub(super) fn float32_nodes(&self) -> BTreeSet<String> {
        let layers = self.recipe.layers.iter();
        let float32 = layers.filter(|(_, precision)| **precision == LayerPrecision::Fp32);
        let names = float32.map(|(name, _)| name.clone()).collect();
        with_followers(&self.simple, &names)
    }

    /// Checks that the inputs and outputs of the nodes that `half` selects are within float16's
    /// range on `frames`.
    pub(super) fn fits_float16(
        &self,
        half: impl Fn(&Node) -> bool,
        frames: &[&[u8]],
        run: Run<'_>,
    ) -> Result<(), ModelError> {
        let graph = &self.simple;
        let picked = graph.nodes.iter().filter(|node| half(node));
        let values: Vec<ValueId> = picked
            .flat_map(|node| node.inputs.iter().chain(&node.outputs).copied())
            .filter(|&v| graph.value(v).element_type == ElementType::F32)
            .filter(|&v| graph.value(v).constant.is_none())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let centre = centre(self.recipe.precision);
        let run = run.of(Stage::Gate);
        let last = self.channels_last();
        let most = magnitudes(graph, last, centre, &values, frames, run)?;
        match values
            .iter()
            .zip(most)
            .find(|(_, most)| *most > float16::LARGEST)
        {
            Some((&value, number)) => Err(ModelError::Narrow(NarrowError {
                tensor: graph.value(value).name.clone(),
                number,
            })),
            None => Ok(()),
        }
    }
}
