//! Operators that compute with quantized tensors, as ONNX Runtime's quantizer writes them in its
//! operator format: dequantized inputs, the operator in floats, and a quantized output. The compiler
//! turns such a pattern into integers again.

use super::{Composer, Source};
use crate::read::operators::{Site, arithmetic, axis, windows};
use crate::{Gemm, Op, OpError};

type Composed = Result<Source, OpError>;

/// The operators of ONNX Runtime's own domain, `com.microsoft`, that this module reads.
pub(crate) const OPERATORS: [&str; 7] = [
    "QGemm",
    "QLinearAdd",
    "QLinearConcat",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
];

/// The place of a scale, which a zero point follows.
struct Scaled {
    /// The value itself, then the scale and the zero point.
    inputs: [usize; 3],
    name: &'static str,
}

/// The float value of a quantized input, with one scale for each element of `axis`.
fn dequantized(c: &mut Composer<'_>, site: &Site<'_>, of: &Scaled, axis: usize) -> Composed {
    let mut inputs = vec![site.source(of.inputs[0], of.name)?];
    inputs.push(site.source(of.inputs[1], of.name)?);
    inputs.extend(site.optional(of.inputs[2]));
    c.node(Op::DequantizeLinear { axis }, &inputs)
}

/// Three inputs in a row.
fn triple(first: usize, name: &'static str) -> Scaled {
    Scaled {
        inputs: [first, first + 1, first + 2],
        name,
    }
}

/// The float value of an input with a single scale.
fn single(c: &mut Composer<'_>, site: &Site<'_>, of: &Scaled) -> Composed {
    let scale = site.shape(of.inputs[1], of.name)?;
    match scale.iter().product::<usize>() {
        1 => dequantized(c, site, of, 0),
        _ => Err(OpError::Shape {
            input: of.name,
            found: scale.to_vec(),
            expected: "a single scale".into(),
        }),
    }
}

/// Quantizes with the scale at an input and the zero point after it.
fn quantized(c: &mut Composer<'_>, site: &Site<'_>, y: Source, scale: usize) -> Composed {
    let mut inputs = vec![y, site.source(scale, "y_scale")?];
    inputs.extend(site.optional(scale + 1));
    c.node(Op::QuantizeLinear { axis: 0 }, &inputs)
}

/// An int32 bias, whose scale is the product of those of x and of the weights.
fn bias(c: &mut Composer<'_>, site: &Site<'_>, at: usize, scales: [usize; 2]) -> Composed {
    let factor = site.source(scales[0], "x_scale")?;
    let factor = c.reshape(factor, &[])?;
    let scale = site.source(scales[1], "w_scale")?;
    let scale = c.node(Op::Mul, &[factor, scale])?;
    let bias = site.source(at, "B")?;
    c.node(Op::DequantizeLinear { axis: 0 }, &[bias, scale])
}

/// x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, B.
pub(super) fn conv(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(9, "8 or 9")?;
    let shape = site.shape(0, "x")?;
    if shape.len() != 4 {
        return Err(OpError::Shape {
            input: "x",
            found: shape.to_vec(),
            expected: "(N, C, H, W)".into(),
        });
    }
    let x = single(c, site, &triple(0, "x"))?;
    let w = dequantized(c, site, &triple(3, "w"), 0)?;
    let mut inputs = vec![x, w];
    if site.optional(8).is_some() {
        inputs.push(bias(c, site, 8, [1, 4])?);
    }
    // The attributes are those of Conv, whose inputs are x and W.
    let all = std::mem::take(&mut site.inputs);
    site.inputs = vec![all[0], all[3]];
    let op = windows::conv(site);
    site.inputs = all;
    let y = c.node(op?, &inputs)?;
    quantized(c, site, y, 6)
}

/// a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.
pub(super) fn mat_mul(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    site.at_most(8, "8")?;
    let a = single(c, site, &triple(0, "a"))?;
    let columns = site.shape(3, "b")?.len().saturating_sub(1);
    let b = dequantized(c, site, &triple(3, "b"), columns)?;
    let y = c.node(Op::MatMul, &[a, b])?;
    quantized(c, site, y, 6)
}

/// Operators of ONNX Runtime's own domain.
pub(super) fn microsoft(c: &mut Composer<'_>, site: &mut Site<'_>, operator: &str) -> Composed {
    match operator {
        "QLinearAdd" => binary(c, site, Op::Add),
        "QLinearMul" => binary(c, site, Op::Mul),
        "QLinearConcat" => concat(c, site),
        "QLinearSigmoid" => unary(c, site, Op::Sigmoid),
        "QLinearLeakyRelu" => {
            let op = arithmetic::leaky_relu(site)?;
            unary(c, site, op)
        }
        "QLinearGlobalAveragePool" => match site.attributes.flag("channels_last", false)? {
            false => unary(c, site, Op::GlobalAveragePool),
            true => Err(OpError::Unsupported {
                feature: "channels_last",
            }),
        },
        _ => gemm(c, site),
    }
}

/// A, A_scale, A_zero_point, B, B_scale, B_zero_point, C_scale, C_zero_point.
fn binary(c: &mut Composer<'_>, site: &Site<'_>, op: Op) -> Composed {
    site.at_most(8, "7 or 8")?;
    let a = single(c, site, &triple(0, "A"))?;
    let b = single(c, site, &triple(3, "B"))?;
    let y = c.node(op, &[a, b])?;
    quantized(c, site, y, 6)
}

/// X, X_scale, X_zero_point, Y_scale, Y_zero_point.
fn unary(c: &mut Composer<'_>, site: &Site<'_>, op: Op) -> Composed {
    site.at_most(5, "4 or 5")?;
    let x = single(c, site, &triple(0, "X"))?;
    let y = c.then(op, x)?;
    quantized(c, site, y, 3)
}

/// Y_scale, Y_zero_point, and three inputs for each part.
fn concat(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let attribute = "axis";
    let given = (site.attributes.int(attribute)?).ok_or(OpError::MissingAttribute { attribute })?;
    let mut parts = Vec::new();
    for first in (2..site.inputs.len()).step_by(3) {
        parts.push(single(c, site, &triple(first, "inputs"))?);
    }
    let axis = axis(given, site.shape(2, "inputs")?)?;
    let y = c.node(Op::Concat { axis }, &parts)?;
    quantized(c, site, y, 0)
}

/// A, a_scale, a_zero_point, B, b_scale, b_zero_point, C, y_scale, y_zero_point.
fn gemm(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(9, "6 to 9")?;
    let alpha = site.attributes.float("alpha", 1.0)?;
    let gemm = Gemm {
        alpha,
        beta: 1.0,
        transpose_a: site.attributes.flag("transA", false)?,
        transpose_b: site.attributes.flag("transB", false)?,
    };
    let columns = usize::from(!gemm.transpose_b);
    let a = single(c, site, &triple(0, "A"))?;
    let b = dequantized(c, site, &triple(3, "B"), columns)?;
    let mut inputs = vec![a, b];
    if site.optional(6).is_some() {
        let bias = bias(c, site, 6, [1, 4])?;
        inputs.push(match alpha == 1.0 {
            true => bias,
            false => c.with(Op::Mul, bias, alpha)?,
        });
    }
    let y = c.node(Op::Gemm(gemm), &inputs)?;
    match site.optional(7) {
        Some(_) => quantized(c, site, y, 7),
        None => Ok(y),
    }
}
