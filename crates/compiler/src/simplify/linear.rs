//! Converts products with constant matrices to the canonical form: x * B' + C, where C is one
//! row.

use pilotage_graph::{ElementType, Gemm, Graph, Op};

use super::rewrite::{add_constant, floats};
use crate::permute::permute;

/// The form that the other passes and every engine support: B has shape (N, K), C has shape (N).
pub(super) const CANONICAL: Gemm = Gemm {
    alpha: 1.0,
    beta: 1.0,
    transpose_a: false,
    transpose_b: true,
};

pub(super) fn normalize(graph: &mut Graph) -> bool {
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        changed |= normalize_node(graph, index).is_some();
    }
    changed
}

fn normalize_node(graph: &mut Graph, index: usize) -> Option<()> {
    let node = &graph.nodes[index];
    let gemm = match &node.op {
        Op::MatMul => Gemm {
            transpose_b: false,
            ..CANONICAL
        },
        Op::Gemm(gemm) => gemm.clone(),
        _ => return None,
    };
    let (x, b) = (*node.inputs.first()?, *node.inputs.get(1)?);
    let output = graph.value(*node.outputs.first()?).shape.clone();
    let two_axes = graph.value(x).shape.len() == 2 && graph.value(b).shape.len() == 2;
    if !two_axes || gemm.transpose_a || graph.value(x).element_type != ElementType::F32 {
        return None;
    }
    let (rows, columns) = (output[0], output[1]);
    let c = node.inputs.get(2).copied();
    let row = match c {
        Some(c) if gemm.beta != 0.0 => {
            let data = floats(graph, c)?;
            let shape = &graph.value(c).shape;
            let one_row = rows == 1 || shape.len() < 2 || shape[0] == 1;
            let row: Vec<f32> = match data.len() {
                1 => vec![data[0] * gemm.beta; columns],
                n if n == columns && one_row => data.iter().map(|c| c * gemm.beta).collect(),
                _ => return None,
            };
            Some((c, row))
        }
        _ => None,
    };
    let weights = floats(graph, b)?;
    let c_is_row = c.is_none_or(|c| graph.value(c).shape == [columns]);
    if gemm == CANONICAL && c_is_row && node.op != Op::MatMul {
        return None;
    }
    let mut weights = match gemm.transpose_b {
        true => weights.to_vec(),
        false => permute(weights, &graph.value(b).shape, &[1, 0]),
    };
    weights.iter_mut().for_each(|w| *w *= gemm.alpha);
    let depth = graph.value(x).shape[1];

    let mut inputs = vec![x];
    let name = graph.value(b).name.clone();
    inputs.push(add_constant(graph, &name, &[columns, depth], weights)?);
    if let Some((c, row)) = row {
        let name = graph.value(c).name.clone();
        inputs.push(add_constant(graph, &name, &[columns], row)?);
    }
    let node = &mut graph.nodes[index];
    node.op = Op::Gemm(CANONICAL);
    node.inputs = inputs;
    Some(())
}
