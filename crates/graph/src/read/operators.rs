//! Converts a node's operator, attributes and constant inputs to an [`Op`]. Differences between
//! opsets are noted where they are read; the source is onnx/docs/Changelog.md.

pub(super) mod arithmetic;
mod quantize;
mod shapes;
pub(super) mod windows;

use half::f16;

use super::attributes::Attributes;
use crate::{
    Comparison, ElementType, Function, Graph, Op, OpError, Reduction, Tensor, TensorData, Value,
    ValueId,
};

/// A node that is being read.
pub(super) struct Site<'a> {
    pub graph: &'a Graph,
    pub opset: i64,
    /// Omitted inputs are `None`. There are none at the end.
    pub inputs: Vec<Option<ValueId>>,
    /// Omitted outputs are empty. There are none at the end.
    pub outputs: &'a [String],
    pub attributes: Attributes,
    /// The most elements of a constant.
    pub max_elements: usize,
    /// The most nodes that a recurrent layer may be unrolled to.
    pub max_unrolled: usize,
}

/// The result of reading a node.
pub(super) struct Reading {
    pub op: Op,
    pub inputs: Vec<ValueId>,
    /// Output shapes that cannot be inferred from the operator.
    pub declared: Vec<Vec<usize>>,
    /// The zero point, if the file omits it and its type must be explicit.
    pub zero_point: Option<Tensor>,
    /// Shape of Dropout's second output, whose elements are all true.
    pub mask: Option<Vec<usize>>,
}

/// Reads a node. `None` if the operator is unknown.
pub(super) fn read(operator: &str, site: &mut Site<'_>) -> Option<Result<Reading, OpError>> {
    let op = match operator {
        "Conv" => site.simple(windows::conv),
        "MaxPool" => windows::pool(site, true),
        "AveragePool" => windows::pool(site, false),
        "GlobalAveragePool" => site.simple(|_| Ok(Op::GlobalAveragePool)),
        "Gemm" => site.simple(arithmetic::gemm),
        "MatMul" => site.simple(|_| Ok(Op::MatMul)),
        "BatchNormalization" => site.simple(arithmetic::batch_normalization),
        "Relu" => site.simple(|_| Ok(Op::Relu)),
        "LeakyRelu" => site.simple(arithmetic::leaky_relu),
        "Elu" => site.simple(arithmetic::elu),
        "Sigmoid" => site.simple(|_| Ok(Op::Sigmoid)),
        "HardSigmoid" => site.simple(arithmetic::hard_sigmoid),
        "Tanh" => site.simple(|_| Ok(Op::Tanh)),
        "Softplus" => site.simple(|_| Ok(Op::Softplus)),
        "Softsign" => site.simple(|_| Ok(Op::Softsign)),
        "Clip" => site.first_input(arithmetic::clip),
        "Softmax" => site.simple(arithmetic::softmax),
        "Add" => site.simple(|_| Ok(Op::Add)),
        "Sub" => site.simple(|_| Ok(Op::Sub)),
        "Mul" => site.simple(|_| Ok(Op::Mul)),
        "Div" => site.simple(|_| Ok(Op::Div)),
        "Min" => site.two_inputs(Op::Min),
        "Max" => site.two_inputs(Op::Max),
        "Pow" => site.simple(|_| Ok(Op::Pow)),
        "Where" => site.simple(|_| Ok(Op::Where)),
        _ if Comparison::from_name(operator).is_some() => {
            let comparison = Comparison::from_name(operator)?;
            site.simple(|_| Ok(Op::Compare(comparison)))
        }
        _ if Function::from_name(operator).is_some() => {
            let function = Function::from_name(operator)?;
            site.simple(|_| Ok(Op::Function(function)))
        }
        _ if Reduction::from_name(operator).is_some() => {
            let reduction = Reduction::from_name(operator)?;
            site.first_input(|site| arithmetic::reduce(site, reduction))
        }
        "Flatten" => site.simple(shapes::flatten),
        "Reshape" => shapes::reshape(site),
        "Squeeze" => site.first_input(shapes::squeeze),
        "Unsqueeze" => site.first_input(shapes::unsqueeze),
        "Transpose" => site.simple(shapes::transpose),
        "Concat" => site.simple(shapes::concat),
        "Split" => shapes::split(site),
        "Slice" => site.first_input(shapes::slice),
        "Pad" => site.first_input(shapes::pad),
        "Identity" => site.simple(|_| Ok(Op::Identity)),
        "Dropout" => arithmetic::dropout(site),
        "Cast" => site.simple(arithmetic::cast),
        "QuantizeLinear" if site.opset >= 10 => quantize::quantize(site),
        "DequantizeLinear" if site.opset >= 10 => site.simple(quantize::dequantize),
        _ => return None,
    };
    Some(op)
}

impl<'a> Site<'a> {
    /// Reads a node that keeps all its inputs.
    fn simple(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Op, OpError>,
    ) -> Result<Reading, OpError> {
        let op = read(self)?;
        let inputs = (self.inputs.iter())
            .map(|v| v.ok_or(OpError::MissingInput { input: "tensor" }))
            .collect::<Result<_, _>>()?;
        Ok(Reading {
            op,
            inputs,
            declared: Vec::new(),
            zero_point: None,
            mask: None,
        })
    }

    /// Reads a node that keeps only its first input. The other inputs become fields.
    fn first_input(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Op, OpError>,
    ) -> Result<Reading, OpError> {
        let op = read(self)?;
        self.inputs.truncate(1);
        self.simple(|_| Ok(op))
    }

    /// Reads an operator that ONNX defines for any number of inputs and that has two here.
    fn two_inputs(&mut self, op: Op) -> Result<Reading, OpError> {
        match self.inputs.len() {
            2 => self.simple(|_| Ok(op)),
            found => Err(OpError::InputCount {
                expected: "2",
                found,
            }),
        }
    }

    /// Rejects more inputs than the opset defines.
    pub(super) fn at_most(&self, most: usize, expected: &'static str) -> Result<(), OpError> {
        match self.inputs.len() <= most {
            true => Ok(()),
            false => Err(OpError::InputCount {
                expected,
                found: self.inputs.len(),
            }),
        }
    }

    pub(super) fn value(&self, i: usize) -> Option<&'a Value> {
        let id = self.inputs.get(i).copied().flatten()?;
        Some(self.graph.value(id))
    }

    pub(super) fn shape(&self, i: usize, input: &'static str) -> Result<&'a [usize], OpError> {
        match self.value(i) {
            Some(value) => Ok(&value.shape),
            None => Err(OpError::MissingInput { input }),
        }
    }

    pub(super) fn rank(&self) -> Result<usize, OpError> {
        Ok(self.shape(0, "data")?.len())
    }

    /// An optional input that must be constant.
    pub(super) fn constant(
        &self,
        i: usize,
        input: &'static str,
    ) -> Result<Option<&'a Tensor>, OpError> {
        match self.value(i) {
            None => Ok(None),
            Some(value) => match &value.constant {
                Some(tensor) => Ok(Some(tensor)),
                None => Err(OpError::NotConstant {
                    input,
                    value: value.name.clone(),
                }),
            },
        }
    }

    /// Whether an input is a constant of zeros.
    pub(super) fn is_zero(&self, i: usize) -> bool {
        let constant = self.value(i).and_then(|value| value.constant.as_ref());
        constant.is_some_and(|tensor| match tensor.data() {
            TensorData::F32(v) => v.iter().all(|&x| x == 0.0),
            TensorData::F16(v) => v.iter().all(|x| x.to_f32() == 0.0),
            _ => false,
        })
    }

    /// An optional input that must be a constant list of integers.
    pub(super) fn integers(
        &self,
        i: usize,
        input: &'static str,
    ) -> Result<Option<Vec<i64>>, OpError> {
        let Some(tensor) = self.constant(i, input)? else {
            return Ok(None);
        };
        if tensor.shape().len() > 1 {
            return Err(OpError::Shape {
                input,
                found: tensor.shape().to_vec(),
                expected: "one axis".into(),
            });
        }
        match tensor.data() {
            TensorData::I64(v) => Ok(Some(v.clone())),
            TensorData::I32(v) => Ok(Some(v.iter().map(|&i| i.into()).collect())),
            _ => Err(OpError::ElementType {
                input,
                found: tensor.element_type(),
                expected: "int64",
            }),
        }
    }

    /// Integers that are an attribute before opset `since` and a constant input from that opset
    /// on.
    pub(super) fn attribute_or_input(
        &mut self,
        name: &'static str,
        since: i64,
        i: usize,
    ) -> Result<Option<Vec<i64>>, OpError> {
        match self.opset < since {
            true => self.attributes.ints(name),
            false => self.integers(i, name),
        }
    }

    /// An attribute's number, rounded to the type of the first input.
    pub(super) fn held(&self, number: f32) -> f32 {
        match self.value(0).map(|v| v.element_type) {
            Some(ElementType::F16) => f16::from_f32(number).to_f32(),
            _ => number,
        }
    }

    /// An optional constant with a single element, as f32.
    pub(super) fn scalar(&self, i: usize, input: &'static str) -> Result<Option<f32>, OpError> {
        let Some(tensor) = self.constant(i, input)? else {
            return Ok(None);
        };
        let exact = |v: i64| (v.unsigned_abs() <= 1 << 24).then_some(v as f32);
        let value = match tensor.data() {
            TensorData::F32(v) => v.first().copied(),
            TensorData::F16(v) => v.first().map(|v| v.to_f32()),
            TensorData::I64(v) => v.first().and_then(|&v| exact(v)),
            TensorData::I32(v) => v.first().and_then(|&v| exact(v.into())),
            TensorData::U8(v) => v.first().map(|&v| v.into()),
            TensorData::I8(v) => v.first().map(|&v| v.into()),
            TensorData::Bool(_) => None,
        };
        match value {
            Some(value) if tensor.len() == 1 => Ok(Some(value)),
            _ => Err(OpError::ConstantInput {
                input,
                found: tensor.tensor_type().to_string(),
                expected: "a single number that float32 can hold",
            }),
        }
    }
}

/// Converts a negative axis to a positive one.
pub(super) fn axis(axis: i64, shape: &[usize]) -> Result<usize, OpError> {
    let rank = shape.len() as i64;
    match (-rank..rank).contains(&axis) {
        true => Ok(axis.rem_euclid(rank) as usize),
        false => Err(OpError::Axis {
            axis,
            shape: shape.to_vec(),
        }),
    }
}

/// Converts several axes to positive ones, in ascending order.
pub(super) fn sorted_axes(given: &[i64], shape: &[usize]) -> Result<Vec<usize>, OpError> {
    let mut axes = (given.iter())
        .map(|&a| axis(a, shape))
        .collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(OpError::RepeatedAxis { axis: w[0] }),
        None => Ok(axes),
    }
}
