//! Determines which nodes are needed, and sorts them topologically.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::GraphError;
use crate::onnx::{GraphProto, NodeProto, TensorProto};

/// The operators with subgraphs.
pub(crate) const WITH_SUBGRAPHS: [&str; 3] = ["If", "Loop", "Scan"];

pub(super) fn node_name(index: usize, node: &NodeProto) -> String {
    match node.name.is_empty() {
        true => format!("{}_{index}", node.op_type),
        false => node.name.clone(),
    }
}

/// Initializers by name, in the file's order.
pub(super) struct Initializers {
    tensors: Vec<Option<TensorProto>>,
    index: HashMap<String, usize>,
}

pub(super) fn initializers(tensors: Vec<TensorProto>) -> Result<Initializers, GraphError> {
    let mut index = HashMap::new();
    for (i, tensor) in tensors.iter().enumerate() {
        if tensor.name.is_empty() {
            return Err(GraphError::EmptyName {
                place: "an initializer",
            });
        }
        if index.insert(tensor.name.clone(), i).is_some() {
            return Err(GraphError::DuplicateName {
                name: tensor.name.clone(),
            });
        }
    }
    Ok(Initializers {
        tensors: tensors.into_iter().map(Some).collect(),
        index,
    })
}

impl Initializers {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(i) = self.index.remove(name) {
            self.tensors[i] = None;
        }
    }

    pub(super) fn remaining(self) -> impl Iterator<Item = (String, TensorProto)> {
        (self.tensors.into_iter().flatten()).map(|t| (t.name.clone(), t))
    }
}

/// The names of the values that a node and its subgraphs read.
pub(super) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = (node.input.iter().map(String::as_str))
        .filter(|name| !name.is_empty())
        .collect();
    for graph in node.attribute.iter().filter_map(|a| a.g.as_deref()) {
        captures(graph, &mut names);
    }
    names
}

/// Adds the names of the values that a subgraph reads from the graphs around it. The recursion is as
/// deep as `wire.rs` lets graphs nest.
fn captures<'g>(graph: &'g GraphProto, names: &mut Vec<&'g str>) {
    let own: HashSet<&str> = (graph.input.iter().map(|i| i.name.as_str()))
        .chain(graph.initializer.iter().map(|t| t.name.as_str()))
        .chain(
            graph
                .node
                .iter()
                .flat_map(|n| &n.output)
                .map(String::as_str),
        )
        .collect();
    for node in &graph.node {
        names.extend(reads(node).into_iter().filter(|name| !own.contains(name)));
    }
    let outputs = graph.output.iter().map(|o| o.name.as_str());
    names.extend(outputs.filter(|name| !own.contains(name)));
}

/// The nodes that the outputs need, in topological order.
pub(super) struct Plan {
    pub order: Vec<usize>,
    needed: HashSet<String>,
}

impl Plan {
    /// Whether an output or a needed node reads this value.
    pub(super) fn needs(&self, name: &str) -> bool {
        self.needed.contains(name)
    }
}

/// Plans the order of nodes. Keeps the file's order if it is topological. `outer` are the names of
/// the graphs around this one.
pub(super) fn plan(graph: &GraphProto, outer: impl Fn(&str) -> bool) -> Result<Plan, GraphError> {
    let mut producers: HashMap<&str, Option<usize>> = HashMap::new();
    let given =
        (graph.input.iter().map(|i| &i.name)).chain(graph.initializer.iter().map(|t| &t.name));
    for name in given {
        producers.insert(name, None);
    }
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if producers.insert(name, Some(i)).is_some() {
                return Err(GraphError::DuplicateName { name: name.clone() });
            }
        }
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut pending_inputs: Vec<usize> = vec![0; graph.node.len()];
    for (i, node) in graph.node.iter().enumerate() {
        for name in reads(node) {
            match producers.get(name) {
                Some(&Some(producer)) => {
                    readers[producer].push(i);
                    pending_inputs[i] += 1;
                }
                Some(None) => {}
                None if outer(name) => {}
                None => {
                    return Err(GraphError::UnknownValue {
                        reader: format!("node `{}`", node_name(i, node)),
                        name: name.to_owned(),
                    });
                }
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..pending_inputs.len())
        .filter(|&i| pending_inputs[i] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(pending_inputs.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &reader in &readers[i] {
            pending_inputs[reader] -= 1;
            if pending_inputs[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if let Some(i) = pending_inputs.iter().position(|&w| w > 0) {
        return Err(GraphError::Cycle {
            node: node_name(i, &graph.node[i]),
        });
    }

    let mut needed: HashSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let mut live = Vec::new();
    for &i in order.iter().rev() {
        let node = &graph.node[i];
        if node.output.iter().any(|name| needed.contains(name)) {
            live.push(i);
            needed.extend(reads(node).into_iter().map(str::to_owned));
        }
    }
    live.reverse();
    Ok(Plan {
        order: live,
        needed,
    })
}
