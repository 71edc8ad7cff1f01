//! Elements moved and not changed, whatever their type.

use crate::plan::{Fill, MAX_RANK, SliceStep};

/// A copy out of regular places: slices and transpositions.
#[derive(Debug)]
pub(crate) struct StridedCopy {
    base: usize,
    /// Length in the output, and the input's stride.
    outer: Vec<(usize, isize)>,
    inner: (usize, isize),
}

impl StridedCopy {
    pub(crate) fn slice(input: &[usize], axes: &[SliceStep], output: &[usize]) -> Self {
        if output.contains(&0) {
            // The start of a slice that takes nothing may be anywhere.
            return Self::collapsed(0, Vec::new());
        }
        let mut stride = 1;
        let mut base = 0;
        let mut found = Vec::new();
        for axis in (0..input.len()).rev() {
            let SliceStep { start, step } = axes[axis];
            base += start * stride;
            // A step that is never taken may be of any size.
            let step = if output[axis] > 1 { step } else { 1 };
            found.push((output[axis], step * stride as isize));
            stride *= input[axis];
        }
        Self::collapsed(base, found)
    }

    pub(crate) fn transpose(input: &[usize], perm: &[usize]) -> Self {
        let stride = |axis: usize| input[axis + 1..].iter().product::<usize>() as isize;
        let axes = perm
            .iter()
            .rev()
            .map(|&axis| (input[axis], stride(axis)))
            .collect();
        Self::collapsed(0, axes)
    }

    /// `axes` innermost first; those that lie end to end become one.
    fn collapsed(base: usize, axes: Vec<(usize, isize)>) -> Self {
        let mut kept: Vec<(usize, isize)> = Vec::new();
        for (length, stride) in axes {
            match kept.last_mut() {
                _ if length == 1 => {}
                Some(last) if last.1.checked_mul(last.0 as isize) == Some(stride) => {
                    last.0 *= length;
                }
                _ => kept.push((length, stride)),
            }
        }
        let inner = if kept.is_empty() {
            (1, 1)
        } else {
            kept.remove(0)
        };
        kept.reverse();
        Self {
            base,
            outer: kept,
            inner,
        }
    }

    pub(crate) fn run<T: Copy>(&self, input: &[T], output: &mut [T]) {
        if output.is_empty() {
            return;
        }
        let mut index = [0_usize; MAX_RANK];
        let mut at = self.base;
        let (length, stride) = self.inner;
        for row in output.chunks_exact_mut(length) {
            if stride == 1 {
                row.copy_from_slice(&input[at..at + length]);
            } else {
                let mut place = at;
                for element in row {
                    *element = input[place];
                    place = place.wrapping_add_signed(stride);
                }
            }
            for (&(length, stride), index) in self.outer.iter().zip(&mut index).rev() {
                *index += 1;
                at = at.wrapping_add_signed(stride);
                if *index < length {
                    break;
                }
                *index = 0;
                at = at.wrapping_add_signed(-stride * length as isize);
            }
        }
    }
}

/// One input of a concatenation into its place.
pub(crate) fn concat_part<T: Copy>(input: &[T], output: &mut [T], rows: usize, offset: usize) {
    if input.is_empty() || rows == 0 {
        return;
    }
    let part = input.len() / rows;
    let row = output.len() / rows;
    for (input, output) in input.chunks_exact(part).zip(output.chunks_exact_mut(row)) {
        output[offset..offset + part].copy_from_slice(input);
    }
}

/// A border added or cut.
#[derive(Debug)]
pub(crate) struct Pad {
    /// For each axis and index of the output, the input's offset; `None` is the fill.
    axes: Vec<Vec<Option<usize>>>,
    /// The constant, where the fill is one.
    pub(crate) value: f32,
}

impl Pad {
    pub(crate) fn new(input: &[usize], before: &[isize], fill: Fill, output: &[usize]) -> Self {
        let axes = (0..input.len())
            .map(|axis| {
                let size = input[axis] as isize;
                let stride: usize = input[axis + 1..].iter().product();
                // Nothing is made when an axis is empty, however long the others are.
                let length = if output.contains(&0) { 0 } else { output[axis] };
                (0..length as isize)
                    .map(|index| {
                        source(index - before[axis], size, fill).map(|place| place * stride)
                    })
                    .collect()
            })
            .collect();
        let value = match fill {
            Fill::Constant(value) => value,
            _ => 0.0,
        };
        Self { axes, value }
    }

    pub(crate) fn run<T: Copy>(&self, value: T, input: &[T], output: &mut [T]) {
        if output.is_empty() {
            return;
        }
        let Some((inner, outer)) = self.axes.split_last() else {
            output.copy_from_slice(input);
            return;
        };
        let mut index = [0_usize; MAX_RANK];
        for row in output.chunks_exact_mut(inner.len()) {
            let base = outer
                .iter()
                .zip(&index)
                .try_fold(0, |base, (places, &index)| Some(base + places[index]?));
            match base {
                None => row.fill(value),
                Some(base) => {
                    for (element, place) in row.iter_mut().zip(inner) {
                        *element = place.map_or(value, |place| input[base + place]);
                    }
                }
            }
            for (places, index) in outer.iter().zip(&mut index).rev() {
                *index += 1;
                if *index < places.len() {
                    break;
                }
                *index = 0;
            }
        }
    }
}

/// Which index of an axis of `size` is read at `place`, which may lie outside.
fn source(place: isize, size: isize, fill: Fill) -> Option<usize> {
    if (0..size).contains(&place) {
        return Some(place.unsigned_abs());
    }
    if size == 0 {
        return None;
    }
    let found = match fill {
        Fill::Constant(_) => return None,
        Fill::Edge => place.clamp(0, size - 1),
        Fill::Wrap => place.rem_euclid(size),
        Fill::Reflect if size == 1 => 0,
        Fill::Reflect => {
            let period = 2 * (size - 1);
            let place = place.rem_euclid(period);
            place.min(period - place)
        }
    };
    Some(found.unsigned_abs())
}
