//! How a layer is divided into tiles.

use super::packed_input::Form;
use super::tile::TileFunction;
use super::width::Width;
use crate::instruction_set::{Available, InstructionSet};

/// The sizes of an instruction set's tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    /// The instruction set whose functions compute the tiles.
    pub(super) set: Available,
    /// The storage format of the packed input.
    pub(super) form: Form,
    /// Taps that are multiplied at once for each lane.
    pub(super) group: usize,
    pub(super) lanes: usize,
    /// Maximum number of vectors of channels.
    pub(super) vectors: usize,
    /// Maximum number of remaining channels that a split vector computes; see [`Width`].
    pub(super) narrow: usize,
}

impl Tiling {
    /// The sizes for rows of `pixels` output pixels. `None` for plain loops.
    pub(super) fn of(instruction_set: Available, pixels: usize) -> Option<Self> {
        // A single pixel is limited by the reads of weights: it needs many independent sums.
        let vectors = |usual| if pixels == 1 { 8 } else { usual };
        match instruction_set.set() {
            InstructionSet::Avx512Vnni => Some(Self {
                set: instruction_set,
                form: Form::Offset,
                group: 4,
                lanes: 16,
                vectors: vectors(4),
                narrow: 8,
            }),
            InstructionSet::AvxVnni => Some(Self {
                set: instruction_set,
                form: Form::Offset,
                group: 4,
                lanes: 8,
                vectors: vectors(2),
                narrow: 0,
            }),
            InstructionSet::Avx512 | InstructionSet::Avx2 => Some(Self {
                set: instruction_set,
                form: Form::Wide,
                group: 2,
                lanes: 8,
                vectors: vectors(2),
                narrow: 0,
            }),
            InstructionSet::NeonDotprod => Some(Self {
                set: instruction_set,
                form: Form::Plain,
                group: 4,
                lanes: 4,
                vectors: vectors(4),
                narrow: 0,
            }),
            // The matrix product needs two pixels.
            InstructionSet::NeonI8mm if pixels == 1 => {
                Self::of(instruction_set.without_i8mm(), pixels)
            }
            InstructionSet::NeonI8mm => Some(Self {
                set: instruction_set,
                form: Form::Plain,
                group: 8,
                lanes: 4,
                vectors: 4,
                narrow: 0,
            }),
            InstructionSet::Neon => Some(Self {
                set: instruction_set,
                form: Form::Plain,
                group: 2,
                lanes: 4,
                vectors: vectors(4),
                narrow: 0,
            }),
            InstructionSet::Scalar => None,
        }
    }
}

/// The function for a shape of tile. There is one for each number of pixels from 1 to
/// [`most_pixels`].
pub(super) fn function(
    instruction_set: Available,
    pixels: usize,
    width: Width,
) -> Option<TileFunction> {
    #[cfg(target_arch = "x86_64")]
    return super::x86::function(instruction_set, pixels, width);
    #[cfg(target_arch = "aarch64")]
    return match instruction_set.set() {
        InstructionSet::NeonI8mm => super::i8mm::function(pixels, width.vectors()),
        InstructionSet::NeonDotprod => super::dotprod::function(pixels, width.vectors()),
        _ => super::neon::function(pixels, width.vectors()),
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (instruction_set, pixels, width);
        None
    }
}

/// The maximum number of pixels of a tile of this width.
pub(super) fn most_pixels(instruction_set: Available, width: Width) -> usize {
    (1..=12)
        .rev()
        .find(|&pixels| function(instruction_set, pixels, width).is_some())
        .unwrap_or(1)
}
