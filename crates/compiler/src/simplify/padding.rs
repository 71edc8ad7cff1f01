//! Folds the normalization of a picture into a first layer that pads with zeros.

use pilotage_graph::{Graph, Node, Op, Pad, PadMode, ValueId};

use super::affine::{Layer, affine_of};
use super::rewrite::{Readers, add_value, makers, repeat};
use crate::affine::Affine;

/// How far the value that becomes 0 may be from a pixel's: for values from -1 to 1 it is between the pixels 127
/// and 128.
const NEAR: f64 = 0.5 + 1e-3;

/// Pads the picture itself, where its normalization is followed by a convolution with padding and one
/// pixel value from -128 to 127 becomes 0 in all channels, or differs from what does by half at most: less than
/// the rounding to 7 bits would change every pixel. Then the normalization can be folded
/// into the layer, which reads all 8 bits of a pixel; as a separate step, values from 0 to 1 are
/// quantized to 7 bits.
///
/// `picture` is the input whose values are pixels minus 128.
pub(crate) fn pad_with_pixels(graph: &mut Graph, picture: ValueId) {
    if repeat(graph, |graph| pad_one(graph, picture)) {
        graph.prune();
    }
}

fn pad_one(graph: &mut Graph, picture: ValueId) -> Option<()> {
    let (readers, makers) = (Readers::of(graph), makers(graph));
    for index in 0..graph.nodes.len() {
        let Some((x, affine)) = affine_of(graph, &graph.nodes[index]) else {
            continue;
        };
        let Some(layer) = readers.only(graph.nodes[index].outputs[0]) else {
            continue;
        };
        let Op::Conv(conv) = &graph.nodes[layer].op else {
            continue;
        };
        if conv.pads == [0; 4]
            || graph.nodes[layer].inputs[0] != graph.nodes[index].outputs[0]
            || !is_picture(graph, &makers, x, picture)
        {
            continue;
        }
        if let Some(pixel) = zero(&affine) {
            return into_layer(graph, index, layer, x, &affine, pixel);
        }
    }
    None
}

/// Whether `x` is the picture, or the picture with its axes in another order.
fn is_picture(graph: &Graph, makers: &[Option<usize>], x: ValueId, picture: ValueId) -> bool {
    let before = |node: &Node| match node.op {
        Op::Transpose { .. } => is_picture(graph, makers, node.inputs[0], picture),
        _ => false,
    };
    x == picture || makers[x.0].is_some_and(|node| before(&graph.nodes[node]))
}

/// The pixel that becomes 0 in all channels.
fn zero(affine: &Affine) -> Option<f64> {
    let pairs = affine.scale.iter().zip(&affine.shift);
    let mut zeros = pairs.map(|(scale, shift)| -shift / scale);
    let pixel = zeros.clone().next()?.round();
    let near = |zero: f64| (zero - pixel).abs() < NEAR;
    ((-128.0..=127.0).contains(&pixel) && zeros.all(near)).then_some(pixel)
}

#[allow(clippy::cast_possible_truncation, reason = "a pixel")]
fn into_layer(
    graph: &mut Graph,
    index: usize,
    layer: usize,
    x: ValueId,
    affine: &Affine,
    pixel: f64,
) -> Option<()> {
    let mut padded = graph.value(x).shape.clone();
    let mut node = graph.nodes[layer].clone();
    let (Op::Conv(conv), [_, _, rows, columns]) = (&mut node.op, &mut padded[..]) else {
        return None;
    };
    let [top, left, bottom, right] = std::mem::take(&mut conv.pads);
    *rows += top + bottom;
    *columns += left + right;
    let mut folded = Layer::of(graph, &node)?;
    folded.after(affine)?;
    let signed = |width: usize| isize::try_from(width).ok();
    let pad = Pad {
        before: vec![0, 0, signed(top)?, signed(left)?],
        after: vec![0, 0, signed(bottom)?, signed(right)?],
        mode: PadMode::Constant(pixel as f32),
    };
    let value = add_value(graph, x, padded);
    graph.nodes[layer].op = node.op;
    folded.store(graph, layer, value)?;
    let name = format!("{} padding", graph.nodes[layer].name);
    graph.nodes[index] = Node {
        name,
        op: Op::Pad(pad),
        inputs: vec![x],
        outputs: vec![value],
    };
    Some(())
}
