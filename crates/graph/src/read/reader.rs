//! Builds a [`Graph`] from a decoded model, node by node.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::attributes::Attributes;
use super::limits::{MAX_RANK, ReadOptions, Unrolled, limit};
use super::operators::{self, Reading, Site};
use super::refusals::Refusals;
use super::scopes::Names;
use super::{composite, constants, order, tensors, types};
use crate::fold::{bounded, fold, foldable};
use crate::onnx::{GraphProto, NodeProto, TensorProto};
use crate::{DataFiles, Graph, GraphError, Node, Op, OpError, Tensor, TensorType, Value, ValueId};

/// How often the most elements of all constants may be read to fold nodes.
const FOLDED: usize = 16;

/// A graph under construction.
pub(super) struct Reader<'a> {
    pub(super) options: &'a ReadOptions,
    /// Files with the data of tensors, if any may be read.
    pub(super) files: Option<&'a mut DataFiles>,
    opsets: BTreeMap<String, i64>,
    opset: i64,
    pub(super) graph: Graph,
    pub(super) names: Names,
    /// Elements of all constants, and indices of all Gather nodes.
    constant_elements: usize,
    /// Elements of the inputs of all folded nodes.
    folded_elements: usize,
    pub(super) unrolled: Unrolled,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        options: &'a ReadOptions,
        files: Option<&'a mut DataFiles>,
        opsets: BTreeMap<String, i64>,
        opset: i64,
    ) -> Self {
        Self {
            options,
            files,
            opsets,
            opset,
            graph: Graph::default(),
            names: Names::default(),
            constant_elements: 0,
            folded_elements: 0,
            unrolled: Unrolled::default(),
        }
    }

    /// The graph with the model's inputs, the nodes that its outputs need, and its outputs.
    pub(super) fn read(mut self, proto: GraphProto) -> Result<Graph, GraphError> {
        if !proto.sparse_initializer.is_empty() {
            return Err(GraphError::UnsupportedFeature {
                name: proto.name,
                feature: "has sparse initializers",
            });
        }
        if proto.output.is_empty() {
            return Err(GraphError::NoOutputs);
        }
        self.graph.name.clone_from(&proto.name);
        let plan = order::plan(&proto, |_| false)?;
        let mut initializers = order::initializers(proto.initializer)?;
        self.inputs(&proto.input, &mut initializers)?;
        for (name, tensor) in initializers.remaining() {
            if plan.needs(&name) {
                let tensor = self.tensor(&name, tensor)?;
                self.constant(name, tensor)?;
            } else if self.files.is_none() {
                tensors::refuse_external(&name, &tensor)?;
            }
        }
        let mut nodes: Vec<Option<NodeProto>> = proto.node.into_iter().map(Some).collect();
        let order = plan.order.into_iter();
        self.nodes(order.filter_map(|i| Some((i, Cow::Owned(nodes[i].take()?)))))?;
        let mut listed = HashSet::new();
        for output in &proto.output {
            let id = self.lookup("the list of outputs", &output.name)?;
            if !listed.insert(id) {
                return Err(GraphError::DuplicateName {
                    name: output.name.clone(),
                });
            }
            types::check_output(output, self.graph.value(id))?;
            self.graph.outputs.push(id);
        }
        self.graph.prune();
        Ok(self.graph)
    }

    /// Reads nodes in this order, each with its place in the file. The error names all that are not
    /// supported.
    pub(super) fn nodes<'n>(
        &mut self,
        nodes: impl Iterator<Item = (usize, Cow<'n, NodeProto>)>,
    ) -> Result<(), GraphError> {
        let mut refusals = Refusals::default();
        for (i, node) in nodes {
            if self.names.depth() > 0 {
                self.count_subgraph_node(i, &node)?;
            }
            let outputs = node.output.clone();
            if refusals.affect(&node) {
                refusals.unread(outputs);
                if let Err(error) = self.supported(i, &node) {
                    refusals.add(error)?;
                }
                continue;
            }
            let read = match order::WITH_SUBGRAPHS.contains(&node.op_type.as_str()) {
                true => (self.supported(i, &node)).and_then(|()| self.control(i, &node)),
                false => self.node(i, node.into_owned()),
            };
            if let Err(error) = read {
                refusals.add(error)?;
                refusals.unread(outputs);
            }
        }
        refusals.finish()
    }

    /// Adds the inputs. Inputs that are bound or have an initializer become constants. Before IR
    /// version 4, all initializers were also inputs.
    fn inputs(
        &mut self,
        inputs: &[crate::onnx::ValueInfoProto],
        initializers: &mut order::Initializers,
    ) -> Result<(), GraphError> {
        for name in self.options.bind.keys() {
            if !inputs.iter().any(|i| i.name == *name) {
                return Err(GraphError::WrongBinding {
                    name: name.clone(),
                    problem: "the model has no such input",
                });
            }
        }
        for input in inputs {
            if let Some(tensor) = self.options.bind.get(&input.name) {
                initializers.remove(&input.name);
                types::check_binding(input, tensor)?;
                self.constant(input.name.clone(), tensor.clone())?;
            } else if !initializers.contains(&input.name) {
                let of = types::input_type(input)?;
                let id = self.value(input.name.clone(), of, None)?;
                self.graph.inputs.push(id);
            }
        }
        Ok(())
    }

    pub(super) fn value(
        &mut self,
        name: String,
        of: TensorType,
        constant: Option<Tensor>,
    ) -> Result<ValueId, GraphError> {
        if name.is_empty() {
            return Err(GraphError::EmptyName { place: "a value" });
        }
        limit(&format!("the rank of `{name}`"), of.shape.len(), MAX_RANK)?;
        let elements = crate::tensor::element_count(&of.shape).unwrap_or(usize::MAX);
        let widest = of.shape.iter().copied().max().unwrap_or(0);
        let max = self.options.max_elements;
        limit(&format!("the value `{name}`"), elements.max(widest), max)?;
        if constant.is_some() {
            self.count_constants(elements)?;
        }
        let id = ValueId(self.graph.values.len());
        let name = self.names.add(name, id)?;
        self.graph.values.push(Value {
            name,
            element_type: of.element_type,
            shape: of.shape,
            constant,
        });
        Ok(id)
    }

    fn count_constants(&mut self, elements: usize) -> Result<(), GraphError> {
        self.constant_elements = self.constant_elements.saturating_add(elements);
        let max = self.options.max_elements;
        limit("the sum of all constants", self.constant_elements, max)
    }

    /// Counts the elements that folding a node reads.
    fn count_folded(&mut self, inputs: &[ValueId]) -> Result<(), GraphError> {
        for &input in inputs {
            let elements = self.graph.value(input).shape.iter().product();
            self.folded_elements = self.folded_elements.saturating_add(elements);
        }
        let max = self.options.max_elements.saturating_mul(FOLDED);
        limit(
            "the sum of what constants are computed from",
            self.folded_elements,
            max,
        )
    }

    pub(super) fn constant(&mut self, name: String, tensor: Tensor) -> Result<ValueId, GraphError> {
        let tensor = match tensors::is_mask(&tensor) {
            true => bounded(tensor),
            false => tensor,
        };
        tensors::check_finite(&name, &tensor)?;
        self.value(name, tensor.tensor_type(), Some(tensor))
    }

    pub(super) fn tensor(
        &mut self,
        name: &str,
        mut tensor: TensorProto,
    ) -> Result<Tensor, GraphError> {
        let files = self.files.as_deref_mut();
        tensors::load(name, &mut tensor, files, self.options.max_elements)?;
        tensors::read(name, tensor)
    }

    pub(super) fn lookup(&self, reader: &str, name: &str) -> Result<ValueId, GraphError> {
        match self.names.get(name) {
            Some(id) => Ok(id),
            None => Err(GraphError::UnknownValue {
                reader: reader.to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    /// An unused name that begins with `like`.
    pub(super) fn fresh(&mut self, like: &str) -> String {
        self.names.fresh(like)
    }

    fn unsupported(&self, index: usize, node: &NodeProto) -> GraphError {
        let domain = default_domain(node.domain.clone());
        GraphError::UnsupportedOperator {
            nodes: vec![order::node_name(index, node)],
            operator: node.op_type.clone(),
            opset: self.opsets.get(&domain).copied().unwrap_or(0),
            domain: match domain.as_str() {
                "" => "ai.onnx".to_owned(),
                other => other.to_owned(),
            },
        }
    }

    /// Checks that the node's operator is supported in some opset.
    fn supported(&self, index: usize, node: &NodeProto) -> Result<(), GraphError> {
        let known = match node.domain.as_str() {
            "" | "ai.onnx" => crate::SUPPORTED_OPERATORS.contains(&node.op_type.as_str()),
            "com.microsoft" => composite::reads_microsoft(&node.op_type),
            _ => false,
        };
        match known {
            true => Ok(()),
            false => Err(self.unsupported(index, node)),
        }
    }

    fn node(&mut self, index: usize, mut proto: NodeProto) -> Result<(), GraphError> {
        self.supported(index, &proto)?;
        let name = self.names.qualified(&order::node_name(index, &proto));
        let operator = proto.op_type.clone();
        let in_node = |reason| GraphError::InNode {
            node: name.clone(),
            operator: operator.clone(),
            reason,
        };
        let attributes = std::mem::take(&mut proto.attribute);
        let attributes = Attributes::new(attributes).map_err(in_node)?;
        let mut outputs = std::mem::take(&mut proto.output);
        while outputs.last().is_some_and(String::is_empty) {
            outputs.pop();
        }
        if operator == "Constant" {
            return self.constant_node(&name, outputs, attributes);
        }
        let mut inputs = (proto.input.iter())
            .map(|input| match input.as_str() {
                "" => Ok(None),
                input => self.lookup(&format!("node `{name}`"), input).map(Some),
            })
            .collect::<Result<Vec<_>, _>>()?;
        while inputs.last().is_some_and(Option::is_none) {
            inputs.pop();
        }
        let mut site = Site {
            graph: &self.graph,
            opset: self.opset,
            inputs,
            outputs: &outputs,
            attributes,
            max_elements: self.options.max_elements,
            max_unrolled: self.unrolled_left(),
        };
        if let Some(tensor) = constants::read(&operator, &mut site) {
            let tensor = tensor.map_err(in_node)?;
            site.attributes.finish().map_err(in_node)?;
            let output = single_output(outputs).map_err(in_node)?;
            self.constant(output, tensor)?;
            return Ok(());
        }
        if let Some(recipe) = composite::read(&operator, &mut site) {
            if recipe.as_ref().err() == Some(&OpError::UnrolledTooLarge) {
                // Without nodes left, no other error is worth the time of unrolling more layers.
                return self.unroll(&name, self.options.max_unrolled_nodes.saturating_add(1));
            }
            let recipe = recipe.map_err(in_node)?;
            site.attributes.finish().map_err(in_node)?;
            return self.compose(&name, &operator, recipe, outputs);
        }
        let reading = match operators::read(&operator, &mut site) {
            Some(reading) => reading.map_err(in_node)?,
            None => return Err(self.unsupported(index, &proto)),
        };
        site.attributes.finish().map_err(in_node)?;
        self.add(name, operator, reading, outputs)
    }

    fn constant_node(
        &mut self,
        name: &str,
        outputs: Vec<String>,
        attributes: Attributes,
    ) -> Result<(), GraphError> {
        let in_node = |reason| GraphError::InNode {
            node: name.to_owned(),
            operator: "Constant".to_owned(),
            reason,
        };
        let output = single_output(outputs).map_err(in_node)?;
        let tensor: TensorProto = attributes.constant().map_err(in_node)?;
        let tensor = self.tensor(&output, tensor)?;
        self.constant(output, tensor)?;
        Ok(())
    }

    fn add(
        &mut self,
        name: String,
        operator: String,
        reading: Reading,
        outputs: Vec<String>,
    ) -> Result<(), GraphError> {
        let Reading {
            op,
            mut inputs,
            declared,
            zero_point,
            mask,
        } = reading;
        let in_node = |reason| GraphError::InNode {
            node: name.clone(),
            operator: operator.clone(),
            reason,
        };
        if let Some(tensor) = zero_point {
            let zero_point = self.fresh(&format!("{name}.zero_point"));
            let id = self.constant(zero_point, tensor)?;
            inputs.push(id);
        }
        let mut node = Node {
            name: name.clone(),
            op,
            inputs,
            outputs: Vec::new(),
        };
        let types = (node.op)
            .output_types(&self.graph.input_types(&node), &declared)
            .map_err(in_node)?;
        let mut outputs = outputs.into_iter();
        for (i, of) in types.into_iter().enumerate() {
            let output = match outputs.next() {
                Some(output) if !output.is_empty() => output,
                _ => self.fresh(&format!("{name}.unused_{i}")),
            };
            let id = self.value(output, of, None)?;
            node.outputs.push(id);
        }
        if let Some(shape) = mask
            && let Some(output) = outputs.next().filter(|name| !name.is_empty())
        {
            let elements = shape.iter().product();
            limit(
                &format!("the value `{output}`"),
                elements,
                self.options.max_elements,
            )?;
            if let Ok(tensor) = Tensor::new(shape, vec![true; elements]) {
                self.constant(output, tensor)?;
            }
        }
        if outputs.any(|name| !name.is_empty()) {
            return Err(in_node(OpError::Unsupported {
                feature: "a further output",
            }));
        }
        self.fold_or_push(node)
    }

    pub(super) fn fold_or_push(&mut self, node: Node) -> Result<(), GraphError> {
        let types: Vec<TensorType> = (node.outputs.iter())
            .map(|&v| self.graph.value(v).tensor_type())
            .collect();
        let is_constant = |&v: &ValueId| self.graph.value(v).constant.is_some();
        let folded = if foldable(&node.op) && node.inputs.iter().all(is_constant) {
            // Count the elements before allocating them: a small file can request repeated
            // doubling, or the same sum of a long constant many times.
            for t in &types {
                self.count_constants(t.shape.iter().product())?;
            }
            self.count_folded(&node.inputs)?;
            let constants: Vec<&Tensor> = (node.inputs.iter())
                .filter_map(|&v| self.graph.value(v).constant.as_ref())
                .collect();
            fold(&node.op, &constants, &types)
        } else {
            None
        };
        match folded {
            Some(tensors) => {
                for (v, tensor) in node.outputs.iter().zip(tensors) {
                    self.graph.values[v.0].constant = Some(bounded(tensor));
                }
            }
            None => {
                // Each Gather has its own copy, however many nodes share the file's list.
                if let Op::Gather { indices, .. } = &node.op {
                    self.count_constants(indices.len())?;
                }
                self.graph.nodes.push(node);
            }
        }
        Ok(())
    }
}

fn single_output(outputs: Vec<String>) -> Result<String, OpError> {
    let outputs = <[String; 1]>::try_from(outputs).map_err(|outputs| OpError::OutputCount {
        expected: "1",
        found: outputs.len(),
    })?;
    let [output] = outputs;
    Ok(output)
}

/// `ai.onnx` is an alias of the default domain, whose name is empty.
pub(super) fn default_domain(domain: String) -> String {
    match domain.as_str() {
        "ai.onnx" => String::new(),
        _ => domain,
    }
}
