//! Simplifies a graph without changing its function.
//!
//! Constants are folded. Batch norm and normalization are folded into the weights of the layer
//! before or after them. Matrix products with constants are converted to the canonical form.
//! Results change only by rounding: factors are combined in f64 and rounded once per fold.
//! (Activations are fused later, in the plan.)

mod affine;
mod constants;
mod identities;
mod linear;
mod movement;
mod next_to_layer;
mod padding;
mod rewrite;

use pilotage_graph::Graph;

pub(crate) use padding::pad_with_pixels;

/// The largest number of rounds over all passes. Each round is cheap and the last round changes
/// nothing, so this only bounds the cost of a malicious graph.
const MOST_ROUNDS: usize = 100;

/// The same function with fewer nodes.
pub fn simplify(graph: &Graph) -> Graph {
    simplify_with(graph, constants::fold)
}

/// Like [`simplify`], for a graph that has been quantized: weights stay integers that a
/// DequantizeLinear reads.
pub(crate) fn simplify_quantized(graph: &Graph) -> Graph {
    simplify_with(graph, constants::fold_except_dequantization)
}

fn simplify_with(graph: &Graph, fold_constants: fn(&mut Graph) -> bool) -> Graph {
    let mut graph = graph.clone();
    graph.prune();
    for _ in 0..MOST_ROUNDS {
        let passes = [
            identities::remove,
            fold_constants,
            linear::normalize,
            movement::affine_after_movement,
            affine::fold_into_weights,
            next_to_layer::activations_and_affine,
            affine::merge,
        ];
        let mut changed = false;
        for pass in passes {
            if pass(&mut graph) {
                changed = true;
                graph.prune();
            }
        }
        if !changed {
            break;
        }
    }
    graph
}

#[cfg(test)]
mod tests;
