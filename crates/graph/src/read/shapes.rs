//! Shape and Gather, which exporters use to compute shapes. All shapes are known here, so both
//! become constants. Neither is an [`Op`].
//!
//! [`Op`]: crate::Op

use super::operators::{Site, axis};
use crate::{OpError, Tensor, TensorData};

/// Reads Shape and Gather. `None` for all other operators.
pub(super) fn read(operator: &str, site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    match operator {
        "Shape" => Some(shape(site)),
        "Gather" => Some(gather(site)),
        _ => None,
    }
}

/// `start` and `end` were added in opset 15. Negative values count from the end.
fn shape(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(1, "1")?;
    let (start, end) = match site.opset {
        ..15 => (None, None),
        _ => (site.attributes.int("start")?, site.attributes.int("end")?),
    };
    let shape = site.shape(0, "data")?;
    let rank = shape.len() as i64;
    let at = |given: Option<i64>, default: i64| match given.unwrap_or(default) {
        i if i < 0 => i.saturating_add(rank).max(0) as usize,
        i => i.min(rank) as usize,
    };
    let sizes = shape.get(at(start, 0)..at(end, rank)).unwrap_or(&[]);
    let sizes: Vec<i64> = sizes.iter().map(|&d| d as i64).collect();
    Ok(Tensor::vector(sizes))
}

/// Gather is supported only from a constant list of integers.
fn gather(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(2, "2")?;
    let along = site.attributes.int("axis")?.unwrap_or(0);
    let missing = |input| OpError::MissingInput { input };
    let data = site.constant(0, "data")?.ok_or(missing("data"))?;
    let indices = site.constant(1, "indices")?.ok_or(missing("indices"))?;
    let (TensorData::I64(list), [_]) = (data.data(), data.shape()) else {
        return Err(OpError::Unsupported {
            feature: "Gather from anything but a list of int64 constants",
        });
    };
    axis(along, data.shape())?;
    let wide: Vec<i64> = match indices.data() {
        TensorData::I64(v) => v.clone(),
        TensorData::I32(v) => v.iter().map(|&i| i.into()).collect(),
        _ => {
            return Err(OpError::ElementType {
                input: "indices",
                found: indices.element_type(),
                expected: "int64 or int32",
            });
        }
    };
    let taken = (wide.iter())
        .map(|&i| {
            // Negative indices count from the end.
            let place = if i < 0 {
                i.saturating_add(list.len() as i64)
            } else {
                i
            };
            usize::try_from(place)
                .ok()
                .and_then(|place| list.get(place).copied())
                .ok_or(OpError::Index {
                    index: i,
                    length: list.len(),
                })
        })
        .collect::<Result<Vec<i64>, OpError>>()?;
    Tensor::new(indices.shape(), taken).map_err(|e| OpError::TooLarge { shape: e.shape })
}
