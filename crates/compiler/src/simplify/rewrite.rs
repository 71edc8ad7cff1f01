//! Helpers for changing a graph in place.

use pilotage_graph::{Graph, Tensor, Value, ValueId};

/// The nodes that read each value. Outdated as soon as the graph changes.
pub(super) struct Readers {
    nodes: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl Readers {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut nodes = vec![Vec::new(); graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for input in &node.inputs {
                nodes[input.0].push(index);
            }
        }
        let mut is_output = vec![false; graph.values.len()];
        for output in &graph.outputs {
            is_output[output.0] = true;
        }
        Self { nodes, is_output }
    }

    /// The only node that reads this value, if it reads the value once and the value is not an
    /// output.
    pub(super) fn only(&self, value: ValueId) -> Option<usize> {
        match self.nodes[value.0][..] {
            [node] if !self.is_output[value.0] => Some(node),
            _ => None,
        }
    }
}

/// The node that computes each value.
pub(super) fn makers(graph: &Graph) -> Vec<Option<usize>> {
    let mut makers = vec![None; graph.values.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for output in &node.outputs {
            makers[output.0] = Some(index);
        }
    }
    makers
}

/// Repeats a change until there is nothing left to change. Returns whether anything changed.
pub(super) fn repeat(graph: &mut Graph, mut change: impl FnMut(&mut Graph) -> Option<()>) -> bool {
    let mut changed = false;
    while change(graph).is_some() {
        changed = true;
    }
    changed
}

/// The elements of a float constant.
pub(super) fn floats(graph: &Graph, value: ValueId) -> Option<&[f32]> {
    graph.value(value).constant.as_ref()?.as_f32()
}

/// Adds a float constant with a unique name that begins with `name`. `None` if an element is
/// infinite or NaN, because engines accept neither.
pub(super) fn add_constant(
    graph: &mut Graph,
    name: &str,
    shape: &[usize],
    data: Vec<f32>,
) -> Option<ValueId> {
    if !data.iter().all(|x| x.is_finite()) {
        return None;
    }
    let tensor = Tensor::new(shape, data).ok()?;
    let value = Value {
        name: free_name(graph, name),
        element_type: tensor.element_type(),
        shape: shape.to_vec(),
        constant: Some(tensor),
    };
    graph.values.push(value);
    Some(ValueId(graph.values.len() - 1))
}

/// Adds a value with `like`'s type, for the output of a node.
pub(super) fn add_value(graph: &mut Graph, like: ValueId, shape: Vec<usize>) -> ValueId {
    let like = graph.value(like);
    let value = Value {
        name: free_name(graph, &like.name),
        element_type: like.element_type,
        shape,
        constant: None,
    };
    graph.values.push(value);
    ValueId(graph.values.len() - 1)
}

fn free_name(graph: &Graph, name: &str) -> String {
    let base = name.split(".folded").next().unwrap_or(name);
    let taken = |name: &String| graph.values.iter().any(|v| v.name == *name);
    let mut names = (graph.values.len()..).map(|n| format!("{base}.folded{n}"));
    names.find(|name| !taken(name)).unwrap_or_default()
}

/// Replaces all uses of `old` by `new`. An output keeps its name, so an output is replaced only
/// if `new` is computed by a node, and is neither a constant nor an output itself. Returns
/// whether anything changed.
pub(super) fn replace(graph: &mut Graph, old: ValueId, new: ValueId) -> bool {
    let mut changed = false;
    for input in graph.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        if *input == old {
            *input = new;
            changed = true;
        }
    }
    let made = graph.nodes.iter().any(|node| node.outputs.contains(&new));
    let known = graph.value(new).constant.is_some();
    if made && !known && graph.outputs.contains(&old) && !graph.outputs.contains(&new) {
        let name = std::mem::take(&mut graph.values[old.0].name);
        graph.values[old.0].name = std::mem::replace(&mut graph.values[new.0].name, name);
        for output in &mut graph.outputs {
            if *output == old {
                *output = new;
            }
        }
        changed = true;
    }
    changed
}
