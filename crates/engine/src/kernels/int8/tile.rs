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
    /// A group of taps for each lane, step by step; where the last vector is split,
    /// its taps for so many steps follow them.
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
    /// Whether pixels lie without a gap, and no sum times its multiplier leaves i32.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86-64"))]
    pub(crate) dense: bool,
    /// `None` stores the sums as they are, 4 bytes each.
    pub(crate) levels: Option<Levels>,
}

/// What becomes of sums that are stored as levels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    /// Least and most; whole numbers.
    pub(crate) limits: [f32; 2],
    /// Whether they are stored plus 128, for tiles that read them so.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86-64"))]
    pub(crate) offset: bool,
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
    /// `S` groups of staged taps in turn, from lane to lane.
    unsafe fn values<const S: usize>(from: *const u8) -> Self::Value;
    /// The sums of each `S` lanes, the first lanes in their order.
    unsafe fn gather<const S: usize>(self) -> Self;
    /// Of `COUNT` lanes.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Adds the products of a group to each lane, exactly.
    unsafe fn dot(self, value: Self::Value, weights: Self::Weights) -> Self;
    /// Stores the first `stored` lanes.
    unsafe fn store(self, to: *mut i32, stored: usize);
    /// Stores the first `stored` lanes as levels: times the multiplier, held
    /// between the limits, rounded half to even. The limits are whole numbers,
    /// so that holding first is holding last.
    unsafe fn levels(self, multiplier: *const f32, levels: Levels, to: *mut i8, stored: usize);
}

/// The functions of [`Sums`] that split lanes, where no vector is split.
macro_rules! no_split {
    () => {
        #[inline(always)]
        unsafe fn values<const S: usize>(from: *const u8) -> Self::Value {
            // SAFETY: the caller says that the memory can be read.
            unsafe { Self::value(from) }
        }
        #[inline(always)]
        unsafe fn gather<const S: usize>(self) -> Self {
            self
        }
    };
}
pub(crate) use no_split;

/// `P` pixels by `Z` vectors, and one more where `S` is above 1: its lanes are `S` to
/// a channel, each for a group of taps of its own.
///
/// # Safety
/// See [`TileFunction`].
#[inline(always)]
pub(crate) unsafe fn tile<V: Sums, const P: usize, const Z: usize, const S: usize>(tile: &Tile) {
    // SAFETY: the caller vouches for everything read and written.
    unsafe {
        let vector = V::COUNT * V::GROUP;
        let bias: [V; Z] = std::array::from_fn(|z| V::load(tile.bias.add(z * V::COUNT)));
        let mut sums = [bias; P];
        // Of no use where nothing is split.
        let mut split = [V::load(tile.bias.add(if S > 1 { Z * V::COUNT } else { 0 })); P];
        let mut weights = tile.weights;
        for row in 0..tile.rows {
            for run in 0..tile.runs {
                let at = row * tile.row_stride + run * tile.run_stride;
                let mut x = tile.input.wrapping_add(at);
                let mut left = tile.steps;
                while left >= S {
                    for step in 0..S {
                        let x = x.wrapping_add(step * V::STEP);
                        add::<V, P, Z>(&mut sums, x, tile.pixel_stride, weights);
                        weights = weights.wrapping_add(Z * vector);
                    }
                    if S > 1 {
                        let factor = V::weights(weights);
                        for (p, sum) in split.iter_mut().enumerate() {
                            let value = V::values::<S>(x.wrapping_add(p * tile.pixel_stride));
                            *sum = sum.dot(value, factor);
                        }
                        weights = weights.wrapping_add(vector);
                    }
                    x = x.wrapping_add(S * V::STEP);
                    left -= S;
                }
                if left == 0 {
                    continue;
                }
                // The split vector's factors are 0 beyond the run.
                for step in 0..left {
                    let x = x.wrapping_add(step * V::STEP);
                    add::<V, P, Z>(&mut sums, x, tile.pixel_stride, weights);
                    weights = weights.wrapping_add(Z * vector);
                }
                let factor = V::weights(weights);
                for (p, sum) in split.iter_mut().enumerate() {
                    let value = V::values::<S>(x.wrapping_add(p * tile.pixel_stride));
                    *sum = sum.dot(value, factor);
                }
                weights = weights.wrapping_add(vector);
            }
        }
        for (p, (sums, split)) in sums.iter().zip(split).enumerate() {
            let output = tile.output.wrapping_add(p * tile.output_stride);
            for (z, &sum) in sums.iter().enumerate() {
                store(tile, sum, output, z * V::COUNT);
            }
            if S > 1 {
                store(tile, split.gather::<S>(), output, Z * V::COUNT);
            }
        }
    }
}

/// Adds one group of taps' products for each pixel.
///
/// # Safety
/// See [`TileFunction`].
#[inline(always)]
unsafe fn add<V: Sums, const P: usize, const Z: usize>(
    sums: &mut [[V; Z]; P],
    x: *const u8,
    stride: usize,
    weights: *const i8,
) {
    // SAFETY: the caller vouches for everything read.
    unsafe {
        let factors: [V::Weights; Z] =
            std::array::from_fn(|z| V::weights(weights.wrapping_add(z * V::COUNT * V::GROUP)));
        for (p, sums) in sums.iter_mut().enumerate() {
            let value = V::value(x.wrapping_add(p * stride));
            for (sum, &factor) in sums.iter_mut().zip(&factors) {
                *sum = sum.dot(value, factor);
            }
        }
    }
}

/// Stores a pixel's sums of the channels from `first` on.
///
/// # Safety
/// See [`TileFunction`].
#[inline(always)]
pub(super) unsafe fn store<V: Sums>(tile: &Tile, sums: V, output: *mut u8, first: usize) {
    let stored = tile.stored.saturating_sub(first).min(V::COUNT);
    // SAFETY: the caller vouches for everything read and written.
    unsafe {
        match tile.levels {
            Some(levels) => {
                let to = output.cast::<i8>().wrapping_add(first);
                sums.levels(tile.multiplier.add(first), levels, to, stored);
            }
            None => sums.store(output.cast::<i32>().wrapping_add(first), stored),
        }
    }
}
