//! Output sizes of convolution and pooling.

use crate::{Conv, OpError, Pool};

/// The largest kernel, stride, pad and dilation, so that sums and products of two of them fit
/// into i64.
const LARGEST: usize = i32::MAX as usize;

/// The four axes of an image. The error states the number of axes.
pub(crate) fn picture(x: &[usize]) -> Result<[usize; 4], OpError> {
    <[usize; 4]>::try_from(x).map_err(|_| OpError::NotTwoDimensional {
        axes: x.len().saturating_sub(2),
        shape: x.to_vec(),
    })
}

/// The distance from the window's first to its last element, inclusive.
fn extent(kernel: usize, dilation: usize) -> usize {
    dilation * (kernel - 1) + 1
}

/// Output size with division rounded down. `None` if the window does not fit.
pub(crate) fn floor_output(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
) -> Option<usize> {
    let room = (size + pads[0] + pads[1]).checked_sub(extent(kernel, dilation))?;
    Some(room / stride + 1)
}

/// Output size with division rounded up. As in ONNX, a last window that would start beyond the
/// input and its leading padding is dropped.
pub(crate) fn ceil_output(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pads: [usize; 2],
) -> Option<usize> {
    let room = (size + pads[0] + pads[1]).checked_sub(extent(kernel, dilation))?;
    let out = room.div_ceil(stride) + 1;
    match (out - 1) * stride >= size + pads[0] {
        true => Some(out - 1),
        false => Some(out),
    }
}

/// The leading and trailing padding for ceil(size / stride) outputs.
pub(crate) fn same_pads(
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    odd_after: bool,
) -> [usize; 2] {
    let covered = (size.div_ceil(stride).saturating_sub(1)) * stride + extent(kernel, dilation);
    let total = covered.saturating_sub(size);
    match odd_after {
        true => [total / 2, total - total / 2],
        false => [total - total / 2, total / 2],
    }
}

/// Checks that the sizes are in the range in which the arithmetic here cannot overflow.
pub(crate) fn check_window(
    kernel: &[usize],
    strides: &[usize],
    dilations: &[usize],
    pads: &[usize],
) -> Result<(), OpError> {
    let within = |attribute, values: &[usize], least: usize, expected| match values
        .iter()
        .all(|v| (least..=LARGEST).contains(v))
    {
        true => Ok(()),
        false => Err(OpError::Attribute {
            attribute,
            found: format!("{values:?}"),
            expected,
        }),
    };
    within("kernel_shape", kernel, 1, "1 or more")?;
    within("strides", strides, 1, "1 or more")?;
    within("dilations", dilations, 1, "1 or more")?;
    within("pads", pads, 0, "0 or more")
}

fn check_picture(x: &[usize]) -> Result<[usize; 4], OpError> {
    let shape = picture(x)?;
    match shape.iter().all(|&d| d <= LARGEST) {
        true => Ok(shape),
        false => Err(OpError::TooLarge { shape: x.to_vec() }),
    }
}

pub(super) fn conv(
    c: &Conv,
    x: &[usize],
    w: &[usize],
    bias: Option<&[usize]>,
) -> Result<Vec<usize>, OpError> {
    let [n, channels, h, width] = check_picture(x)?;
    check_window(&c.kernel, &c.strides, &c.dilations, &c.pads)?;
    let wrong_weights = |expected: String| OpError::Shape {
        input: "W",
        found: w.to_vec(),
        expected,
    };
    let &[filters, per_group, kh, kw] = w else {
        return Err(wrong_weights("(M, C/groups, kH, kW)".into()));
    };
    if [kh, kw] != c.kernel {
        return Err(OpError::Attribute {
            attribute: "kernel_shape",
            found: format!("{:?}", c.kernel),
            expected: "the last two sizes of the weights",
        });
    }
    if c.groups == 0 || per_group.checked_mul(c.groups) != Some(channels) {
        return Err(wrong_weights(format!(
            "{} input channels in {} groups",
            channels, c.groups
        )));
    }
    if filters % c.groups != 0 {
        return Err(wrong_weights(format!(
            "filters in {} equal groups",
            c.groups
        )));
    }
    if let Some(bias) = bias {
        super::require_shape("B", bias, &[filters])?;
    }
    let size = |i: usize, size: usize| {
        let pads = [c.pads[i], c.pads[i + 2]];
        floor_output(size, c.kernel[i], c.strides[i], c.dilations[i], pads).ok_or(
            OpError::WindowTooLarge {
                axis: i + 2,
                kernel: extent(c.kernel[i], c.dilations[i]),
                size: size + pads[0] + pads[1],
            },
        )
    };
    Ok(vec![n, filters, size(0, h)?, size(1, width)?])
}

pub(super) fn pool(
    p: &Pool,
    x: &[usize],
    declared: Option<&[usize]>,
) -> Result<Vec<usize>, OpError> {
    let [n, c, h, w] = check_picture(x)?;
    check_window(&p.kernel, &p.strides, &p.dilations, &p.pads)?;
    // Every window must cover an element, because the mean of no elements is NaN.
    for (i, size) in [h, w].into_iter().enumerate() {
        let covers = extent(p.kernel[i], p.dilations[i]);
        let skips = p.pads[i] > 0 && p.dilations[i] > size;
        if p.pads[i] >= covers || p.pads[i + 2] >= covers || skips || size == 0 {
            return Err(OpError::PadsTooLarge {
                pads: p.pads,
                kernel: p.kernel,
            });
        }
    }
    let size = |i: usize, size: usize, up: bool| {
        let pads = [p.pads[i], p.pads[i + 2]];
        let output = [floor_output, ceil_output][usize::from(up)];
        output(size, p.kernel[i], p.strides[i], p.dilations[i], pads).ok_or(
            OpError::WindowTooLarge {
                axis: i + 2,
                kernel: extent(p.kernel[i], p.dilations[i]),
                size: size + pads[0] + pads[1],
            },
        )
    };
    let down = vec![n, c, size(0, h, false)?, size(1, w, false)?];
    let up = vec![n, c, size(0, h, true)?, size(1, w, true)?];
    match declared {
        Some(d) if d == up => Ok(up),
        _ => Ok(down),
    }
}
