use std::collections::HashSet;

use crate::{Graph, GraphError, Node, Op, Tensor, TensorType, Value, ValueId};

/// Builds a [`Graph`] step by step. Output shapes are inferred from the operators.
///
/// ```
/// use pilotage_graph::{ElementType, Gemm, GraphBuilder, Op, Tensor, TensorType};
///
/// let mut b = GraphBuilder::new("halve");
/// let x = b.input("x", TensorType::new(ElementType::F32, [1, 2]))?;
/// let w = b.constant("w", Tensor::new([2, 1], vec![0.5f32, 0.5])?)?;
/// let y = b.node("mean", Op::MatMul, &[x, w])?;
/// let y = b.node("positive", Op::Relu, &[y])?;
/// b.output("y", y)?;
/// let graph = b.finish()?;
/// assert_eq!(graph.value(graph.outputs[0]).shape, [1, 1]);
/// let onnx = graph.write();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: Graph,
    names: HashSet<String>,
}

impl GraphBuilder {
    /// An empty graph with the given name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            graph: Graph {
                name: name.into(),
                ..Graph::default()
            },
            names: HashSet::new(),
        }
    }

    fn value(
        &mut self,
        name: String,
        of: TensorType,
        constant: Option<Tensor>,
    ) -> Result<ValueId, GraphError> {
        if name.is_empty() {
            return Err(GraphError::EmptyName { place: "a value" });
        }
        if !self.names.insert(name.clone()) {
            return Err(GraphError::DuplicateName { name });
        }
        self.graph.values.push(Value {
            name,
            element_type: of.element_type,
            shape: of.shape,
            constant,
        });
        Ok(ValueId(self.graph.values.len() - 1))
    }

    /// Element type and shape of an existing value.
    ///
    /// # Panics
    /// If the value belongs to another graph and is out of this graph's range.
    pub fn tensor_type(&self, value: ValueId) -> TensorType {
        self.graph.value(value).tensor_type()
    }

    /// Adds an input. Its first axis is usually the batch, with size 1.
    ///
    /// # Errors
    /// If the name is empty or taken.
    pub fn input(
        &mut self,
        name: impl Into<String>,
        of: TensorType,
    ) -> Result<ValueId, GraphError> {
        let id = self.value(name.into(), of, None)?;
        self.graph.inputs.push(id);
        Ok(id)
    }

    /// Adds a constant, such as weights.
    ///
    /// # Errors
    /// If the name is empty or taken.
    pub fn constant(
        &mut self,
        name: impl Into<String>,
        tensor: Tensor,
    ) -> Result<ValueId, GraphError> {
        self.value(name.into(), tensor.tensor_type(), Some(tensor))
    }

    /// Adds a node with one output. The output has the node's name. Reshape and Split need
    /// [`node_with_shapes`](Self::node_with_shapes) or [`reshape`](Self::reshape).
    ///
    /// # Errors
    /// If the operator does not support these inputs or the name is taken.
    pub fn node(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        Ok(self.add(name.into(), op, inputs, &[])?[0])
    }

    /// Adds a Reshape node.
    ///
    /// # Errors
    /// If the shape has a different number of elements or the name is taken.
    pub fn reshape(
        &mut self,
        name: impl Into<String>,
        x: ValueId,
        shape: &[usize],
    ) -> Result<ValueId, GraphError> {
        Ok(self.add(name.into(), Op::Reshape, &[x], &[shape.to_vec()])?[0])
    }

    /// Adds a node with the given output shapes (see [`Op::output_types`]). If there are several
    /// outputs, their names are `name_0`, `name_1`, ...
    ///
    /// # Errors
    /// If the operator does not support these inputs or a name is taken.
    pub fn node_with_shapes(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
        shapes: &[Vec<usize>],
    ) -> Result<Vec<ValueId>, GraphError> {
        self.add(name.into(), op, inputs, shapes)
    }

    fn add(
        &mut self,
        name: String,
        op: Op,
        inputs: &[ValueId],
        shapes: &[Vec<usize>],
    ) -> Result<Vec<ValueId>, GraphError> {
        if inputs.iter().any(|v| v.0 >= self.graph.values.len()) {
            return Err(GraphError::Unsound {
                problem: "a node reads a value of another graph",
                name,
            });
        }
        let node = Node {
            name: name.clone(),
            op,
            inputs: inputs.to_vec(),
            outputs: Vec::new(),
        };
        let types = (node.op)
            .output_types(&self.graph.input_types(&node), shapes)
            .map_err(|reason| GraphError::InNode {
                node: name.clone(),
                operator: node.op.name().to_owned(),
                reason,
            })?;
        let single = types.len() == 1;
        let outputs = (types.into_iter().enumerate())
            .map(|(i, of)| {
                let name = match single {
                    true => name.clone(),
                    false => format!("{name}_{i}"),
                };
                self.value(name, of, None)
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.graph.nodes.push(Node {
            outputs: outputs.clone(),
            ..node
        });
        Ok(outputs)
    }

    /// Makes a value an output of the graph, with the given name. The output of a node is
    /// renamed. An input, a constant, or a value that already is an output gets an Identity node.
    ///
    /// # Errors
    /// If the name is empty or taken by another value.
    pub fn output(&mut self, name: impl Into<String>, value: ValueId) -> Result<(), GraphError> {
        let name = name.into();
        let made = (self.graph.nodes.iter()).any(|n| n.outputs.contains(&value));
        if !made || self.graph.outputs.contains(&value) {
            let id = self.node(name, Op::Identity, &[value])?;
            self.graph.outputs.push(id);
            return Ok(());
        }
        let old = &mut self.graph.values[value.0].name;
        if *old != name {
            if name.is_empty() {
                return Err(GraphError::EmptyName { place: "an output" });
            }
            if !self.names.insert(name.clone()) {
                return Err(GraphError::DuplicateName { name });
            }
            self.names.remove(old);
            *old = name;
        }
        self.graph.outputs.push(value);
        Ok(())
    }

    /// The graph, without nodes and constants that no output needs.
    ///
    /// # Errors
    /// If the graph has no outputs.
    pub fn finish(mut self) -> Result<Graph, GraphError> {
        if self.graph.outputs.is_empty() {
            return Err(GraphError::NoOutputs);
        }
        self.graph.prune();
        self.graph.check()?;
        Ok(self.graph)
    }
}
