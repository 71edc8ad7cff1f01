//! Adds the recipe's normalization of pixel values to the network.

use pilotage_graph::{Graph, Node, Op, Tensor, TensorType, ValueId};
use pilotage_vision::{Layout, Preprocess};

/// Makes `input` take pixel values from 0 to 255 minus `centre`. The former input becomes
/// `pixel * (scale / std) - mean / std`. Simplification folds this into the first layer if it
/// can.
#[allow(clippy::cast_possible_truncation)]
pub fn take_pixels(graph: &mut Graph, input: ValueId, preprocess: &Preprocess, centre: u8) {
    let of_picture = preprocess.colour.channels();
    // Several pictures one behind the other have as many channels.
    let channels = match (&graph.value(input).shape[..], preprocess.layout) {
        (&[_, channels, _, _], Layout::Nchw) | (&[_, _, _, channels], Layout::Nhwc) => channels,
        _ => of_picture,
    };
    let each = |f: &dyn Fn(usize) -> f64| -> Vec<f32> {
        (0..channels).map(|c| f(c % of_picture) as f32).collect()
    };
    let std = |c: usize| f64::from(preprocess.std[c]);
    let scale = each(&|c| f64::from(preprocess.scale) / std(c));
    let shift = each(&|c| {
        let middle = f64::from(centre) * f64::from(preprocess.scale);
        (middle - f64::from(preprocess.mean[c])) / std(c)
    });
    let along = match preprocess.layout {
        Layout::Nchw => vec![channels, 1, 1],
        Layout::Nhwc => vec![channels],
    };

    let mut at = input;
    let mut first = Vec::new();
    for (op, factors, nothing, what) in [
        (Op::Add, shift, 0.0, "shift"),
        (Op::Mul, scale, 1.0, "scale"),
    ] {
        if factors.iter().all(|&f| f == nothing) {
            continue;
        }
        let Ok(tensor) = Tensor::new(along.clone(), factors) else {
            continue;
        };
        let constant = push(graph, what, input, Some(tensor));
        // The current value becomes the output of the new node. The new node's input replaces it.
        let before = push(graph, &format!("before {what}"), input, None);
        first.push(Node {
            name: format!("pixel {what}"),
            op,
            inputs: vec![before, constant],
            outputs: vec![at],
        });
        at = before;
    }
    if at == input {
        return;
    }
    first.reverse();
    graph.nodes.splice(0..0, first);
    // The port keeps the model's name.
    let name = std::mem::take(&mut graph.values[input.0].name);
    let new_name = graph.unused_name(&format!("{name} normalised"));
    graph.values[input.0].name = new_name;
    graph.values[at.0].name = name;
    for port in &mut graph.inputs {
        if *port == input {
            *port = at;
        }
    }
}

fn push(graph: &mut Graph, what: &str, like: ValueId, constant: Option<Tensor>) -> ValueId {
    let like = graph.value(like);
    let name = format!("pixel {what} of {}", like.name);
    let shape = constant.as_ref().map_or(&*like.shape, Tensor::shape);
    let tensor_type = TensorType::new(like.element_type, shape);
    graph.add_value(&name, tensor_type, constant)
}
