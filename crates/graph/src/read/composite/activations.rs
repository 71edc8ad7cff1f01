//! Element-wise functions in terms of simpler ones.

use super::{Composer, Source};
use crate::read::operators::Site;
use crate::{Comparison, Function, Op, OpError, TensorData};

type Composed = Result<Source, OpError>;

/// x * HardSigmoid(x)
pub(super) fn hard_swish(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    let (alpha, beta) = (site.held(1.0 / 6.0), 0.5);
    let gate = c.then(Op::HardSigmoid { alpha, beta }, x)?;
    c.node(Op::Mul, &[x, gate])
}

/// x * sigmoid(alpha * x)
pub(super) fn swish(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let alpha = site.attributes.float("alpha", 1.0)?;
    let x = site.only()?;
    let scaled = match alpha == 1.0 {
        true => x,
        false => c.with(Op::Mul, x, alpha)?,
    };
    let gate = c.then(Op::Sigmoid, scaled)?;
    c.node(Op::Mul, &[x, gate])
}

/// x * tanh(softplus(x))
pub(super) fn mish(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    let gate = c.then(Op::Softplus, x)?;
    let gate = c.then(Op::Tanh, gate)?;
    c.node(Op::Mul, &[x, gate])
}

/// x / 2 * (1 + erf(x / sqrt(2))), or its approximation with tanh.
pub(super) fn gelu(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let x = site.only()?;
    let gate = match site.attributes.string("approximate")?.as_deref() {
        None | Some("none") => {
            let scaled = c.with(Op::Mul, x, std::f32::consts::FRAC_1_SQRT_2)?;
            c.then(Op::Function(Function::Erf), scaled)?
        }
        Some("tanh") => {
            let square = c.node(Op::Mul, &[x, x])?;
            let cube = c.node(Op::Mul, &[square, x])?;
            let cube = c.with(Op::Mul, cube, 0.044_715)?;
            let sum = c.node(Op::Add, &[x, cube])?;
            let root = (2.0 / std::f64::consts::PI).sqrt() as f32;
            let scaled = c.with(Op::Mul, sum, root)?;
            c.then(Op::Tanh, scaled)?
        }
        Some(other) => {
            return Err(OpError::Attribute {
                attribute: "approximate",
                found: other.to_owned(),
                expected: "none or tanh",
            });
        }
    };
    let gate = c.with(Op::Add, gate, 1.0)?;
    let half = c.with(Op::Mul, x, 0.5)?;
    c.node(Op::Mul, &[half, gate])
}

/// alpha * Elu(x / alpha), which is x where x is positive.
pub(super) fn celu(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let alpha = site.attributes.float("alpha", 1.0)?;
    let x = site.only()?;
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(OpError::Attribute {
            attribute: "alpha",
            found: alpha.to_string(),
            expected: "a positive number",
        });
    }
    if alpha == 1.0 {
        return c.then(Op::Elu { alpha }, x);
    }
    let scaled = c.with(Op::Div, x, alpha)?;
    let curve = c.then(Op::Elu { alpha: 1.0 }, scaled)?;
    c.with(Op::Mul, curve, alpha)
}

/// gamma * Elu(x)
pub(super) fn selu(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    // The defaults are those of ONNX; the literals are the float32 numbers nearest to them.
    let alpha = site.attributes.float("alpha", 1.673_263_2)?;
    let gamma = site.attributes.float("gamma", 1.050_701)?;
    let x = site.only()?;
    let curve = c.then(Op::Elu { alpha }, x)?;
    if !gamma.is_finite() {
        return Err(OpError::Attribute {
            attribute: "gamma",
            found: gamma.to_string(),
            expected: "a finite number",
        });
    }
    c.with(Op::Mul, curve, gamma)
}

/// LeakyRelu with a slope for each element or channel: relu(x) + slope * min(x, 0).
pub(super) fn prelu(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let (x, slope) = (site.source(0, "X")?, site.source(1, "slope")?);
    let single = (site.value(1)).is_some_and(|slope| slope.shape.iter().product::<usize>() == 1);
    if single && let Ok(Some(alpha)) = site.scalar(1, "slope") {
        return c.then(Op::LeakyRelu { alpha }, x);
    }
    let above = c.then(Op::Relu, x)?;
    let (min, max) = (f32::NEG_INFINITY, 0.0);
    let below = c.then(Op::Clip { min, max }, x)?;
    let below = c.node(Op::Mul, &[below, slope])?;
    c.node(Op::Add, &[above, below])
}

/// x above alpha, 0 elsewhere.
pub(super) fn thresholded_relu(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let alpha = site.attributes.float("alpha", 1.0)?;
    let x = site.only()?;
    let limit = c.number(x, alpha)?;
    let above = c.node(Op::Compare(Comparison::Greater), &[x, limit])?;
    let zero = c.number(x, 0.0)?;
    c.node(Op::Where, &[above, x, zero])
}

/// x - bias above lambd, x + bias below -lambd, 0 between.
pub(super) fn shrink(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let limit = site.attributes.float("lambd", 0.5)?;
    let bias = site.attributes.float("bias", 0.0)?;
    let x = site.only()?;
    let mut result = c.number(x, 0.0)?;
    for (comparison, sign) in [(Comparison::Greater, 1.0), (Comparison::Less, -1.0)] {
        let limit = c.number(x, sign * limit)?;
        let outside = c.node(Op::Compare(comparison), &[x, limit])?;
        let nearer = c.with(Op::Sub, x, sign * bias)?;
        result = c.node(Op::Where, &[outside, nearer, result])?;
    }
    Ok(result)
}

pub(super) fn negative(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    c.with(Op::Mul, x, -1.0)
}

pub(super) fn reciprocal(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    let x = site.only()?;
    let one = c.number(x, 1.0)?;
    c.node(Op::Div, &[one, x])
}

/// Powers that multiplication or a root compute, and exponents of another type than the base.
/// `None` for all others, which are one node.
pub(super) fn power(c: &mut Composer<'_>, site: &Site<'_>) -> Option<Result<Vec<Source>, OpError>> {
    if site.inputs.len() != 2 {
        return None;
    }
    let (x, exponent) = (site.optional(0)?, site.optional(1)?);
    let to = c.of(x).element_type;
    let single = site.value(1)?.shape.is_empty() || site.value(1)?.shape == [1];
    let constant = match site.scalar(1, "Y") {
        Ok(Some(exponent)) if single && to.is_float() => Some(exponent),
        _ => None,
    };
    let grows = c.of(x).shape.len() < site.value(1)?.shape.len();
    let result = match constant {
        _ if grows => return cast_exponent(c, site, x, exponent),
        Some(1.0) => c.then(Op::Identity, x),
        Some(2.0) => c.node(Op::Mul, &[x, x]),
        Some(3.0) => (c.node(Op::Mul, &[x, x])).and_then(|square| c.node(Op::Mul, &[square, x])),
        Some(0.5) => c.then(Op::Function(Function::Sqrt), x),
        Some(-1.0) => (c.number(x, 1.0)).and_then(|one| c.node(Op::Div, &[one, x])),
        _ => return cast_exponent(c, site, x, exponent),
    };
    Some(result.map(|result| vec![result]))
}

fn cast_exponent(
    c: &mut Composer<'_>,
    site: &Site<'_>,
    x: Source,
    exponent: Source,
) -> Option<Result<Vec<Source>, OpError>> {
    let (from, to) = (c.of(exponent).element_type, c.of(x).element_type);
    if from == to {
        return None;
    }
    if from.is_float()
        && !to.is_float()
        && let Err(error) = whole(site)
    {
        return Some(Err(error));
    }
    let cast = c.then(Op::Cast { to }, exponent);
    let result = cast.and_then(|exponent| c.node(Op::Pow, &[x, exponent]));
    Some(result.map(|result| vec![result]))
}

/// Refuses a float exponent of integers that is not a constant of whole numbers: ONNX computes
/// such a power in float, but the exponent is cast to the integers' type here.
fn whole(site: &Site<'_>) -> Result<(), OpError> {
    let input = "Y";
    let exponent = (site.constant(1, input)?).ok_or(OpError::MissingInput { input })?;
    let exponents = floats(exponent.data()).unwrap_or_default();
    // Every type of integers holds 127, and larger powers only of 0, 1 and -1.
    let is_whole = |e: f32| e.fract() == 0.0 && e.abs() <= 127.0;
    match exponents.iter().find(|&&e| !is_whole(e)) {
        None => Ok(()),
        Some(wrong) => Err(OpError::ConstantInput {
            input,
            found: wrong.to_string(),
            expected: "whole numbers up to 127 as exponents of integers",
        }),
    }
}

/// The elements of a constant as f32, with its shape.
pub(super) fn floats(data: &TensorData) -> Option<Vec<f32>> {
    match data {
        TensorData::F32(v) => Some(v.clone()),
        TensorData::F16(v) => Some(v.iter().map(|x| x.to_f32()).collect()),
        _ => None,
    }
}
