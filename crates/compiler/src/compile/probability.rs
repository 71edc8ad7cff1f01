//! Recognizes outputs that are single probabilities of a classifier.

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{Meaning, Output};
use pilotage_graph::{Graph, Op};

/// With so many classes, a probability cannot be a control that goes to both sides.
const CLASSES: usize = 3;

/// Finds outputs without bins that are elements of a softmax. One that steers is an error from three
/// classes on; the others give a warning each, since such a number may be meant.
pub(super) fn check(
    graph: &Graph,
    outputs: &[Output],
    source: &Source<'_>,
) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (index, output) in outputs.iter().enumerate() {
        let Some(classes) = classes(graph, &output.name) else {
            continue;
        };
        if output.bins.is_some() || classes < 2 {
            continue;
        }
        let reason = format!(
            "element {} of `{}` is the probability of one of {classes} classes (a softmax makes it), and \
             not the {} itself: if the classes are evenly spaced numbers, state bins = {{ count = \
             {classes}, first = -1.0, last = 1.0, decode = \"argmax\" }} (or \"expectation\") with the \
             first and the last of them, and `index` of the first",
            output.index,
            output.name,
            output.meaning.name()
        );
        let steers = matches!(output.meaning, Meaning::Steering | Meaning::YawRate);
        let error = source.error(&format!("output.{index}"), reason);
        if steers && classes >= CLASSES {
            return Err(error);
        }
        warnings.push(error.to_string());
    }
    Ok(warnings)
}

/// The number of classes if the output consists of the elements of a softmax.
fn classes(graph: &Graph, name: &str) -> Option<usize> {
    let mut outputs = graph.outputs.iter().copied();
    let mut value = outputs.find(|&v| graph.value(v).name == name)?;
    // A graph has no cycles.
    loop {
        let node = graph
            .nodes
            .iter()
            .find(|node| node.outputs.contains(&value))?;
        match &node.op {
            Op::Softmax { axis, end_axis } => {
                let axes = graph.value(value).shape.get(*axis..*end_axis)?;
                return Some(axes.iter().product());
            }
            Op::Identity | Op::Reshape => value = *node.inputs.first()?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use pilotage_graph::{ElementType, GraphBuilder, TensorType};

    use super::*;

    /// A softmax over three elements, or without one, whose output is reshaped.
    fn graph(classifies: bool) -> Graph {
        let mut b = GraphBuilder::new("classes");
        let x = b
            .input("x", TensorType::new(ElementType::F32, [1, 3, 1]))
            .unwrap();
        let op = match classifies {
            true => Op::Softmax {
                axis: 1,
                end_axis: 2,
            },
            false => Op::Relu,
        };
        let y = b.node("classes", op, &[x]).unwrap();
        let y = b.reshape("flat", y, &[1, 3]).unwrap();
        b.output("out", y).unwrap();
        b.finish().unwrap()
    }

    fn output(meaning: Meaning) -> Output {
        Output {
            name: "flat".into(),
            index: 1,
            meaning,
            scale: 1.0,
            offset: 0.0,
            bins: None,
        }
    }

    #[test]
    fn a_steering_that_is_a_probability_is_refused() {
        let source = Source::new("net.toml", "[[output]]\nmeaning = \"steering\"\n");
        let graph = graph(true);
        let name = graph.value(graph.outputs[0]).name.clone();
        let of = |meaning| Output {
            name: name.clone(),
            ..output(meaning)
        };
        let error = check(&graph, &[of(Meaning::Steering)], &source)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("net.toml:1: `output.0`: element 1 of"),
            "{error}"
        );
        assert!(error.contains("bins = { count = 3"), "{error}");
        // A throttle may be meant.
        let warnings = check(&graph, &[of(Meaning::Throttle)], &source).unwrap();
        assert!(warnings[0].contains("bins = { count = 3"), "{warnings:?}");
        let bins = pilotage_engine::Bins {
            count: 3,
            first: -1.0,
            last: 1.0,
            decode: pilotage_engine::Decode::Argmax,
        };
        let binned = Output {
            bins: Some(bins),
            ..of(Meaning::Steering)
        };
        assert_eq!(
            check(&graph, &[binned], &source).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn other_networks_are_not_suspected() {
        let source = Source::new("net.toml", "");
        let graph = graph(false);
        let name = graph.value(graph.outputs[0]).name.clone();
        let steering = Output {
            name,
            ..output(Meaning::Steering)
        };
        assert!(check(&graph, &[steering], &source).unwrap().is_empty());
    }
}
