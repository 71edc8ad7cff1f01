//! Normalizations: (x - mean) / sqrt(variance + epsilon) * scale + bias, over different axes.

use super::reductions::reduced;
use super::{Composer, Source};
use crate::read::operators::{Site, arithmetic, axis, sorted_axes};
use crate::{Comparison, Function, Op, OpError, Pool, Reduction, TensorType};

type Composed = Result<Source, OpError>;

/// The normalized x, and the mean and the inverse standard deviation that it is normalized with.
fn normalized(
    c: &mut Composer<'_>,
    x: Source,
    axes: &[usize],
    epsilon: f32,
) -> Result<[Source; 3], OpError> {
    if !epsilon.is_finite() {
        return Err(OpError::Attribute {
            attribute: "epsilon",
            found: epsilon.to_string(),
            expected: "a finite number",
        });
    }
    let mean = reduced(c, Reduction::Mean, x, axes, true)?;
    let centered = c.node(Op::Sub, &[x, mean])?;
    let square = c.node(Op::Mul, &[centered, centered])?;
    let variance = reduced(c, Reduction::Mean, square, axes, true)?;
    let variance = c.with(Op::Add, variance, epsilon)?;
    let deviation = c.then(Op::Function(Function::Sqrt), variance)?;
    let one = c.number(x, 1.0)?;
    let inverse = c.node(Op::Div, &[one, deviation])?;
    let result = c.node(Op::Mul, &[centered, inverse])?;
    Ok([result, mean, inverse])
}

/// Over all axes from `axis` on. The second and third output are the mean and the inverse
/// standard deviation.
pub(super) fn layer(c: &mut Composer<'_>, site: &mut Site<'_>) -> Result<Vec<Source>, OpError> {
    site.at_most(3, "2 or 3")?;
    let given = site.attributes.int("axis")?.unwrap_or(-1);
    let epsilon = site.attributes.float("epsilon", 1e-5)?;
    // The type that the mean is computed in; it is the type of x here.
    site.attributes.ignore("stash_type");
    let (x, scale) = (site.source(0, "X")?, site.source(1, "Scale")?);
    let shape = c.shape(x);
    let first = axis(given, &shape)?;
    let axes: Vec<usize> = (first..shape.len()).collect();
    let [mut y, mean, inverse] = normalized(c, x, &axes, epsilon)?;
    y = c.node(Op::Mul, &[y, scale])?;
    if let Some(bias) = site.optional(2) {
        y = c.node(Op::Add, &[y, bias])?;
    }
    match c.shape(y) == shape {
        true => Ok(vec![y, mean, inverse]),
        false => Err(OpError::Shape {
            input: "Scale or B",
            found: c.shape(scale),
            expected: format!("broadcastable to {:?}", &shape[first..]),
        }),
    }
}

/// x / sqrt(mean(x^2) + epsilon) * scale, over all axes from `axis` on.
pub(super) fn root_mean_square(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(-1);
    let epsilon = site.attributes.float("epsilon", 1e-5)?;
    // The type that the mean is computed in; it is the type of x here.
    site.attributes.ignore("stash_type");
    let (x, scale) = (site.source(0, "X")?, site.source(1, "scale")?);
    let shape = c.shape(x);
    let first = axis(given, &shape)?;
    let axes: Vec<usize> = (first..shape.len()).collect();
    let square = c.node(Op::Mul, &[x, x])?;
    let mean = reduced(c, Reduction::Mean, square, &axes, true)?;
    let mean = c.with(Op::Add, mean, epsilon)?;
    let root = c.then(Op::Function(Function::Sqrt), mean)?;
    let y = c.node(Op::Div, &[x, root])?;
    let y = c.node(Op::Mul, &[y, scale])?;
    match c.shape(y) == shape {
        true => Ok(y),
        false => Err(OpError::Shape {
            input: "scale",
            found: c.shape(scale),
            expected: format!("broadcastable to {:?}", &shape[first..]),
        }),
    }
}

/// BatchNormalization whose statistics or weights are computed: exporters write it for the layer
/// normalization of some frameworks. `None` if all of them are constants.
pub(super) fn batch(c: &mut Composer<'_>, site: &mut Site<'_>) -> Option<Composed> {
    let computed = |i: usize| site.value(i).is_some_and(|value| value.constant.is_none());
    (1..5).any(computed).then(|| computed_batch(c, site))
}

fn computed_batch(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(5, "5")?;
    let op = arithmetic::batch_normalization(site)?;
    let inputs = [
        (0, "X"),
        (1, "scale"),
        (2, "B"),
        (3, "input_mean"),
        (4, "input_var"),
    ];
    let mut sources = Vec::new();
    for (i, input) in inputs {
        sources.push(site.source(i, input)?);
    }
    // Checks the shapes.
    let types: Vec<TensorType> = sources.iter().map(|&source| c.of(source)).collect();
    op.output_types(&types, &[])?;
    let Op::BatchNormalization { epsilon } = op else {
        return c.node(op, &sources);
    };
    let mut along = vec![1; types[0].shape.len() - 1];
    along[0] = types[0].shape[1];
    let variance = c.with(Op::Add, sources[4], epsilon)?;
    let deviation = c.then(Op::Function(Function::Sqrt), variance)?;
    let factor = c.node(Op::Div, &[sources[1], deviation])?;
    let factor = c.reshape(factor, &along)?;
    let mean = c.reshape(sources[3], &along)?;
    let bias = c.reshape(sources[2], &along)?;
    let centered = c.node(Op::Sub, &[sources[0], mean])?;
    let scaled = c.node(Op::Mul, &[centered, factor])?;
    c.node(Op::Add, &[scaled, bias])
}

/// `y * scale + bias`, with scale and bias along axis 1 of `y`.
fn scaled(c: &mut Composer<'_>, y: Source, site: &Site<'_>) -> Composed {
    let shape = c.shape(y);
    let mut along = vec![1; shape.len().saturating_sub(1)];
    if let (Some(first), Some(&channels)) = (along.first_mut(), shape.get(1)) {
        *first = channels;
    }
    let scale = site.source(1, "scale")?;
    let scale = c.reshape(scale, &along)?;
    let bias = site.source(2, "B")?;
    let bias = c.reshape(bias, &along)?;
    let y = c.node(Op::Mul, &[y, scale])?;
    c.node(Op::Add, &[y, bias])
}

fn channels(shape: &[usize], input: &'static str) -> Result<[usize; 2], OpError> {
    match *shape {
        [n, channels, _, ..] => Ok([n, channels]),
        _ => Err(OpError::Shape {
            input,
            found: shape.to_vec(),
            expected: "(N, C, D1, ...)".into(),
        }),
    }
}

/// Over all axes after the channels.
pub(super) fn instance(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "3")?;
    let epsilon = site.attributes.float("epsilon", 1e-5)?;
    let x = site.source(0, "input")?;
    let shape = c.shape(x);
    channels(&shape, "input")?;
    let axes: Vec<usize> = (2..shape.len()).collect();
    let [y, ..] = normalized(c, x, &axes, epsilon)?;
    scaled(c, y, site)
}

/// Over the channels of a group and all axes after them. Scale and bias have one element for each
/// group before opset 21, and one for each channel from opset 21 on.
pub(super) fn group(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "3")?;
    let epsilon = site.attributes.float("epsilon", 1e-5)?;
    let attribute = "num_groups";
    let given = (site.attributes.int(attribute)?).ok_or(OpError::MissingAttribute { attribute })?;
    site.attributes.ignore("stash_type");
    let x = site.source(0, "X")?;
    let shape = c.shape(x);
    let [n, channels] = channels(&shape, "X")?;
    let groups = usize::try_from(given)
        .ok()
        .filter(|&groups| groups > 0 && channels > 0 && channels % groups == 0)
        .ok_or_else(|| OpError::Attribute {
            attribute,
            found: given.to_string(),
            expected: "a divisor of the number of channels",
        })?;
    let each = channels / groups * shape[2..].iter().product::<usize>();
    let grouped = c.reshape(x, &[n, groups, each])?;
    let [mut y, ..] = normalized(c, grouped, &[2], epsilon)?;
    if site.opset >= 21 {
        y = c.reshape(y, &shape)?;
        return scaled(c, y, site);
    }
    y = scaled(c, y, site)?;
    c.reshape(y, &shape)
}

/// x divided by its norm along an axis; 0 where the norm is 0.
pub(super) fn lp(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let given = site.attributes.int("axis")?.unwrap_or(-1);
    let p = site.attributes.int("p")?.unwrap_or(2);
    let x = site.only()?;
    let axes = [axis(given, &c.shape(x))?];
    let norm = match p {
        1 => {
            let x = c.then(Op::Function(Function::Abs), x)?;
            reduced(c, Reduction::Sum, x, &axes, true)?
        }
        2 => {
            let square = c.node(Op::Mul, &[x, x])?;
            let sum = reduced(c, Reduction::Sum, square, &axes, true)?;
            c.then(Op::Function(Function::Sqrt), sum)?
        }
        _ => {
            return Err(OpError::Attribute {
                attribute: "p",
                found: p.to_string(),
                expected: "1 or 2",
            });
        }
    };
    let zero = c.number(x, 0.0)?;
    let is_zero = c.node(Op::Compare(Comparison::Equal), &[norm, zero])?;
    let one = c.number(x, 1.0)?;
    let norm = c.node(Op::Where, &[is_zero, one, norm])?;
    c.node(Op::Div, &[x, norm])
}

/// (x - mean) / (sqrt(variance) + 1e-9), as ONNX defines it.
pub(super) fn mean_variance(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let given = (site.attributes.ints("axes")?).unwrap_or_else(|| vec![0, 2, 3]);
    let x = site.only()?;
    let axes = sorted_axes(&given, &c.shape(x))?;
    let mean = reduced(c, Reduction::Mean, x, &axes, true)?;
    let centered = c.node(Op::Sub, &[x, mean])?;
    let square = c.node(Op::Mul, &[centered, centered])?;
    let variance = reduced(c, Reduction::Mean, square, &axes, true)?;
    let deviation = c.then(Op::Function(Function::Sqrt), variance)?;
    let deviation = c.with(Op::Add, deviation, 1e-9)?;
    c.node(Op::Div, &[centered, deviation])
}

/// LRN: x / (bias + alpha * mean)^beta, of the mean of the squares of `size` neighbouring channels; those
/// beyond the first and last count as 0.
pub(super) fn local_response(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let alpha = site.attributes.float("alpha", 1e-4)?;
    let beta = site.attributes.float("beta", 0.75)?;
    let bias = site.attributes.float("bias", 1.0)?;
    let attribute = "size";
    let given = (site.attributes.int(attribute)?).ok_or(OpError::MissingAttribute { attribute })?;
    let x = site.only()?;
    let shape = c.shape(x);
    let &[n, channels, ref pixels @ ..] = &shape[..] else {
        return Err(OpError::Shape {
            input: "X",
            found: shape,
            expected: "(N, C, D1, ...)".into(),
        });
    };
    let size = (usize::try_from(given).ok())
        .filter(|size| (1..=1 << 16).contains(size))
        .ok_or_else(|| OpError::Attribute {
            attribute,
            found: given.to_string(),
            expected: "1 to 65536",
        })?;
    let pixels = pixels.iter().product();
    let square = c.node(Op::Mul, &[x, x])?;
    let planes = c.reshape(square, &[n, 1, channels, pixels])?;
    let before = (size - 1) / 2;
    let pool = Pool {
        kernel: [size, 1],
        strides: [1; 2],
        pads: [before, 0, size - 1 - before, 0],
        dilations: [1; 2],
        count_include_pad: true,
    };
    let mean = c.then(Op::AveragePool(pool), planes)?;
    let mean = c.reshape(mean, &shape)?;
    let scaled = c.with(Op::Mul, mean, alpha)?;
    let sum = c.with(Op::Add, scaled, bias)?;
    let divisor = c.with(Op::Pow, sum, beta)?;
    c.node(Op::Div, &[x, divisor])
}
