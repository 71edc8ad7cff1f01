//! Operations that move elements of any type without changing them.

use crate::plan::{Fill, MAX_RANK, SliceStep};

/// A copy of the elements at some indices of an axis.
#[derive(Debug)]
pub(crate) struct Gather {
    indices: Vec<usize>,
    /// The input's size on the axis.
    size: usize,
    /// Elements after the axis.
    inner: usize,
}

impl Gather {
    pub(crate) fn new(input: &[usize], axis: usize, indices: Vec<usize>) -> Self {
        Self {
            indices,
            size: input[axis],
            inner: input[axis + 1..].iter().product(),
        }
    }

    pub(crate) fn run<T: Copy>(&self, input: &[T], output: &mut [T]) {
        let block = self.size * self.inner;
        if output.is_empty() {
            return;
        }
        let outputs = output.chunks_exact_mut(self.indices.len() * self.inner);
        for (output, input) in outputs.zip(input.chunks_exact(block)) {
            for (part, index) in output.chunks_exact_mut(self.inner).zip(&self.indices) {
                part.copy_from_slice(&input[index * self.inner..][..self.inner]);
            }
        }
    }
}

/// A strided copy, for slices and transpositions.
#[derive(Debug)]
pub(crate) struct StridedCopy {
    base: usize,
    /// For each outer axis, outermost first: its length in the output and its stride in the
    /// input.
    outer: Vec<(usize, isize)>,
    /// The same for the innermost axis.
    inner: (usize, isize),
}

impl StridedCopy {
    pub(crate) fn slice(input: &[usize], axes: &[SliceStep], output: &[usize]) -> Self {
        if output.contains(&0) {
            // An empty slice may start outside the input.
            return Self::collapsed(0, Vec::new());
        }
        let mut stride = 1;
        let mut base = 0;
        let mut found = Vec::new();
        for axis in (0..input.len()).rev() {
            let SliceStep { start, step } = axes[axis];
            base += start * stride;
            // The step of an axis with one element is not used and may have any value.
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

    /// `axes` are innermost first. Axes that are contiguous are merged.
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

/// Copies one input of a concatenation to its offset in each row of the output.
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

/// One axis of a [`Pad`].
#[derive(Debug, Clone, Copy)]
struct PadAxis {
    /// Size in the input.
    size: usize,
    /// Size in the output.
    length: usize,
    before: isize,
    /// Input elements between consecutive indices of the axis.
    stride: usize,
}

impl PadAxis {
    /// The offset in the input for an index of the output; `None` selects the fill value.
    fn offset(&self, index: usize, fill: Fill) -> Option<usize> {
        source(index as isize - self.before, self.size as isize, fill)
            .map(|place| place * self.stride)
    }
}

/// Adds or crops a border.
#[derive(Debug)]
pub(crate) struct Pad {
    /// The axes up to the last one with a border.
    axes: Vec<PadAxis>,
    /// Elements after that axis, which are moved together.
    block: usize,
    fill: Fill,
}

impl Pad {
    pub(crate) fn new(input: &[usize], before: &[isize], fill: Fill, output: &[usize]) -> Self {
        let has_border = |&axis: &usize| before[axis] != 0 || input[axis] != output[axis];
        let kept = (0..input.len())
            .rfind(has_border)
            .map_or(0, |axis| axis + 1);
        let block = input[kept..].iter().product();
        let mut stride = block;
        let mut axes: Vec<PadAxis> = (0..kept)
            .rev()
            .map(|axis| {
                let found = PadAxis {
                    size: input[axis],
                    length: output[axis],
                    before: before[axis],
                    stride,
                };
                stride *= input[axis];
                found
            })
            .collect();
        axes.reverse();
        Self { axes, block, fill }
    }

    /// The fill value if the fill is constant, otherwise 0.
    pub(crate) fn value(&self) -> f32 {
        match self.fill {
            Fill::Constant(value) => value,
            Fill::Reflect | Fill::Edge | Fill::Wrap => 0.0,
        }
    }

    /// `value` is [`value`](Self::value) converted to the element type.
    pub(crate) fn run<T: Copy>(&self, value: T, input: &[T], output: &mut [T]) {
        if output.is_empty() {
            return;
        }
        let Some((inner, outer)) = self.axes.split_last() else {
            output.copy_from_slice(input);
            return;
        };
        // The part of each row that is inside the input is copied as one slice.
        let first = inner.before.clamp(0, inner.length as isize).unsigned_abs();
        let end = (inner.before + inner.size as isize)
            .clamp(first as isize, inner.length as isize)
            .unsigned_abs();
        let block = self.block;
        let mut index = [0_usize; MAX_RANK];
        for row in output.chunks_exact_mut(inner.length * block) {
            let base = outer
                .iter()
                .zip(&index)
                .try_fold(0, |base, (axis, &index)| {
                    Some(base + axis.offset(index, self.fill)?)
                });
            match base {
                None => row.fill(value),
                Some(base) => {
                    for at in (0..first).chain(end..inner.length) {
                        let added = &mut row[at * block..][..block];
                        match inner.offset(at, self.fill) {
                            Some(place) => {
                                added.copy_from_slice(&input[base + place..][..block]);
                            }
                            None => added.fill(value),
                        }
                    }
                    if end > first {
                        // Not negative: `first` is at least `before`.
                        let from = base + (first as isize - inner.before).unsigned_abs() * block;
                        let count = (end - first) * block;
                        row[first * block..][..count].copy_from_slice(&input[from..][..count]);
                    }
                }
            }
            for (axis, index) in outer.iter().zip(&mut index).rev() {
                *index += 1;
                if *index < axis.length {
                    break;
                }
                *index = 0;
            }
        }
    }
}

/// The input index for position `place` of an axis of `size` elements; `place` may be outside the
/// axis. `None` selects the fill value.
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
