//! The inner loop of float convolutions and fully connected layers. A tile is a block of
//! output pixels by vectors of output channels whose sums are all in registers.
#![allow(unsafe_code)]

use super::simd::Vector;
use crate::instruction_set::{Available, InstructionSet};

/// The memory that one tile reads and writes. Strides and runs are in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// The first element that the first pixel reads.
    pub(crate) input: *const f32,
    /// From the first input element of an output pixel to that of the next pixel.
    pub(crate) pixel_stride: usize,
    /// Rows of the kernel.
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    /// Contiguous runs of input elements in a row, and the elements of each.
    pub(crate) runs: usize,
    pub(crate) run_stride: usize,
    pub(crate) run: usize,
    /// As many weights as the tile has lanes for each element, in the order of rows and
    /// runs.
    pub(crate) weights: *const f32,
    /// From the first weight of a row to that of the next.
    pub(crate) weights_stride: usize,
    /// As many as the tile has lanes.
    pub(crate) bias: *const f32,
    pub(crate) output: *mut f32,
    pub(crate) output_stride: usize,
    /// Channels that are stored; the other lanes are padding.
    pub(crate) stored: usize,
    /// The limits between which the sums are clamped.
    pub(crate) low: f32,
    pub(crate) high: f32,
}

/// Computes a tile. [`function`] chooses one whose instructions the machine has.
///
/// # Safety
/// - All input elements and weights that the strides and runs reach, and a bias for each
///   lane, are readable.
/// - `stored` channels of each output pixel are writable, and `stored` is at most the number
///   of lanes.
pub(crate) type TileFunction = unsafe fn(&Tile);

/// The arithmetic of tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arithmetic {
    pub(crate) instruction_set: Available,
    /// Whether products are rounded before they are added, as in the plain loops.
    pub(crate) exact: bool,
}

/// The sizes of an instruction set's tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiling {
    pub(crate) lanes: usize,
    /// Lanes of a narrower vector for the remaining channels; 0 if there is none.
    pub(crate) half: usize,
    /// Maximum number of full vectors of channels.
    pub(crate) vectors: usize,
}

impl Tiling {
    /// The sizes for rows of `pixels` output pixels. `None` for plain loops.
    pub(crate) fn of(arithmetic: Arithmetic, pixels: usize) -> Option<Self> {
        match arithmetic.instruction_set.set() {
            InstructionSet::Avx512 | InstructionSet::Avx512Vnni => Some(Self {
                lanes: 16,
                half: 8,
                vectors: 4,
            }),
            InstructionSet::Avx2 | InstructionSet::AvxVnni => Some(Self {
                lanes: 8,
                half: 0,
                // A single pixel needs wide tiles to have enough independent sums.
                vectors: if pixels == 1 { 4 } else { 2 },
            }),
            InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm => {
                Some(Self {
                    lanes: 4,
                    half: 0,
                    vectors: 4,
                })
            }
            InstructionSet::Scalar => None,
        }
    }
}

/// Computes a tile of `P` pixels by `Z` full vectors and `H` narrower ones. With `EXACT`,
/// products are rounded before they are added.
///
/// # Safety
/// The machine has the instructions of `V` and `N`; the rest as for [`TileFunction`].
#[inline(always)]
unsafe fn tile<
    V: Vector,
    N: Vector,
    const P: usize,
    const Z: usize,
    const H: usize,
    const EXACT: bool,
>(
    tile: &Tile,
) {
    // SAFETY: the caller guarantees the instructions of `V` and `N`, and that the tile's input,
    // weights, bias and output are in bounds. A tile with padding lanes is stored in `buffer`,
    // which has `MOST_LANES` elements, at least `width`.
    unsafe {
        let width = Z * V::LANES + H * N::LANES;
        let narrow = Z * V::LANES;
        let mut full = [[V::splat(0.0); Z]; P];
        let mut half = [[N::splat(0.0); H]; P];
        for (full, half) in full.iter_mut().zip(&mut half) {
            for (z, sum) in full.iter_mut().enumerate() {
                *sum = V::load(tile.bias.add(z * V::LANES));
            }
            for sum in half {
                *sum = N::load(tile.bias.add(narrow));
            }
        }
        let mut row = tile.input;
        let mut weights_row = tile.weights;
        for _ in 0..tile.rows {
            let mut start = row;
            let mut weights = weights_row;
            for _ in 0..tile.runs {
                let mut x = start;
                let end = x.add(tile.run);
                while x < end {
                    let mut factors = [V::splat(0.0); Z];
                    let mut narrow_factors = [N::splat(0.0); H];
                    for (z, factor) in factors.iter_mut().enumerate() {
                        *factor = V::load(weights.add(z * V::LANES));
                    }
                    for factor in &mut narrow_factors {
                        *factor = N::load(weights.add(narrow));
                    }
                    for (p, (full, half)) in full.iter_mut().zip(&mut half).enumerate() {
                        let value = *x.add(p * tile.pixel_stride);
                        for (sum, &factor) in full.iter_mut().zip(&factors) {
                            *sum = multiply_add::<V, EXACT>(V::splat(value), factor, *sum);
                        }
                        for (sum, &factor) in half.iter_mut().zip(&narrow_factors) {
                            *sum = multiply_add::<N, EXACT>(N::splat(value), factor, *sum);
                        }
                    }
                    x = x.add(1);
                    weights = weights.add(width);
                }
                start = start.wrapping_add(tile.run_stride);
            }
            row = row.wrapping_add(tile.row_stride);
            weights_row = weights_row.wrapping_add(tile.weights_stride);
        }
        let (low, high) = (V::splat(tile.low), V::splat(tile.high));
        let (narrow_low, narrow_high) = (N::splat(tile.low), N::splat(tile.high));
        for (p, (full, half)) in full.iter().zip(&half).enumerate() {
            let output = tile.output.add(p * tile.output_stride);
            // A tile with padding lanes is stored in a buffer, of which `stored` are copied.
            let mut buffer = [0.0_f32; MOST_LANES];
            let whole = tile.stored == width;
            let lanes = if whole { output } else { buffer.as_mut_ptr() };
            for (z, sum) in full.iter().enumerate() {
                sum.clamp(low, high).store(lanes.add(z * V::LANES));
            }
            for sum in half {
                sum.clamp(narrow_low, narrow_high).store(lanes.add(narrow));
            }
            if !whole {
                output.copy_from_nonoverlapping(buffer.as_ptr(), tile.stored);
            }
        }
    }
}

/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn multiply_add<V: Vector, const EXACT: bool>(value: V, factor: V, sum: V) -> V {
    // SAFETY: the caller guarantees that the machine has the instructions of `V`.
    unsafe {
        match EXACT {
            true => value.mul_then_add(factor, sum),
            false => value.mul_add(factor, sum),
        }
    }
}

/// Lanes of the widest tile.
pub(crate) const MOST_LANES: usize = 64;

/// Selects the instance of a tile function for a number of pixels.
macro_rules! choose {
    (
        $function:ident, $pixels:expr, $vectors:literal, $half:literal, $exact:expr,
        [$($count:literal)*]
    ) => {
        match $pixels {
            $($count => Some($function::<$count, $vectors, $half, { $exact }> as TileFunction),)*
            _ => None,
        }
    };
}

/// The maximum number of pixels of a tile of `vectors` full and `half` narrower vectors.
pub(crate) fn most_pixels(arithmetic: Arithmetic, vectors: usize, half: usize) -> usize {
    (1..=16)
        .rev()
        .find(|&pixels| function(arithmetic, pixels, vectors, half).is_some())
        .unwrap_or(1)
}

/// The function for a shape of tile. There is one for each number of pixels from 1 to
/// [`most_pixels`].
pub(crate) fn function(
    arithmetic: Arithmetic,
    pixels: usize,
    vectors: usize,
    half: usize,
) -> Option<TileFunction> {
    let exact = arithmetic.exact;
    match arithmetic.instruction_set.set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx512Vnni => match exact {
            true => x86::avx512::<true>(pixels, vectors, half),
            false => x86::avx512::<false>(pixels, vectors, half),
        },
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 | InstructionSet::AvxVnni => match exact {
            true => x86::avx2::<true>(pixels, vectors, half),
            false => x86::avx2::<false>(pixels, vectors, half),
        },
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm => {
            match exact {
                true => arm::neon::<true>(pixels, vectors, half),
                false => arm::neon::<false>(pixels, vectors, half),
            }
        }
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use super::{Tile, TileFunction, tile};

    /// # Safety
    /// See [`TileFunction`].
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    unsafe fn wide<const P: usize, const Z: usize, const H: usize, const EXACT: bool>(t: &Tile) {
        // SAFETY: this function enables AVX-512 F and VL, AVX2 and FMA; the caller guarantees
        // the rest of the contract of `TileFunction`, which is that of `tile`.
        unsafe { tile::<__m512, __m256, P, Z, H, EXACT>(t) }
    }

    /// # Safety
    /// See [`TileFunction`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn narrow<const P: usize, const Z: usize, const H: usize, const EXACT: bool>(t: &Tile) {
        // SAFETY: this function enables AVX2 and FMA; the caller guarantees the rest of the
        // contract of `TileFunction`, which is that of `tile`.
        unsafe { tile::<__m256, __m256, P, Z, H, EXACT>(t) }
    }

    // Sums, weights and one value have to fit in 32 registers.
    pub(super) fn avx512<const EXACT: bool>(
        pixels: usize,
        vectors: usize,
        half: usize,
    ) -> Option<TileFunction> {
        match (vectors, half) {
            (0, 1) => choose!(wide, pixels, 0, 1, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (1, 0) => choose!(wide, pixels, 1, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (1, 1) => choose!(wide, pixels, 1, 1, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (2, 0) => choose!(wide, pixels, 2, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (2, 1) => choose!(wide, pixels, 2, 1, EXACT, [1 2 3 4 5 6 7 8]),
            (3, 0) => choose!(wide, pixels, 3, 0, EXACT, [1 2 3 4 5 6 7 8]),
            (3, 1) => choose!(wide, pixels, 3, 1, EXACT, [1 2 3 4 5 6]),
            (4, 0) => choose!(wide, pixels, 4, 0, EXACT, [1 2 3 4 5 6]),
            _ => None,
        }
    }

    // Sums, weights and one value have to fit in 16 registers.
    pub(super) fn avx2<const EXACT: bool>(
        pixels: usize,
        vectors: usize,
        half: usize,
    ) -> Option<TileFunction> {
        match (vectors, half) {
            (1, 0) => choose!(narrow, pixels, 1, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (2, 0) => choose!(narrow, pixels, 2, 0, EXACT, [1 2 3 4 5 6]),
            (3, 0) => choose!(narrow, pixels, 3, 0, EXACT, [1]),
            (4, 0) => choose!(narrow, pixels, 4, 0, EXACT, [1]),
            _ => None,
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::float32x4_t;

    use super::{Tile, TileFunction, tile};

    /// # Safety
    /// See [`TileFunction`].
    unsafe fn neon_tile<const P: usize, const Z: usize, const H: usize, const EXACT: bool>(
        t: &Tile,
    ) {
        // SAFETY: NEON is part of aarch64; the caller guarantees the rest of the contract of
        // `TileFunction`, which is that of `tile`.
        unsafe { tile::<float32x4_t, float32x4_t, P, Z, H, EXACT>(t) }
    }

    // Sums, weights and one value have to fit in 32 registers.
    pub(super) fn neon<const EXACT: bool>(
        pixels: usize,
        vectors: usize,
        half: usize,
    ) -> Option<TileFunction> {
        match (vectors, half) {
            (1, 0) => choose!(neon_tile, pixels, 1, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (2, 0) => choose!(neon_tile, pixels, 2, 0, EXACT, [1 2 3 4 5 6 7 8 9 10 11 12]),
            (3, 0) => choose!(neon_tile, pixels, 3, 0, EXACT, [1 2 3 4 5 6 7 8]),
            (4, 0) => choose!(neon_tile, pixels, 4, 0, EXACT, [1 2 3 4 5 6]),
            _ => None,
        }
    }
}
