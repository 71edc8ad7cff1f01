//! INT8 multiply-accumulate with AVX-512 VNNI.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::tile::{Levels, Sums};

/// AVX-512 VNNI: four taps of u8 by i8 for each lane.
#[derive(Clone, Copy)]
pub(crate) struct Vnni512(pub(super) __m512i);

// SAFETY: sixteen lanes of four taps: `value` reads 4 bytes, `values` 4 * `S`, `weights` 64.
// The instruction sets are AVX-512 F, BW, VL and VNNI.
unsafe impl Sums for Vnni512 {
    const COUNT: usize = 16;
    const GROUP: usize = 4;
    const STEP: usize = 4;
    type Value = __m512i;
    type Weights = __m512i;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the caller guarantees AVX-512 F and 16 readable i32.
        unsafe { Self(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn value(from: *const u8) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F and 4 readable bytes.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn values<const S: usize>(from: *const u8) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F and VL, and 4 * `S` readable bytes.
        unsafe {
            match S {
                4 => _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())),
                2 => _mm512_set1_epi64(from.cast::<i64>().read_unaligned()),
                _ => Self::value(from),
            }
        }
    }
    #[inline(always)]
    unsafe fn gather<const S: usize>(self) -> Self {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe {
            let pairs = _mm512_add_epi32(self.0, _mm512_srli_epi64(self.0, 32));
            match S {
                4 => {
                    let fours = _mm512_add_epi32(pairs, _mm512_unpackhi_epi64(pairs, pairs));
                    Self(_mm512_maskz_compress_epi32(0x1111, fours))
                }
                2 => Self(_mm512_maskz_compress_epi32(0x5555, pairs)),
                _ => self,
            }
        }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F and 64 readable bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(self, value: __m512i, weights: __m512i) -> Self {
        // SAFETY: the caller guarantees AVX-512 VNNI.
        unsafe { Self(_mm512_dpbusd_epi32(self.0, value, weights)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32, stored: usize) {
        let mask = ((1_u32 << stored) - 1) as u16;
        // SAFETY: the caller guarantees AVX-512 F and `stored` writable i32; the mask limits
        // the store to these.
        unsafe { _mm512_mask_storeu_epi32(to, mask, self.0) }
    }
    #[inline(always)]
    unsafe fn levels(self, multiplier: *const f32, levels: Levels, to: *mut i8, stored: usize) {
        let mask = ((1_u32 << stored) - 1) as u16;
        // A sum with 1.5 * 2^23 has no bits for a fraction: the addition rounds half to even,
        // and the low byte of the sum is the quantized value.
        let rounder = 12_582_912.0 + if levels.offset { 128.0 } else { 0.0 };
        // SAFETY: the caller guarantees AVX-512 F, BW and VL, 16 readable multipliers, and
        // `stored` writable bytes; the mask limits the store to these.
        unsafe {
            let x = _mm512_mul_ps(_mm512_cvtepi32_ps(self.0), _mm512_loadu_ps(multiplier));
            let x = _mm512_max_ps(x, _mm512_set1_ps(levels.limits[0]));
            let x = _mm512_min_ps(x, _mm512_set1_ps(levels.limits[1]));
            let x = _mm512_castps_si512(_mm512_add_ps(x, _mm512_set1_ps(rounder)));
            _mm_mask_storeu_epi8(to, mask, _mm512_cvtepi32_epi8(x));
        }
    }
}
