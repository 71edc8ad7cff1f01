//! The order of a value's elements in memory.
//!
//! All sizes and strides are those of one sample: the batch axis is the outermost axis of every
//! value and is not part of them.

/// The memory order of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row-major in the model's axis order.
    Plain,
    /// A sample (C, H, W), stored as (H, W, C): convolution and pooling read whole pixels.
    ChannelsLast,
}

impl Layout {
    /// The axes in the order of memory, outermost first.
    pub(crate) fn order(self, rank: usize) -> Vec<usize> {
        match self {
            Self::ChannelsLast if rank == 3 => vec![1, 2, 0],
            _ => (0..rank).collect(),
        }
    }

    /// The distance in memory between neighbours along each axis.
    pub(crate) fn strides(self, shape: &[usize]) -> Vec<isize> {
        let mut strides = vec![0; shape.len()];
        let mut next = 1;
        for &axis in self.order(shape.len()).iter().rev() {
            strides[axis] = next;
            next *= shape[axis] as isize;
        }
        strides
    }
}

/// One loop of a walk over two arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis<const N: usize> {
    pub(crate) len: usize,
    /// The distance between neighbours in each array.
    pub(crate) strides: [isize; N],
}

/// Joins neighbouring loops where the outer one continues the inner one in every array, and
/// removes loops of length 1. The order of the elements stays. The last loop is the innermost.
pub(crate) fn collapse<const N: usize>(axes: &[Axis<N>]) -> Vec<Axis<N>> {
    let mut joined: Vec<Axis<N>> = Vec::new();
    for &axis in axes.iter().filter(|axis| axis.len != 1) {
        if let Some(outer) = joined.last_mut() {
            let continues = |n: usize| outer.strides[n] == axis.strides[n] * axis.len as isize;
            if (0..N).all(continues) {
                outer.len *= axis.len;
                outer.strides = axis.strides;
                continue;
            }
        }
        joined.push(axis);
    }
    if joined.is_empty() {
        let len = axes.iter().map(|axis| axis.len).product();
        joined.push(Axis {
            len,
            strides: [1; N],
        });
    }
    joined
}

/// Calls `visit` with the positions in all arrays, for each combination of indices of `axes`, in
/// row-major order.
pub(crate) fn walk<const N: usize>(
    axes: &[Axis<N>],
    start: [isize; N],
    visit: &mut impl FnMut([isize; N]),
) {
    let Some((axis, inner)) = axes.split_first() else {
        visit(start);
        return;
    };
    let mut at = start;
    for _ in 0..axis.len {
        walk(inner, at, visit);
        for (at, stride) in at.iter_mut().zip(axis.strides) {
            *at += stride;
        }
    }
}
