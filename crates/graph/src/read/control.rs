//! Control flow: If with a constant condition, Loop and Scan. Their subgraphs are read into the
//! graph, once for each iteration, so that only nodes of other operators are left.

mod branches;
mod loops;
mod scans;

use std::borrow::Cow;
use std::collections::HashSet;

use prost::Message;

use super::attributes::Attributes;
use super::limits::limit;
use super::order;
use super::reader::Reader;
use super::tensors;
use crate::onnx::{AttributeProto, GraphProto, NodeProto};
use crate::{GraphError, Node, Op, OpError, SliceAxis, Tensor, ValueId};

/// A node with a subgraph.
struct Site<'a> {
    name: String,
    operator: &'a str,
    inputs: Vec<Option<ValueId>>,
    outputs: &'a [String],
    proto: &'a NodeProto,
    attributes: Attributes,
}

/// A subgraph that is read several times.
struct Body<'a> {
    proto: &'a GraphProto,
    /// The nodes that depend on the subgraph's inputs, in topological order.
    varying: Vec<usize>,
}

impl Reader<'_> {
    /// Reads a node with subgraphs.
    pub(super) fn control(&mut self, index: usize, proto: &NodeProto) -> Result<(), GraphError> {
        let name = self.names.qualified(&order::node_name(index, proto));
        let in_node = |reason| GraphError::InNode {
            node: name.clone(),
            operator: proto.op_type.clone(),
            reason,
        };
        let plain = proto.attribute.iter().filter(|a| a.g.is_none()).cloned();
        let attributes = Attributes::new(plain.collect()).map_err(in_node)?;
        let reader = format!("node `{name}`");
        let inputs = (proto.input.iter())
            .map(|input| match input.as_str() {
                "" => Ok(None),
                input => self.lookup(&reader, input).map(Some),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let site = Site {
            name,
            operator: &proto.op_type,
            inputs,
            outputs: &proto.output,
            proto,
            attributes,
        };
        let depth = self.names.depth();
        let read = match site.operator {
            "If" => self.branch(site),
            "Loop" => self.unroll_loop(site),
            _ => self.scan(site),
        };
        self.names.leave(depth);
        read
    }

    /// Counts nodes that a loop or a recurrent layer is unrolled to.
    pub(super) fn unroll(&mut self, node: &str, nodes: usize) -> Result<(), GraphError> {
        self.unrolled.nodes = self.unrolled.nodes.saturating_add(nodes);
        match self.unrolled.nodes <= self.options.max_unrolled_nodes {
            true => Ok(()),
            false => Err(GraphError::UnrolledTooLarge {
                node: node.to_owned(),
                limit: self.options.max_unrolled_nodes,
            }),
        }
    }

    /// The nodes that may still be unrolled.
    pub(super) fn unrolled_left(&self) -> usize {
        (self.options.max_unrolled_nodes).saturating_sub(self.unrolled.nodes)
    }

    /// Counts a node of a subgraph before it is read again.
    pub(super) fn count_subgraph_node(
        &mut self,
        index: usize,
        node: &NodeProto,
    ) -> Result<(), GraphError> {
        self.unroll(&order::node_name(index, node), 1)?;
        let bytes = node.encoded_len();
        self.unrolled.bytes = self.unrolled.bytes.saturating_add(bytes);
        let max = self.options.max_decoded_bytes;
        limit("the unrolled loops", self.unrolled.bytes, max)
    }

    /// Begins a subgraph: reads its constants, and the nodes that do not depend on its inputs.
    fn begin<'p>(
        &mut self,
        site: &Site<'_>,
        proto: &'p GraphProto,
    ) -> Result<Body<'p>, GraphError> {
        if !proto.sparse_initializer.is_empty() {
            return Err(GraphError::UnsupportedFeature {
                name: proto.name.clone(),
                feature: "has sparse initializers",
            });
        }
        let outer = |name: &str| self.names.get(name).is_some();
        let plan = order::plan(proto, outer)?;
        self.names.enter(&site.name);
        for tensor in &proto.initializer {
            if plan.needs(&tensor.name) {
                let read = self.tensor(&tensor.name, tensor.clone())?;
                self.constant(tensor.name.clone(), read)?;
            } else if self.files.is_none() {
                tensors::refuse_external(&tensor.name, tensor)?;
            }
        }
        let mut depends: HashSet<&str> = proto.input.iter().map(|i| i.name.as_str()).collect();
        let (mut varying, mut fixed) = (Vec::new(), Vec::new());
        for i in plan.order {
            let node = &proto.node[i];
            match order::reads(node).iter().any(|name| depends.contains(name)) {
                true => {
                    depends.extend(node.output.iter().map(String::as_str));
                    varying.push(i);
                }
                false => fixed.push(i),
            }
        }
        self.nodes(borrowed(proto, &fixed))?;
        Ok(Body { proto, varying })
    }

    /// Reads the nodes that depend on the inputs, whose names must be known. Returns the outputs.
    fn iteration(&mut self, site: &Site<'_>, body: &Body<'_>) -> Result<Vec<ValueId>, GraphError> {
        self.nodes(borrowed(body.proto, &body.varying))?;
        let reader = format!("the subgraph of node `{}`", site.name);
        (body.proto.output.iter())
            .map(|output| self.lookup(&reader, &output.name))
            .collect()
    }

    /// Adds a node with one output. The output's name begins with the node's.
    fn emit(
        &mut self,
        site: &Site<'_>,
        op: Op,
        inputs: &[ValueId],
        output: Option<&str>,
    ) -> Result<ValueId, GraphError> {
        self.unroll(&site.name, 1)?;
        let mut node = Node {
            name: self
                .names
                .qualified(&format!("{}.{}", site.name, op.name())),
            op,
            inputs: inputs.to_vec(),
            outputs: Vec::new(),
        };
        let types = (node.op)
            .output_types(&self.graph.input_types(&node), &[])
            .map_err(|reason| site.error(reason))?;
        for of in types {
            let name = match output {
                Some(name) => name.to_owned(),
                None => self.fresh(&node.name),
            };
            let id = self.value(name, of, None)?;
            node.outputs.push(id);
        }
        let id = node.outputs[0];
        self.fold_or_push(node)?;
        Ok(id)
    }

    /// The values, one after the other along a new axis. A negative axis counts from the end.
    fn stacked(
        &mut self,
        site: &Site<'_>,
        values: &[ValueId],
        axis: i64,
        output: &str,
    ) -> Result<(), GraphError> {
        let rank = values
            .first()
            .map_or(0, |&v| self.graph.value(v).shape.len());
        let axis = super::operators::axis(axis, &vec![1; rank + 1]).map_err(|e| site.error(e))?;
        let mut slices = Vec::with_capacity(values.len());
        for &value in values {
            let axes = vec![axis];
            slices.push(self.emit(site, Op::Unsqueeze { axes }, &[value], None)?);
        }
        self.emit(site, Op::Concat { axis }, &slices, Some(output))?;
        Ok(())
    }

    /// The element at an index of an axis, without the axis.
    fn element(
        &mut self,
        site: &Site<'_>,
        value: ValueId,
        axis: usize,
        index: usize,
    ) -> Result<ValueId, GraphError> {
        let mut axes: Vec<SliceAxis> = (self.graph.value(value).shape.iter())
            .map(|&length| SliceAxis {
                start: 0,
                step: 1,
                length,
            })
            .collect();
        axes[axis].start = index;
        axes[axis].length = 1;
        let slice = self.emit(site, Op::Slice { axes }, &[value], None)?;
        let axes = vec![axis];
        self.emit(site, Op::Squeeze { axes }, &[slice], None)
    }
}

/// The nodes at these places.
fn borrowed<'p>(
    proto: &'p GraphProto,
    places: &[usize],
) -> impl Iterator<Item = (usize, Cow<'p, NodeProto>)> {
    let nodes = places.iter().map(|&i| (i, Cow::Borrowed(&proto.node[i])));
    nodes.collect::<Vec<_>>().into_iter()
}

impl<'a> Site<'a> {
    fn error(&self, reason: OpError) -> GraphError {
        GraphError::InNode {
            node: self.name.clone(),
            operator: self.operator.to_owned(),
            reason,
        }
    }

    fn subgraph(&self, attribute: &'static str) -> Result<&'a GraphProto, GraphError> {
        let mut found = self.proto.attribute.iter();
        let found: Option<&AttributeProto> = found.find(|a| a.name == attribute);
        found
            .and_then(|a| a.g.as_deref())
            .ok_or_else(|| self.error(OpError::MissingAttribute { attribute }))
    }

    /// Checks that there are no other attributes.
    fn finish(&mut self, subgraphs: &[&str]) -> Result<(), GraphError> {
        let mut graphs = self.proto.attribute.iter().filter(|a| a.g.is_some());
        if let Some(other) = graphs.find(|a| !subgraphs.contains(&a.name.as_str())) {
            return Err(self.error(OpError::UnknownAttribute {
                attribute: other.name.clone(),
            }));
        }
        let attributes = std::mem::replace(&mut self.attributes, Attributes::none());
        attributes.finish().map_err(|reason| self.error(reason))
    }

    fn input(&self, i: usize, input: &'static str) -> Result<ValueId, GraphError> {
        let given = self.inputs.get(i).copied().flatten();
        given.ok_or_else(|| self.error(OpError::MissingInput { input }))
    }

    /// An optional input that must be a constant with one element.
    fn constant<'g>(
        &self,
        reader: &'g Reader<'_>,
        i: usize,
        input: &'static str,
    ) -> Result<Option<&'g Tensor>, GraphError> {
        let Some(id) = self.inputs.get(i).copied().flatten() else {
            return Ok(None);
        };
        let value = reader.graph.value(id);
        match &value.constant {
            Some(tensor) if tensor.len() == 1 => Ok(Some(tensor)),
            Some(tensor) => Err(self.error(OpError::ConstantInput {
                input,
                found: tensor.tensor_type().to_string(),
                expected: "a single element",
            })),
            None => Err(self.error(OpError::NotConstant {
                input,
                value: value.name.clone(),
            })),
        }
    }

    /// Checks the number of inputs or outputs of a subgraph.
    fn count(&self, expected: &'static str, right: bool, found: usize) -> Result<(), GraphError> {
        match right {
            true => Ok(()),
            false => Err(self.error(OpError::InputCount { expected, found })),
        }
    }
}
