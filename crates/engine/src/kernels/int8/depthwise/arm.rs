//! INT8 depthwise convolutions on aarch64. The input is read unchanged (i8).
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::tile::{GROUP, Multiply, Register, Row, RowFunction, row};
use super::{Variant, choose};
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::int8::Form;

// SAFETY: `load` and `store` access 16 bytes, and `quantize` reads 16 multipliers. The
// instruction set is NEON, which is part of aarch64.
unsafe impl Register for int8x16_t {
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: NEON is part of aarch64; the caller guarantees 16 readable bytes.
        unsafe { vld1q_s8(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: NEON is part of aarch64; the caller guarantees 16 writable bytes.
        unsafe { vst1q_s8(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(byte: u8) -> Self {
        // SAFETY: NEON is part of aarch64.
        unsafe { vdupq_n_s8(byte.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn xor(self, _: Self) -> Self {
        // Values are neither read nor stored plus 128.
        self
    }
    #[inline(always)]
    unsafe fn scale(self, multiplier: *const f32) -> Self {
        // SAFETY: NEON is part of aarch64; the caller guarantees 4 multipliers.
        unsafe {
            let sums = vcvtq_f32_s32(vreinterpretq_s32_s8(self));
            vreinterpretq_s8_f32(vmulq_f32(sums, vld1q_f32(multiplier)))
        }
    }
    #[inline(always)]
    unsafe fn quantize(sums: [Self; 4], multiplier: *const f32, low: Self, high: Self) -> Self {
        // SAFETY: NEON is part of aarch64; the caller guarantees 16 multipliers.
        unsafe {
            let words = |q: usize| {
                let sums = vcvtq_f32_s32(vreinterpretq_s32_s8(sums[q]));
                let product = vmulq_f32(sums, vld1q_f32(multiplier.add(q * 4)));
                vqmovn_s32(vcvtnq_s32_f32(product))
            };
            let first = vqmovn_s16(vcombine_s16(words(0), words(1)));
            let second = vqmovn_s16(vcombine_s16(words(2), words(3)));
            vminq_s8(vmaxq_s8(vcombine_s8(first, second), low), high)
        }
    }
}

/// The dot product of Armv8.2: four taps of i8.
struct Dotprod;

/// NEON: two taps of i8. The products fit 16 bits each and are widened when they are added.
struct Neon;

/// Two rows, interleaved: the lower half and the upper half.
///
/// # Safety
/// None beyond NEON, which is part of aarch64.
#[inline(always)]
unsafe fn bytes(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    // SAFETY: NEON is part of aarch64.
    unsafe { [vzip1q_s8(a, b), vzip2q_s8(a, b)] }
}

// SAFETY: `dot` reads 16 bytes of weights; `interleave` accesses no memory. The instruction sets
// are NEON and dotprod.
unsafe impl Multiply<int8x16_t> for Dotprod {
    const WEIGHT_BYTES: usize = 1;
    type Taps = int8x16_t;

    #[inline(always)]
    unsafe fn interleave([a, b, c, d]: [int8x16_t; GROUP]) -> [int8x16_t; 4] {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let pairs = |first, second| {
                let (first, second) = (vreinterpretq_s16_s8(first), vreinterpretq_s16_s8(second));
                let [low, high] = [vzip1q_s16(first, second), vzip2q_s16(first, second)];
                [vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high)]
            };
            let ([low, high], [second_low, second_high]) = (bytes(a, b), bytes(c, d));
            let ([q0, q1], [q2, q3]) = (pairs(low, second_low), pairs(high, second_high));
            [q0, q1, q2, q3]
        }
    }
    #[inline(always)]
    unsafe fn dot(sums: int8x16_t, taps: int8x16_t, weights: *const i8) -> int8x16_t {
        // `vdotq_s32` is not stable yet.
        // SAFETY: the caller guarantees dotprod and 16 bytes of weights; the instruction
        // accesses only its registers.
        unsafe {
            let mut sums = vreinterpretq_s32_s8(sums);
            let weights = vld1q_s8(weights);
            std::arch::asm!(
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sums, in(vreg) taps, in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
            vreinterpretq_s8_s32(sums)
        }
    }
}

// SAFETY: `dot` reads 16 bytes of weights: two taps of four channels, and the other two;
// `interleave` accesses no memory. The instruction set is NEON.
unsafe impl Multiply<int8x16_t> for Neon {
    const WEIGHT_BYTES: usize = 1;
    type Taps = [int8x8_t; 2];

    #[inline(always)]
    unsafe fn interleave([a, b, c, d]: [int8x16_t; GROUP]) -> [[int8x8_t; 2]; 4] {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let halves = |x| [vget_low_s8(x), vget_high_s8(x)];
            let ([[p0, p1], [p2, p3]], [[q0, q1], [q2, q3]]) =
                (bytes(a, b).map(halves), bytes(c, d).map(halves));
            [[p0, q0], [p1, q1], [p2, q2], [p3, q3]]
        }
    }
    #[inline(always)]
    unsafe fn dot(sums: int8x16_t, taps: [int8x8_t; 2], weights: *const i8) -> int8x16_t {
        // SAFETY: NEON is part of aarch64; the caller guarantees 16 bytes of weights.
        unsafe {
            let weights = vld1q_s8(weights);
            let sums = vreinterpretq_s32_s8(sums);
            let sums = vpadalq_s16(sums, vmull_s8(taps[0], vget_low_s8(weights)));
            let sums = vpadalq_s16(sums, vmull_s8(taps[1], vget_high_s8(weights)));
            vreinterpretq_s8_s32(sums)
        }
    }
}

/// # Safety
/// See [`RowFunction`]; the machine has dotprod.
#[target_feature(enable = "dotprod")]
unsafe fn dotprod<const W: usize, const S: usize, const L: usize>(work: &Row) {
    // SAFETY: this function enables dotprod; the caller guarantees the rest of the contract of
    // `RowFunction`.
    unsafe { row::<int8x16_t, Dotprod, W, S, L>(work) }
}

/// # Safety
/// See [`RowFunction`].
unsafe fn neon<const W: usize, const S: usize, const L: usize>(work: &Row) {
    // SAFETY: NEON is part of aarch64; the caller guarantees the contract of `RowFunction`.
    unsafe { row::<int8x16_t, Neon, W, S, L>(work) }
}

/// How an instruction set reads its input and weights.
pub(super) fn variant(set: Available) -> Variant {
    Variant {
        blocks: match set.set() {
            InstructionSet::Scalar => &[],
            _ => &[16],
        },
        form: Form::Plain,
        wide: false,
        in_pairs: set.set() == InstructionSet::Neon,
    }
}

/// The function for a block of channels. `window` is the columns and the stride of a window
/// without dilation.
pub(super) fn function(set: Available, _: usize, window: Option<[usize; 2]>) -> RowFunction {
    match set.set() {
        InstructionSet::Neon => choose!(neon, window),
        _ => choose!(dotprod, window),
    }
}
