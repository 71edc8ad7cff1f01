//! Binds model inputs other than the image to constants (`[fixed_inputs]`).

use std::collections::BTreeMap;

use pilotage_config::{ConfigError, Source, suggest};
use pilotage_graph::{ElementType, Graph, Tensor};

use crate::recipe::FixedInput;

/// Replaces the inputs that have a value in the recipe by constants.
pub(super) fn bind(
    graph: &mut Graph,
    values: &BTreeMap<String, FixedInput>,
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    let known = graph.inputs.iter().map(|&v| &graph.value(v).name);
    let known: Vec<String> = known.cloned().collect();
    for (name, value) in values {
        let wrong = |reason: String| source.error(&format!("fixed_inputs.{name}"), reason);
        let mut inputs = graph.inputs.iter().copied();
        let Some(input) = inputs.find(|&v| graph.value(v).name == *name) else {
            let meant = suggest(name, known.iter().map(String::as_str));
            return Err(wrong(format!("the model has no such input: {meant}")));
        };
        let shape = graph.value(input).shape.clone();
        if graph.value(input).element_type != ElementType::F32 {
            let found = graph.value(input).element_type;
            return Err(wrong(format!("the model's input is {found}, not float32")));
        }
        let elements: usize = shape.iter().product();
        let data = match value {
            FixedInput::All(value) => vec![*value; elements],
            FixedInput::Each(values) => values.clone(),
        };
        if !data.iter().all(|x| x.is_finite()) {
            return Err(wrong("must be finite".to_owned()));
        }
        let found = data.len();
        let tensor = Tensor::new(shape, data).map_err(|_| {
            wrong(format!(
                "{found} numbers, but the model's input has {elements}; give one number for all, \
                 or one each"
            ))
        })?;
        graph.values[input.0].constant = Some(tensor);
        graph.inputs.retain(|&v| v != input);
    }
    Ok(())
}
