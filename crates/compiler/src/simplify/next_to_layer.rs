//! Moves scale and shift per channel and activations to directly after the layer whose outputs are moved
//! in between, as those of a transposed convolution are: there they are fused into the layer, and what is moved
//! can be integers.

use pilotage_graph::{Graph, Node, Op, SliceAxis, ValueId};

use super::affine::{Layer, affine_of};
use super::rewrite::{Readers, add_value, makers, repeat};
use crate::affine::Affine;
use crate::permute::permute;

/// The most elements of a layer's output whose channels are followed.
const MOST: usize = 1 << 24;

pub(super) fn activations_and_affine(graph: &mut Graph) -> bool {
    repeat(graph, move_one)
}

fn move_one(graph: &mut Graph) -> Option<()> {
    let (readers, makers) = (Readers::of(graph), makers(graph));
    (0..graph.nodes.len()).find_map(|index| {
        let node = &graph.nodes[index];
        let activates = is_activation(&node.op);
        let affine = match activates {
            true => None,
            false => Some(affine_of(graph, node)?),
        };
        let x = affine.as_ref().map_or(node.inputs[0], |(x, _)| *x);
        let (layer, movements) = chain(graph, &readers, &makers, (x, index))?;
        match affine {
            Some((_, affine)) => fold(graph, layer, &movements, (index, x), &affine),
            None => swap(graph, *movements.first()?, index),
        }
    })
}

fn is_activation(op: &Op) -> bool {
    matches!(
        op,
        Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::Clip { .. }
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::Tanh
            | Op::Softplus
            | Op::Softsign
    )
}

/// The layer whose output is moved to `x`, and the nodes that move it, the last first, of which there is
/// one at least. `None` if anything else reads a value between.
fn chain(
    graph: &Graph,
    readers: &Readers,
    makers: &[Option<usize>],
    (mut x, mut reader): (ValueId, usize),
) -> Option<(usize, Vec<usize>)> {
    let mut movements = Vec::new();
    loop {
        if readers.only(x) != Some(reader) {
            return None;
        }
        let maker = makers[x.0]?;
        let node = &graph.nodes[maker];
        match node.op {
            Op::Reshape
            | Op::Flatten { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. } => {
                movements.push(maker);
                (x, reader) = (*node.inputs.first()?, maker);
            }
            _ if movements.is_empty() => return None,
            _ => return Layer::of(graph, node).map(|_| (maker, movements)),
        }
    }
}

/// Exchanges a movement and the activation after it.
fn swap(graph: &mut Graph, movement: usize, activation: usize) -> Option<()> {
    let x = *graph.nodes[movement].inputs.first()?;
    let shape = graph.value(x).shape.clone();
    let activated = add_value(graph, x, shape);
    let (before, after) = (
        graph.nodes[movement].clone(),
        graph.nodes[activation].clone(),
    );
    graph.nodes[activation] = Node {
        inputs: vec![activated],
        outputs: after.outputs.clone(),
        ..before
    };
    graph.nodes[movement] = Node {
        inputs: vec![x],
        outputs: vec![activated],
        ..after
    };
    Some(())
}

/// Folds the scale and shift of node `index` on `x` into the layer, if each of its channels becomes
/// elements of one channel.
fn fold(
    graph: &mut Graph,
    layer: usize,
    movements: &[usize],
    (index, x): (usize, ValueId),
    affine: &Affine,
) -> Option<()> {
    let output = *graph.nodes[layer].outputs.first()?;
    let shape = graph.value(output).shape.clone();
    let becomes = channels_after(graph, movements, &shape, (x, affine.scale.len()))?;
    let each = |values: &[f64], unused: f64| -> Vec<f64> {
        let of = |to: &Option<usize>| to.map_or(unused, |channel| values[channel]);
        becomes.iter().map(of).collect()
    };
    let spread = Affine {
        scale: each(&affine.scale, 1.0),
        shift: each(&affine.shift, 0.0),
    };
    let mut folded = Layer::of(graph, &graph.nodes[layer])?;
    folded.then(&spread)?;
    let read = graph.nodes[layer].inputs[0];
    folded.store(graph, layer, read)?;
    let last = *movements.first()?;
    graph.nodes[last].outputs = graph.nodes[index].outputs.clone();
    graph.nodes.remove(index);
    Some(())
}

/// The channel of `x` that each channel of a layer's output becomes; `None` for one that is cut.
fn channels_after(
    graph: &Graph,
    movements: &[usize],
    shape: &[usize],
    (x, count): (ValueId, usize),
) -> Option<Vec<Option<usize>>> {
    let (elements, channels) = (shape.iter().product::<usize>(), *shape.get(1)?);
    if elements == 0 || elements > MOST {
        return None;
    }
    let pixels = shape[2..].iter().product::<usize>();
    let mut labels: Vec<usize> = (0..elements).map(|i| i / pixels % channels).collect();
    for &movement in movements.iter().rev() {
        let node = &graph.nodes[movement];
        let from = &graph.value(node.inputs[0]).shape;
        labels = match &node.op {
            Op::Transpose { perm } => permute(&labels, from, perm),
            Op::Slice { axes } => kept(&labels, from, axes),
            _ => labels,
        };
    }
    let after = &graph.value(x).shape;
    let pixels = after.get(2..)?.iter().product::<usize>();
    if after[1] != count || labels.len() != after.iter().product::<usize>() {
        return None;
    }
    let mut becomes = vec![None; channels];
    for (i, &label) in labels.iter().enumerate() {
        let channel = i / pixels % count;
        if *becomes[label].get_or_insert(channel) != channel {
            return None;
        }
    }
    Some(becomes)
}

/// The elements that a Slice keeps.
fn kept(data: &[usize], shape: &[usize], axes: &[SliceAxis]) -> Vec<usize> {
    let mut places = vec![0_isize];
    for (axis, &size) in axes.iter().zip(shape) {
        let along = |i: usize| axis.start as isize + axis.step * i as isize;
        places = (places.iter())
            .flat_map(|&place| (0..axis.length).map(move |i| place * size as isize + along(i)))
            .collect();
    }
    let at = |place: isize| usize::try_from(place).ok().and_then(|i| data.get(i));
    places
        .into_iter()
        .filter_map(|it| at(it).copied())
        .collect()
}
