//! What can be computed now is, by the engine's own reference kernels.

use pilotage_graph::{Graph, Node, Tensor, TensorData, ValueId};

use crate::evaluate::evaluate;

/// Larger results are left to the run, so that a small file cannot become a
/// large engine.
const MOST_ELEMENTS: usize = 1 << 24;

pub(super) fn fold(graph: &mut Graph) -> bool {
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let known = |v: &ValueId| graph.value(*v).constant.is_some();
        if !node.inputs.iter().all(known) || node.outputs.iter().all(known) {
            continue;
        }
        let Some(results) = fold_node(graph, node) else {
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

/// What a node makes of constants; none where the engine cannot tell, or the
/// result is not finite: then the node stays.
fn fold_node(graph: &Graph, node: &Node) -> Option<Vec<Tensor>> {
    let sizes = node.outputs.iter().map(|&v| &graph.value(v).shape);
    for shape in sizes {
        let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        if elements > MOST_ELEMENTS {
            return None;
        }
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
