//! ConvTranspose as a convolution with one output channel for each phase of the stride, whose
//! outputs are interleaved. It multiplies no inserted zeros.
//!
//! Along one axis, with stride s and a kernel w of k elements (with dilation included), the full
//! output at s * a + r is the sum over j of x[a - j] * w[r + s * j]. For each phase r this is a
//! convolution with ceil(k / s) elements, padded by one less on both sides.

use half::f16;

use super::{Composer, Source};
use crate::read::operators::{Site, windows};
use crate::{Conv, Op, OpError, SliceAxis, Tensor, TensorData};

/// One axis of a transposed convolution.
#[derive(Debug, Clone, Copy)]
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Number of elements of the full output that are cut off at the start.
    cut: usize,
    output: usize,
    /// Elements of a phase's kernel.
    taps: usize,
    /// Padding at the end of a phase's convolution.
    after: usize,
    /// Elements of a phase's output.
    phase: usize,
}

const LARGEST: usize = 1 << 16;

/// Attributes of both axes, before they are resolved.
struct Given {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Option<Vec<usize>>,
    extra: Vec<usize>,
    shape: Option<Vec<usize>>,
    auto: Option<String>,
}

pub(super) fn conv_transpose(c: &mut Composer<'_>, site: &mut Site<'_>) -> Result<Source, OpError> {
    site.at_most(3, "2 or 3")?;
    let mut x = site.source(0, "X")?;
    let rank = site.rank()?;
    let [_, channels, h, w] = windows::sides(site.shape(0, "X")?)?;
    let input = "W";
    let weights = (site.constant(1, input)?).ok_or(OpError::MissingInput { input })?;
    let wrong = |expected: &str| OpError::Shape {
        input,
        found: weights.shape().to_vec(),
        expected: expected.to_owned(),
    };
    let expected = "(C, M/group, kernel), with as many axes as X";
    let same_rank = weights.shape().len() == rank;
    let Some([depth, units, kh, kw]) = windows::sides(weights.shape()).ok().filter(|_| same_rank)
    else {
        return Err(wrong(expected));
    };
    let groups = site.attributes.int("group")?.unwrap_or(1);
    let groups = (usize::try_from(groups).ok())
        .filter(|&groups| groups > 0 && depth == channels && channels % groups == 0)
        .filter(|_| channels > 0 && units > 0)
        .ok_or_else(|| wrong("C channels that the groups divide, and no axis of size 0"))?;
    let given = attributes(site, rank - 2)?;
    let kernel_given = list(site, "kernel_shape", rank - 2)?;
    let spatial = &weights.shape()[2..];
    if kernel_given.is_some_and(|kernel| kernel != spatial) || spatial.contains(&0) {
        return Err(wrong("the kernel that kernel_shape states, not empty"));
    }
    let axes = [given.axis(0, h, kh)?, given.axis(1, w, kw)?];
    // A stride is at most LARGEST.
    let phases = axes[0].stride * axes[1].stride;
    let outputs = units
        .checked_mul(groups)
        .and_then(|outputs| outputs.checked_mul(phases))
        .ok_or_else(|| OpError::TooLarge {
            shape: vec![units, groups, phases],
        })?;
    let shape = [outputs, channels / groups, axes[0].taps, axes[1].taps];
    site.fits(&shape)?;
    let data = match weights.data() {
        TensorData::F32(v) => phase_weights(v, [depth, units], groups, axes).into(),
        TensorData::F16(v) => {
            TensorData::from(phase_weights::<f16>(v, [depth, units], groups, axes))
        }
        _ => {
            return Err(OpError::ElementType {
                input,
                found: weights.element_type(),
                expected: "float32 or float16",
            });
        }
    };
    let of = Tensor::new(shape, data).map_err(|e| OpError::TooLarge { shape: e.shape })?;
    let mut inputs = vec![c.constant(of)];
    if let Some(bias) = site.optional(2) {
        inputs.push(repeated_bias(c, bias, [groups, units], phases)?);
    }
    if rank == 3 {
        x = c.then(Op::Unsqueeze { axes: vec![2] }, x)?;
    }
    inputs.insert(0, x);
    let conv = Op::Conv(Conv {
        kernel: axes.map(|axis| axis.taps),
        strides: [1; 2],
        pads: [
            axes[0].taps - 1,
            axes[1].taps - 1,
            axes[0].after,
            axes[1].after,
        ],
        dilations: [1; 2],
        groups,
    });
    let phases = c.node(conv, &inputs)?;
    let y = interleaved(c, phases, [groups, units], axes)?;
    match rank {
        3 => c.then(Op::Squeeze { axes: vec![2] }, y),
        _ => Ok(y),
    }
}

/// Sizes from an attribute with `count` elements.
fn list(
    site: &mut Site<'_>,
    attribute: &'static str,
    count: usize,
) -> Result<Option<Vec<usize>>, OpError> {
    let Some(given) = site.attributes.ints(attribute)? else {
        return Ok(None);
    };
    let sizes = given.iter().map(|&v| usize::try_from(v).ok());
    let sizes = sizes.collect::<Option<Vec<_>>>();
    sizes
        .filter(|sizes| sizes.len() == count && sizes.iter().all(|&size| size <= LARGEST))
        .map(Some)
        .ok_or_else(|| OpError::Attribute {
            attribute,
            found: format!("{given:?}"),
            expected: "one size (pads: two) for every axis of the picture, up to 65536",
        })
}

fn attributes(site: &mut Site<'_>, axes: usize) -> Result<Given, OpError> {
    // A sequence is a picture with one row.
    let rows = |mut sizes: Vec<usize>, row: usize| {
        if sizes.len() == 1 {
            sizes.insert(0, row);
        }
        sizes
    };
    let mut sizes = |attribute, default: usize| -> Result<Vec<usize>, OpError> {
        let given = list(site, attribute, axes)?;
        Ok(rows(given.unwrap_or_else(|| vec![default; axes]), default))
    };
    let strides = sizes("strides", 1)?;
    let dilations = sizes("dilations", 1)?;
    let extra = sizes("output_padding", 0)?;
    let shape = list(site, "output_shape", axes)?.map(|shape| rows(shape, 1));
    let pads = list(site, "pads", 2 * axes)?.map(|pads| match pads[..] {
        [before, after] => vec![0, before, 0, after],
        _ => pads,
    });
    if strides.contains(&0) || dilations.contains(&0) {
        return Err(OpError::Attribute {
            attribute: "strides or dilations",
            found: "0".into(),
            expected: "1 or more",
        });
    }
    Ok(Given {
        strides,
        dilations,
        pads,
        extra,
        shape,
        auto: site.attributes.string("auto_pad")?,
    })
}

impl Given {
    /// Resolves one axis: `axis` 0 is down, 1 is across.
    fn axis(&self, axis: usize, input: usize, kernel: usize) -> Result<Axis, OpError> {
        let (stride, dilation) = (self.strides[axis], self.dilations[axis]);
        let extent = dilation * (kernel - 1) + 1;
        let full = stride * input.saturating_sub(1) + self.extra[axis] + extent;
        let wrong = |found: String| OpError::Attribute {
            attribute: "pads",
            found,
            expected: "pads that leave an output",
        };
        let auto = self.auto.as_deref().unwrap_or("NOTSET");
        let output = match (&self.shape, auto) {
            (Some(shape), _) => Some(shape[axis]),
            // As ONNX Runtime: a kernel smaller than the stride is not padded.
            (None, "SAME_UPPER" | "SAME_LOWER") => Some(full.min(stride * input)),
            (None, "NOTSET" | "" | "VALID") => None,
            (None, other) => {
                return Err(OpError::Attribute {
                    attribute: "auto_pad",
                    found: other.to_owned(),
                    expected: "NOTSET, SAME_UPPER, SAME_LOWER or VALID",
                });
            }
        };
        let (cut, output) = match (output, &self.pads) {
            (None, Some(pads)) if auto != "VALID" => {
                let (before, after) = (pads[axis], pads[axis + 2]);
                let output = full.checked_sub(before + after);
                (before, output.ok_or_else(|| wrong(format!("{pads:?}")))?)
            }
            (None, _) => (0, full),
            (Some(output), _) => {
                let total = full.saturating_sub(output);
                match auto {
                    "SAME_UPPER" => (total / 2, output),
                    _ => (total - total / 2, output),
                }
            }
        };
        let taps = extent.div_ceil(stride);
        // The phases must reach the last element.
        let phase = (cut + output).div_ceil(stride).max(input + taps - 1);
        let after = phase - input;
        let sides = [taps, stride, output, phase];
        if input == 0 || output == 0 || sides.iter().any(|&side| side > LARGEST) {
            return Err(wrong(format!("{output} of {full} elements")));
        }
        Ok(Axis {
            kernel,
            stride,
            dilation,
            cut,
            output,
            taps,
            after,
            phase,
        })
    }
}

impl Axis {
    /// The kernel's element for a tap of a phase.
    fn element(self, phase: usize, tap: usize) -> Option<usize> {
        let place = phase + self.stride * (self.taps - 1 - tap);
        let aligned = place.is_multiple_of(self.dilation);
        Some(place / self.dilation).filter(|&element| aligned && element < self.kernel)
    }
}

/// From (C, M / groups, kH, kW) to (groups * phases * M / groups, C / groups, taps, taps). The channels of a
/// phase are neighbours, which are moved together if they are the last axis in memory.
fn phase_weights<T: Copy + Default>(
    from: &[T],
    [depth, units]: [usize; 2],
    groups: usize,
    axes: [Axis; 2],
) -> Vec<T> {
    let inner = depth / groups;
    let [kh, kw] = axes.map(|axis| axis.kernel);
    let mut to = Vec::new();
    for group in 0..groups {
        for phase in 0..axes[0].stride * axes[1].stride {
            let phase = [phase / axes[1].stride, phase % axes[1].stride];
            for unit in 0..units {
                for channel in group * inner..(group + 1) * inner {
                    for tap in 0..axes[0].taps * axes[1].taps {
                        let row = axes[0].element(phase[0], tap / axes[1].taps);
                        let column = axes[1].element(phase[1], tap % axes[1].taps);
                        let at = |row, column| ((channel * units + unit) * kh + row) * kw + column;
                        let element = row.zip(column).map(|(row, column)| from[at(row, column)]);
                        to.push(element.unwrap_or_default());
                    }
                }
            }
        }
    }
    to
}

/// The bias of each group, once for each phase.
fn repeated_bias(
    c: &mut Composer<'_>,
    bias: Source,
    [groups, units]: [usize; 2],
    phases: usize,
) -> Result<Source, OpError> {
    let rows = c.reshape(bias, &[groups, 1, units])?;
    let ones = c.numbers(bias, &[1, phases, 1], vec![1.0; phases])?;
    let table = c.node(Op::Mul, &[rows, ones])?;
    c.reshape(table, &[groups * phases * units])
}

/// Interleaves the phases, which are (group, stride down, stride across, unit) in the channels, and cuts.
fn interleaved(
    c: &mut Composer<'_>,
    phases: Source,
    [groups, units]: [usize; 2],
    axes: [Axis; 2],
) -> Result<Source, OpError> {
    let n = c.shape(phases)[0];
    let [sh, sw] = axes.map(|axis| axis.stride);
    let [h, w] = axes.map(|axis| axis.phase);
    let mut y = phases;
    if sh * sw > 1 {
        y = c.reshape(y, &[n, groups, sh, sw, units, h, w])?;
        let perm = vec![0, 1, 4, 5, 2, 6, 3];
        y = c.then(Op::Transpose { perm }, y)?;
        y = c.reshape(y, &[n, groups * units, h * sh, w * sw])?;
    }
    let shape = c.shape(y);
    let mut parts: Vec<SliceAxis> = super::reductions::full_slice(&shape);
    for (part, axis) in parts[2..].iter_mut().zip(axes) {
        part.start = axis.cut;
        part.length = axis.output;
    }
    match parts == super::reductions::full_slice(&shape) {
        true => Ok(y),
        false => c.then(Op::Slice { axes: parts }, y),
    }
}
