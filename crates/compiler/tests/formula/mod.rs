//! The layers of networks whose answers are a formula.

use pilotage_graph::{Gemm, GraphBuilder, Op, Tensor, ValueId};

/// A fully connected layer of two units without a bias. `weights` are those of the first unit, then
/// those of the second.
pub fn layer(b: &mut GraphBuilder, name: &str, x: ValueId, weights: Vec<f32>) -> ValueId {
    let inputs = weights.len() / 2;
    let weights = Tensor::new([2, inputs], weights).unwrap();
    let weights = b.constant(format!("{name}.weight"), weights).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    b.node(name, Op::Gemm(gemm), &[x, weights]).unwrap()
}
