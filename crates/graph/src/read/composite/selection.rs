//! GatherElements, GatherND, ScatterElements and ScatterND with constant indices, as Gather of rows.

use super::movement::{given_indices, place};
use super::{Composer, Source};
use crate::read::operators::{Site, axis};
use crate::{Op, OpError};

type Composed = Result<Source, OpError>;

/// The most updates of the same element, which take a node each.
const MOST_UPDATES: usize = 64;

/// How updates are combined with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    /// The last one replaces the data.
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Update {
    /// The attribute `reduction`; "max" and "min" since opset 18.
    fn of(site: &mut Site<'_>) -> Result<Self, OpError> {
        let attribute = "reduction";
        if site.opset < 16 {
            return Ok(Self::Replace);
        }
        match site.attributes.string(attribute)?.as_deref() {
            None | Some("none") => Ok(Self::Replace),
            Some("add") => Ok(Self::Add),
            Some("mul") => Ok(Self::Mul),
            Some("max") => Ok(Self::Max),
            Some("min") => Ok(Self::Min),
            Some(other) => Err(OpError::Attribute {
                attribute,
                found: other.to_owned(),
                expected: "none, add, mul, max or min",
            }),
        }
    }

    /// The operator, and the number that it leaves finite data unchanged with.
    fn combined(self) -> Option<(Op, f32)> {
        match self {
            Self::Replace => None,
            Self::Add => Some((Op::Add, 0.0)),
            Self::Mul => Some((Op::Mul, 1.0)),
            Self::Max => Some((Op::Max, f32::MIN)),
            Self::Min => Some((Op::Min, f32::MAX)),
        }
    }
}

/// Checks the shape of the indices of single elements of `data` along `axis`.
pub(super) fn check_elements(shape: &[usize], data: &[usize], axis: usize) -> Result<(), OpError> {
    let too_large = (0..data.len()).any(|i| i != axis && shape.get(i) > data.get(i));
    match shape.len() != data.len() || too_large {
        false => Ok(()),
        true => Err(OpError::Shape {
            input: "indices",
            found: shape.to_vec(),
            expected: format!("at most {data:?}, except along axis {axis}"),
        }),
    }
}

/// For each element of `shape`, the place in `data` of the element whose index along `axis` is
/// given.
fn along(
    given: &[i64],
    shape: &[usize],
    data: &[usize],
    axis: usize,
) -> Result<Vec<usize>, OpError> {
    check_elements(shape, data, axis)?;
    let (theirs, own) = (distances(data), distances(shape));
    (given.iter().enumerate())
        .map(|(i, &index)| {
            let index = place(index, data[axis])?;
            let at = |d: usize| match d == axis {
                true => index,
                false => i / own[d] % shape[d],
            };
            Ok((0..data.len()).map(|d| at(d) * theirs[d]).sum())
        })
        .collect()
}

/// Row-major distances between neighbours along each axis.
fn distances(shape: &[usize]) -> Vec<usize> {
    let mut distances = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        distances[i - 1] = distances[i] * shape[i];
    }
    distances
}

pub(super) fn gather_elements(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let x = site.source(0, "data")?;
    let data = c.shape(x);
    let axis = axis(given, &data)?;
    let (given, shape) = given_indices(site, 1)?;
    let indices = along(&given, &shape, &data, axis)?;
    let flat = c.reshape(x, &[data.iter().product()])?;
    let selected = c.then(Op::Gather { axis: 0, indices }, flat)?;
    c.reshape(selected, &shape)
}

pub(super) fn scatter_elements(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "3")?;
    let update = Update::of(site)?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let (x, updates) = (site.source(0, "data")?, site.source(2, "updates")?);
    let data = c.shape(x);
    let axis = axis(given, &data)?;
    let (given, shape) = given_indices(site, 1)?;
    same_shape(&c.shape(updates), &shape)?;
    let places = along(&given, &shape, &data, axis)?;
    let rows = c.reshape(x, &[data.iter().product(), 1])?;
    let updates = c.reshape(updates, &[places.len(), 1])?;
    let result = scattered(c, site, (rows, updates), &places, update)?;
    c.reshape(result, &data)
}

fn same_shape(updates: &[usize], expected: &[usize]) -> Result<(), OpError> {
    match updates == expected {
        true => Ok(()),
        false => Err(OpError::Shape {
            input: "updates",
            found: updates.to_vec(),
            expected: format!("{expected:?}"),
        }),
    }
}

/// Of the places that the last axis of the indices names in the axes `batch..` of `data`: their
/// numbers in row-major order, the shape of the indices without that axis, and how many axes of
/// `data` the numbers count.
fn places(
    site: &Site<'_>,
    data: &[usize],
    batch: usize,
) -> Result<(Vec<usize>, Vec<usize>, usize), OpError> {
    let (given, shape) = given_indices(site, 1)?;
    let wrong = |expected: String| OpError::Shape {
        input: "indices",
        found: shape.clone(),
        expected,
    };
    let Some((&depth, outer)) = shape.split_last() else {
        return Err(wrong("one axis or more".into()));
    };
    let counted = batch.saturating_add(depth);
    if depth == 0 || counted > data.len() || outer.get(..batch) != data.get(..batch) {
        return Err(wrong(format!(
            "{batch} axes as in {data:?} and at most one index for each other one"
        )));
    }
    let inner: usize = outer[batch..].iter().product();
    let distances = distances(&data[..counted]);
    let rows = (given.chunks_exact(depth).enumerate()).map(|(row, index)| {
        // The numbers of the batch's axes, which are the same in indices and data.
        let before = (row / inner.max(1)) * data[batch..counted].iter().product::<usize>();
        let within = (index.iter().zip(batch..))
            .map(|(&index, axis)| place(index, data[axis]).map(|place| place * distances[axis]));
        Ok(before + within.sum::<Result<usize, OpError>>()?)
    });
    let rows = rows.collect::<Result<Vec<_>, OpError>>()?;
    Ok((rows, outer.to_vec(), counted))
}

/// `batch_dims` was added in opset 12.
pub(super) fn gather_nd(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let attribute = "batch_dims";
    let given = match site.opset {
        ..12 => 0,
        _ => site.attributes.int(attribute)?.unwrap_or(0),
    };
    let batch = usize::try_from(given).map_err(|_| OpError::Attribute {
        attribute,
        found: given.to_string(),
        expected: "0 or more",
    })?;
    let x = site.source(0, "data")?;
    let data = c.shape(x);
    let (indices, outer, counted) = places(site, &data, batch)?;
    let rows = c.reshape(x, &as_rows(&data, counted))?;
    let selected = c.then(Op::Gather { axis: 0, indices }, rows)?;
    c.reshape(selected, &[&outer, &data[counted..]].concat())
}

pub(super) fn scatter_nd(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "3")?;
    let update = Update::of(site)?;
    let (x, updates) = (site.source(0, "data")?, site.source(2, "updates")?);
    let data = c.shape(x);
    let (places, outer, counted) = places(site, &data, 0)?;
    same_shape(&c.shape(updates), &[&outer, &data[counted..]].concat())?;
    let [count, row] = as_rows(&data, counted);
    let rows = c.reshape(x, &[count, row])?;
    let updates = c.reshape(updates, &[places.len(), row])?;
    let result = scattered(c, site, (rows, updates), &places, update)?;
    c.reshape(result, &data)
}

fn as_rows(data: &[usize], counted: usize) -> [usize; 2] {
    [
        data[..counted].iter().product(),
        data[counted..].iter().product(),
    ]
}

/// The rows, of which those at `places` are combined with the updates: each row of the result is one
/// of the rows or of the updates.
fn scattered(
    c: &mut Composer<'_>,
    site: &Site<'_>,
    (rows, updates): (Source, Source),
    places: &[usize],
    update: Update,
) -> Composed {
    let count = site.fits(&c.shape(rows)[..1])?;
    let Some((op, neutral)) = update.combined() else {
        let mut indices: Vec<usize> = (0..count).collect();
        for (i, &place) in places.iter().enumerate() {
            indices[place] = count + i;
        }
        let both = c.node(Op::Concat { axis: 0 }, &[rows, updates])?;
        return c.then(Op::Gather { axis: 0, indices }, both);
    };
    // The n-th update of every row is combined in the n-th node.
    let mut updated = vec![0; count];
    let mut rounds = Vec::with_capacity(places.len());
    for &place in places {
        rounds.push(updated[place]);
        updated[place] += 1;
    }
    let last = updated.iter().copied().max().unwrap_or(0);
    if last > MOST_UPDATES {
        return Err(OpError::Unsupported {
            feature: "a reduction of more than 64 updates of one element",
        });
    }
    let row = c.shape(rows)[1];
    let unchanged = c.numbers(updates, &[1, row], vec![neutral; row])?;
    let both = c.node(Op::Concat { axis: 0 }, &[updates, unchanged])?;
    let mut result = rows;
    for round in 0..last {
        let mut indices = vec![places.len(); count];
        for (i, &place) in places.iter().enumerate() {
            if rounds[i] == round {
                indices[place] = i;
            }
        }
        let selected = c.then(Op::Gather { axis: 0, indices }, both)?;
        result = c.node(op.clone(), &[result, selected])?;
    }
    Ok(result)
}
