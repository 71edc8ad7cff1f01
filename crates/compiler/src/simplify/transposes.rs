//! Moves arithmetic with constants from before a Transpose node to after it, so that a Keras
//! model's normalization (NHWC) can be folded into the next convolution (NCHW).

use pilotage_graph::{Graph, Node, Op};

use super::rewrite::{Readers, add_constant, add_value, floats, makers};
use crate::permute::{permute, pick};

pub(super) fn affine_after_transpose(graph: &mut Graph) -> bool {
    let mut changed = false;
    while swap_one(graph).is_some() {
        changed = true;
    }
    changed
}

fn swap_one(graph: &mut Graph) -> Option<()> {
    let readers = Readers::of(graph);
    let makers = makers(graph);
    (0..graph.nodes.len()).find_map(|index| {
        let Op::Transpose { perm } = &graph.nodes[index].op else {
            return None;
        };
        let perm = perm.clone();
        let between = graph.nodes[index].inputs[0];
        let before = makers[between.0]?;
        if readers.only(between) != Some(index) {
            return None;
        }
        swap(graph, before, index, &perm)
    })
}

fn swap(graph: &mut Graph, before: usize, index: usize, perm: &[usize]) -> Option<()> {
    let node = graph.nodes[before].clone();
    if !matches!(node.op, Op::Add | Op::Sub | Op::Mul | Op::Div) {
        return None;
    }
    let is_constant = |place: usize| graph.value(node.inputs[place]).constant.is_some();
    let (x_place, c_place) = match (is_constant(0), is_constant(1)) {
        (false, true) => (0, 1),
        (true, false) => (1, 0),
        _ => return None,
    };
    let (x, c) = (node.inputs[x_place], node.inputs[c_place]);
    let shape = graph.value(x).shape.clone();
    if graph.value(node.outputs[0]).shape != shape {
        return None;
    }
    let c_shape = &graph.value(c).shape;
    let mut full = vec![1; shape.len().checked_sub(c_shape.len())?];
    full.extend_from_slice(c_shape);
    let data = permute(floats(graph, c)?, &full, perm);
    let name = graph.value(c).name.clone();
    let permuted = add_constant(graph, &name, &pick(&full, perm), data)?;
    let transposed = add_value(graph, x, pick(&shape, perm));

    let transpose = graph.nodes[index].clone();
    let mut inputs = vec![transposed; 2];
    inputs[c_place] = permuted;
    graph.nodes[before] = Node {
        inputs: vec![x],
        outputs: vec![transposed],
        ..transpose.clone()
    };
    graph.nodes[index] = Node {
        inputs,
        outputs: transpose.outputs,
        ..node
    };
    Some(())
}
