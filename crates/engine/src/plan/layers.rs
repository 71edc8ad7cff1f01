//! A plan's steps, described for reports.

use serde::Serialize;

use super::{
    ConstantData, ConstantId, Epilogue, Operand, Operation, Plan, PlanPort, Reduction, Step,
};
use crate::bundle::row;
use crate::encoding;
use crate::{ElementType, Port};

/// One step of a plan, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The ONNX node (or nodes) that it comes from.
    pub name: String,
    /// The operation.
    pub operation: &'static str,
    /// Shapes of its inputs except constants, in memory order.
    pub inputs: Vec<Vec<usize>>,
    /// Shape of its output.
    pub output: Vec<usize>,
    /// The precision of its arithmetic, spelled as in a recipe, or the type of the elements
    /// that it moves.
    pub precision: &'static str,
    /// Multiplications of an input by a weight or by another input.
    pub multiply_adds: u64,
    /// Bytes of the constants that it multiplies by, without biases and scales.
    pub weight_bytes: usize,
    /// How an engine file stores the weights: `dense`, or the name of an encoding in
    /// docs/engine-file.md; absent without weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// Bytes of the weights in an engine file.
    pub stored_bytes: usize,
}

impl Plan {
    /// The layers of a valid plan, in the order in which they run.
    pub fn layers(&self) -> Vec<Layer> {
        self.steps.iter().map(|step| self.layer(step)).collect()
    }

    /// An input or output of a valid plan.
    pub fn port(&self, port: &PlanPort) -> Port {
        let (shape, element_type) = self.spec(port.operand);
        Port {
            name: port.name.clone(),
            shape: shape.to_vec(),
            element_type,
            layout: port.layout,
        }
    }

    fn layer(&self, step: &Step) -> Layer {
        let output = self.tensors[step.output.0].shape.clone();
        let elements = product(&output);
        let read = step.inputs.first().map(|&input| self.spec(input));
        let moved = match &step.operation {
            Operation::Quantize { .. }
            | Operation::DynamicQuantize
            | Operation::QuantizedAdd { .. } => self.tensors[step.output.0].element_type,
            _ => read.map_or(ElementType::F32, |(_, element_type)| element_type),
        };
        let weights = weights(&step.operation).map(|ConstantId(id)| &self.constants[id]);
        let (multiply_adds, weight_bytes) = match (&step.operation, weights, read) {
            // Weights are (units, ..); the weights of a unit are used for each of its outputs.
            (_, Some(weights), _) => {
                let units = weights
                    .shape
                    .first()
                    .map_or(1, |&units| units.max(1) as u64);
                let element = weights.data.element_type().size();
                (
                    elements.saturating_mul(product(&weights.shape) / units),
                    weights.data.len() * element,
                )
            }
            (Operation::MatMul, None, Some((shape, _))) => {
                let depth = shape.last().map_or(1, |&depth| depth as u64);
                (
                    elements.saturating_mul(depth),
                    self.constant_bytes(&step.inputs),
                )
            }
            _ => (0, 0),
        };
        let compressed = weights.and_then(|weights| match &weights.data {
            ConstantData::I8(data) => encoding::smallest(data, row(&weights.shape, data.len())),
            _ => None,
        });
        let dense = weights.map(|_| "dense");
        Layer {
            name: step.name.clone(),
            operation: name(&step.operation),
            inputs: self.read_at_run_time(&step.inputs),
            output,
            precision: match (&step.operation, weights) {
                (
                    Operation::QuantizedConv2d { finish, .. }
                    | Operation::QuantizedFullyConnected { finish, .. },
                    _,
                ) => match finish {
                    Epilogue::Dynamic { .. } => "int8-dynamic",
                    Epilogue::Int8 { .. } | Epilogue::Float { .. } => "int8",
                },
                (_, Some(weights)) => precision(weights.data.element_type()),
                (_, None) => precision(moved),
            },
            multiply_adds,
            weight_bytes,
            encoding: compressed.map_or(dense, |(encoding, _)| Some(encoding.name())),
            stored_bytes: compressed.map_or(weight_bytes, |(_, bytes)| bytes),
        }
    }

    fn read_at_run_time(&self, inputs: &[Operand]) -> Vec<Vec<usize>> {
        let tensors = inputs
            .iter()
            .filter(|input| matches!(input, Operand::Tensor(_)));
        tensors.map(|&input| self.spec(input).0.to_vec()).collect()
    }

    /// Number of bytes of the inputs that are constants.
    fn constant_bytes(&self, inputs: &[Operand]) -> usize {
        let constants = inputs.iter().filter_map(|input| match *input {
            Operand::Constant(ConstantId(id)) => Some(&self.constants[id].data),
            Operand::Tensor(_) => None,
        });
        constants
            .map(|data| data.len() * data.element_type().size())
            .sum()
    }
}

/// Number of elements.
fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}

fn weights(operation: &Operation) -> Option<ConstantId> {
    match operation {
        Operation::Conv2d { weights, .. }
        | Operation::FullyConnected { weights, .. }
        | Operation::QuantizedConv2d { weights, .. }
        | Operation::QuantizedFullyConnected { weights, .. } => Some(*weights),
        _ => None,
    }
}

fn precision(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::F32 => "fp32",
        ElementType::F16 => "fp16",
        ElementType::I64 => "int64",
        ElementType::I32 => "int32",
        ElementType::U8 => "uint8",
        ElementType::I8 => "int8",
        ElementType::Bool => "bool",
    }
}

fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Conv2d { .. } | Operation::QuantizedConv2d { .. } => "convolution",
        Operation::FullyConnected { .. } | Operation::QuantizedFullyConnected { .. } => {
            "fully connected"
        }
        Operation::MatMul => "matrix product",
        Operation::Unary { .. } => "activation",
        Operation::Binary { .. } | Operation::QuantizedAdd { .. } => "element by element",
        Operation::Affine { .. } => "scale and shift",
        Operation::Pool2d { .. } => "pooling",
        Operation::ReduceMean { .. } => "mean",
        Operation::Reduce { reduction, .. } => match reduction {
            Reduction::Sum => "sum",
            Reduction::Min => "minimum",
            Reduction::Max => "maximum",
        },
        Operation::Select => "selection",
        Operation::Gather { .. } => "gather",
        Operation::Softmax { .. } => "softmax",
        Operation::Concat { .. } => "concatenation",
        Operation::Slice { .. } => "slice",
        Operation::Pad { .. } => "padding",
        Operation::Transpose { .. } => "transposition",
        Operation::Reshape => "reshape",
        Operation::Cast => "cast",
        Operation::Quantize { .. } | Operation::DynamicQuantize => "quantize",
        Operation::Dequantize { .. } => "dequantize",
        Operation::Lookup { .. } => "table",
        Operation::DynamicScale => "range",
    }
}

#[cfg(test)]
mod tests;
