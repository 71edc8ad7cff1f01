use std::collections::HashSet;

use crate::{ElementType, GraphError, Op, Tensor, TensorType};

/// The index of a value in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// The index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// An input, a constant, or the output of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// ONNX's name; unique in the graph.
    pub name: String,
    /// Type of each element.
    pub element_type: ElementType,
    /// Always fully known. A batch axis that ONNX leaves open is 1.
    pub shape: Vec<usize>,
    /// The elements of a constant.
    pub constant: Option<Tensor>,
}

impl Value {
    /// Element type and shape.
    pub fn tensor_type(&self) -> TensorType {
        TensorType::new(self.element_type, self.shape.clone())
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// ONNX's name, or `operator_index` if the node has none. Used in messages.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// The values that the node reads.
    pub inputs: Vec<ValueId>,
    /// The values that the node computes.
    pub outputs: Vec<ValueId>,
}

/// A network: values, and nodes in topological order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// ONNX's name of the graph.
    pub name: String,
    /// All values.
    pub values: Vec<Value>,
    /// The nodes, in an order in which each value is computed before it is used.
    pub nodes: Vec<Node>,
    /// The graph's inputs, without constants.
    pub inputs: Vec<ValueId>,
    /// The graph's outputs. An output may also be an input or a constant.
    pub outputs: Vec<ValueId>,
}

impl Graph {
    /// The value with the given id.
    ///
    /// # Panics
    /// If the id belongs to another graph and is out of this graph's range.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The node with the given id.
    ///
    /// # Panics
    /// If the id belongs to another graph and is out of this graph's range.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The types of a node's inputs.
    pub fn input_types(&self, node: &Node) -> Vec<TensorType> {
        let inputs = node.inputs.iter();
        inputs.map(|&v| self.value(v).tensor_type()).collect()
    }

    /// `name`, or a longer name if a value has it already.
    pub fn unused_name(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.values.iter().any(|value| value.name == name) {
            name.push('\'');
        }
        name
    }

    /// Adds a value with an [unused name](Self::unused_name).
    ///
    /// ```
    /// use pilotage_graph::{ElementType, Graph, TensorType};
    ///
    /// let mut graph = Graph::default();
    /// for expected in ["x", "x'"] {
    ///     let x = graph.add_value("x", TensorType::new(ElementType::F32, [2]), None);
    ///     assert_eq!(graph.value(x).name, expected);
    /// }
    /// ```
    pub fn add_value(
        &mut self,
        name: &str,
        tensor_type: TensorType,
        constant: Option<Tensor>,
    ) -> ValueId {
        self.values.push(Value {
            name: self.unused_name(name),
            element_type: tensor_type.element_type,
            shape: tensor_type.shape,
            constant,
        });
        ValueId(self.values.len() - 1)
    }

    /// Removes everything that no output needs. Sorts the values: inputs, constants, then node
    /// outputs in node order. Ids change. The graph's inputs stay, even if they are not needed.
    pub fn prune(&mut self) {
        let mut needed = vec![false; self.values.len()];
        for v in self.inputs.iter().chain(&self.outputs) {
            needed[v.0] = true;
        }
        let mut kept = vec![false; self.nodes.len()];
        for (node, keep) in self.nodes.iter().zip(&mut kept).rev() {
            let makes = |v: &ValueId| needed[v.0] && self.values[v.0].constant.is_none();
            if node.outputs.iter().any(makes) {
                *keep = true;
                for v in node.inputs.iter().chain(&node.outputs) {
                    needed[v.0] = true;
                }
            }
        }
        let mut keep = kept.into_iter();
        self.nodes.retain(|_| keep.next().unwrap_or(false));

        let constants = (0..self.values.len())
            .map(ValueId)
            .filter(|v| needed[v.0] && self.value(*v).constant.is_some());
        let order: Vec<ValueId> = (self.inputs.iter().copied())
            .chain(constants)
            .chain(self.nodes.iter().flat_map(|n| n.outputs.iter().copied()))
            .collect();
        let mut place = vec![None; self.values.len()];
        let mut old: Vec<Option<Value>> = self.values.drain(..).map(Some).collect();
        for v in order {
            if let Some(value) = old[v.0].take() {
                place[v.0] = Some(ValueId(self.values.len()));
                self.values.push(value);
            }
        }
        let lists = (self.nodes.iter_mut())
            .flat_map(|n| [&mut n.inputs, &mut n.outputs])
            .chain([&mut self.inputs, &mut self.outputs]);
        for list in lists {
            for v in list {
                if let Some(new) = place[v.0] {
                    *v = new;
                }
            }
        }
    }

    /// Checks every rule that the fields' documentation states: ids are in range, names are
    /// unique, each value is computed once and before it is used, and the types are those
    /// inferred from the operators.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), GraphError> {
        let unsound = |problem, name: &str| GraphError::Unsound {
            problem,
            name: name.to_owned(),
        };
        let mut names = HashSet::new();
        let mut made = vec![false; self.values.len()];
        for (value, made) in self.values.iter().zip(&mut made) {
            if value.name.is_empty() {
                return Err(GraphError::EmptyName { place: "a value" });
            }
            if !names.insert(value.name.as_str()) {
                return Err(GraphError::DuplicateName {
                    name: value.name.clone(),
                });
            }
            if let Some(tensor) = &value.constant {
                *made = true;
                if tensor.tensor_type() != value.tensor_type() {
                    return Err(unsound(
                        "a constant is of another type than its value",
                        &value.name,
                    ));
                }
            }
        }
        let in_range = |v: &ValueId| v.0 < self.values.len();
        for v in self.inputs.iter().chain(&self.outputs) {
            if !in_range(v) {
                return Err(unsound("an input or output is out of range", &self.name));
            }
        }
        for v in &self.inputs {
            if std::mem::replace(&mut made[v.0], true) {
                return Err(unsound(
                    "an input is listed twice or constant",
                    &self.value(*v).name,
                ));
            }
        }
        for node in &self.nodes {
            if !node.inputs.iter().chain(&node.outputs).all(in_range) {
                return Err(unsound("a node's value is out of range", &node.name));
            }
            if !node.inputs.iter().all(|v| made[v.0]) {
                return Err(unsound(
                    "a node reads a value that is not computed yet",
                    &node.name,
                ));
            }
            for v in &node.outputs {
                if std::mem::replace(&mut made[v.0], true) {
                    return Err(unsound("a value is computed twice", &self.value(*v).name));
                }
            }
            let in_node = |reason| GraphError::InNode {
                node: node.name.clone(),
                operator: node.op.name().to_owned(),
                reason,
            };
            let declared: Vec<Vec<usize>> = (node.outputs.iter())
                .map(|&v| self.value(v).shape.clone())
                .collect();
            let types = (node.op)
                .output_types(&self.input_types(node), &declared)
                .map_err(in_node)?;
            for (v, t) in node.outputs.iter().zip(&types) {
                if self.value(*v).element_type != t.element_type {
                    return Err(unsound(
                        "a value has another type than its node's output",
                        &node.name,
                    ));
                }
            }
        }
        match self.outputs.iter().find(|v| !made[v.0]) {
            Some(v) => Err(unsound("an output is not computed", &self.value(*v).name)),
            None => Ok(()),
        }
    }
}
