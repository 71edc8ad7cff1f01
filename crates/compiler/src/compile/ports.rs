//! Finds the recipe's inputs and outputs in the model.

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_engine::plan::Plan;
use pilotage_engine::{AxisOrder, MOST_PICTURES, Memory, Output, PathDecoder, PictureAxis};
use pilotage_graph::{ElementType, Graph, TensorType, Value, ValueId};
use pilotage_vision::{Layout, Preprocess};

use crate::recipe::{DecoderKind, DecoderRecipe, Recipe, RecipeOutput};

/// The model's input that no rule of the recipe names: the pictures. It must have the type
/// and shape that the recipe describes.
pub(super) fn image_input(
    graph: &mut Graph,
    recipe: &Recipe,
    source: &Source<'_>,
) -> Result<ValueId, ConfigError> {
    let rules = recipe.input_rules();
    let by_rule = |input: &ValueId| {
        let name = &graph.value(*input).name;
        rules.names().any(|it| it == name)
    };
    let rest = graph.inputs.iter().copied().filter(|it| !by_rule(it));
    let rest: Vec<ValueId> = rest.collect();
    if rest.is_empty() && recipe.input.is_none() {
        return Ok(no_picture(graph));
    }
    let &[input] = &rest[..] else {
        let names = rest.iter().map(|&v| format!("`{}`", graph.value(v).name));
        let names: Vec<String> = names.collect();
        let reason = match names.is_empty() {
            true => "the model has no input for the pictures: each has a rule already; leave [input] out if it \
                     gets none and has a [scan]"
                .to_owned(),
            false if recipe.input.is_none() => format!(
                "without [input], each of the model's inputs needs a rule, and {} has none",
                names.join(", ")
            ),
            false => format!(
                "the model must have exactly one input without a rule, for the pictures; it has {} \
                 ({}): give the others a rule each, [fixed_inputs] NAME = number for a constant, \
                 [[memory.state]] for an output that is fed back, [[memory.signal]] for the network's \
                 latest answers, [[measurement]] for what sensors measure (speed, yaw_rate), [command] \
                 for what an operator sets, [scan] for a lidar's scan",
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

/// Adds an input for a model that gets no picture, which nothing reads: so that every engine has the
/// same first input.
fn no_picture(graph: &mut Graph) -> ValueId {
    let shape = Preprocess::none().shape();
    let name = graph.unused_name("no picture");
    let input = graph.add_value(&name, TensorType::new(ElementType::F32, shape), None);
    graph.inputs.push(input);
    input
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
    let numbers = recipe.measurement.iter().enumerate();
    let numbers = numbers.map(|(index, rule)| {
        let key = format!("measurement.{index}");
        (key, &rule.input, rule.values.len())
    });
    let command = recipe.command.iter();
    let command = command.map(|rule| ("command".to_owned(), &rule.input, rule.elements()));
    for (key, name, wanted) in numbers.chain(command) {
        let input = find(&graph.inputs, name, &format!("{key}.input"))?;
        let elements: usize = input.shape.iter().product();
        if input.element_type != ElementType::F32 || elements != wanted {
            let reason = format!(
                "`{}` is {} {:?}, and the recipe makes {wanted} element(s) of `values`: it must be float32 \
                 with as many",
                input.name, input.element_type, input.shape
            );
            return Err(source.error(&format!("{key}.values"), reason));
        }
    }
    let Some(rule) = &recipe.scan else {
        return Ok(());
    };
    let input = find(&graph.inputs, &rule.input, "scan.input")?;
    let is_row = input.shape.iter().filter(|&&it| it != 1).count() <= 1;
    let elements: usize = input.shape.iter().product();
    if input.element_type != ElementType::F32 || elements != rule.rays || !is_row {
        let reason = format!(
            "`{}` is {} {:?}, and the recipe makes a scan of {} rays: it must be float32 with one axis of as \
             many, the others 1",
            input.name, input.element_type, input.shape, rule.rays
        );
        return Err(source.error("scan.rays", reason));
    }
    Ok(())
}

/// The float32 output of the model with this name, or its only one.
fn float_output<'a>(
    graph: &'a Graph,
    name: Option<&str>,
    key: &str,
    source: &Source<'_>,
) -> Result<&'a Value, ConfigError> {
    let names = graph.outputs.iter().map(|&v| graph.value(v).name.as_str());
    let found = match (name, &graph.outputs[..]) {
        (None, &[only]) => only,
        (None, _) => {
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            let reason = format!("the model has several outputs: name one of {names}");
            return Err(source.error(key, reason));
        }
        (Some(name), all) => {
            let known = all.iter().find(|v| graph.value(**v).name == *name);
            *known.ok_or_else(|| {
                let meant = suggest(name, names.clone());
                let reason = format!("the model has no output `{name}`: {meant}");
                source.error(key, reason)
            })?
        }
    };
    let value = graph.value(found);
    if value.element_type != ElementType::F32 {
        let reason = format!(
            "the model's `{}` is {}; it must be float32",
            value.name, value.element_type
        );
        return Err(source.error(key, reason));
    }
    Ok(value)
}

/// The recipe's decoder, for the output of the model that it names. `outputs` are the resolved ones.
pub(super) fn resolve_decoder(
    graph: &Graph,
    recipe: &Recipe,
    outputs: &[Output],
    source: &Source<'_>,
) -> Result<Option<PathDecoder>, ConfigError> {
    let Some(decoder) = &recipe.decoder else {
        return Ok(None);
    };
    let value = float_output(graph, decoder.name.as_deref(), "decoder.name", source)?;
    let shape = match decoder.kind {
        DecoderKind::Mask => mask_shape(value, decoder, source)?,
        DecoderKind::Waypoints | DecoderKind::Lane => [0; 3],
    };
    let found = decoder.decoder(&value.name, shape, outputs, &recipe.input);
    let length: usize = value.shape.iter().product();
    let taken = found.elements().and_then(|it| it.checked_add(found.index));
    if taken.is_none_or(|taken| taken > length) {
        let reason = format!(
            "the model's `{}` is {:?}, {length} elements, but the path here takes {} from index {} on",
            value.name,
            value.shape,
            found.elements().unwrap_or(usize::MAX),
            found.index
        );
        let keys = [(&decoder.x, "decoder.x"), (&decoder.rows, "decoder.rows")];
        let key = keys.into_iter().find(|(it, _)| it.is_some());
        return Err(source.error(key.map_or("decoder.points", |(_, key)| key), reason));
    }
    Ok(Some(found))
}

/// Height, width and number of classes of a mask.
fn mask_shape(
    value: &Value,
    decoder: &DecoderRecipe,
    source: &Source<'_>,
) -> Result<[usize; 3], ConfigError> {
    let layout = decoder.layout.unwrap_or_default();
    let shape = match (&value.shape[..], layout) {
        (&[1, channels, height, width], Layout::Nchw) => [height, width, channels],
        (&[1, height, width, channels], Layout::Nhwc) => [height, width, channels],
        (&[1, height, width], _) => [height, width, 1],
        // One row would be a batch of flattened masks.
        (&[height, width], _) if height > 1 => [height, width, 1],
        _ => {
            let reason = format!(
                "the model's `{}` is {:?}; a mask is 1 x classes x height x width, or with layout = \
                 \"nhwc\" 1 x height x width x classes",
                value.name, value.shape
            );
            return Err(source.error("decoder.kind", reason));
        }
    };
    let classes = shape[2];
    let wrong = |key: &str, reason: String| Err(source.error(&format!("decoder.{key}"), reason));
    match (classes, decoder.channel, decoder.threshold) {
        (2.., None, _) => wrong(
            "channel",
            format!(
                "`{}` has {classes} classes: state which of them is followed, 0 to {}",
                value.name,
                classes - 1
            ),
        ),
        (_, Some(channel), _) if channel >= classes => wrong(
            "channel",
            format!("`{}` has {classes} classes, counted from 0", value.name),
        ),
        (0 | 1, _, None) => wrong(
            "threshold",
            "is missing: a mask of one class needs it, 0.5 after a sigmoid and 0 without"
                .to_owned(),
        ),
        _ => Ok(shape),
    }
}

/// The recipe's outputs with all names filled in. Each must exist in the model.
pub(super) fn resolve_outputs(
    graph: &Graph,
    outputs: &[RecipeOutput],
    source: &Source<'_>,
) -> Result<Vec<Output>, ConfigError> {
    let mut resolved = Vec::with_capacity(outputs.len());
    for (i, output) in outputs.iter().enumerate() {
        let key = format!("output.{i}.name");
        let value = float_output(graph, output.name.as_deref(), &key, source)?;
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

#[cfg(test)]
mod tests {
    use pilotage_graph::{GraphBuilder, Op, TensorType};

    use super::*;

    /// The error of a recipe with this decoder for a model whose output has this shape.
    fn resolved(shape: &[usize], decoder: &str) -> Result<PathDecoder, String> {
        let mut b = GraphBuilder::new("path");
        let x = b
            .input("x", TensorType::new(ElementType::F32, shape))
            .unwrap();
        let y = b.node("path", Op::Relu, &[x]).unwrap();
        b.output("out", y).unwrap();
        let graph = b.finish().unwrap();
        let text = format!(
            "model = \"net.onnx\"\ndomain = \"simulated\"\n[input]\nwidth = 8\nheight = 4\n\
             [decoder]\nlook_ahead = 1.0\nspeed = 1.0\n{decoder}"
        );
        let recipe = Recipe::parse("net.toml", &text).unwrap();
        let source = Source::new("net.toml", &text);
        match resolve_decoder(&graph, &recipe, &[], &source) {
            Ok(decoder) => Ok(decoder.unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_decoder_must_fit_the_model() {
        let points = "kind = \"waypoints\"\npoints = 3\n";
        assert!(resolved(&[1, 6], points).is_ok());
        let error = resolved(&[1, 5], points).unwrap_err();
        assert!(
            error.contains("5 elements, but the path here takes 6"),
            "{error}"
        );
        assert!(
            error.starts_with("net.toml:10: `decoder.points`"),
            "{error}"
        );
        let error = resolved(&[1, 6], &format!("{points}index = 1\n")).unwrap_err();
        assert!(error.contains("6 from index 1 on"), "{error}");
        let error = resolved(&[1, 6], &format!("{points}name = \"pth\"\n")).unwrap_err();
        assert!(error.contains("no output `pth`"), "{error}");
    }

    #[test]
    fn the_shape_of_a_mask_is_the_models() {
        let camera =
            "camera = { width = 64, height = 48, horizontal_fov = 1.0, up = 0.1, forward = 0.0 }";
        let mask = |more: &str| format!("kind = \"mask\"\n{camera}\n{more}\n");
        let shape = |shape: &[usize], more: &str| {
            resolved(shape, &mask(more)).map(|decoder| match decoder.path {
                pilotage_engine::PathForm::Mask { mask, .. } => {
                    (mask.width, mask.height, mask.channels, mask.interleaved)
                }
                other => panic!("{other:?}"),
            })
        };
        let one = "threshold = 0.5";
        assert_eq!(shape(&[1, 1, 4, 8], one), Ok((8, 4, 1, false)));
        assert_eq!(shape(&[1, 4, 8], one), Ok((8, 4, 1, false)));
        let last = "layout = \"nhwc\"\nchannel = 2";
        assert_eq!(shape(&[1, 4, 8, 3], last), Ok((8, 4, 3, true)));
        assert_eq!(shape(&[1, 3, 4, 8], "channel = 2"), Ok((8, 4, 3, false)));
        for (form, more, expected) in [
            (&[1, 3, 4, 8][..], one, "3 classes: state which of them"),
            (&[1, 3, 4, 8], "channel = 3", "3 classes, counted from 0"),
            (&[1, 1, 4, 8], "", "needs it, 0.5 after a sigmoid"),
            (&[1, 32], one, "a mask is 1 x classes x height x width"),
        ] {
            let error = shape(form, more).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
