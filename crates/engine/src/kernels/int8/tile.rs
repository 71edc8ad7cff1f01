//! The inner loop of INT8 layers. A tile is a block of output pixels by vectors of output
//! channels whose sums are all in registers.
#![allow(unsafe_code)]

/// The memory that one tile reads and writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// The first byte of the packed input that the first pixel reads.
    pub(crate) input: *const u8,
    /// Bytes from the first input byte of an output pixel to that of the next pixel.
    pub(crate) pixel_stride: usize,
    /// Rows of the kernel, and bytes from one to the next.
    pub(crate) rows: usize,
    pub(crate) row_stride: usize,
    /// Contiguous runs of elements in a row, and bytes from one to the next.
    pub(crate) runs: usize,
    pub(crate) run_stride: usize,
    /// Groups of taps in a run.
    pub(crate) steps: usize,
    /// A group of taps for each lane, step by step. If the last vector is split by `S`, its
    /// taps for `S` steps follow those of the full vectors for these steps.
    pub(crate) weights: *const i8,
    /// As many biases, and multipliers, as the tile has lanes.
    pub(crate) bias: *const i32,
    pub(crate) multiplier: *const f32,
    /// The first output byte of the first pixel.
    pub(crate) output: *mut u8,
    /// Bytes from one output pixel to the next.
    pub(crate) output_stride: usize,
    /// Channels that are stored; the other lanes are padding.
    pub(crate) stored: usize,
    /// Whether output pixels are contiguous, and every sum times its multiplier fits i32.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86-64"))]
    pub(crate) dense: bool,
    /// Whether the sum of any two products fits i16: no two weights are -128.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "for aarch64"))]
    pub(crate) pairs: bool,
    /// How sums are quantized; `None` stores the i32 sums, 4 bytes each.
    pub(crate) levels: Option<Levels>,
}

/// The epilogue of sums that are stored as quantized values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Levels {
    /// Lower and upper limit; whole numbers.
    pub(crate) limits: [f32; 2],
    /// Whether values are stored plus 128, for tiles that read this format.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86-64"))]
    pub(crate) offset: bool,
}

/// Computes a tile. [`function`](super::tiling::function) chooses one whose instructions the
/// machine has.
///
/// # Safety
/// - All input bytes and weights that the strides, runs and steps reach, and a bias and a
///   multiplier for each lane, are readable.
/// - `stored` channels of each output pixel are writable, and `stored` is at most the number
///   of lanes.
pub(crate) type TileFunction = unsafe fn(&Tile);

/// A register of i32 sums.
///
/// # Safety
/// An implementation guarantees that its functions access only this memory:
/// - `load` reads `COUNT` sums;
/// - `value` reads `STEP` bytes, and `values` `S * STEP`;
/// - `weights` reads `COUNT * GROUP` bytes;
/// - `store` writes `stored` sums;
/// - `levels` reads `COUNT` multipliers and writes `stored` bytes.
///
/// A caller of any function guarantees that the machine has the implementation's
/// instruction set, that this memory is accessible, and that `stored` is at most `COUNT`.
/// Pointers are aligned for their element type, but not for the vector.
pub(crate) unsafe trait Sums: Copy {
    /// Lanes.
    const COUNT: usize;
    /// Taps that are multiplied at once for each lane.
    const GROUP: usize;
    /// Bytes of `GROUP` taps in the packed input.
    const STEP: usize;
    /// One group of input taps in every lane.
    type Value: Copy;
    type Weights: Copy;

    unsafe fn load(from: *const i32) -> Self;
    unsafe fn value(from: *const u8) -> Self::Value;
    /// `S` groups of input taps: lane i has group i % `S`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn values<const S: usize>(from: *const u8) -> Self::Value;
    /// Adds each `S` adjacent lanes; the sums are in the first lanes, in order.
    #[cfg(target_arch = "x86_64")]
    unsafe fn gather<const S: usize>(self) -> Self;
    /// One group of weights for each of `COUNT` lanes.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Adds the products of a group to each lane, exactly.
    unsafe fn dot(self, value: Self::Value, weights: Self::Weights) -> Self;
    /// Stores the first `stored` lanes.
    unsafe fn store(self, to: *mut i32, stored: usize);
    /// Stores the first `stored` lanes as quantized values: multiplied by the multiplier,
    /// clamped between the limits and rounded half to even. The limits are whole numbers,
    /// so that clamping before rounding gives the same result as clamping after.
    unsafe fn levels(self, multiplier: *const f32, levels: Levels, to: *mut i8, stored: usize);
}

/// The functions of [`Sums`] for split vectors, for instruction sets that split none.
#[cfg(target_arch = "x86_64")]
macro_rules! no_split {
    () => {
        #[inline(always)]
        unsafe fn values<const S: usize>(from: *const u8) -> Self::Value {
            // SAFETY: `value` has the contract of this function.
            unsafe { Self::value(from) }
        }
        #[inline(always)]
        unsafe fn gather<const S: usize>(self) -> Self {
            self
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use no_split;

/// Computes a tile of `P` pixels by `Z` vectors, on x86-64; the instruction sets of aarch64 have
/// functions of their own. If `S` is above 1 there is one more vector,
/// which has `S` lanes for each channel, each for a different group of taps.
///
/// # Safety
/// The machine has the instructions of `V`; the rest as for [`TileFunction`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) unsafe fn tile<V: Sums, const P: usize, const Z: usize, const S: usize>(tile: &Tile) {
    // SAFETY: the caller guarantees the instructions of `V`, and that the tile's input,
    // weights, bias, multipliers and output are in bounds. The last group of a run may read
    // past the run into the slack behind the packed input; its weights are 0 there.
    unsafe {
        let vector = V::COUNT * V::GROUP;
        let bias: [V; Z] = std::array::from_fn(|z| V::load(tile.bias.add(z * V::COUNT)));
        let mut sums = [bias; P];
        // Unused if no vector is split.
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
                // The weights of the split vector are 0 beyond the run.
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

/// Adds the products of one group of taps for each pixel.
///
/// # Safety
/// As for [`tile`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn add<V: Sums, const P: usize, const Z: usize>(
    sums: &mut [[V; Z]; P],
    x: *const u8,
    stride: usize,
    weights: *const i8,
) {
    // SAFETY: the caller guarantees the instructions of `V`, and that the weights of `Z`
    // vectors and a group of taps of each pixel are readable.
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
/// The machine has the instructions of `V`; the rest as for [`TileFunction`].
#[inline(always)]
pub(super) unsafe fn store<V: Sums>(tile: &Tile, sums: V, output: *mut u8, first: usize) {
    let stored = tile.stored.saturating_sub(first).min(V::COUNT);
    // SAFETY: the caller guarantees the instructions of `V`, a multiplier for each lane, and
    // that `tile.stored` channels of the pixel are writable; `stored` is limited to those from
    // `first` on.
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
