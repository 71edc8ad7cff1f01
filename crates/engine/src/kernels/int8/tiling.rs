//! How a layer is divided into tiles.

use super::stage::Form;
use super::tile::TileFunction;
use crate::cpu::InstructionSet;

/// How an instruction set tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    /// Whose functions compute the tiles.
    pub(super) set: InstructionSet,
    pub(super) form: Form,
    /// Taps of a lane that are multiplied at once.
    pub(super) group: usize,
    pub(super) lanes: usize,
    /// Most vectors of channels.
    pub(super) vectors: usize,
    /// Most channels that are split over the lanes of a last vector; see [`Width`].
    pub(super) narrow: usize,
}

impl Tiling {
    /// For rows of so many output pixels. `None` for plain loops.
    pub(super) fn of(instruction_set: InstructionSet, pixels: usize) -> Option<Self> {
        // A single pixel is bound by reading weights: many sums under way.
        let vectors = |usual| if pixels == 1 { 8 } else { usual };
        match instruction_set {
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
            // A single pixel has no neighbour.
            InstructionSet::NeonI8mm if pixels == 1 => {
                Self::of(InstructionSet::NeonDotprod, pixels)
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

/// Vectors of channels of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Vectors whose lanes are each a channel.
    pub(super) full: usize,
    /// Above 1: there is one more vector, each channel of which has so many lanes,
    /// for as many groups of taps. 36 channels then cost 2.25 vectors of 16, not 3.
    pub(super) split: usize,
    /// Vectors that are split: one at most, or all where none is full.
    pub(super) splits: usize,
}

impl Width {
    pub(super) fn new(full: usize, rest: usize) -> Self {
        let split = match rest {
            0 => 1,
            1..=4 => 4,
            _ => 2,
        };
        Self {
            full,
            split,
            splits: usize::from(split > 1),
        }
    }

    /// Three vectors, each channel of which has two lanes: beside a single full vector,
    /// half a one would have as many values loaded as multiplied. So 24 channels cost
    /// 1.5 vectors, too, and one load of two groups of taps serves them all.
    pub(super) const HALVES: Self = Self {
        full: 0,
        split: 2,
        splits: 3,
    };

    pub(super) fn rests(self) -> bool {
        self.splits > 0
    }

    pub(super) fn vectors(self) -> usize {
        self.full + self.splits
    }
}

/// The function for a shape of tile. All counts of pixels from 1 to
/// [`most_pixels`] have one.
pub(super) fn function(
    instruction_set: InstructionSet,
    pixels: usize,
    width: Width,
) -> Option<TileFunction> {
    #[cfg(target_arch = "x86_64")]
    return super::x86::function(instruction_set, pixels, width);
    #[cfg(target_arch = "aarch64")]
    return super::arm::function(instruction_set, pixels, width.vectors());
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (instruction_set, pixels, width);
        None
    }
}

/// The most pixels of a tile so wide.
pub(super) fn most_pixels(instruction_set: InstructionSet, width: Width) -> usize {
    (1..=12)
        .rev()
        .find(|&pixels| function(instruction_set, pixels, width).is_some())
        .unwrap_or(1)
}
