//! Resize and Upsample: along each axis, a selection of elements (nearest), or a weighted sum of
//! two selections (linear).

use super::{Composer, Source};
use crate::read::operators::{Site, axis, sorted_axes};
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// ONNX's `coordinate_transformation_mode`.
#[derive(Clone, Copy, PartialEq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TensorflowNearest,
}

/// ONNX's `nearest_mode`.
#[derive(Clone, Copy)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

#[derive(Clone, Copy)]
enum Mode {
    Nearest(Rounding),
    Linear,
}

/// One axis that is resized.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
}

impl Axis {
    /// The place in the input of an element of the output. It is computed in float32, as ONNX
    /// Runtime does: which element is the nearest may depend on the last bit.
    fn place(self, coordinates: Coordinates, x: usize) -> f64 {
        let (x, input, output) = (x as f32, self.input as f32, self.output as f32);
        let scale = self.scale as f32;
        let half = (x + 0.5) / scale - 0.5;
        let place = match coordinates {
            Coordinates::HalfPixel => half,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = output / (scale * input);
                input / 2.0 * (1.0 - adjustment) + half
            }
            Coordinates::PytorchHalfPixel if self.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => half,
            Coordinates::AlignCorners if self.output == 1 => 0.0,
            Coordinates::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => x / scale,
            Coordinates::TensorflowNearest => (x + 0.5) / scale,
        };
        f64::from(place)
    }

    fn clamp(self, place: f64) -> usize {
        place.clamp(0.0, (self.input - 1) as f64) as usize
    }
}

fn unknown(attribute: &'static str, found: &str, expected: &'static str) -> OpError {
    OpError::Attribute {
        attribute,
        found: found.to_owned(),
        expected,
    }
}

fn coordinates(site: &mut Site<'_>) -> Result<Coordinates, OpError> {
    let attribute = "coordinate_transformation_mode";
    match site.attributes.string(attribute)?.as_deref() {
        None | Some("half_pixel") => Ok(Coordinates::HalfPixel),
        Some("half_pixel_symmetric") => Ok(Coordinates::HalfPixelSymmetric),
        Some("pytorch_half_pixel") => Ok(Coordinates::PytorchHalfPixel),
        Some("align_corners") => Ok(Coordinates::AlignCorners),
        Some("asymmetric") => Ok(Coordinates::Asymmetric),
        Some("tf_half_pixel_for_nn") => Ok(Coordinates::TensorflowNearest),
        Some(other) => Err(unknown(
            attribute,
            other,
            "half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners or asymmetric",
        )),
    }
}

fn rounding(site: &mut Site<'_>) -> Result<Rounding, OpError> {
    let attribute = "nearest_mode";
    match site.attributes.string(attribute)?.as_deref() {
        None | Some("round_prefer_floor") => Ok(Rounding::PreferFloor),
        Some("round_prefer_ceil") => Ok(Rounding::PreferCeil),
        Some("floor") => Ok(Rounding::Floor),
        Some("ceil") => Ok(Rounding::Ceil),
        Some(other) => Err(unknown(
            attribute,
            other,
            "round_prefer_floor, round_prefer_ceil, floor or ceil",
        )),
    }
}

fn mode(site: &mut Site<'_>, rounding: Rounding) -> Result<Mode, OpError> {
    match site.attributes.string("mode")?.as_deref() {
        None | Some("nearest") => Ok(Mode::Nearest(rounding)),
        Some("linear" | "bilinear") => Ok(Mode::Linear),
        Some(other) => Err(unknown("mode", other, "nearest or linear")),
    }
}

/// A constant list of scales. `None` if it is omitted or empty.
fn scales(site: &Site<'_>, i: usize) -> Result<Option<Vec<f64>>, OpError> {
    let Some(tensor) = site.constant(i, "scales")? else {
        return Ok(None);
    };
    if tensor.is_empty() {
        return Ok(None);
    }
    let scales = super::activations::floats(tensor.data()).ok_or(OpError::ElementType {
        input: "scales",
        found: tensor.element_type(),
        expected: "float32",
    })?;
    match scales.iter().all(|&s| s.is_finite() && s > 0.0) {
        true => Ok(Some(scales.into_iter().map(f64::from).collect())),
        false => Err(OpError::ConstantInput {
            input: "scales",
            found: format!("{scales:?}"),
            expected: "positive numbers",
        }),
    }
}

/// Opset 9, and nodes that its exporters wrote. The scales are a constant input.
pub(super) fn upsample(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let mode = mode(site, Rounding::Floor)?;
    scaled(c, site, 1, mode, Coordinates::Asymmetric)
}

/// Resize with scales for all axes at input `i`.
fn scaled(
    c: &mut Composer<'_>,
    site: &Site<'_>,
    i: usize,
    mode: Mode,
    coordinates: Coordinates,
) -> Composed {
    let input = "scales";
    let scales = scales(site, i)?.ok_or(OpError::MissingInput { input })?;
    let axes: Vec<usize> = (0..site.rank()?).collect();
    let plan = by_scale(&c.shape(site.source(0, "X")?), &axes, &scales)?;
    resized(c, site.source(0, "X")?, &plan, mode, coordinates)
}

fn wrong_length(input: &'static str, found: usize) -> OpError {
    OpError::ConstantInput {
        input,
        found: format!("{found} values"),
        expected: "one for every axis",
    }
}

fn by_scale(
    shape: &[usize],
    axes: &[usize],
    scales: &[f64],
) -> Result<Vec<(usize, Axis)>, OpError> {
    if scales.len() != axes.len() {
        return Err(wrong_length("scales", scales.len()));
    }
    let plan = axes.iter().zip(scales).map(|(&axis, &scale)| {
        let input = shape[axis];
        // In float32, as ONNX Runtime: in float64, 10 * 0.9 would be less than 9. What overflows
        // saturates here and is refused when the axis is resized.
        let output = (input as f32 * scale as f32).floor() as usize;
        (
            axis,
            Axis {
                input,
                output,
                scale,
            },
        )
    });
    Ok(plan.collect())
}

/// Opset 10 has the inputs X and scales, and the coordinates and rounding of Upsample. From opset
/// 11 on, the inputs are X, roi, scales and sizes.
pub(super) fn resize(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    if site.opset < 11 {
        let mode = mode(site, Rounding::Floor)?;
        return scaled(c, site, 1, mode, Coordinates::Asymmetric);
    }
    site.at_most(4, "1 to 4")?;
    let coordinates = coordinates(site)?;
    let rounding = rounding(site)?;
    let mode = mode(site, rounding)?;
    // These apply to modes that are not supported, and to cropping.
    for name in ["cubic_coeff_a", "extrapolation_value"] {
        site.attributes.ignore(name);
    }
    for name in ["exclude_outside", "antialias"] {
        if site.attributes.flag(name, false)? {
            return Err(unknown(name, "1", "0"));
        }
    }
    let policy = site.attributes.string("keep_aspect_ratio_policy")?;
    let given = site.attributes.ints("axes")?;
    let x = site.source(0, "X")?;
    let shape = c.shape(x);
    let axes = match given {
        None => (0..shape.len()).collect(),
        Some(given) => {
            // Refuses repeated axes. The scales and sizes are in the given order.
            sorted_axes(&given, &shape)?;
            (given.iter())
                .map(|&a| axis(a, &shape))
                .collect::<Result<Vec<_>, _>>()?
        }
    };
    let plan = match scales(site, 2)? {
        Some(scales) => by_scale(&shape, &axes, &scales)?,
        None => by_size(site, &shape, &axes, policy.as_deref())?,
    };
    resized(c, x, &plan, mode, coordinates)
}

fn by_size(
    site: &Site<'_>,
    shape: &[usize],
    axes: &[usize],
    policy: Option<&str>,
) -> Result<Vec<(usize, Axis)>, OpError> {
    let input = "sizes";
    let sizes = (site.integers(3, input)?).ok_or(OpError::MissingInput { input })?;
    if sizes.len() != axes.len() {
        return Err(wrong_length(input, sizes.len()));
    }
    let ratios = (axes.iter().zip(&sizes)).map(|(&axis, &size)| size as f64 / shape[axis] as f64);
    let scale = match policy {
        None | Some("stretch") => None,
        Some("not_larger") => Some(ratios.fold(f64::INFINITY, f64::min)),
        Some("not_smaller") => Some(ratios.fold(0.0, f64::max)),
        Some(other) => {
            let expected = "stretch, not_larger or not_smaller";
            return Err(unknown("keep_aspect_ratio_policy", other, expected));
        }
    };
    let plan = axes.iter().zip(&sizes).map(|(&axis, &size)| {
        let input = shape[axis];
        let (output, scale) = match scale {
            // Rounded half up.
            Some(scale) => ((scale * input as f64 + 0.5).floor() as usize, scale),
            None => {
                let size = usize::try_from(size).unwrap_or(0);
                (size, size as f64 / input as f64)
            }
        };
        (
            axis,
            Axis {
                input,
                output,
                scale,
            },
        )
    });
    Ok(plan.collect())
}

/// The resized x. Axes with fewer elements come first, since the next ones then move less.
fn resized(
    c: &mut Composer<'_>,
    mut x: Source,
    plan: &[(usize, Axis)],
    mode: Mode,
    coordinates: Coordinates,
) -> Composed {
    for &(axis, of) in plan.iter().rev() {
        let unchanged = of.input == of.output && of.scale == 1.0;
        if unchanged {
            continue;
        }
        if of.input == 0 || !(1..=1 << 24).contains(&of.output) {
            return Err(OpError::ConstantInput {
                input: "scales or sizes",
                found: format!("{} elements from {}", of.output, of.input),
                expected: "1 to 2^24 elements",
            });
        }
        let places: Vec<f64> = (0..of.output).map(|i| of.place(coordinates, i)).collect();
        x = match mode {
            Mode::Nearest(rounding) => {
                let round = |place: &f64| match rounding {
                    Rounding::PreferFloor => (place - 0.5).ceil(),
                    Rounding::PreferCeil => (place + 0.5).floor(),
                    Rounding::Floor => place.floor(),
                    Rounding::Ceil => place.ceil(),
                };
                let indices = places.iter().map(|place| of.clamp(round(place))).collect();
                c.then(Op::Gather { axis, indices }, x)?
            }
            Mode::Linear => linear(c, x, axis, of, &places)?,
        };
    }
    Ok(x)
}

/// The sum of two neighbours, weighted by their nearness.
fn linear(
    c: &mut Composer<'_>,
    x: Source,
    axis: usize,
    of: Axis,
    places: &[f64],
) -> Result<Source, OpError> {
    let mut along = vec![1; c.shape(x).len() - axis];
    along[0] = places.len();
    let mut sum = None;
    for neighbour in [0.0, 1.0] {
        let indices = (places.iter())
            .map(|place| of.clamp(place.floor() + neighbour))
            .collect();
        let weights = (places.iter())
            .map(|place| (1.0 - (place - place.floor() - neighbour).abs()) as f32)
            .collect();
        let weights = c.numbers(x, &along, weights)?;
        let elements = c.then(Op::Gather { axis, indices }, x)?;
        let weighted = c.node(Op::Mul, &[elements, weights])?;
        sum = Some(match sum {
            None => weighted,
            Some(sum) => c.node(Op::Add, &[sum, weighted])?,
        });
    }
    Ok(sum.unwrap_or(x))
}
