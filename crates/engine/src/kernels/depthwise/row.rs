//! The inner loop of float depthwise convolutions: adjacent channels are the lanes of vectors.
//!
//! Columns are read once, from left to right, and multiplied for every output pixel whose window
//! has them: the sums of these pixels are in registers. A sum starts with the bias; products are
//! added column by column, and each is fused with its addition. Exact arithmetic instead computes
//! pixel by pixel, and adds the rounded products row by row as the plain loops do.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::convolution::WindowAxis;
use super::super::simd::Vector;
use crate::instruction_set::{Available, InstructionSet};

/// A row of output pixels of one block of channels. Strides are in elements.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The block's first channel in the first pixel of the picture.
    pub(super) input: *const f32,
    /// Channels of a pixel, of the input and the output.
    pub(super) channels: usize,
    pub(super) down: WindowAxis,
    pub(super) across: WindowAxis,
    /// The row of the output, and the rows of the window that are inside the input.
    pub(super) y: usize,
    pub(super) rows: Range<usize>,
    /// Columns of the output.
    pub(super) width: usize,
    /// (kH, kW, channels of the block)
    pub(super) weights: *const f32,
    pub(super) bias: *const f32,
    /// The block's first channel in the row's first output pixel.
    pub(super) output: *mut f32,
    /// The limits between which the sums are clamped.
    pub(super) low: f32,
    pub(super) high: f32,
}

/// Computes a row. [`function`] chooses one whose instructions the machine has.
///
/// # Safety
/// - The block's channels of every pixel of the picture, a weight for each tap and channel of the
///   block, and a bias for each channel are readable.
/// - The block's channels of each output pixel of the row are writable.
pub(super) type RowFunction = unsafe fn(&Row);

impl Row {
    /// Where the input of a row of the window that is inside the input starts.
    #[inline(always)]
    fn start(&self, tap: usize) -> *const f32 {
        let place = self.down.position(self.y, tap) * self.across.size;
        self.input.wrapping_add(place * self.channels)
    }
}

/// Computes a row whose window has `W` columns without dilation and the stride `S`, of which each
/// column is in `L` windows at most. A `W` of 0 is any window, and an `L` of 0 is exact arithmetic
/// for any window. A block has `Z` vectors.
///
/// # Safety
/// The machine has the instructions of `V`; the rest as for [`RowFunction`].
#[inline(always)]
unsafe fn row<V: Vector, const Z: usize, const W: usize, const S: usize, const L: usize>(
    row: &Row,
) {
    // SAFETY: `exact_pixel`, `pixel` and `columns` have the contract of this function.
    unsafe {
        if L == 0 {
            for x in 0..row.width {
                exact_pixel::<V, Z>(row, x);
            }
        } else if W == 0 {
            for x in 0..row.width {
                pixel::<V, Z>(row, x);
            }
        } else {
            columns::<V, Z, W, S, L>(row);
        }
    }
}

/// Computes a row column by column. Step `i` adds the `S` columns that are the first of the
/// window of pixel `i` to that pixel and to the `L - 1` before it, and completes the earliest.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn columns<V: Vector, const Z: usize, const W: usize, const S: usize, const L: usize>(
    row: &Row,
) {
    // SAFETY: the caller guarantees the instructions. Only rows and columns inside the input are
    // read; there are weights for every tap, and biases and outputs for every channel.
    unsafe {
        let mut sums = [load::<V, Z>(row.bias); L];
        for i in 0..row.width + L - 1 {
            for s in 0..S {
                let place = (i * S + s).wrapping_sub(row.across.pad);
                if place >= row.across.size {
                    continue;
                }
                for tap in row.rows.clone() {
                    let x = load::<V, Z>(row.start(tap).wrapping_add(place * row.channels));
                    for (l, sums) in sums.iter_mut().enumerate() {
                        let column = l * S + s;
                        if column >= W {
                            continue;
                        }
                        let weights = row.weights.wrapping_add((tap * W + column) * Z * V::LANES);
                        for (z, (sum, &x)) in sums.iter_mut().zip(&x).enumerate() {
                            *sum = x.mul_add(V::load(weights.wrapping_add(z * V::LANES)), *sum);
                        }
                    }
                }
            }
            if i + 1 >= L {
                store::<V, Z>(row, i + 1 - L, sums[L - 1]);
            }
            // One by one: a copy of several would keep the sums in memory.
            let first = load::<V, Z>(row.bias);
            for z in 0..Z {
                for l in (1..L).rev() {
                    sums[l][z] = sums[l - 1][z];
                }
                sums[0][z] = first[z];
            }
        }
    }
}

/// Computes one pixel of any window.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn pixel<V: Vector, const Z: usize>(row: &Row, x: usize) {
    // SAFETY: as in `columns`.
    unsafe {
        let mut sums = load::<V, Z>(row.bias);
        for column in row.across.taps(x) {
            let place = row.across.position(x, column);
            for tap in row.rows.clone() {
                let x = load::<V, Z>(row.start(tap).wrapping_add(place * row.channels));
                let at = (tap * row.across.kernel + column) * Z * V::LANES;
                for (z, (sum, &x)) in sums.iter_mut().zip(&x).enumerate() {
                    *sum = x.mul_add(V::load(row.weights.wrapping_add(at + z * V::LANES)), *sum);
                }
            }
        }
        store::<V, Z>(row, x, sums);
    }
}

/// Computes one pixel of any window with the bits of the plain loops.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn exact_pixel<V: Vector, const Z: usize>(row: &Row, x: usize) {
    let columns = row.across.taps(x);
    // SAFETY: as in `columns`.
    unsafe {
        let mut sums = load::<V, Z>(row.bias);
        for tap in row.rows.clone() {
            let start = row.start(tap);
            for column in columns.clone() {
                let place = row.across.position(x, column);
                let x = load::<V, Z>(start.wrapping_add(place * row.channels));
                let at = (tap * row.across.kernel + column) * Z * V::LANES;
                let weights = load::<V, Z>(row.weights.wrapping_add(at));
                for (sum, (&x, weight)) in sums.iter_mut().zip(x.iter().zip(weights)) {
                    *sum = x.mul_then_add(weight, *sum);
                }
            }
        }
        store::<V, Z>(row, x, sums);
    }
}

/// # Safety
/// The machine has the instructions of `V`, and `Z` vectors are readable.
#[inline(always)]
unsafe fn load<V: Vector, const Z: usize>(from: *const f32) -> [V; Z] {
    // SAFETY: the caller guarantees the instructions and the vectors.
    unsafe {
        let mut vectors = [V::splat(0.0); Z];
        for (z, vector) in vectors.iter_mut().enumerate() {
            *vector = V::load(from.wrapping_add(z * V::LANES));
        }
        vectors
    }
}

/// Stores a pixel.
///
/// # Safety
/// The machine has the instructions of `V`, and the block's channels of the pixel are writable.
#[inline(always)]
unsafe fn store<V: Vector, const Z: usize>(row: &Row, x: usize, sums: [V; Z]) {
    let to = row.output.wrapping_add(x * row.channels);
    // SAFETY: the caller guarantees the instructions and the output.
    unsafe {
        let (low, high) = (V::splat(row.low), V::splat(row.high));
        for (z, sum) in sums.into_iter().enumerate() {
            sum.clamp(low, high).store(to.wrapping_add(z * V::LANES));
        }
    }
}

/// The function of an instruction set for blocks of a number of vectors.
macro_rules! rows {
    ($(#[$attribute:meta])? $name:ident, $vector:ty) => {
        /// # Safety
        /// See [`RowFunction`]; the machine has the instructions of the vector.
        $(#[$attribute])?
        unsafe fn $name<const Z: usize, const W: usize, const S: usize, const L: usize>(
            work: &Row,
        ) {
            // SAFETY: this function enables the vector's instructions, if they are not part of
            // the architecture; the caller guarantees the contract of `RowFunction`.
            unsafe { row::<$vector, Z, W, S, L>(work) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
rows!(
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    wide,
    std::arch::x86_64::__m512
);
#[cfg(target_arch = "x86_64")]
rows!(
    #[target_feature(enable = "avx2,fma")]
    narrow,
    std::arch::x86_64::__m256
);
#[cfg(target_arch = "aarch64")]
rows!(neon, std::arch::aarch64::float32x4_t);

/// Selects the instance of a function for a window's columns and stride.
macro_rules! choose {
    ($function:ident, $vectors:literal, $window:expr) => {
        match $window {
            Window::Exact => $function::<$vectors, 0, 1, 0> as RowFunction,
            Window::Columns([3, 1]) => $function::<$vectors, 3, 1, 3>,
            Window::Columns([3, 2]) => $function::<$vectors, 3, 2, 2>,
            Window::Columns([5, 1]) => $function::<$vectors, 5, 1, 5>,
            Window::Columns([5, 2]) => $function::<$vectors, 5, 2, 3>,
            Window::Columns(_) | Window::Any => $function::<$vectors, 0, 1, 1>,
        }
    };
}

/// The channels of the instruction set's blocks, the most first; none for plain loops.
pub(super) fn blocks(set: Available) -> &'static [usize] {
    match set.set() {
        InstructionSet::Avx512 | InstructionSet::Avx512Vnni => &[64, 32, 16, 8],
        InstructionSet::Avx2 | InstructionSet::AvxVnni => &[16, 8],
        InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm => &[16, 4],
        InstructionSet::Scalar => &[],
    }
}

/// How a row's windows are computed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// With exact arithmetic.
    Exact,
    /// The columns and the stride of a window without dilation.
    Columns([usize; 2]),
    /// Any other window.
    Any,
}

/// The function for one of the [`blocks`].
pub(super) fn function(set: Available, block: usize, window: Window) -> Option<RowFunction> {
    match (set.set(), block) {
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512 | InstructionSet::Avx512Vnni, 64) => Some(choose!(wide, 4, window)),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512 | InstructionSet::Avx512Vnni, 32) => Some(choose!(wide, 2, window)),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512 | InstructionSet::Avx512Vnni, 16) => Some(choose!(wide, 1, window)),
        #[cfg(target_arch = "x86_64")]
        (_, 16) => Some(choose!(narrow, 2, window)),
        #[cfg(target_arch = "x86_64")]
        (_, 8) => Some(choose!(narrow, 1, window)),
        #[cfg(target_arch = "aarch64")]
        (_, 16) => Some(choose!(neon, 4, window)),
        #[cfg(target_arch = "aarch64")]
        (_, 4) => Some(choose!(neon, 1, window)),
        _ => None,
    }
}
