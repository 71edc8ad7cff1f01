//! Moves arithmetic with constants from before a Transpose or a Slice to after it, so that the
//! normalization of a Keras model (NHWC), or before a crop in the network, can be folded into the next
//! convolution.

use pilotage_graph::{Graph, Node, Op};

use super::rewrite::{Readers, add_constant, add_value, floats, makers};
use crate::permute::{permute, pick};

pub(super) fn affine_after_movement(graph: &mut Graph) -> bool {
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
        if !matches!(
            graph.nodes[index].op,
            Op::Transpose { .. } | Op::Slice { .. }
        ) {
            return None;
        }
        let between = graph.nodes[index].inputs[0];
        let before = makers[between.0]?;
        if readers.only(between) != Some(index) {
            return None;
        }
        swap(graph, before, index)
    })
}

/// A constant's shape and elements after the operator, if they are the same for all elements that
/// it selects. `full` is the constant's shape with all axes.
fn moved(op: &Op, full: &[usize], data: &[f32], shape: &[usize]) -> Option<(Vec<usize>, Vec<f32>)> {
    match op {
        Op::Transpose { perm } => Some((pick(full, perm), permute(data, full, perm))),
        Op::Slice { axes } => {
            let is_whole = |(axis, &size): (usize, &usize)| {
                axes.get(axis)
                    .is_none_or(|it| it.length == size && it.step == 1)
            };
            let constant_axes = || (0..full.len()).filter(|&axis| full[axis] != 1);
            constant_axes()
                .all(|axis| is_whole((axis, &shape[axis])))
                .then(|| (full.to_vec(), data.to_vec()))
        }
        _ => None,
    }
}

fn swap(graph: &mut Graph, before: usize, index: usize) -> Option<()> {
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
    let movement = graph.nodes[index].clone();
    let (c_shape, data) = moved(&movement.op, &full, floats(graph, c)?, &shape)?;
    let name = graph.value(c).name.clone();
    let constant = add_constant(graph, &name, &c_shape, data)?;
    let shape = graph.value(movement.outputs[0]).shape.clone();
    let first = add_value(graph, x, shape);

    let mut inputs = vec![first; 2];
    inputs[c_place] = constant;
    graph.nodes[before] = Node {
        inputs: vec![x],
        outputs: vec![first],
        ..movement.clone()
    };
    graph.nodes[index] = Node {
        inputs,
        outputs: movement.outputs,
        ..node
    };
    Some(())
}
