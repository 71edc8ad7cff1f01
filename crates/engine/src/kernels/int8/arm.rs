//! Vectors of INT8 sums on aarch64.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::tile::{Levels, Sums};

/// The dot product of Armv8.2: four taps of i8 for each lane.
#[derive(Clone, Copy)]
pub(crate) struct Dotprod(pub(super) int32x4_t);

/// NEON: two taps of i8 for each lane. The products fit 16 bits each and are widened when
/// they are added.
#[derive(Clone, Copy)]
pub(crate) struct Neon(int32x4_t);

/// A copy of a tile's sums in memory, for the epilogue. The epilogue is a loop over the sums. Without
/// the copy, the compiler keeps the sums themselves in memory, and stores each of them in every
/// step of the inner loop.
#[inline(always)]
pub(super) fn settled<T>(sums: T) -> T {
    std::hint::black_box(sums)
}

/// Selects the instance of a tile function for a number of pixels.
macro_rules! choose {
    ($function:ident, $pixels:expr, $vectors:literal, [$($count:literal)*]) => {
        match $pixels {
            $($count => Some($function::<$count, $vectors> as TileFunction),)*
            _ => None,
        }
    };
}
pub(super) use choose;

/// The functions of [`Sums`] that are the same for both.
macro_rules! four_lanes {
    () => {
        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            // SAFETY: NEON is part of aarch64; the caller guarantees 4 readable i32.
            unsafe { Self(vld1q_s32(from)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut i32, stored: usize) {
            let mut sums = [0; 4];
            // SAFETY: NEON is part of aarch64; `sums` has 4 elements, and the caller guarantees
            // `stored` writable i32 (at most 4) at `to`.
            unsafe {
                vst1q_s32(sums.as_mut_ptr(), self.0);
                to.copy_from_nonoverlapping(sums.as_ptr(), stored);
            }
        }
        #[inline(always)]
        unsafe fn levels(self, multiplier: *const f32, levels: Levels, to: *mut i8, stored: usize) {
            // SAFETY: NEON is part of aarch64; the caller guarantees 4 readable multipliers and
            // `stored` writable bytes (at most 4) at `to`.
            unsafe {
                let x = vmulq_f32(vcvtq_f32_s32(self.0), vld1q_f32(multiplier));
                let x = vmaxq_f32(x, vdupq_n_f32(levels.limits[0]));
                let x = vcvtnq_s32_f32(vminq_f32(x, vdupq_n_f32(levels.limits[1])));
                let words = vqmovn_s32(x);
                let bytes = vqmovn_s16(vcombine_s16(words, words));
                let bytes = vget_lane_u32::<0>(vreinterpret_u32_s8(bytes)).to_le_bytes();
                if stored == 4 {
                    to.cast::<[u8; 4]>().write_unaligned(bytes);
                } else {
                    for (lane, &byte) in bytes.iter().enumerate().take(stored) {
                        *to.add(lane) = byte.cast_signed();
                    }
                }
            }
        }
    };
}

// SAFETY: four lanes of four taps: `value` reads 4 bytes, `weights` 16. The instruction
// sets are NEON, which is part of aarch64, and dotprod.
unsafe impl Sums for Dotprod {
    const COUNT: usize = 4;
    const GROUP: usize = 4;
    const STEP: usize = 4;
    type Value = int8x16_t;
    type Weights = int8x16_t;

    four_lanes!();
    #[inline(always)]
    unsafe fn value(from: *const u8) -> int8x16_t {
        // SAFETY: NEON is part of aarch64; the caller guarantees 4 readable bytes.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> int8x16_t {
        // SAFETY: NEON is part of aarch64; the caller guarantees 16 readable bytes.
        unsafe { vld1q_s8(from) }
    }
    #[inline(always)]
    unsafe fn dot(self, value: int8x16_t, weights: int8x16_t) -> Self {
        // `vdotq_s32` is not stable yet.
        let mut sums = self.0;
        // SAFETY: the caller guarantees dotprod; the instruction accesses only its registers.
        unsafe {
            std::arch::asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sums, in(vreg) value, in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        Self(sums)
    }
}

// SAFETY: four lanes of two taps: `value` reads 2 bytes, `weights` 8. The instruction set
// is NEON, which is part of aarch64.
unsafe impl Sums for Neon {
    const COUNT: usize = 4;
    const GROUP: usize = 2;
    const STEP: usize = 2;
    type Value = int8x8_t;
    type Weights = int8x8_t;

    four_lanes!();
    #[inline(always)]
    unsafe fn value(from: *const u8) -> int8x8_t {
        // SAFETY: NEON is part of aarch64; the caller guarantees 2 readable bytes.
        unsafe { vreinterpret_s8_s16(vdup_n_s16(from.cast::<i16>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> int8x8_t {
        // SAFETY: NEON is part of aarch64; the caller guarantees 8 readable bytes.
        unsafe { vld1_s8(from) }
    }
    #[inline(always)]
    unsafe fn dot(self, value: int8x8_t, weights: int8x8_t) -> Self {
        // SAFETY: NEON is part of aarch64.
        unsafe { Self(vpadalq_s16(self.0, vmull_s8(value, weights))) }
    }
}

impl Neon {
    /// Adds two groups of products to each lane. The sums of two products fit 16 bits unless all
    /// their factors are -128.
    ///
    /// # Safety
    /// None beyond NEON, which is part of aarch64.
    #[inline(always)]
    pub(super) unsafe fn dot_pair(self, values: [int8x8_t; 2], weights: [int8x8_t; 2]) -> Self {
        let mut sums = self.0;
        // As intrinsics, the compiler orders the instructions of a tile so that the products do not
        // fit in registers.
        // SAFETY: NEON is part of aarch64; the instructions access only their registers.
        unsafe {
            std::arch::asm!(
                "smull {1:v}.8h, {2:v}.8b, {4:v}.8b",
                "smlal {1:v}.8h, {3:v}.8b, {5:v}.8b",
                "sadalp {0:v}.4s, {1:v}.8h",
                inout(vreg) sums, out(vreg) _,
                in(vreg) values[0], in(vreg) values[1], in(vreg) weights[0], in(vreg) weights[1],
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        Self(sums)
    }
}
