//! Vectors of f32: one thin wrapper for each instruction set.
#![allow(unsafe_code)]

/// A register of f32 lanes.
///
/// # Safety
/// An implementation guarantees that `load` reads and `store` writes exactly `LANES` f32,
/// and that no other function accesses memory.
///
/// A caller of any function guarantees that the machine has the implementation's
/// instruction set. A caller of `load` guarantees `LANES` readable f32, and a caller of
/// `store` `LANES` writable f32; neither pointer has to be aligned to the vector.
pub(crate) unsafe trait Vector: Copy {
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self * factor + sum, rounded once.
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
    /// self * factor + sum, the product rounded before the sum.
    unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self;
    /// Clamped between two limits; a NaN remains a NaN.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    // SAFETY: `load` and `store` access sixteen f32. The instruction set is AVX-512 F.
    unsafe impl Vector for __m512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller guarantees AVX-512 F (see `Vector`).
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller guarantees AVX-512 F and 16 readable f32 at `from`.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller guarantees AVX-512 F and 16 writable f32 at `to`.
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512 F.
            unsafe { _mm512_fmadd_ps(self, factor, sum) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: the caller guarantees AVX-512 F.
            unsafe { _mm512_add_ps(_mm512_mul_ps(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // `min` and `max` return the second operand if either is NaN.
            // SAFETY: the caller guarantees AVX-512 F.
            unsafe { _mm512_min_ps(high, _mm512_max_ps(low, self)) }
        }
    }

    // SAFETY: `load` and `store` access eight f32. The instruction sets are AVX2 and FMA.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: the caller guarantees AVX2 and FMA (see `Vector`).
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller guarantees AVX2 and FMA, and 8 readable f32 at `from`.
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller guarantees AVX2 and FMA, and 8 writable f32 at `to`.
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: the caller guarantees AVX2 and FMA.
            unsafe { _mm256_fmadd_ps(self, factor, sum) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: the caller guarantees AVX2 and FMA.
            unsafe { _mm256_add_ps(_mm256_mul_ps(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // `min` and `max` return the second operand if either is NaN.
            // SAFETY: the caller guarantees AVX2 and FMA.
            unsafe { _mm256_min_ps(high, _mm256_max_ps(low, self)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Vector;

    // SAFETY: `load` and `store` access four f32. The instruction set is NEON, which is part
    // of aarch64.
    unsafe impl Vector for float32x4_t {
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: NEON is part of aarch64.
            unsafe { vdupq_n_f32(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: NEON is part of aarch64; the caller guarantees 4 readable f32 at `from`.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: NEON is part of aarch64; the caller guarantees 4 writable f32 at `to`.
            unsafe { vst1q_f32(to, self) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: NEON is part of aarch64.
            unsafe { vfmaq_f32(sum, self, factor) }
        }
        #[inline(always)]
        unsafe fn mul_then_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: NEON is part of aarch64.
            unsafe { vaddq_f32(vmulq_f32(self, factor), sum) }
        }
        #[inline(always)]
        unsafe fn clamp(self, low: Self, high: Self) -> Self {
            // SAFETY: NEON is part of aarch64.
            unsafe { vminq_f32(vmaxq_f32(self, low), high) }
        }
    }
}
