use super::{Reading, Site};
use crate::infer::{ceil_output, check_window, floor_output, picture, same_pads};
use crate::{AutoPad, Conv, Op, OpError, Pool};

/// The axes N, C, H and W of a picture. A sequence (N, C, L) is a picture with one row.
pub(in crate::read) fn sides(x: &[usize]) -> Result<[usize; 4], OpError> {
    match *x {
        [n, c, l] => Ok([n, c, 1, l]),
        _ => picture(x),
    }
}

/// Two or four sizes from an attribute. For a sequence, the attribute has half as many; `row` is
/// the size down the only row.
fn sizes<const N: usize>(
    site: &mut Site<'_>,
    attribute: &'static str,
    default: [usize; N],
    row: usize,
) -> Result<[usize; N], OpError> {
    let Some(given) = site.attributes.ints(attribute)? else {
        return Ok(default);
    };
    let sizes = (given.iter())
        .map(|&v| usize::try_from(v).ok())
        .collect::<Option<Vec<_>>>();
    let sizes = match (site.rank()?, sizes) {
        (3, Some(sizes)) => Some(sizes.into_iter().flat_map(|size| [row, size]).collect()),
        (_, sizes) => sizes,
    };
    (sizes.and_then(|s: Vec<usize>| s.try_into().ok())).ok_or_else(|| OpError::Attribute {
        attribute,
        found: format!("{given:?}"),
        expected: match N {
            2 => "two sizes, down and across, not negative (1-D: one)",
            _ => "four sizes, top, left, bottom and right, not negative (1-D: two)",
        },
    })
}

pub(in crate::read) fn auto_pad(site: &mut Site<'_>) -> Result<AutoPad, OpError> {
    match site.attributes.string("auto_pad")?.as_deref() {
        None | Some("NOTSET" | "") => Ok(AutoPad::NotSet),
        Some("SAME_UPPER") => Ok(AutoPad::SameUpper),
        Some("SAME_LOWER") => Ok(AutoPad::SameLower),
        Some("VALID") => Ok(AutoPad::Valid),
        Some(other) => Err(OpError::Attribute {
            attribute: "auto_pad",
            found: other.to_owned(),
            expected: "NOTSET, SAME_UPPER, SAME_LOWER or VALID",
        }),
    }
}

struct Window {
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
}

fn window(site: &mut Site<'_>, kernel: [usize; 2], has_dilations: bool) -> Result<Window, OpError> {
    let [_, _, h, w] = sides(site.shape(0, "X")?)?;
    let strides = sizes(site, "strides", [1; 2], 1)?;
    let dilations = match has_dilations {
        true => sizes(site, "dilations", [1; 2], 1)?,
        false => [1; 2],
    };
    let given = sizes(site, "pads", [0; 4], 0)?;
    let auto = auto_pad(site)?;
    check_window(&kernel, &strides, &dilations, &given)?;
    let same = |odd_after| {
        let [top, bottom] = same_pads(h, kernel[0], strides[0], dilations[0], odd_after);
        let [left, right] = same_pads(w, kernel[1], strides[1], dilations[1], odd_after);
        [top, left, bottom, right]
    };
    let pads = match auto {
        AutoPad::NotSet => given,
        AutoPad::SameUpper => same(true),
        AutoPad::SameLower => same(false),
        AutoPad::Valid => [0; 4],
    };
    Ok(Window {
        kernel,
        strides,
        pads,
        dilations,
    })
}

/// Of a sequence, the convolution of its picture.
pub(in crate::read) fn conv(site: &mut Site<'_>) -> Result<Op, OpError> {
    sides(site.shape(0, "X")?)?;
    let weights = site.shape(1, "W")?;
    let same_rank = weights.len() == site.rank()?;
    let Some([_, _, kh, kw]) = sides(weights).ok().filter(|_| same_rank) else {
        return Err(OpError::Shape {
            input: "W",
            found: weights.to_vec(),
            expected: "(M, C/groups, kH, kW)".into(),
        });
    };
    let groups = site.attributes.int("group")?.unwrap_or(1);
    let kernel = sizes(site, "kernel_shape", [kh, kw], 1)?;
    let w = window(site, kernel, true)?;
    Ok(Op::Conv(Conv {
        kernel: w.kernel,
        strides: w.strides,
        pads: w.pads,
        dilations: w.dilations,
        groups: usize::try_from(groups).map_err(|_| OpError::Attribute {
            attribute: "group",
            found: groups.to_string(),
            expected: "1 or more",
        })?,
    }))
}

/// `ceil_mode` and max pooling's dilations were added in opset 10, average pooling's dilations in
/// opset 19.
pub(in crate::read) fn pool(site: &mut Site<'_>, max: bool) -> Result<Reading, OpError> {
    let shape = site.shape(0, "X")?;
    let [n, c, h, w] = sides(shape)?;
    let attribute = "kernel_shape";
    let kernel = sizes(site, attribute, [0; 2], 1)?;
    if kernel == [0; 2] {
        return Err(OpError::MissingAttribute { attribute });
    }
    let up = site.opset >= 10 && site.attributes.flag("ceil_mode", false)?;
    let win = window(site, kernel, site.opset >= if max { 10 } else { 19 })?;
    let count_include_pad = !max && site.attributes.flag("count_include_pad", false)?;
    if max {
        // Only the second output, the indices, depends on this attribute.
        site.attributes.ignore("storage_order");
        if site.outputs.len() > 1 {
            return Err(OpError::Unsupported {
                feature: "the second output, Indices,",
            });
        }
    }
    let size = |i: usize, size| {
        let pads = [win.pads[i], win.pads[i + 2]];
        let output = [floor_output, ceil_output][usize::from(up)];
        output(size, kernel[i], win.strides[i], win.dilations[i], pads)
    };
    // If the window does not fit, type inference returns the error.
    let declared = match (size(0, h), size(1, w)) {
        (Some(h), Some(w)) => vec![vec![n, c, h, w]],
        _ => Vec::new(),
    };
    let pool = Pool {
        kernel,
        strides: win.strides,
        pads: win.pads,
        dilations: win.dilations,
        count_include_pad,
    };
    let reading = site.simple(|_| {
        Ok(match max {
            true => Op::MaxPool(pool),
            false => Op::AveragePool(pool),
        })
    })?;
    Ok(Reading {
        declared,
        ..reading
    })
}
