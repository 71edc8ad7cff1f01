//! The inner loop of INT8 layers: some output pixels by some vectors of output
//! channels, all sums in registers.
#![allow(unsafe_code)]

/// What one tile reads and writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// First staged byte that the first pixel reads.
    pub(crate) input: *const u8,
    /// Bytes from one output pixel's first staged byte to the next one's.
    pub(crate) pixel_stride: usize,
    /// Rows of the kernel, and bytes from one to the next.
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    /// Runs of elements in a row, and bytes from one to the next.
    pub(crate) runs: usize,
    pub(crate) run_stride: usize,
    /// Groups of taps in a run.
    pub(crate) steps: usize,
    /// A group of taps for each lane, step by step.
    pub(crate) weights: *const i8,
    /// As many as the tile has lanes; so is `multiplier`.
    pub(crate) bias: *const i32,
    pub(crate) multiplier: *const f32,
    /// First output byte of the first pixel.
    pub(crate) output: *mut u8,
    /// Bytes from one output pixel to the next.
    pub(crate) output_stride: usize,
    /// Channels stored; the other lanes are padding.
    pub(crate) stored: usize,
    /// Limits of levels; `None` stores the sums as they are, 4 bytes each.
    pub(crate) limits: Option<[f32; 2]>,
}

/// Computes a tile.
///
/// # Safety
/// The machine has the instructions, everything the tile's strides, runs and
/// steps reach can be read, and `stored` channels of each pixel can be written.
pub(crate) type TileFunction = unsafe fn(&Tile);

/// A register of i32 sums.
///
/// # Safety
/// `COUNT`, `GROUP` and `STEP` are what the functions read and write. All may
/// only be called where the machine has the instructions.
pub(crate) unsafe trait Sums: Copy {
    /// Lanes.
    const COUNT: usize;
    /// Taps of a lane that are multiplied at once.
    const GROUP: usize;
    /// Staged bytes of so many taps.
    const STEP: usize;
    /// One group of staged taps, in every lane.
    type Value: Copy;
    type Weights: Copy;

    unsafe fn load(from: *const i32) -> Self;
    unsafe fn value(from: *const u8) -> Self::Value;
    /// Of `COUNT` lanes.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Adds the products of a group to each lane, exactly.
    unsafe fn dot(self, value: Self::Value, weights: Self::Weights) -> Self;
    /// Stores the first `stored` lanes.
    unsafe fn store(self, to: *mut i32, stored: usize);
    /// Stores the first `stored` lanes as levels: times the multiplier, held
    /// between the limits, rounded half to even. The limits are whole numbers,
    /// so that holding first is holding last.
    unsafe fn levels(self, multiplier: *const f32, limits: [f32; 2], to: *mut i8, stored: usize);
}

/// `P` pixels by `Z` vectors.
///
/// # Safety
/// See [`TileFunction`].
#[inline(always)]
pub(crate) unsafe fn tile<V: Sums, const P: usize, const Z: usize>(tile: &Tile) {
    // SAFETY: the caller vouches for everything read and written.
    unsafe {
        let width = Z * V::COUNT * V::GROUP;
        let bias: [V; Z] = std::array::from_fn(|z| V::load(tile.bias.add(z * V::COUNT)));
        let mut sums = [bias; P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                for _ in 0..tile.steps {
                    let factors: [V::Weights; Z] =
                        std::array::from_fn(|z| V::weights(weights.add(z * V::COUNT * V::GROUP)));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let value = V::value(x.wrapping_add(p * tile.pixel_stride));
                        for (sum, &factor) in sums.iter_mut().zip(&factors) {
                            *sum = sum.dot(value, factor);
                        }
                    }
                    x = x.wrapping_add(V::STEP);
                    weights = weights.wrapping_add(width);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let output = tile.output.wrapping_add(p * tile.output_stride);
            for (z, sum) in sums.iter().enumerate() {
                let first = z * V::COUNT;
                let stored = tile.stored.saturating_sub(first).min(V::COUNT);
                match tile.limits {
                    Some(limits) => {
                        let to = output.cast::<i8>().wrapping_add(first);
                        sum.levels(tile.multiplier.add(first), limits, to, stored);
                    }
                    None => sum.store(output.cast::<i32>().wrapping_add(first), stored),
                }
            }
        }
    }
}
