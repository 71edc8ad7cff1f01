//! Moves arithmetic with constants from before a Transpose or a Slice to after it, so that the
//! normalization of a Keras model (NHWC), or before a crop in the network, can be folded into the next
//! convolution. That of the inputs is moved to after a Reshape, too, as of several pictures to a batch.

use pilotage_graph::{Graph, Node, Op, ValueId};

use super::rewrite::{Readers, add_constant, add_value, floats, makers, repeat};
use crate::permute::{permute, pick};

pub(super) fn affine_after_movement(graph: &mut Graph) -> bool {
    repeat(graph, swap_one)
}

fn swap_one(graph: &mut Graph) -> Option<()> {
    let readers = Readers::of(graph);
    let makers = makers(graph);
    (0..graph.nodes.len()).find_map(|index| {
        let between = *graph.nodes[index].inputs.first()?;
        let before = makers[between.0]?;
        let moves = match graph.nodes[index].op {
            Op::Transpose { .. } | Op::Slice { .. } => true,
            // Elsewhere it is part of the layer before.
            Op::Reshape => is_of_input(graph, &makers, between),
            _ => false,
        };
        if !moves || readers.only(between) != Some(index) {
            return None;
        }
        swap(graph, before, index)
    })
}

/// Whether only arithmetic with constants and movements come between an input and a value.
fn is_of_input(graph: &Graph, makers: &[Option<usize>], mut value: ValueId) -> bool {
    while let Some(maker) = makers[value.0] {
        let node = &graph.nodes[maker];
        let mut read = (node.inputs.iter()).filter(|&&it| graph.value(it).constant.is_none());
        let passes = matches!(
            node.op,
            Op::Add
                | Op::Sub
                | Op::Mul
                | Op::Div
                | Op::Transpose { .. }
                | Op::Slice { .. }
                | Op::Reshape
        );
        match (read.next(), read.next()) {
            (Some(&only), None) if passes => value = only,
            _ => return false,
        }
    }
    graph.inputs.contains(&value)
}

/// A constant's shape and elements after the operator, if they are the same for all elements that
/// it selects. `full` is the constant's shape with all axes.
fn moved(
    op: &Op,
    full: &[usize],
    data: &[f32],
    [shape, to]: [&[usize]; 2],
) -> Option<(Vec<usize>, Vec<f32>)> {
    match op {
        // The axes from the first that the constant has are the last ones after the operator, too.
        Op::Reshape => {
            let first = full.iter().position(|&size| size != 1);
            let kept = full.len() - first.unwrap_or(full.len());
            let is_same = shape.ends_with(to.get(to.len().checked_sub(kept)?..)?);
            is_same.then(|| (full[full.len() - kept..].to_vec(), data.to_vec()))
        }
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
    let to = graph.value(movement.outputs[0]).shape.clone();
    let (c_shape, data) = moved(&movement.op, &full, floats(graph, c)?, [&shape, &to])?;
    let name = graph.value(c).name.clone();
    let constant = add_constant(graph, &name, &c_shape, data)?;
    let first = add_value(graph, x, to);

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
