//! Vectors of f32, one thin face over each instruction set.
#![allow(unsafe_code)]

/// A register of f32 lanes.
///
/// # Safety
/// `LANES` is the number of f32 that `load` reads and `store` writes. All
/// functions may only be called where the machine has the instructions.
pub(crate) unsafe trait Vector: Copy {
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self * factor + sum, rounded once.
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
    /// self * factor + sum, the product rounded before the sum.
    unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self;
    /// Held between two limits; a NaN stays one.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    // SAFETY: sixteen lanes; for machines with AVX-512 F.
    unsafe impl Vector for __m512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller says the machine has AVX-512; so for all below.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above, and the caller gives 16 readable f32.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above, and the caller gives 16 writable f32.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_fmadd_ps(self, factor, sum) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm512_add_ps(_mm512_mul_ps(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // Of two operands with a NaN among them, the second is the answer.
            // SAFETY: as above.
            unsafe { _mm512_min_ps(high, _mm512_max_ps(low, self)) }
        }
    }

    // SAFETY: eight lanes; for machines with AVX2 and FMA.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller says the machine has AVX2 and FMA; so for all below.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above, and the caller gives 8 readable f32.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above, and the caller gives 8 writable f32.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_fmadd_ps(self, factor, sum) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { _mm256_add_ps(_mm256_mul_ps(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // SAFETY: as above; the order of operands as for 16 lanes.
            unsafe { _mm256_min_ps(high, _mm256_max_ps(low, self)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Vector;

    // SAFETY: four lanes; every aarch64 machine has NEON.
    unsafe impl Vector for float32x4_t {
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: NEON is part of aarch64; so for all below.
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller gives 4 readable f32.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller gives 4 writable f32.
            unsafe { vst1q_f32(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { vfmaq_f32(sum, self, factor) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            unsafe { vaddq_f32(vmulq_f32(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // SAFETY: as above.
            unsafe { vminq_f32(vmaxq_f32(self, low), high) }
        }
    }
}
