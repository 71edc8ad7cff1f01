//! 3-D convolution and pooling in terms of 2-D ones.
//!
//! A convolution reads, for each output depth, a window of slices. The slices of a window become
//! channels of one picture, and the windows become the batch, so that one 2-D convolution computes
//! all depths. Pooling is separable: over height and width, then over depth.

use super::{Composer, Source};
use crate::infer::{ceil_output, check_window, floor_output, same_pads};
use crate::read::operators::{Site, windows};
use crate::{AutoPad, Conv, Op, OpError, Pad, PadMode, Pool};

type Composed = Result<Source, OpError>;

/// Attributes of a window over depth, height and width.
struct Window {
    kernel: [usize; 3],
    strides: [usize; 3],
    dilations: [usize; 3],
    /// Before each axis.
    before: [usize; 3],
    /// After each axis.
    after: [usize; 3],
}

/// The sizes of an attribute, or its default.
fn sizes<const N: usize>(
    site: &mut Site<'_>,
    attribute: &'static str,
    default: [usize; N],
) -> Result<[usize; N], OpError> {
    let Some(given) = site.attributes.ints(attribute)? else {
        return Ok(default);
    };
    let sizes = given.iter().map(|&size| usize::try_from(size).ok());
    let sizes = sizes.collect::<Option<Vec<_>>>();
    (sizes.and_then(|sizes| sizes.try_into().ok())).ok_or_else(|| OpError::Attribute {
        attribute,
        found: format!("{given:?}"),
        expected: match N {
            3 => "three sizes: depth, height and width, not negative",
            _ => "six sizes: before and after depth, height and width, not negative",
        },
    })
}

/// Reads the window of `kernel` over the last three axes of the input.
fn window(
    site: &mut Site<'_>,
    kernel: [usize; 3],
    size: [usize; 3],
    has_dilations: bool,
) -> Result<Window, OpError> {
    let strides = sizes(site, "strides", [1; 3])?;
    let dilations = match has_dilations {
        true => sizes(site, "dilations", [1; 3])?,
        false => [1; 3],
    };
    let pads: [usize; 6] = sizes(site, "pads", [0; 6])?;
    let auto = windows::auto_pad(site)?;
    check_window(&kernel, &strides, &dilations, &pads)?;
    check_window(&kernel, &strides, &dilations, &size)?;
    let pads: [[usize; 2]; 3] = std::array::from_fn(|i| match auto {
        AutoPad::NotSet => [pads[i], pads[i + 3]],
        AutoPad::Valid => [0; 2],
        AutoPad::SameUpper => same_pads(size[i], kernel[i], strides[i], dilations[i], true),
        AutoPad::SameLower => same_pads(size[i], kernel[i], strides[i], dilations[i], false),
    });
    Ok(Window {
        kernel,
        strides,
        dilations,
        before: pads.map(|[before, _]| before),
        after: pads.map(|[_, after]| after),
    })
}

/// N, C, D, H and W.
fn volume(shape: &[usize], input: &'static str) -> Result<[usize; 5], OpError> {
    <[usize; 5]>::try_from(shape).map_err(|_| OpError::Shape {
        input,
        found: shape.to_vec(),
        expected: "five axes, as for a 3-D layer".into(),
    })
}

impl Window {
    /// The number of windows along an axis.
    fn count(&self, axis: usize, size: usize, up: bool) -> Result<usize, OpError> {
        let output = [floor_output, ceil_output][usize::from(up)];
        let (kernel, pads) = (self.kernel[axis], [self.before[axis], self.after[axis]]);
        let dilation = self.dilations[axis];
        output(size, kernel, self.strides[axis], dilation, pads).ok_or(OpError::WindowTooLarge {
            axis: axis + 2,
            kernel: dilation * (kernel - 1) + 1,
            size: size + pads[0] + pads[1],
        })
    }

    fn pads(&self, [y, x]: [usize; 2]) -> [usize; 4] {
        [self.before[y], self.before[x], self.after[y], self.after[x]]
    }
}

pub(super) fn conv(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "2 or 3")?;
    let [n, channels, depth, h, w] = volume(site.shape(0, "X")?, "X")?;
    let [units, per_group, kernel @ ..] = volume(site.shape(1, "W")?, "W")?;
    let groups = site.attributes.int("group")?.unwrap_or(1);
    let given = sizes(site, "kernel_shape", kernel)?;
    if given != kernel {
        return Err(OpError::Attribute {
            attribute: "kernel_shape",
            found: format!("{given:?}"),
            expected: "the last three sizes of the weights",
        });
    }
    let window = window(site, kernel, [depth, h, w], true)?;
    let count = window.count(0, depth, false)?;
    let (x, weights) = (site.source(0, "X")?, site.source(1, "W")?);
    let slices = window_slices(c, site, x, &window, count)?;
    // (N, C, windows, slices, H, W) to a picture of C * slices channels for each window.
    let taps = kernel[0];
    let split = c.reshape(slices, &[n, channels, count, taps, h, w])?;
    let perm = vec![0, 2, 1, 3, 4, 5];
    let moved = c.then(Op::Transpose { perm }, split)?;
    let pictures = c.reshape(moved, &[n * count, channels * taps, h, w])?;
    let flat = c.reshape(weights, &[units, per_group * taps, kernel[1], kernel[2]])?;
    let conv = Conv {
        kernel: [kernel[1], kernel[2]],
        strides: [window.strides[1], window.strides[2]],
        pads: window.pads([1, 2]),
        dilations: [window.dilations[1], window.dilations[2]],
        groups: usize::try_from(groups).map_err(|_| OpError::Attribute {
            attribute: "group",
            found: groups.to_string(),
            expected: "1 or more",
        })?,
    };
    let mut inputs = vec![pictures, flat];
    inputs.extend(site.optional(2));
    let y = c.node(Op::Conv(conv), &inputs)?;
    let shape = c.shape(y);
    let y = c.reshape(y, &[n, count, units, shape[2], shape[3]])?;
    match count {
        1 => c.reshape(y, &[n, units, 1, shape[2], shape[3]]),
        _ => {
            let perm = vec![0, 2, 1, 3, 4];
            c.then(Op::Transpose { perm }, y)
        }
    }
}

/// The slices of all windows along the depth, one window after the other.
fn window_slices(
    c: &mut Composer<'_>,
    site: &Site<'_>,
    mut x: Source,
    window: &Window,
    count: usize,
) -> Composed {
    let mut shape = c.shape(x);
    if window.before[0] + window.after[0] > 0 {
        let along = |amount: usize| vec![0, 0, amount.cast_signed(), 0, 0];
        let pad = Pad {
            before: along(window.before[0]),
            after: along(window.after[0]),
            mode: PadMode::Constant(0.0),
        };
        x = c.then(Op::Pad(pad), x)?;
        shape = c.shape(x);
    }
    let taps = window.kernel[0];
    site.fits(&[count, taps])?;
    let starts = (0..count).map(|i| i * window.strides[0]);
    let indices: Vec<usize> = starts
        .flat_map(|start| (0..taps).map(move |tap| start + tap * window.dilations[0]))
        .collect();
    match indices.iter().copied().eq(0..shape[2]) {
        true => Ok(x),
        false => c.then(Op::Gather { axis: 2, indices }, x),
    }
}

/// `ceil_mode` and max pooling's dilations were added in opset 10, average pooling's dilations in
/// opset 19.
pub(super) fn pool(c: &mut Composer<'_>, site: &mut Site<'_>, operator: &str) -> Composed {
    let max = operator == "MaxPool";
    let [n, channels, depth, h, w] = volume(site.shape(0, "X")?, "X")?;
    let attribute = "kernel_shape";
    let kernel = sizes(site, attribute, [0; 3])?;
    if kernel == [0; 3] {
        return Err(OpError::MissingAttribute { attribute });
    }
    let up = site.opset >= 10 && site.attributes.flag("ceil_mode", false)?;
    let since = if max { 10 } else { 19 };
    let window = window(site, kernel, [depth, h, w], site.opset >= since)?;
    let count_include_pad = !max && site.attributes.flag("count_include_pad", false)?;
    if max {
        // Only the second output, the indices, depends on this attribute.
        site.attributes.ignore("storage_order");
    }
    if site.outputs.len() > 1 {
        return Err(OpError::Unsupported {
            feature: "the second output, Indices,",
        });
    }
    let over = |axes: [usize; 2], kernel: [usize; 2]| Pool {
        kernel,
        strides: axes.map(|axis| window.strides[axis]),
        pads: window.pads(axes),
        dilations: axes.map(|axis| window.dilations[axis]),
        count_include_pad,
    };
    let op = |pool| match max {
        true => Op::MaxPool(pool),
        false => Op::AveragePool(pool),
    };
    let [down, rows, columns] = [
        window.count(0, depth, up)?,
        window.count(1, h, up)?,
        window.count(2, w, up)?,
    ];
    site.fits(&[rows, columns])?;
    let x = site.only()?;
    let pictures = c.reshape(x, &[n, channels * depth, h, w])?;
    let plane = op(over([1, 2], [kernel[1], kernel[2]]));
    let shape = vec![n, channels * depth, rows, columns];
    let pictures = c.shaped(plane, &[pictures], &[shape])?;
    let columns_of_depth = c.reshape(pictures, &[n, channels, depth, rows * columns])?;
    let mut along = over([0, 0], [kernel[0], 1]);
    along.strides[1] = 1;
    along.dilations[1] = 1;
    along.pads = [window.before[0], 0, window.after[0], 0];
    let shape = vec![n, channels, down, rows * columns];
    let y = c.shaped(op(along), &[columns_of_depth], &[shape])?;
    c.reshape(y, &[n, channels, down, rows, columns])
}
