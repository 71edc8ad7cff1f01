//! Removes nodes that do nothing.

use pilotage_graph::{Graph, Node, Op};

use super::rewrite::replace;

pub(super) fn remove(graph: &mut Graph) -> bool {
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        if does_nothing(graph, node) {
            let (old, new) = (node.outputs[0], node.inputs[0]);
            changed |= replace(graph, old, new);
        }
    }
    changed
}

fn does_nothing(graph: &Graph, node: &Node) -> bool {
    let ([input], [output]) = (&node.inputs[..], &node.outputs[..]) else {
        return false;
    };
    let (input, output) = (graph.value(*input), graph.value(*output));
    match &node.op {
        Op::Identity => true,
        Op::Cast { to } => *to == input.element_type,
        Op::Flatten { .. } | Op::Reshape | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            input.shape == output.shape
        }
        Op::Transpose { perm } => perm.is_sorted(),
        Op::Slice { axes } => {
            let whole = |(axis, size): (&pilotage_graph::SliceAxis, &usize)| {
                axis.start == 0 && axis.step == 1 && axis.length == *size
            };
            axes.iter().zip(&input.shape).all(whole)
        }
        Op::Pad(pad) => pad.before.iter().chain(&pad.after).all(|&n| n == 0),
        Op::Concat { .. } | Op::Split { .. } => true,
        _ => false,
    }
}
