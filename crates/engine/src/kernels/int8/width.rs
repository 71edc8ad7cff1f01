//! The width of a tile.

/// The width of a tile in vectors of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Vectors with one lane for each channel.
    pub(super) full: usize,
    /// Lanes for each channel in a split vector; 1 if there is none. The lanes of a channel
    /// are for different groups of taps, so that the vector is multiplied once for `split`
    /// groups: 36 channels cost 2.25 vectors of 16 lanes, not 3.
    pub(super) split: usize,
    /// Number of split vectors: at most one, or all three of [`HALVES`](Self::HALVES).
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

    /// Three split vectors with two lanes for each channel, for 21 to 24 channels. With a
    /// single full vector and a split one, as many values would be loaded as multiplied.
    /// Here 24 channels also cost 1.5 vectors, and all three use one load of two groups of
    /// taps.
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
