//! Finds the recipe's inputs and outputs in the model.

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_engine::plan::Plan;
use pilotage_engine::{AxisOrder, Output};
use pilotage_graph::{ElementType, Graph, ValueId};
use pilotage_vision::Preprocess;

use crate::recipe::RecipeOutput;

/// The model's only input. It must have the type and shape that the recipe describes.
pub(super) fn image_input(
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
                "the model must have exactly one input that is not fixed; it has {} ({}): give \
                 the others a value each, [fixed_inputs] NAME = number",
                names.len(),
                names.join(", ")
            ),
        ));
    };
    let value = graph.value(input);
    let shape = preprocess.shape();
    if let &[batch, _, _, _] = &value.shape[..]
        && batch != 1
    {
        return Err(source.error(
            "model",
            format!(
                "its input `{}` is {:?}, a batch of {batch} pictures; the engine takes one frame at a \
                 time: export the model with a batch of 1 or with an open batch axis",
                value.name, value.shape
            ),
        ));
    }
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

/// The recipe's outputs with all names filled in. Each must exist in the model.
pub(super) fn resolve_outputs(
    graph: &Graph,
    outputs: &[RecipeOutput],
    source: &Source<'_>,
) -> Result<Vec<Output>, ConfigError> {
    let names = graph.outputs.iter().map(|&v| graph.value(v).name.as_str());
    let mut resolved = Vec::with_capacity(outputs.len());
    for (i, output) in outputs.iter().enumerate() {
        let found = match (&output.name, &graph.outputs[..]) {
            (None, &[only]) => only,
            (None, _) => {
                let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
                let names = names.join(", ");
                let reason = format!("the model has several outputs: name one of {names}");
                return Err(source.error(&format!("output.{i}.name"), reason));
            }
            (Some(name), all) => {
                let known = all.iter().find(|v| graph.value(**v).name == *name);
                *known.ok_or_else(|| {
                    let meant = suggest(name, names.clone());
                    let reason = format!("the model has no output `{name}`: {meant}");
                    source.error(&format!("output.{i}.name"), reason)
                })?
            }
        };
        let value = graph.value(found);
        if value.element_type != ElementType::F32 {
            let reason = format!(
                "the model's `{}` is {}; it must be float32",
                value.name, value.element_type
            );
            return Err(source.error(&format!("output.{i}.name"), reason));
        }
        let elements: usize = value.shape.iter().product();
        if output.index >= elements {
            let reason = format!(
                "the model's `{}` has {elements} elements; `index` must be 0 to {}",
                value.name,
                elements.saturating_sub(1)
            );
            return Err(source.error(&format!("output.{i}.index"), reason));
        }
        if let Some(bins) = &output.bins
            && bins.count > elements - output.index
        {
            let reason = format!(
                "the model's `{}` has {elements} elements, {} from index {} on",
                value.name,
                elements - output.index,
                output.index
            );
            return Err(source.error(&format!("output.{i}.bins.count"), reason));
        }
        resolved.push(Output {
            name: value.name.clone(),
            index: output.index,
            meaning: output.meaning,
            scale: output.scale,
            offset: output.offset,
            bins: output.bins,
        });
    }
    Ok(resolved)
}

/// The preprocessing that remains for the engine's caller: everything except arithmetic on pixel
/// values.
pub(super) fn remaining_preprocessing(recipe: &Preprocess, plan: &Plan) -> Preprocess {
    let takes_nhwc = plan
        .inputs
        .iter()
        .any(|port| port.layout == AxisOrder::Nhwc);
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
