use super::{Reading, Site, axis, sorted_axes};
use crate::onnx::data_type;
use crate::read::types::{element_type, type_name};
use crate::{ElementType, Gemm, Op, OpError, Reduction};

pub(super) fn gemm(site: &mut Site<'_>) -> Result<Op, OpError> {
    Ok(Op::Gemm(Gemm {
        alpha: site.attributes.float("alpha", 1.0)?,
        beta: site.attributes.float("beta", 1.0)?,
        transpose_a: site.attributes.flag("transA", false)?,
        transpose_b: site.attributes.flag("transB", false)?,
    }))
}

pub(in crate::read) fn batch_normalization(site: &mut Site<'_>) -> Result<Op, OpError> {
    site.attributes.ignore("momentum");
    // Before opset 14, the number of outputs determines whether the node is for training.
    if site.opset >= 14 && site.attributes.flag("training_mode", false)? || site.outputs.len() > 1 {
        return Err(OpError::Unsupported {
            feature: "training",
        });
    }
    Ok(Op::BatchNormalization {
        epsilon: site.attributes.float("epsilon", 1e-5)?,
    })
}

pub(in crate::read) fn leaky_relu(site: &mut Site<'_>) -> Result<Op, OpError> {
    let alpha = site.attributes.float("alpha", 0.01)?;
    Ok(Op::LeakyRelu { alpha })
}

pub(super) fn elu(site: &mut Site<'_>) -> Result<Op, OpError> {
    let alpha = site.attributes.float("alpha", 1.0)?;
    Ok(Op::Elu { alpha })
}

pub(super) fn hard_sigmoid(site: &mut Site<'_>) -> Result<Op, OpError> {
    Ok(Op::HardSigmoid {
        alpha: site.attributes.float("alpha", 0.2)?,
        beta: site.attributes.float("beta", 0.5)?,
    })
}

/// Limits are attributes before opset 11, and inputs from opset 11 on.
pub(super) fn clip(site: &mut Site<'_>) -> Result<Op, OpError> {
    let (min, max) = match site.opset {
        ..11 => {
            site.at_most(1, "1")?;
            let min = site.attributes.float("min", f32::NEG_INFINITY)?;
            let max = site.attributes.float("max", f32::INFINITY)?;
            (site.held(min), site.held(max))
        }
        _ => {
            site.at_most(3, "1 to 3")?;
            let min = site.scalar(1, "min")?.unwrap_or(f32::NEG_INFINITY);
            (min, site.scalar(2, "max")?.unwrap_or(f32::INFINITY))
        }
    };
    Ok(Op::Clip { min, max })
}

/// Before opset 13, softmax is over all axes from `axis` on.
pub(in crate::read) fn softmax(site: &mut Site<'_>) -> Result<Op, OpError> {
    let given = site.attributes.int("axis")?;
    let shape = site.shape(0, "input")?;
    let old = site.opset < 13;
    let axis = axis(given.unwrap_or(if old { 1 } else { -1 }), shape)?;
    // Trailing axes of size 1 make no difference.
    let together = old && shape[axis + 1..].iter().any(|&d| d != 1);
    let end_axis = if together { shape.len() } else { axis + 1 };
    Ok(Op::Softmax { axis, end_axis })
}

/// Axes are an attribute before opset 18 (ReduceSum: 13), and an input from then on.
pub(in crate::read) fn reduced_axes(
    site: &mut Site<'_>,
    since: i64,
) -> Result<(Vec<usize>, bool), OpError> {
    site.at_most(
        if site.opset < since { 1 } else { 2 },
        "1, or 2 from opset 18 (ReduceSum: 13) on",
    )?;
    let given = (site.attribute_or_input("axes", since, 1)?).unwrap_or_default();
    let keep_dims = site.attributes.flag("keepdims", true)?;
    let none_is_none =
        site.opset >= since && site.attributes.flag("noop_with_empty_axes", false)?;
    let shape = site.shape(0, "data")?;
    let axes = match given.is_empty() {
        true if none_is_none => Vec::new(),
        true => (0..shape.len()).collect(),
        false => sorted_axes(&given, shape)?,
    };
    Ok((axes, keep_dims))
}

pub(super) fn reduce(site: &mut Site<'_>, reduction: Reduction) -> Result<Op, OpError> {
    let since = if reduction == Reduction::Sum { 13 } else { 18 };
    let (axes, keep_dims) = reduced_axes(site, since)?;
    if axes.is_empty() {
        return Ok(Op::Identity);
    }
    Ok(Op::Reduce {
        reduction,
        axes,
        keep_dims,
    })
}

/// The ratio is an attribute before opset 12, and an input from opset 12 on. It has no effect at
/// inference.
pub(super) fn dropout(site: &mut Site<'_>) -> Result<Reading, OpError> {
    if site.opset < 12 {
        site.attributes.ignore("ratio");
    } else {
        site.attributes.ignore("seed");
        let trains = match site.constant(2, "training_mode")? {
            Some(tensor) => tensor.as_bool().is_none_or(|v| v.contains(&true)),
            None => false,
        };
        if trains {
            return Err(OpError::Unsupported {
                feature: "training",
            });
        }
        site.at_most(3, "1 to 3")?;
    }
    let mask = site.shape(0, "data")?.to_vec();
    let reading = site.first_input(|_| Ok(Op::Identity))?;
    Ok(Reading {
        mask: Some(mask),
        ..reading
    })
}

pub(super) fn cast(site: &mut Site<'_>) -> Result<Op, OpError> {
    // Both apply to 8-bit floats only.
    site.attributes.ignore("saturate");
    site.attributes.ignore("round_mode");
    let to = (site.attributes.int("to")?).ok_or(OpError::MissingAttribute { attribute: "to" })?;
    let onnx = i32::try_from(to).unwrap_or(-1);
    match element_type(onnx) {
        Some(to) => Ok(Op::Cast { to }),
        // As float64 constants are.
        None if onnx == data_type::DOUBLE => Ok(Op::Cast {
            to: ElementType::F32,
        }),
        None => Err(OpError::Attribute {
            attribute: "to",
            found: type_name(onnx),
            expected: "float32, float16, int64, int32, uint8, int8 or bool",
        }),
    }
}

/// How CumSum adds.
pub(in crate::read) struct Cumulative {
    pub axis: usize,
    /// Without the element itself.
    pub exclusive: bool,
    /// From the end.
    pub reverse: bool,
}

impl Cumulative {
    pub(in crate::read) fn read(site: &mut Site<'_>, shape: &[usize]) -> Result<Self, OpError> {
        site.at_most(2, "2")?;
        let input = "axis";
        let given = (site.scalar(1, input)?).ok_or(OpError::MissingInput { input })?;
        Ok(Self {
            axis: axis(given as i64, shape)?,
            exclusive: site.attributes.flag("exclusive", false)?,
            reverse: site.attributes.flag("reverse", false)?,
        })
    }
}
