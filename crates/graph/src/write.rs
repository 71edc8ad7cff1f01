//! Writes a [`Graph`] as ONNX. Fields of an [`Op`] become attributes and constant inputs, as the
//! written opset requires.

use std::collections::HashSet;

use half::f16;
use prost::Message;

use crate::infer::floor_output;
use crate::onnx::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto, attribute_type, data_type,
};
use crate::{
    ElementType, Graph, Node, Op, Pad, PadMode, Pool, Reduction, SliceAxis, Tensor, TensorData,
    TensorType, ValueId,
};

/// The default opset, the opset for nodes that need a newer one, and the IR version for each
/// (onnx/docs/Versioning.md).
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
const NEWER_OPSET: i64 = 19;
const NEWER_IR_VERSION: i64 = 9;

impl Graph {
    /// The graph as an ONNX model of opset 17, or of opset 19 if a node requires it (average
    /// pooling with dilations, Pad with mode wrap, quantization of float16).
    ///
    /// Reading the model back gives an equal graph, with two exceptions: Softmax over several axes
    /// does not exist in newer opsets and is written as a Softmax between two Reshapes, and Pow
    /// with a constant exponent of 2, for example, is read as a product.
    ///
    /// The graph must be valid (see [`Graph::check`]). The model of an invalid graph does not
    /// read back.
    pub fn write(&self) -> Vec<u8> {
        self.write_with_metadata(&[])
    }

    /// As [`write`](Self::write), with entries of a key and a value in the model's
    /// `metadata_props`, which [`metadata`](crate::metadata) reads. ONNX requires that each key
    /// occurs once.
    pub fn write_with_metadata(&self, metadata: &[(&str, &str)]) -> Vec<u8> {
        let newer = self.nodes.iter().any(|n| self.needs_newer(n));
        let mut writer = Writer {
            graph: self,
            opset: if newer { NEWER_OPSET } else { OPSET },
            names: self.values.iter().map(|v| v.name.clone()).collect(),
            nodes: Vec::new(),
            initializers: Vec::new(),
        };
        for value in &self.values {
            if let Some(tensor) = &value.constant {
                let proto = tensor_proto(value.name.clone(), tensor);
                writer.initializers.push(proto);
            }
        }
        for node in &self.nodes {
            writer.node(node);
        }
        let info = |ids: &[ValueId]| ids.iter().map(|&v| value_info(self, v)).collect();
        ModelProto {
            ir_version: if newer { NEWER_IR_VERSION } else { IR_VERSION },
            producer_name: "pilotage".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: writer.opset,
            }],
            metadata_props: metadata
                .iter()
                .map(|&(key, value)| StringStringEntryProto {
                    key: key.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
            graph: Some(GraphProto {
                // ONNX requires a name for every graph.
                name: match self.name.is_empty() {
                    true => "graph".into(),
                    false => self.name.clone(),
                },
                node: writer.nodes,
                initializer: writer.initializers,
                input: info(&self.inputs),
                output: info(&self.outputs),
                sparse_initializer: Vec::new(),
            }),
        }
        .encode_to_vec()
    }

    fn needs_newer(&self, node: &Node) -> bool {
        match &node.op {
            Op::AveragePool(p) => p.dilations != [1, 1],
            Op::Pad(p) => p.mode == PadMode::Wrap,
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => {
                let scale = node.inputs.get(1).map(|&v| self.value(v).element_type);
                scale == Some(ElementType::F16)
            }
            _ => false,
        }
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    opset: i64,
    names: HashSet<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Writer<'_> {
    fn node(&mut self, node: &Node) {
        let names = |ids: &[ValueId]| -> Vec<String> {
            (ids.iter().map(|v| self.graph.value(*v).name.clone())).collect()
        };
        let mut proto = NodeProto {
            input: names(&node.inputs),
            output: names(&node.outputs),
            name: node.name.clone(),
            op_type: node.op.name().to_owned(),
            attribute: Vec::new(),
            domain: String::new(),
        };
        let types = self.graph.input_types(node);
        let shape = |i: usize| types.get(i).map_or(&[][..], |t| &t.shape);
        let out = |i: usize| {
            let id = node.outputs.get(i);
            id.map_or(&[][..], |v| &self.graph.value(*v).shape)
        };
        let a = &mut proto.attribute;
        match &node.op {
            Op::Conv(c) => {
                a.push(ints("dilations", &c.dilations));
                a.push(int("group", c.groups));
                a.push(ints("kernel_shape", &c.kernel));
                a.push(ints("pads", &c.pads));
                a.push(ints("strides", &c.strides));
            }
            Op::Gemm(g) => {
                a.push(float("alpha", g.alpha));
                a.push(float("beta", g.beta));
                a.push(int("transA", usize::from(g.transpose_a)));
                a.push(int("transB", usize::from(g.transpose_b)));
            }
            Op::BatchNormalization { epsilon } => a.push(float("epsilon", *epsilon)),
            Op::LeakyRelu { alpha } | Op::Elu { alpha } => a.push(float("alpha", *alpha)),
            Op::HardSigmoid { alpha, beta } => {
                a.push(float("alpha", *alpha));
                a.push(float("beta", *beta));
            }
            Op::Clip { min, max } => {
                let element_type = types.first().map(|t| t.element_type);
                for (suffix, limit, open) in [
                    ("min", *min, f32::NEG_INFINITY),
                    ("max", *max, f32::INFINITY),
                ] {
                    let name = match limit == open {
                        true => String::new(),
                        false => self.constant(node, suffix, &number(limit, element_type)),
                    };
                    proto.input.push(name);
                }
            }
            Op::Softmax { axis, end_axis } => {
                if end_axis - axis == 1 {
                    a.push(int("axis", *axis));
                } else {
                    let (outer, inner) = shape(0).split_at(*axis);
                    let (over, inner) = inner.split_at(end_axis - axis);
                    let flat: Vec<usize> = (outer.iter().copied())
                        .chain([over.iter().product()])
                        .chain(inner.iter().copied())
                        .collect();
                    return self.softmax_over_several(node, proto, *axis, &flat, shape(0));
                }
            }
            Op::MaxPool(p) => pool_attributes(a, p, shape(0), out(0), true),
            Op::AveragePool(p) => {
                pool_attributes(a, p, shape(0), out(0), self.opset >= NEWER_OPSET);
                a.push(int("count_include_pad", usize::from(p.count_include_pad)));
            }
            Op::Reduce {
                reduction,
                axes,
                keep_dims,
            } => {
                a.push(int("keepdims", usize::from(*keep_dims)));
                // In ONNX an empty list means all axes. A reduction over no axes is the identity.
                if axes.is_empty() {
                    proto.op_type = Op::Identity.name().to_owned();
                    proto.attribute.clear();
                } else if self.opset < 18 && *reduction != Reduction::Sum {
                    // ReduceSum has had them as an input since opset 13.
                    a.push(ints("axes", axes));
                } else {
                    let name = self.indices(node, "axes", axes);
                    proto.input.push(name);
                }
            }
            Op::Flatten { axis } | Op::Concat { axis } => a.push(int("axis", *axis)),
            Op::Reshape => {
                if out(0).contains(&0) {
                    a.push(int("allowzero", 1));
                }
                let to = out(0).to_vec();
                let name = self.indices(node, "shape", &to);
                proto.input.push(name);
            }
            Op::Squeeze { axes } | Op::Unsqueeze { axes } => {
                let name = self.indices(node, "axes", axes);
                proto.input.push(name);
            }
            Op::Transpose { perm } => a.push(ints("perm", perm)),
            Op::Split { axis } => {
                a.push(int("axis", *axis));
                let sizes: Vec<usize> = (0..node.outputs.len())
                    .map(|i| out(i).get(*axis).copied().unwrap_or(0))
                    .collect();
                let name = self.indices(node, "split", &sizes);
                proto.input.push(name);
            }
            Op::Gather { axis, indices } => {
                a.push(int("axis", *axis));
                let name = self.indices(node, "indices", indices);
                proto.input.push(name);
            }
            Op::Slice { axes } => self.slice_inputs(node, axes, &mut proto.input),
            Op::Pad(p) => {
                let element_type = types.first().map(|t| t.element_type);
                a.push(string("mode", pad_mode(p.mode)));
                self.pad_inputs(node, p, element_type, &mut proto.input);
            }
            Op::Cast { to } => a.push(int("to", onnx_type(*to) as usize)),
            Op::QuantizeLinear { axis } | Op::DequantizeLinear { axis } => {
                a.push(int("axis", *axis));
            }
            Op::MatMul
            | Op::Relu
            | Op::Sigmoid
            | Op::Tanh
            | Op::Softplus
            | Op::Softsign
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Min
            | Op::Max
            | Op::Pow
            | Op::Compare(_)
            | Op::Where
            | Op::Function(_)
            | Op::GlobalAveragePool
            | Op::Identity => {}
        }
        while proto.input.last().is_some_and(String::is_empty) {
            proto.input.pop();
        }
        self.nodes.push(proto);
    }

    /// An unused name that begins with the node's name.
    fn fresh(&mut self, node: &Node, suffix: &str) -> String {
        let mut name = format!("{}.{suffix}", node.name);
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn constant(&mut self, node: &Node, suffix: &str, tensor: &Tensor) -> String {
        let name = self.fresh(node, suffix);
        self.initializers.push(tensor_proto(name.clone(), tensor));
        name
    }

    fn indices(&mut self, node: &Node, suffix: &str, values: &[usize]) -> String {
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        self.constant(node, suffix, &Tensor::vector(values))
    }

    fn softmax_over_several(
        &mut self,
        node: &Node,
        mut softmax: NodeProto,
        axis: usize,
        flat: &[usize],
        full: &[usize],
    ) {
        let reshape = |input: Vec<String>, output: Vec<String>, name: String| NodeProto {
            input,
            output,
            name,
            op_type: Op::Reshape.name().to_owned(),
            attribute: Vec::new(),
            domain: String::new(),
        };
        let (before, after) = (self.fresh(node, "flat"), self.fresh(node, "softmax"));
        let to_flat = self.indices(node, "flat_shape", flat);
        let to_full = self.indices(node, "full_shape", full);
        let mut input = std::mem::replace(&mut softmax.input, vec![before.clone()]);
        input.push(to_flat);
        let output = std::mem::replace(&mut softmax.output, vec![after.clone()]);
        softmax.attribute.push(int("axis", axis));
        let first = reshape(input, vec![before.clone()], before);
        let last = reshape(vec![after, to_full], output, format!("{}.full", node.name));
        self.nodes.extend([first, softmax, last]);
    }

    fn slice_inputs(&mut self, node: &Node, axes: &[SliceAxis], inputs: &mut Vec<String>) {
        let mut columns: [Vec<i64>; 4] = Default::default();
        for (axis, s) in axes.iter().enumerate() {
            let step = if s.length > 1 { s.step as i64 } else { 1 };
            let end = s.start as i64 + step * s.length as i64;
            // A negative end would count from the back. i64::MIN means "past the front".
            let end = if end < 0 { i64::MIN } else { end };
            for (column, v) in columns
                .iter_mut()
                .zip([s.start as i64, end, axis as i64, step])
            {
                column.push(v);
            }
        }
        for (suffix, column) in ["starts", "ends", "axes", "steps"].into_iter().zip(columns) {
            inputs.push(self.constant(node, suffix, &Tensor::vector(column)));
        }
    }

    fn pad_inputs(
        &mut self,
        node: &Node,
        p: &Pad,
        element_type: Option<ElementType>,
        inputs: &mut Vec<String>,
    ) {
        let pads: Vec<i64> = (p.before.iter().chain(&p.after))
            .map(|&v| v as i64)
            .collect();
        inputs.push(self.constant(node, "pads", &Tensor::vector(pads)));
        if let PadMode::Constant(value) = p.mode {
            inputs.push(self.constant(node, "value", &number(value, element_type)));
        }
    }
}

/// A scalar of the given type.
fn number(value: f32, element_type: Option<ElementType>) -> Tensor {
    let data: TensorData = match element_type {
        Some(ElementType::F16) => vec![f16::from_f32(value)].into(),
        Some(ElementType::I64) => vec![value as i64].into(),
        Some(ElementType::I32) => vec![value as i32].into(),
        Some(ElementType::U8) => vec![value as u8].into(),
        Some(ElementType::I8) => vec![value as i8].into(),
        Some(ElementType::F32 | ElementType::Bool) | None => vec![value].into(),
    };
    Tensor::new([], data).unwrap_or_else(|_| Tensor::scalar(value))
}

fn pool_attributes(
    a: &mut Vec<AttributeProto>,
    p: &Pool,
    x: &[usize],
    out: &[usize],
    dilations: bool,
) {
    let rounds_up = (0..2).any(|i| match (x.get(i + 2), out.get(i + 2)) {
        (Some(&size), Some(&out)) => {
            let pads = [p.pads[i], p.pads[i + 2]];
            floor_output(size, p.kernel[i], p.strides[i], p.dilations[i], pads) != Some(out)
        }
        _ => false,
    });
    a.push(int("ceil_mode", usize::from(rounds_up)));
    if dilations {
        a.push(ints("dilations", &p.dilations));
    }
    a.push(ints("kernel_shape", &p.kernel));
    a.push(ints("pads", &p.pads));
    a.push(ints("strides", &p.strides));
}

fn pad_mode(mode: PadMode) -> &'static str {
    match mode {
        PadMode::Constant(_) => "constant",
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
        PadMode::Wrap => "wrap",
    }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        i: Some(value as i64),
        ..attribute(name, attribute_type::INT)
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, attribute_type::FLOAT)
    }
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.as_bytes().to_vec()),
        ..attribute(name, attribute_type::STRING)
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|&v| v as i64).collect(),
        ..attribute(name, attribute_type::INTS)
    }
}

fn onnx_type(element_type: ElementType) -> i32 {
    match element_type {
        ElementType::F32 => data_type::FLOAT,
        ElementType::F16 => data_type::FLOAT16,
        ElementType::I64 => data_type::INT64,
        ElementType::I32 => data_type::INT32,
        ElementType::U8 => data_type::UINT8,
        ElementType::I8 => data_type::INT8,
        ElementType::Bool => data_type::BOOL,
    }
}

fn tensor_proto(name: String, tensor: &Tensor) -> TensorProto {
    let raw: Vec<u8> = match tensor.data() {
        TensorData::F32(v) => v.iter().flat_map(|e| e.to_le_bytes()).collect(),
        TensorData::F16(v) => v.iter().flat_map(|e| e.to_le_bytes()).collect(),
        TensorData::I64(v) => v.iter().flat_map(|e| e.to_le_bytes()).collect(),
        TensorData::I32(v) => v.iter().flat_map(|e| e.to_le_bytes()).collect(),
        TensorData::U8(v) => v.clone(),
        TensorData::I8(v) => v.iter().flat_map(|e| e.to_le_bytes()).collect(),
        TensorData::Bool(v) => v.iter().map(|&e| u8::from(e)).collect(),
    };
    TensorProto {
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: onnx_type(tensor.element_type()),
        name,
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}

fn value_info(graph: &Graph, id: ValueId) -> ValueInfoProto {
    let value = graph.value(id);
    let TensorType {
        element_type,
        shape,
    } = value.tensor_type();
    let dim = (shape.into_iter())
        .map(|d| Dimension {
            dim_value: Some(d as i64),
            dim_param: None,
        })
        .collect();
    ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: onnx_type(element_type),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}
