//! A graph into a smaller one that computes the same.
//!
//! Constants are folded, batch norm and normalisation go into the weights of
//! the layer before or after them, matrix products with constants take the one
//! form that engines know. Results change by rounding only: factors are joined
//! in f64 and rounded once per fold. (Activations are fused later, in the plan.)

mod affine;
mod constants;
mod identities;
mod linear;
mod rewrite;
mod transposes;

use pilotage_graph::Graph;

/// Rounds of all passes; each round is cheap and the last changes nothing, so
/// this only bounds what a hostile graph may cost.
const MOST_ROUNDS: usize = 100;

/// The same function with fewer nodes.
pub fn simplify(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph.prune();
    for _ in 0..MOST_ROUNDS {
        let passes = [
            identities::remove,
            constants::fold,
            linear::normalise,
            transposes::affine_after_transpose,
            affine::fold_into_weights,
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
