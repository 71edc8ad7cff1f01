//! Builds the quantized graph.

use std::collections::{BTreeMap, BTreeSet};

use pilotage_graph::{ElementType, Graph, Node, Op, Tensor, TensorData, TensorType, ValueId};

use super::layer::QuantizedLayer;
use super::plan::{QuantizationPlan, Role, unit_axis};
use super::{Form, QuantizeError, QuantizeOptions};
use crate::calibrate::Range;

pub(super) struct Builder<'g> {
    graph: &'g Graph,
    wanted: &'g QuantizationPlan,
    form: Form,
    /// The layers whose weights share one scale.
    one_scale: &'g BTreeSet<String>,
    /// The scale of each value that the quantization plan selects.
    scales: Vec<Option<f32>>,
    made: Graph,
    /// For each value of the original graph, its float value in the quantized graph.
    floats: Vec<Option<ValueId>>,
    /// The same, after a QuantizeLinear and a DequantizeLinear.
    rounded: Vec<Option<ValueId>>,
}

impl<'g> Builder<'g> {
    pub(super) fn new(
        graph: &'g Graph,
        ranges: &BTreeMap<ValueId, Range>,
        wanted: &'g QuantizationPlan,
        options: &'g QuantizeOptions,
    ) -> Result<Self, QuantizeError> {
        let sources = wanted.sources(graph);
        let mut scales = vec![None; graph.values.len()];
        for (index, scale) in scales.iter_mut().enumerate() {
            let value = ValueId(index);
            if !wanted.values[index] {
                continue;
            }
            // The scale of the picture is 1. Otherwise the widest range of all values that share
            // the scale is used.
            let mut widest: Option<f32> = None;
            if let Some(&picture) = graph.inputs.first()
                && wanted.share(picture, value)
            {
                widest = Some(127.0);
            }
            for source in sources.iter().filter(|&&s| wanted.share(s, value)) {
                let range = ranges.get(source).ok_or_else(|| QuantizeError::NoRange {
                    name: graph.value(*source).name.clone(),
                })?;
                widest = Some(widest.map_or(range.limit, |widest| widest.max(range.limit)));
            }
            *scale = widest.map(|limit| limit / 127.0);
        }
        Ok(Self {
            graph,
            wanted,
            form: options.form,
            one_scale: &options.one_scale,
            scales,
            made: Graph {
                name: graph.name.clone(),
                ..Graph::default()
            },
            floats: vec![None; graph.values.len()],
            rounded: vec![None; graph.values.len()],
        })
    }

    pub(super) fn build(mut self) -> Result<(Graph, Vec<f32>), QuantizeError> {
        for (index, &input) in self.graph.inputs.iter().enumerate() {
            self.input(index, input);
        }
        for (index, node) in self.graph.nodes.iter().enumerate() {
            self.node(node, self.wanted.roles[index]);
        }
        let mut scales = Vec::new();
        for &output in &self.graph.outputs {
            scales.push(self.output(output));
        }
        let mut made = self.made;
        made.prune();
        made.check().map_err(QuantizeError::Unsound)?;
        Ok((made, scales))
    }

    /// The first input as int8: its pixels minus 128. Others stay as they are.
    fn input(&mut self, index: usize, input: ValueId) {
        let value = self.graph.value(input);
        if index > 0 {
            let same = self.value(&value.name, value.element_type, &value.shape);
            self.made.inputs.push(same);
            self.floats[input.0] = Some(same);
            return;
        }
        let picture = self.value(&value.name, ElementType::I8, &value.shape);
        self.made.inputs.push(picture);
        let floats = self.dequantize(&value.name, picture, 1.0);
        self.floats[input.0] = Some(floats);
        self.rounded[input.0] = Some(floats);
    }

    /// Adds an output under its own name. Returns the scale of its integers, or 1.
    fn output(&mut self, output: ValueId) -> f32 {
        let integer = self.form == Form::Int8Integer;
        let scale = self.scales[output.0].filter(|_| integer);
        let float = match self.wanted.values[output.0] {
            true => self.rounded(output),
            false => self.float(output),
        };
        let made = match scale {
            None => float,
            Some(_) => {
                // The integers that the DequantizeLinear reads.
                let maker = self.made.nodes.iter().find(|n| n.outputs == [float]);
                maker.map_or(float, |node| node.inputs[0])
            }
        };
        // Outputs keep the model's names.
        let name = self.graph.value(output).name.clone();
        if self.made.value(made).name != name {
            let taken = self.made.values.iter().position(|v| v.name == name);
            if let Some(taken) = taken {
                let other = self.made.unused_name(&format!("{name} as float"));
                self.made.values[taken].name = other;
            }
            self.made.values[made.0].name = name;
        }
        self.made.outputs.push(made);
        scale.unwrap_or(1.0)
    }

    fn node(&mut self, node: &Node, role: Role) {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (index, &input) in node.inputs.iter().enumerate() {
            let weights = role == Role::Layer && index > 0;
            let read = match self.wanted.values[input.0] {
                // Weights and biases are added below.
                _ if weights => continue,
                true => self.rounded(input),
                false => self.float(input),
            };
            inputs.push(read);
        }
        if role == Role::Layer {
            let scale = match self.wanted.values[node.inputs[0].0] {
                true => self.scales[node.inputs[0].0],
                false => None,
            };
            self.weights(node, scale, &mut inputs);
        }
        let outputs = node.outputs.iter().map(|&output| {
            let value = self.graph.value(output);
            let made = self.value(&value.name, value.element_type, &value.shape);
            self.floats[output.0] = Some(made);
            made
        });
        let outputs = outputs.collect();
        self.made.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }

    /// Adds a layer's quantized weights. Adds its bias too, quantized if the input has a scale.
    fn weights(&mut self, node: &Node, input: Option<f32>, inputs: &mut Vec<ValueId>) {
        let axis = unit_axis(&node.op);
        let value = self.graph.value(node.inputs[1]);
        let shape = value.shape.clone();
        let name = value.name.clone();
        let weights = floats(self.graph, node.inputs[1]);
        let bias = node.inputs.get(2).map(|&bias| floats(self.graph, bias));
        let units = shape[axis];
        let one_scale = self.one_scale.contains(&node.name);
        let with_scale = bias.as_deref().zip(input);
        let layer = QuantizedLayer::new(&weights, (&shape, axis), with_scale, one_scale);
        let QuantizedLayer {
            scales,
            weights: quantized,
            bias: quantized_bias,
        } = layer;

        let integers = self.constant(&format!("{name} as int8"), &shape, quantized);
        let scale_value = self.constant(&format!("{name} scale"), &[units], scales.clone());
        let zero = self.constant(&format!("{name} zero point"), &[units], vec![0_i8; units]);
        inputs.push(self.dequantized(&name, &shape, vec![integers, scale_value, zero], axis));
        let Some(bias) = bias else {
            return;
        };
        let name = self.graph.value(node.inputs[2]).name.clone();
        let Some(input) = input else {
            // The bias is added to floats, so it is not quantized.
            inputs.push(self.constant(&name, &[units], bias));
            return;
        };
        let quantized = quantized_bias.unwrap_or_default();
        let unit = |scale: f32| f64::from(input) * f64::from(scale);
        let bias_scales = scales.iter().map(|&scale| unit(scale) as f32).collect();
        let integers = self.constant(&format!("{name} as int32"), &[units], quantized);
        let scale_value =
            self.constant::<Vec<f32>>(&format!("{name} scale"), &[units], bias_scales);
        let read = vec![integers, scale_value];
        inputs.push(self.dequantized(&name, &[units], read, 0));
    }

    /// The float value of `value`, without rounding.
    fn float(&mut self, value: ValueId) -> ValueId {
        if let Some(made) = self.floats[value.0] {
            return made;
        }
        let old = self.graph.value(value);
        let made = self.value(&old.name, old.element_type, &old.shape);
        self.made.values[made.0].constant = old.constant.clone();
        self.floats[value.0] = Some(made);
        made
    }

    /// The value after a QuantizeLinear and a DequantizeLinear.
    fn rounded(&mut self, value: ValueId) -> ValueId {
        if let Some(made) = self.rounded[value.0] {
            return made;
        }
        let float = self.float(value);
        let Some(scale) = self.scales[value.0] else {
            return float;
        };
        let old = self.graph.value(value);
        let integers = self.value(
            &format!("{} as int8", old.name),
            ElementType::I8,
            &old.shape,
        );
        let [scale_value, zero] = self.parameters(&old.name, scale);
        self.made.nodes.push(Node {
            name: format!("{} quantized", old.name),
            op: Op::QuantizeLinear { axis: 0 },
            inputs: vec![float, scale_value, zero],
            outputs: vec![integers],
        });
        let name = old.name.clone();
        let shape = old.shape.clone();
        let made = self.dequantized(&name, &shape, vec![integers, scale_value, zero], 0);
        self.rounded[value.0] = Some(made);
        made
    }

    fn dequantize(&mut self, name: &str, integers: ValueId, scale: f32) -> ValueId {
        let parameters = self.parameters(name, scale);
        let shape = self.made.value(integers).shape.clone();
        let inputs = vec![integers, parameters[0], parameters[1]];
        self.dequantized(name, &shape, inputs, 0)
    }

    /// Adds a DequantizeLinear of integers, scale and zero point.
    fn dequantized(
        &mut self,
        name: &str,
        shape: &[usize],
        inputs: Vec<ValueId>,
        axis: usize,
    ) -> ValueId {
        let made = self.value(&format!("{name} dequantized"), ElementType::F32, shape);
        self.made.nodes.push(Node {
            name: format!("{name} dequantized"),
            op: Op::DequantizeLinear { axis },
            inputs,
            outputs: vec![made],
        });
        made
    }

    /// Adds one scale and its zero point.
    fn parameters(&mut self, name: &str, scale: f32) -> [ValueId; 2] {
        [
            self.constant(&format!("{name} scale"), &[], vec![scale]),
            self.constant(&format!("{name} zero point"), &[], vec![0_i8]),
        ]
    }

    fn constant<D: Into<TensorData>>(&mut self, name: &str, shape: &[usize], data: D) -> ValueId {
        let data = data.into();
        let tensor_type = TensorType::new(data.element_type(), shape);
        // All callers pass data of the shape's length. If not, the final check of the graph
        // reports it.
        let tensor = Tensor::new(shape, data).ok();
        self.made.add_value(name, tensor_type, tensor)
    }

    fn value(&mut self, name: &str, element_type: ElementType, shape: &[usize]) -> ValueId {
        let tensor_type = TensorType::new(element_type, shape);
        self.made.add_value(name, tensor_type, None)
    }
}

/// The elements of a layer's constant.
fn floats(graph: &Graph, value: ValueId) -> Vec<f32> {
    let tensor = graph.value(value).constant.as_ref();
    let data = tensor.and_then(|tensor| tensor.as_f32());
    data.map(<[f32]>::to_vec).unwrap_or_default()
}
