//! What can be computed now is, by the engine's own reference kernels.

use pilotage_graph::{Graph, Node, Tensor, TensorData, ValueId};

use crate::evaluate::evaluate;

/// Results that take more elements than this, all together, are left to the run,
/// so that a small file cannot become a large engine.
const MOST_ELEMENTS: usize = 1 << 26;

pub(super) fn fold(graph: &mut Graph) -> bool {
    let mut changed = false;
    let mut left = MOST_ELEMENTS;
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let known = |v: &ValueId| graph.value(*v).constant.is_some();
        if !node.inputs.iter().all(known) || node.outputs.iter().all(known) {
            continue;
        }
        let Some(results) = fold_node(graph, node, &mut left) else {
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
fn fold_node(graph: &Graph, node: &Node, left: &mut usize) -> Option<Vec<Tensor>> {
    for &output in &node.outputs {
        let shape = &graph.value(output).shape;
        let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        *left = left.checked_sub(elements)?;
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
