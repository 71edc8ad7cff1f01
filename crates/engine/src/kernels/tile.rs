//! The inner loop of float convolutions and fully connected layers. A tile is a block of
//! output pixels by vectors of output channels whose sums are all in registers.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

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

/// Lanes of the widest tile.
pub(crate) const MOST_LANES: usize = 64;

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
            match (half, exact) {
                (0, true) => arm::function::<true>(pixels, vectors),
                (0, false) => arm::function::<false>(pixels, vectors),
                _ => None,
            }
        }
        _ => None,
    }
}
