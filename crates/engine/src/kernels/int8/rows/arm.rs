//! Compressed rows on aarch64.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::kernel::{RowsFunction, Taps, Unit, clustered, int4};
use super::{Stored, Variant};
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::int8::arm::{Dotprod, Neon};
use crate::kernels::int8::tile::Sums;

/// The dot product of Armv8.2: 16 taps.
#[derive(Clone, Copy)]
struct DotTaps(Dotprod);

/// NEON: 16 taps. The products fit 16 bits each and are widened when they are added.
#[derive(Clone, Copy)]
struct NeonTaps(int32x4_t);

/// The functions of [`Taps`] that are the same for both.
macro_rules! sixteen_taps {
    () => {
        const TAPS: usize = 16;
        const TAP_BYTES: usize = 1;
        type Values = int8x16_t;
        type Indices = uint8x16_t;
        type Table = int8x16_t;

        #[inline(always)]
        unsafe fn values(from: *const u8) -> int8x16_t {
            // SAFETY: NEON is part of aarch64; the caller guarantees 16 readable bytes.
            unsafe { vld1q_s8(from.cast()) }
        }
        #[inline(always)]
        unsafe fn indices(from: *const u8) -> [uint8x16_t; 2] {
            // SAFETY: NEON is part of aarch64; the caller guarantees 16 readable bytes.
            unsafe {
                let both = vld1q_u8(from);
                [vandq_u8(both, vdupq_n_u8(0xf)), vshrq_n_u8::<4>(both)]
            }
        }
        #[inline(always)]
        unsafe fn table(from: *const i8) -> int8x16_t {
            // SAFETY: NEON is part of aarch64; the caller guarantees 16 readable bytes.
            unsafe { vld1q_s8(from) }
        }
    };
}

// SAFETY: `values`, `indices` and `table` read 16 bytes; 32 bytes are two vectors of taps. The
// instruction sets are NEON, which is part of aarch64, and dotprod.
unsafe impl Taps for DotTaps {
    sixteen_taps!();
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: NEON is part of aarch64.
        unsafe { Self(Dotprod(vdupq_n_s32(0))) }
    }
    #[inline(always)]
    unsafe fn dot(self, values: int8x16_t, table: int8x16_t, indices: uint8x16_t) -> Self {
        // SAFETY: NEON is part of aarch64; the caller guarantees dotprod.
        unsafe { Self(self.0.dot(values, vqtbl1q_s8(table, indices))) }
    }
    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: NEON is part of aarch64.
        unsafe { vaddvq_s32(self.0.0) }
    }
}

// SAFETY: `values`, `indices` and `table` read 16 bytes; 32 bytes are two vectors of taps. The
// instruction set is NEON, which is part of aarch64.
unsafe impl Taps for NeonTaps {
    sixteen_taps!();
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: NEON is part of aarch64.
        unsafe { Self(vdupq_n_s32(0)) }
    }
    #[inline(always)]
    unsafe fn dot(self, values: int8x16_t, table: int8x16_t, indices: uint8x16_t) -> Self {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let weights = vqtbl1q_s8(table, indices);
            let low = vmull_s8(vget_low_s8(values), vget_low_s8(weights));
            let sums = vpadalq_s16(self.0, low);
            Self(vpadalq_s16(sums, vmull_high_s8(values, weights)))
        }
    }
    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: NEON is part of aarch64.
        unsafe { vaddvq_s32(self.0) }
    }
}

/// Rows at once: their sums and tables fit in 32 registers.
const ROWS: usize = 8;

/// # Safety
/// See [`RowsFunction`].
#[target_feature(enable = "dotprod")]
unsafe fn clustered_dot(unit: &Unit) {
    // SAFETY: this function enables dotprod; the caller guarantees the rest of the contract of
    // `RowsFunction`.
    unsafe { clustered::<DotTaps, Dotprod, ROWS>(unit) }
}

/// # Safety
/// See [`RowsFunction`].
#[target_feature(enable = "dotprod")]
unsafe fn int4_dot(unit: &Unit) {
    // SAFETY: as in `clustered_dot`.
    unsafe { int4::<DotTaps, Dotprod, ROWS>(unit) }
}

/// # Safety
/// See [`RowsFunction`].
unsafe fn clustered_neon(unit: &Unit) {
    // SAFETY: NEON is part of aarch64; the caller guarantees the contract of `RowsFunction`.
    unsafe { clustered::<NeonTaps, Neon, ROWS>(unit) }
}

/// # Safety
/// See [`RowsFunction`].
unsafe fn int4_neon(unit: &Unit) {
    // SAFETY: as in `clustered_neon`.
    unsafe { int4::<NeonTaps, Neon, ROWS>(unit) }
}

/// The function for weights of 4 bits.
pub(super) fn lookup(set: Available, stored: Stored) -> Variant {
    let function: RowsFunction = match (set.set(), stored) {
        (InstructionSet::Neon, Stored::Clustered) => clustered_neon,
        (InstructionSet::Neon, _) => int4_neon,
        (_, Stored::Clustered) => clustered_dot,
        _ => int4_dot,
    };
    Variant::of::<NeonTaps>(function, ROWS)
}
