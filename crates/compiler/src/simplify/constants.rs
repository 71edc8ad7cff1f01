//! Computes nodes with constant inputs, with the engine's reference kernels.

use pilotage_graph::{Graph, Node, Op, Tensor, TensorData, ValueId};

use crate::evaluate::evaluate;

/// The largest total number of elements of all results. Nodes beyond it are computed at run time,
/// so that a small model file cannot become a large engine file.
const MOST_ELEMENTS: usize = 1 << 26;

pub(super) fn fold(graph: &mut Graph) -> bool {
    fold_if(graph, |_| true)
}

/// Like [`fold`], but integers that are dequantized stay integers.
pub(super) fn fold_except_dequantization(graph: &mut Graph) -> bool {
    fold_if(graph, |op| !matches!(op, Op::DequantizeLinear { .. }))
}

fn fold_if(graph: &mut Graph, folds: impl Fn(&Op) -> bool) -> bool {
    let mut changed = false;
    let mut budget = MOST_ELEMENTS;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let known = |v: &ValueId| graph.value(*v).constant.is_some();
        if !folds(&node.op) || !node.inputs.iter().all(known) || node.outputs.iter().all(known) {
            continue;
        }
        let Some(results) = fold_node(graph, node, &mut budget) else {
            continue;
        };
        let outputs = node.outputs.clone();
        for (output, tensor) in outputs.into_iter().zip(results) {
            graph.values[output.0].constant = Some(tensor);
            changed = true;
        }
    }
    changed
}

/// Computes a node with constant inputs. `None` if the engine cannot compute it or the result is
/// not finite; the node then stays.
fn fold_node(graph: &Graph, node: &Node, budget: &mut usize) -> Option<Vec<Tensor>> {
    for &output in &node.outputs {
        let shape = &graph.value(output).shape;
        let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        *budget = budget.checked_sub(elements)?;
    }
    let mut values = Vec::new();
    let mut take = |list: &[ValueId]| -> Vec<ValueId> {
        let first = values.len();
        values.extend(list.iter().map(|&v| graph.value(v).clone()));
        (first..values.len()).map(ValueId).collect()
    };
    let (inputs, outputs) = (take(&node.inputs), take(&node.outputs));
    let alone = Graph {
        name: node.name.clone(),
        values,
        nodes: vec![Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs: outputs.clone(),
        }],
        inputs: Vec::new(),
        outputs,
    };
    let results = evaluate(&alone, &[]).ok()?;
    let finite = |tensor: &Tensor| match tensor.data() {
        TensorData::F32(data) => data.iter().all(|x| x.is_finite()),
        _ => true,
    };
    results.iter().all(finite).then_some(results)
}
