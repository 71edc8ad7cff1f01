//! Operators that are read as several nodes. ONNX defines most of them by such a decomposition
//! (onnx/docs/Operators.md, "Function Body"); the others move or repeat elements.

mod activations;
mod attention;
mod einsum;
mod emit;
mod logic;
mod movement;
mod normalization;
mod one_hot;
mod quantized;
mod recurrent;
mod reductions;
mod resize;
mod rotary;
mod sampling;
mod selection;
mod transposed;
mod volumes;
mod windows;

use half::f16;

use super::operators::Site;
use crate::{ElementType, Graph, Op, OpError, Tensor, TensorData, TensorType, ValueId};

/// The operators that always become nodes of other operators.
#[cfg(test)]
pub(crate) const OPERATORS: &[&str] = &[
    "And",
    "ArgMax",
    "ArgMin",
    "Attention",
    "Celu",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "Einsum",
    "Expand",
    "GRU",
    "GatherElements",
    "GatherND",
    "Gelu",
    "GlobalMaxPool",
    "GridSample",
    "GroupNormalization",
    "HardSwish",
    "Hardmax",
    "InstanceNormalization",
    "IsNaN",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LogSoftmax",
    "LpNormalization",
    "Mean",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "QLinearConv",
    "QLinearMatMul",
    "RMSNormalization",
    "RNN",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "Resize",
    "ReverseSequence",
    "RotaryEmbedding",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "SpaceToDepth",
    "Sum",
    "Swish",
    "ThresholdedRelu",
    "Tile",
    "Trilu",
    "Upsample",
    "Xor",
];

/// A value while nodes are added: a value of the graph, or an index in a [`Recipe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Value(ValueId),
    Constant(usize),
    Part(usize),
}

/// One node of a decomposition. It has one output.
pub(super) struct Part {
    pub op: Op,
    pub inputs: Vec<Source>,
    pub of: TensorType,
}

/// The nodes that an operator is read as.
pub(super) struct Recipe {
    pub constants: Vec<Tensor>,
    pub parts: Vec<Part>,
    /// The operator's outputs.
    pub results: Vec<Source>,
}

/// Adds nodes and infers their types.
pub(super) struct Composer<'a> {
    graph: &'a Graph,
    constants: Vec<Tensor>,
    parts: Vec<Part>,
    /// Indices of all Gather nodes so far.
    indices: usize,
    /// The most indices.
    max_elements: usize,
}

/// Whether the number of an operator's nodes grows with a size in the file.
pub(super) fn unrolls(operator: &str) -> bool {
    recurrent::OPERATORS.contains(&operator)
}

/// Whether an operator of ONNX Runtime's own domain, `com.microsoft`, is read.
pub(super) fn reads_microsoft(operator: &str) -> bool {
    quantized::OPERATORS.contains(&operator)
}

/// Reads an operator as several nodes. `None` if it is another operator, or if it is this
/// operator in a form that is one node.
pub(super) fn read(operator: &str, site: &mut Site<'_>) -> Option<Result<Recipe, OpError>> {
    let mut composer = Composer {
        graph: site.graph,
        constants: Vec::new(),
        parts: Vec::new(),
        indices: 0,
        max_elements: site.max_elements,
    };
    let results = compose(operator, &mut composer, site)?;
    Some(results.map(|results| Recipe {
        constants: composer.constants,
        parts: composer.parts,
        results,
    }))
}

fn compose(
    operator: &str,
    c: &mut Composer<'_>,
    site: &mut Site<'_>,
) -> Option<Result<Vec<Source>, OpError>> {
    let rank = site.value(0).map(|value| value.shape.len());
    let one = match operator {
        "And" | "Or" | "Xor" => logic::of_two(c, site, operator),
        "ArgMax" => reductions::arg(c, site, true),
        "ArgMin" => reductions::arg(c, site, false),
        "AveragePool" | "MaxPool" if rank == Some(3) => windows::pool(c, site, operator),
        "AveragePool" | "MaxPool" if rank == Some(5) => volumes::pool(c, site, operator),
        "BatchNormalization" => normalization::batch(c, site)?,
        "Conv" if rank == Some(3) => windows::conv(c, site),
        "Conv" if rank == Some(5) => volumes::conv(c, site),
        "GlobalAveragePool" if rank != Some(4) => windows::global(c, site, operator),
        "GlobalMaxPool" => windows::global(c, site, operator),
        "ConvTranspose" => transposed::conv_transpose(c, site),
        "CumSum" if site.opset >= 11 => reductions::cumulative_sum(c, site),
        "DepthToSpace" => movement::depth_to_space(c, site),
        "SpaceToDepth" => movement::space_to_depth(c, site),
        "Expand" => movement::expand(c, site),
        "Gather" if is_constant(site, 1) => movement::gather(c, site),
        "Gather" => one_hot::gather(c, site),
        "GatherElements" if site.opset >= 11 && is_constant(site, 1) => {
            selection::gather_elements(c, site)
        }
        "GatherElements" if site.opset >= 11 => one_hot::gather_elements(c, site),
        "GatherND" if site.opset >= 11 => selection::gather_nd(c, site),
        "GridSample" if site.opset >= 16 => sampling::grid_sample(c, site),
        "Hardmax" => one_hot::hardmax(c, site),
        "IsNaN" => logic::is_nan(c, site),
        "LRN" => normalization::local_response(c, site),
        "Not" => logic::not(c, site),
        "OneHot" => one_hot::one_hot(c, site),
        "ReverseSequence" if site.opset >= 10 => movement::reverse_sequence(c, site),
        "ScatterElements" if site.opset >= 11 => selection::scatter_elements(c, site),
        "ScatterND" if site.opset >= 11 => selection::scatter_nd(c, site),
        "Shrink" => activations::shrink(c, site),
        "ThresholdedRelu" if site.opset >= 10 => activations::thresholded_relu(c, site),
        "Tile" => movement::tile(c, site),
        "Trilu" if site.opset >= 14 => logic::triangle(c, site),
        "Resize" if site.opset >= 10 => resize::resize(c, site),
        "Upsample" if site.opset < 10 => resize::upsample(c, site),
        "Celu" if site.opset >= 12 => activations::celu(c, site),
        "Gelu" if site.opset >= 20 => activations::gelu(c, site),
        "Attention" if site.opset >= 23 => return Some(attention::attention(c, site)),
        "Einsum" if site.opset >= 12 => einsum::einsum(c, site),
        "HardSwish" if site.opset >= 14 => activations::hard_swish(c, site),
        "Mish" if site.opset >= 18 => activations::mish(c, site),
        "Neg" => activations::negative(c, site),
        "PRelu" => activations::prelu(c, site),
        "Pow" => return activations::power(c, site),
        "Reciprocal" => activations::reciprocal(c, site),
        "Swish" if site.opset >= 24 => activations::swish(c, site),
        "RMSNormalization" if site.opset >= 23 => normalization::root_mean_square(c, site),
        "RotaryEmbedding" if site.opset >= 23 => rotary::rotary_embedding(c, site),
        "QLinearConv" if site.opset >= 10 => quantized::conv(c, site),
        "QLinearMatMul" if site.opset >= 10 => quantized::mat_mul(c, site),
        _ if reads_microsoft(operator) => quantized::microsoft(c, site, operator),
        "Selu" => activations::selu(c, site),
        "Max" | "Mean" | "Min" | "Sum" if operator == "Mean" || site.inputs.len() != 2 => {
            reductions::variadic(c, site, operator)
        }
        "Sum" => reductions::variadic(c, site, operator),
        "LogSoftmax" => reductions::log_softmax(c, site),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceSumSquare" => {
            reductions::reduce(c, site, operator)
        }
        "GroupNormalization" if site.opset >= 18 => normalization::group(c, site),
        "InstanceNormalization" => normalization::instance(c, site),
        _ if unrolls(operator) => return Some(recurrent::layer(c, site, operator)),
        "LayerNormalization" if site.opset >= 17 => {
            return Some(normalization::layer(c, site));
        }
        "LpNormalization" => normalization::lp(c, site),
        "MeanVarianceNormalization" => normalization::mean_variance(c, site),
        _ => return None,
    };
    Some(one.map(|result| vec![result]))
}

/// Whether an input is a constant, or missing.
fn is_constant(site: &Site<'_>, i: usize) -> bool {
    site.value(i).is_none_or(|value| value.constant.is_some())
}

/// Gather of a constant by constant indices. `None` if one of them is not a constant.
pub(super) fn gather_of_constant(site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    movement::of_constant(site)
}

impl Composer<'_> {
    /// Adds a node.
    fn node(&mut self, op: Op, inputs: &[Source]) -> Result<Source, OpError> {
        self.shaped(op, inputs, &[])
    }

    /// Adds a node with one input.
    fn then(&mut self, op: Op, input: Source) -> Result<Source, OpError> {
        self.shaped(op, &[input], &[])
    }

    /// Adds a Reshape, unless the input has the shape.
    fn reshape(&mut self, input: Source, shape: &[usize]) -> Result<Source, OpError> {
        match self.of(input).shape == shape {
            true => Ok(input),
            false => self.shaped(Op::Reshape, &[input], &[shape.to_vec()]),
        }
    }

    fn shaped(
        &mut self,
        op: Op,
        inputs: &[Source],
        declared: &[Vec<usize>],
    ) -> Result<Source, OpError> {
        let types: Vec<TensorType> = inputs.iter().map(|&input| self.of(input)).collect();
        let of = op.output_types(&types, declared)?;
        let [of] = <[TensorType; 1]>::try_from(of).map_err(|of| OpError::OutputCount {
            expected: "1",
            found: of.len(),
        })?;
        if let Op::Gather { indices, .. } = &op {
            self.indices = self.indices.saturating_add(indices.len());
            if self.indices > self.max_elements {
                return Err(OpError::TooLarge { shape: of.shape });
            }
        }
        self.parts.push(Part {
            op,
            inputs: inputs.to_vec(),
            of,
        });
        Ok(Source::Part(self.parts.len() - 1))
    }

    /// Element type and shape.
    fn of(&self, source: Source) -> TensorType {
        match source {
            Source::Value(id) => self.graph.value(id).tensor_type(),
            Source::Constant(i) => self.constants[i].tensor_type(),
            Source::Part(i) => self.parts[i].of.clone(),
        }
    }

    fn shape(&self, source: Source) -> Vec<usize> {
        self.of(source).shape
    }

    fn constant(&mut self, tensor: Tensor) -> Source {
        self.constants.push(tensor);
        Source::Constant(self.constants.len() - 1)
    }

    /// A constant of the element type of `like`.
    fn numbers(
        &mut self,
        like: Source,
        shape: &[usize],
        numbers: Vec<f32>,
    ) -> Result<Source, OpError> {
        let element_type = self.of(like).element_type;
        let data: TensorData = match element_type {
            ElementType::F32 => numbers.into(),
            ElementType::F16 => (numbers.into_iter())
                .map(f16::from_f32)
                .collect::<Vec<_>>()
                .into(),
            ElementType::I64 => (numbers.into_iter())
                .map(|x| x as i64)
                .collect::<Vec<_>>()
                .into(),
            ElementType::I32 => (numbers.into_iter())
                .map(|x| x as i32)
                .collect::<Vec<_>>()
                .into(),
            ElementType::U8 | ElementType::I8 | ElementType::Bool => {
                return Err(OpError::ElementType {
                    input: "tensor",
                    found: element_type,
                    expected: "float32, float16, int64 or int32",
                });
            }
        };
        let tensor = Tensor::new(shape, data).map_err(|e| OpError::TooLarge { shape: e.shape })?;
        Ok(self.constant(tensor))
    }

    fn float32(&mut self, shape: &[usize], numbers: Vec<f32>) -> Result<Source, OpError> {
        let tensor =
            Tensor::new(shape, numbers).map_err(|e| OpError::TooLarge { shape: e.shape })?;
        Ok(self.constant(tensor))
    }

    /// A constant without axes of the element type of `like`.
    fn number(&mut self, like: Source, number: f32) -> Result<Source, OpError> {
        self.numbers(like, &[], vec![number])
    }

    /// `op` of `input` and a number.
    fn with(&mut self, op: Op, input: Source, number: f32) -> Result<Source, OpError> {
        let number = self.number(input, number)?;
        self.node(op, &[input, number])
    }
}

impl Site<'_> {
    /// An input that the operator requires.
    fn source(&self, i: usize, input: &'static str) -> Result<Source, OpError> {
        let id = self.inputs.get(i).copied().flatten();
        id.map(Source::Value).ok_or(OpError::MissingInput { input })
    }

    /// An input that may be omitted.
    fn optional(&self, i: usize) -> Option<Source> {
        self.inputs.get(i).copied().flatten().map(Source::Value)
    }

    /// The only input.
    fn only(&self) -> Result<Source, OpError> {
        self.at_most(1, "1")?;
        self.source(0, "X")
    }
}
