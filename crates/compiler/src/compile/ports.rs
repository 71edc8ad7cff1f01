//! Finds the recipe's inputs and outputs in the model.

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_engine::plan::Plan;
use pilotage_engine::{AxisOrder, MOST_PICTURES, Memory, Output, PictureAxis};
use pilotage_graph::{ElementType, Graph, Value, ValueId};
use pilotage_vision::{Layout, Preprocess};

use crate::recipe::{Recipe, RecipeOutput};

/// The model's input that is not named in the recipe's `[memory]`: the pictures. It must have the type
/// and shape that the recipe describes.
pub(super) fn image_input(
    graph: &Graph,
    recipe: &Recipe,
    source: &Source<'_>,
) -> Result<ValueId, ConfigError> {
    let by_rule = |input: &ValueId| {
        let name = &graph.value(*input).name;
        recipe.memory.names().any(|it| it == name)
    };
    let rest = graph.inputs.iter().copied().filter(|it| !by_rule(it));
    let rest: Vec<ValueId> = rest.collect();
    let &[input] = &rest[..] else {
        let names = rest.iter().map(|&v| format!("`{}`", graph.value(v).name));
        let names: Vec<String> = names.collect();
        let reason = match names.is_empty() {
            true => "the model has no input for the pictures: each has a rule already".to_owned(),
            false => format!(
                "the model must have exactly one input without a rule, for the pictures; it has {} \
                 ({}): give the others a rule each, [fixed_inputs] NAME = number for a constant, \
                 [[memory.state]] for an output that is fed back, [[memory.signal]] for the latest \
                 steering, throttle, speed or yaw rate",
                names.len(),
                names.join(", ")
            ),
        };
        return Err(source.error("model", reason));
    };
    let value = graph.value(input);
    let shape = input_shape(&recipe.input, &recipe.memory);
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
        let (pictures, hint) = match pictures_in(&value.shape, &recipe.input) {
            Some((count, axis)) if recipe.memory.pictures == 1 => (
                "",
                format!("; for the last {count} pictures add [memory] pictures = {count}{axis}"),
            ),
            _ if recipe.memory.pictures > 1 => (", memory.pictures, memory.axis", String::new()),
            _ => ("", String::new()),
        };
        return Err(source.error(
            "input",
            format!(
                "the model's input `{}` is {} {:?}, but width, height, colour{pictures} and layout \
                 here make float32 {shape:?}{hint}",
                value.name, value.element_type, value.shape
            ),
        ));
    }
    Ok(input)
}

/// The shape of the input that the recipe describes.
fn input_shape(preprocess: &Preprocess, memory: &Memory) -> Vec<usize> {
    let mut shape = preprocess.shape().to_vec();
    match (memory.axis, preprocess.layout) {
        (PictureAxis::Time, _) => shape.insert(1, memory.pictures),
        (PictureAxis::Channels, Layout::Nchw) => shape[1] *= memory.pictures,
        (PictureAxis::Channels, Layout::Nhwc) => shape[3] *= memory.pictures,
    }
    shape
}

/// The number of pictures that an input of this shape would be, and the recipe's text for their axis.
fn pictures_in(shape: &[usize], preprocess: &Preprocess) -> Option<(usize, &'static str)> {
    let one = preprocess.shape();
    let candidates = [
        (PictureAxis::Channels, ""),
        (PictureAxis::Time, ", axis = \"time\""),
    ];
    candidates.into_iter().find_map(|(axis, text)| {
        let elements: usize = one.iter().product();
        let count = shape.iter().product::<usize>() / elements.max(1);
        let memory = Memory {
            pictures: count,
            axis,
            ..Memory::default()
        };
        let fits =
            (2..=MOST_PICTURES).contains(&count) && input_shape(preprocess, &memory) == shape;
        fits.then_some((count, text))
    })
}

/// Checks that the inputs and outputs that the recipe's rules name exist and fit one another.
pub(super) fn check_rules(
    graph: &Graph,
    recipe: &Recipe,
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    let find = |values: &[ValueId], name: &str, key: &str| {
        let known = values.iter().map(|&v| graph.value(v).name.as_str());
        let found = values.iter().find(|&&v| graph.value(v).name == name);
        found.map(|&v| graph.value(v)).ok_or_else(|| {
            let meant = suggest(name, known);
            source.error(key, format!("the model has no `{name}` there: {meant}"))
        })
    };
    for (index, rule) in recipe.memory.state.iter().enumerate() {
        let key = |part| format!("memory.state.{index}.{part}");
        let input = find(&graph.inputs, &rule.input, &key("input"))?;
        let output = find(&graph.outputs, &rule.output, &key("output"))?;
        let form = |value: &Value| (value.element_type, value.shape.clone());
        let elements = |value: &Value| value.shape.iter().product::<usize>();
        let floats = [input, output]
            .iter()
            .all(|it| it.element_type == ElementType::F32);
        if !floats || elements(input) != elements(output) {
            let ((to, into), (of, from)) = (form(input), form(output));
            let reason = format!(
                "`{}` is {of} {from:?} and `{}` is {to} {into:?}; a state's output and input must be \
                 float32 and have as many elements",
                output.name, input.name
            );
            return Err(source.error(&key("output"), reason));
        }
        if rule.start.numbers(elements(input)).is_none() {
            let reason = format!(
                "`{}` has {} elements: give one number for all, or one each",
                input.name,
                elements(input)
            );
            return Err(source.error(&key("start"), reason));
        }
    }
    for (index, rule) in recipe.memory.signal.iter().enumerate() {
        let key = format!("memory.signal.{index}");
        let input = find(&graph.inputs, &rule.input, &format!("{key}.input"))?;
        let elements: usize = input.shape.iter().product();
        if input.element_type != ElementType::F32 || elements != rule.values.len() {
            let reason = format!(
                "`{}` is {} {:?}, and `values` names {}: it must be float32 with one element for each",
                input.name,
                input.element_type,
                input.shape,
                rule.values.len()
            );
            return Err(source.error(&format!("{key}.values"), reason));
        }
    }
    Ok(())
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
    let picture = plan.inputs.first();
    let takes_nhwc = picture.is_some_and(|port| port.layout == AxisOrder::Nhwc);
    Preprocess {
        layout: match takes_nhwc {
            true => Layout::Nhwc,
            false => recipe.layout,
        },
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..recipe.clone()
    }
}
