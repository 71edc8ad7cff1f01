//! Output shapes of Concat, Split, Slice and Pad.

use super::axis_error;
use crate::{OpError, Pad, PadMode, SliceAxis, TensorType};

pub(super) fn concat(axis: usize, inputs: &[TensorType]) -> Result<Vec<usize>, OpError> {
    let mut out = inputs[0].shape.clone();
    if axis >= out.len() {
        return Err(axis_error(axis, &out));
    }
    for t in &inputs[1..] {
        let fits =
            t.shape.len() == out.len() && (0..out.len()).all(|i| i == axis || t.shape[i] == out[i]);
        if !fits {
            return Err(OpError::Incompatible {
                first: out,
                second: t.shape.clone(),
            });
        }
        out[axis] = out[axis]
            .checked_add(t.shape[axis])
            .ok_or_else(|| OpError::TooLarge { shape: out.clone() })?;
    }
    Ok(out)
}

pub(super) fn split(
    axis: usize,
    x: &[usize],
    declared: &[Vec<usize>],
) -> Result<Vec<Vec<usize>>, OpError> {
    let size = *x.get(axis).ok_or_else(|| axis_error(axis, x))?;
    let mut total = 0usize;
    for d in declared {
        let part = *d.get(axis).ok_or_else(|| axis_error(axis, d))?;
        let mut expected = x.to_vec();
        expected[axis] = part;
        if *d != expected {
            return Err(OpError::WrongOutput {
                declared: d.clone(),
                inferred: expected,
            });
        }
        total = total.saturating_add(part);
    }
    if total != size || declared.is_empty() {
        return Err(OpError::Attribute {
            attribute: "split",
            found: format!("{total} in all"),
            expected: "sizes that add up to the axis",
        });
    }
    Ok(declared.to_vec())
}

pub(super) fn slice(axes: &[SliceAxis], x: &[usize]) -> Result<Vec<usize>, OpError> {
    if axes.len() != x.len() {
        return Err(axis_error(axes.len(), x));
    }
    for (i, (a, &size)) in axes.iter().zip(x).enumerate() {
        let inside = |index: i128| (0..size as i128).contains(&index);
        let last = a.start as i128 + (a.length as i128 - 1).saturating_mul(a.step as i128);
        if a.step == 0 || a.length > 0 && !(inside(a.start as i128) && inside(last)) {
            return Err(OpError::Attribute {
                attribute: "axes",
                found: format!("{a:?} at axis {i}"),
                expected: "a part of the input",
            });
        }
    }
    Ok(axes.iter().map(|a| a.length).collect())
}

pub(super) fn pad(p: &Pad, x: &[usize]) -> Result<Vec<usize>, OpError> {
    if p.before.len() != x.len() || p.after.len() != x.len() {
        return Err(OpError::Attribute {
            attribute: "pads",
            found: format!("{} values", p.before.len() + p.after.len()),
            expected: "two for every axis of the input",
        });
    }
    let wrong = |before: isize, after: isize, expected| OpError::Attribute {
        attribute: "pads",
        found: format!("{before} and {after}"),
        expected,
    };
    x.iter()
        .zip(p.before.iter().zip(&p.after))
        .map(|(&size, (&before, &after))| {
            let total = size as i128 + before as i128 + after as i128;
            let out = usize::try_from(total)
                .map_err(|_| wrong(before, after, "cuts no larger than the axis"))?;
            // Negative pads cut first. The mode then repeats what remains.
            let remaining = size as i128 + before.min(0) as i128 + after.min(0) as i128;
            let longest = before.max(after) as i128;
            let most = match p.mode {
                PadMode::Constant(_) => i128::MAX,
                PadMode::Edge => [0, i128::MAX][usize::from(remaining > 0)],
                PadMode::Reflect => (remaining - 1).max(0),
                PadMode::Wrap => remaining.max(0),
            };
            if remaining < 0 || longest > most {
                return Err(wrong(
                    before,
                    after,
                    "no more padding than the input can fill",
                ));
            }
            Ok(out)
        })
        .collect()
}
