use super::{Reading, Site, axis, sorted_axes};
use crate::tensor::element_count;
use crate::{Op, OpError, Pad, PadMode, SliceAxis};

/// Negative axes are allowed from opset 11 on.
pub(super) fn flatten(site: &mut Site<'_>) -> Result<Op, OpError> {
    let given = site.attributes.int("axis")?.unwrap_or(1);
    let shape = site.shape(0, "input")?;
    let axis = match given == shape.len() as i64 {
        true => shape.len(),
        false => axis(given, shape)?,
    };
    Ok(Op::Flatten { axis })
}

/// In the shape, -1 is the remaining size. 0 is the input's size, unless `allowzero` (opset 14)
/// is set.
pub(super) fn reshape(site: &mut Site<'_>) -> Result<Reading, OpError> {
    site.at_most(2, "2")?;
    let input = "shape";
    let given = site
        .integers(1, input)?
        .ok_or(OpError::MissingInput { input })?;
    let allow_zero = site.opset >= 14 && site.attributes.flag("allowzero", false)?;
    let from = site.shape(0, "data")?;
    let wrong = |expected| OpError::ConstantInput {
        input,
        found: format!("{given:?}"),
        expected,
    };
    let mut to = Vec::with_capacity(given.len());
    let mut open = None;
    for (i, &size) in given.iter().enumerate() {
        to.push(match size {
            -1 if open.replace(i).is_some() => return Err(wrong("at most one -1")),
            -1 => 1,
            0 if !allow_zero => {
                *(from.get(i)).ok_or_else(|| wrong("0 only where the input has an axis"))?
            }
            size => usize::try_from(size).map_err(|_| wrong("sizes of -1 or more"))?,
        });
    }
    if let Some(i) = open {
        let all = element_count(from);
        let rest = match (all, element_count(&to)) {
            (Some(all), Some(known)) if known > 0 && all % known == 0 => all / known,
            _ => {
                return Err(OpError::Incompatible {
                    first: from.to_vec(),
                    second: to,
                });
            }
        };
        to[i] = rest;
    }
    let reading = site.first_input(|_| Ok(Op::Reshape))?;
    Ok(Reading {
        declared: vec![to],
        ..reading
    })
}

/// Axes are an attribute before opset 13, and an input from opset 13 on. If omitted, they are all
/// axes of size 1.
pub(super) fn squeeze(site: &mut Site<'_>) -> Result<Op, OpError> {
    site.at_most(
        if site.opset < 13 { 1 } else { 2 },
        "1, or 2 from opset 13 on",
    )?;
    let given = site.attribute_or_input("axes", 13, 1)?;
    let shape = site.shape(0, "data")?;
    let axes = match given {
        Some(given) => sorted_axes(&given, shape)?,
        None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
    };
    Ok(Op::Squeeze { axes })
}

/// Axes are an attribute before opset 13, and an input from opset 13 on.
pub(super) fn unsqueeze(site: &mut Site<'_>) -> Result<Op, OpError> {
    site.at_most(
        if site.opset < 13 { 1 } else { 2 },
        "1, or 2 from opset 13 on",
    )?;
    let given =
        (site.attribute_or_input("axes", 13, 1)?).ok_or(OpError::MissingInput { input: "axes" })?;
    let rank = site.rank()? + given.len();
    let axes = sorted_axes(&given, &vec![1; rank])?;
    Ok(Op::Unsqueeze { axes })
}

pub(super) fn transpose(site: &mut Site<'_>) -> Result<Op, OpError> {
    let given = site.attributes.ints("perm")?;
    let shape = site.shape(0, "data")?;
    let perm = match given {
        Some(given) => (given.iter())
            .map(|&a| axis(a, shape))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    Ok(Op::Transpose { perm })
}

pub(super) fn concat(site: &mut Site<'_>) -> Result<Op, OpError> {
    let attribute = "axis";
    let given = (site.attributes.int(attribute)?).ok_or(OpError::MissingAttribute { attribute })?;
    let axis = axis(given, site.shape(0, "inputs")?)?;
    Ok(Op::Concat { axis })
}

/// Sizes are an attribute before opset 13, and an input from opset 13 on. From opset 18 on,
/// `num_outputs` can replace them, and then the last part may be smaller.
pub(super) fn split(site: &mut Site<'_>) -> Result<Reading, OpError> {
    site.at_most(
        if site.opset < 13 { 1 } else { 2 },
        "1, or 2 from opset 13 on",
    )?;
    let given = site.attribute_or_input("split", 13, 1)?;
    let parts = site.outputs.len();
    let count = match site.opset {
        ..18 => None,
        _ => site.attributes.int("num_outputs")?,
    };
    let wrong = |found: String, expected| OpError::Attribute {
        attribute: "split",
        found,
        expected,
    };
    if count.is_some_and(|c| usize::try_from(c).ok() != Some(parts)) || parts == 0 {
        return Err(OpError::OutputCount {
            expected: "as many as num_outputs",
            found: parts,
        });
    }
    let axis_given = site.attributes.int("axis")?.unwrap_or(0);
    let shape = site.shape(0, "input")?;
    let axis = axis(axis_given, shape)?;
    let size = shape[axis];
    let sizes = match &given {
        Some(given) => (given.iter())
            .map(|&v| usize::try_from(v).ok())
            .collect::<Option<Vec<_>>>()
            .filter(|sizes| sizes.len() == parts)
            .ok_or_else(|| wrong(format!("{given:?}"), "one size for every output"))?,
        None if size % parts == 0 => vec![size / parts; parts],
        None if count.is_some() => {
            let part = size.div_ceil(parts);
            (0..parts)
                .map(|i| part.min(size.saturating_sub(i * part)))
                .collect()
        }
        None => return Err(wrong(format!("{parts} parts of {size}"), "equal parts")),
    };
    let declared = (sizes.into_iter())
        .map(|part| {
            let mut of = shape.to_vec();
            of[axis] = part;
            of
        })
        .collect();
    let reading = site.first_input(|_| Ok(Op::Split { axis }))?;
    Ok(Reading {
        declared,
        ..reading
    })
}

/// Attributes before opset 10, inputs (with steps) from opset 10 on.
pub(super) fn slice(site: &mut Site<'_>) -> Result<Op, OpError> {
    site.at_most(
        if site.opset < 10 { 1 } else { 5 },
        "1, or 3 to 5 from opset 10 on",
    )?;
    let missing = |input| OpError::MissingInput { input };
    let starts = (site.attribute_or_input("starts", 10, 1)?).ok_or(missing("starts"))?;
    let ends = (site.attribute_or_input("ends", 10, 2)?).ok_or(missing("ends"))?;
    let axes = site.attribute_or_input("axes", 10, 3)?;
    let steps = match site.opset {
        ..10 => None,
        _ => site.integers(4, "steps")?,
    };
    let shape = site.shape(0, "data")?;
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(OpError::ConstantInput {
            input: "starts",
            found: format!("{} values", starts.len()),
            expected: "as many as ends, axes and steps",
        });
    }
    let mut parts: Vec<SliceAxis> = (shape.iter())
        .map(|&length| canonical(0, 1, length))
        .collect();
    let mut seen = vec![false; shape.len()];
    for (i, &a) in axes.iter().enumerate() {
        let a = axis(a, shape)?;
        if std::mem::replace(&mut seen[a], true) {
            return Err(OpError::RepeatedAxis { axis: a });
        }
        parts[a] = slice_axis(shape[a], starts[i], ends[i], steps[i])?;
    }
    Ok(Op::Slice { axes: parts })
}

fn slice_axis(size: usize, start: i64, end: i64, step: i64) -> Result<SliceAxis, OpError> {
    let wide = |v: i64| match i128::from(v) {
        v if v < 0 => v + size as i128,
        v => v,
    };
    let (size, step) = (size as i128, i128::from(step));
    let (start, end) = (wide(start), wide(end));
    let (start, length) = match step {
        0 => {
            return Err(OpError::ConstantInput {
                input: "steps",
                found: "0".into(),
                expected: "not 0",
            });
        }
        1.. => {
            let start = start.clamp(0, size);
            (start, (end.clamp(0, size) - start + step - 1) / step)
        }
        _ => {
            let start = start.clamp(-1, size - 1);
            (start, (end.clamp(-1, size - 1) - start + step + 1) / step)
        }
    };
    let length = usize::try_from(length).unwrap_or(0);
    Ok(canonical(
        usize::try_from(start).unwrap_or(0),
        isize::try_from(step).unwrap_or(1),
        length,
    ))
}

/// A unique representation for equal slices: an empty slice has start 0, and a slice of at most
/// one element has step 1.
fn canonical(start: usize, step: isize, length: usize) -> SliceAxis {
    SliceAxis {
        start: if length > 0 { start } else { 0 },
        step: if length > 1 { step } else { 1 },
        length,
    }
}

/// Attributes before opset 11, inputs from opset 11 on. Axes were added in opset 18, `wrap` in
/// opset 19.
pub(super) fn pad(site: &mut Site<'_>) -> Result<Op, OpError> {
    let inputs = match site.opset {
        ..11 => 1,
        11..18 => 3,
        _ => 4,
    };
    site.at_most(
        inputs,
        "1, 2 or 3 from opset 11 on, 2 to 4 from opset 18 on",
    )?;
    let given =
        (site.attribute_or_input("pads", 11, 1)?).ok_or(OpError::MissingInput { input: "pads" })?;
    let value = match site.opset {
        ..11 => {
            let value = site.attributes.float("value", 0.0)?;
            site.held(value)
        }
        _ => site.scalar(2, "constant_value")?.unwrap_or(0.0),
    };
    let axes = match site.opset {
        ..18 => None,
        _ => site.integers(3, "axes")?,
    };
    let mode = match site.attributes.string("mode")?.as_deref() {
        None | Some("constant") => PadMode::Constant(value),
        Some("reflect") => PadMode::Reflect,
        Some("edge") => PadMode::Edge,
        Some("wrap") if site.opset >= 19 => PadMode::Wrap,
        Some(other) => {
            return Err(OpError::Attribute {
                attribute: "mode",
                found: other.to_owned(),
                expected: "constant, reflect, edge or, from opset 19 on, wrap",
            });
        }
    };
    let shape = site.shape(0, "data")?;
    let axes = axes.unwrap_or_else(|| (0..shape.len() as i64).collect());
    if given.len() != 2 * axes.len() {
        return Err(OpError::ConstantInput {
            input: "pads",
            found: format!("{} values", given.len()),
            expected: "two for every axis",
        });
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let mut seen = vec![false; shape.len()];
    let (starts, ends) = given.split_at(axes.len());
    for ((&a, &b), &e) in axes.iter().zip(starts).zip(ends) {
        let a = axis(a, shape)?;
        if std::mem::replace(&mut seen[a], true) {
            return Err(OpError::RepeatedAxis { axis: a });
        }
        let wrong = |_| OpError::ConstantInput {
            input: "pads",
            found: format!("{b} and {e}"),
            expected: "sizes that memory can hold",
        };
        before[a] = isize::try_from(b).map_err(wrong)?;
        after[a] = isize::try_from(e).map_err(wrong)?;
    }
    Ok(Op::Pad(Pad {
        before,
        after,
        mode,
    }))
}
