//! Which nodes are needed, and in which order they can run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::GraphError;
use crate::onnx::{GraphProto, NodeProto, TensorProto};

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

/// The nodes that the outputs need, each after those that it reads from.
pub(super) struct Plan {
    pub order: Vec<usize>,
    needed: HashSet<String>,
}

impl Plan {
    /// Whether an output or a node in the order reads this value.
    pub(super) fn needs(&self, name: &str) -> bool {
        self.needed.contains(name)
    }
}

/// Keeps the file's order where it is one in which the nodes can run.
pub(super) fn plan(graph: &GraphProto) -> Result<Plan, GraphError> {
    let mut makers: HashMap<&str, Option<usize>> = HashMap::new();
    let given =
        (graph.input.iter().map(|i| &i.name)).chain(graph.initializer.iter().map(|t| &t.name));
    for name in given {
        makers.insert(name, None);
    }
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, Some(i)).is_some() {
                return Err(GraphError::DuplicateName { name: name.clone() });
            }
        }
    }
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut waits: Vec<usize> = vec![0; graph.node.len()];
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            match makers.get(name.as_str()) {
                Some(&Some(maker)) => {
                    readers[maker].push(i);
                    waits[i] += 1;
                }
                Some(None) => {}
                None => {
                    return Err(GraphError::UnknownValue {
                        reader: format!("node `{}`", node_name(i, node)),
                        name: name.clone(),
                    });
                }
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..waits.len())
        .filter(|&i| waits[i] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &reader in &readers[i] {
            waits[reader] -= 1;
            if waits[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if let Some(i) = waits.iter().position(|&w| w > 0) {
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
            needed.extend(node.input.iter().cloned());
        }
    }
    live.reverse();
    Ok(Plan {
        order: live,
        needed,
    })
}
