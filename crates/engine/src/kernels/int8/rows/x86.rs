//! Compressed rows on x86-64.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::{Input, RowsFunction, Taps, Unit, clustered, int4, store};
use super::{Stored, UNIT, Variant};
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::int8::x86::{AvxVnni, Madd, Vnni512};

/// AVX-512 VNNI: 64 taps, u8 by i8.
#[derive(Clone, Copy)]
struct Taps64(__m512i);

// SAFETY: `values` and `indices` read 64 bytes, `table` 16; 128 bytes are two vectors of taps. The
// instruction sets are AVX-512 F, BW and VNNI.
unsafe impl Taps for Taps64 {
    const TAPS: usize = 64;
    const TAP_BYTES: usize = 1;
    type Values = __m512i;
    type Indices = __m512i;
    type Table = __m512i;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe { Self(_mm512_setzero_si512()) }
    }
    #[inline(always)]
    unsafe fn values(from: *const u8) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F and 64 readable bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn indices(from: *const u8) -> [__m512i; 2] {
        // SAFETY: the caller guarantees AVX-512 F and BW, and 64 readable bytes.
        unsafe {
            let low = _mm512_set1_epi8(0xf);
            let both = _mm512_loadu_si512(from.cast());
            let high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
            [_mm512_and_si512(both, low), high]
        }
    }
    #[inline(always)]
    unsafe fn table(from: *const i8) -> __m512i {
        // SAFETY: the caller guarantees AVX-512 F and 16 readable bytes.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(self, values: __m512i, table: __m512i, indices: __m512i) -> Self {
        // SAFETY: the caller guarantees AVX-512 BW and VNNI.
        unsafe {
            let weights = _mm512_shuffle_epi8(table, indices);
            Self(_mm512_dpbusd_epi32(self.0, values, weights))
        }
    }
    #[inline(always)]
    unsafe fn total(self) -> i32 {
        // SAFETY: the caller guarantees AVX-512 F.
        unsafe { _mm512_reduce_add_epi32(self.0) }
    }
}

/// AVX-VNNI: 32 taps, u8 by i8.
#[derive(Clone, Copy)]
struct Taps32(__m256i);

/// AVX2: 32 taps, i16 by i16; neither products nor sums saturate.
#[derive(Clone, Copy)]
struct WideTaps32(__m256i);

/// The low, and the high, 4 bits of 32 bytes.
///
/// # Safety
/// The machine has AVX2, and 32 bytes are readable.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> [__m256i; 2] {
    // SAFETY: the caller guarantees AVX2 and 32 readable bytes.
    unsafe {
        let low = _mm256_set1_epi8(0xf);
        let both = _mm256_loadu_si256(from.cast());
        let high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        [_mm256_and_si256(both, low), high]
    }
}

/// The sum of eight lanes; it wraps.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn total(sums: __m256i) -> i32 {
    // SAFETY: the caller guarantees AVX2.
    unsafe {
        let four = _mm_add_epi32(
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256(sums, 1),
        );
        let two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01_00_11_10));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10_11_00_01)))
    }
}

/// The functions of [`Taps`] that are the same for both.
macro_rules! thirty_two_taps {
    () => {
        const TAPS: usize = 32;
        type Indices = __m256i;
        type Table = __m256i;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller guarantees AVX2.
            unsafe { Self(_mm256_setzero_si256()) }
        }
        #[inline(always)]
        unsafe fn indices(from: *const u8) -> [__m256i; 2] {
            // SAFETY: the caller guarantees AVX2 and 32 readable bytes.
            unsafe { nibbles(from) }
        }
        #[inline(always)]
        unsafe fn table(from: *const i8) -> __m256i {
            // SAFETY: the caller guarantees AVX2 and 16 readable bytes.
            unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())) }
        }
        #[inline(always)]
        unsafe fn total(self) -> i32 {
            // SAFETY: the caller guarantees AVX2.
            unsafe { total(self.0) }
        }
    };
}

// SAFETY: `values` and `indices` read 32 bytes, `table` 16; 64 bytes are two vectors of taps. The
// instruction sets are AVX2 and AVX-VNNI.
unsafe impl Taps for Taps32 {
    const TAP_BYTES: usize = 1;
    type Values = __m256i;

    thirty_two_taps!();
    #[inline(always)]
    unsafe fn values(from: *const u8) -> __m256i {
        // SAFETY: the caller guarantees AVX2 and 32 readable bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(self, values: __m256i, table: __m256i, indices: __m256i) -> Self {
        // SAFETY: the caller guarantees AVX2 and AVX-VNNI.
        unsafe {
            let weights = _mm256_shuffle_epi8(table, indices);
            Self(_mm256_dpbusd_avx_epi32(self.0, values, weights))
        }
    }
}

// SAFETY: `values` reads 64 bytes, which are 32 taps of i16, `indices` 32, `table` 16; 128 bytes
// are two vectors of taps. The instruction set is AVX2.
unsafe impl Taps for WideTaps32 {
    const TAP_BYTES: usize = 2;
    type Values = [__m256i; 2];

    thirty_two_taps!();
    #[inline(always)]
    unsafe fn values(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the caller guarantees AVX2 and 64 readable bytes.
        unsafe { [0, 32].map(|at| _mm256_loadu_si256(from.wrapping_add(at).cast())) }
    }
    #[inline(always)]
    unsafe fn dot(self, values: [__m256i; 2], table: __m256i, indices: __m256i) -> Self {
        // SAFETY: the caller guarantees AVX2.
        unsafe {
            let weights = _mm256_shuffle_epi8(table, indices);
            let low = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(weights));
            let high = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(weights, 1));
            let sums = _mm256_add_epi32(self.0, _mm256_madd_epi16(values[0], low));
            Self(_mm256_add_epi32(sums, _mm256_madd_epi16(values[1], high)))
        }
    }
}

/// Rows at once. Their sums and tables fit in 32 registers, and in 16.
const ROWS_OF_32: usize = 8;
const ROWS_OF_16: usize = 4;

/// The functions of an instruction set: clustered, then 4-bit weights.
macro_rules! functions {
    ($features:literal, $clustered:ident, $int4:ident, $taps:ty, $sums:ty, $rows:expr) => {
        /// # Safety
        /// See [`RowsFunction`].
        #[target_feature(enable = $features)]
        unsafe fn $clustered(unit: &Unit) {
            // SAFETY: this function enables the instructions; the caller guarantees the rest of
            // the contract of `RowsFunction`.
            unsafe { clustered::<$taps, $sums, { $rows }>(unit) }
        }
        /// # Safety
        /// See [`RowsFunction`].
        #[target_feature(enable = $features)]
        unsafe fn $int4(unit: &Unit) {
            // SAFETY: as above.
            unsafe { int4::<$taps, $sums, { $rows }>(unit) }
        }
    };
}

functions!(
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2",
    clustered_64,
    int4_64,
    Taps64,
    Vnni512,
    ROWS_OF_32
);
functions!(
    "avx2,avxvnni",
    clustered_32,
    int4_32,
    Taps32,
    AvxVnni,
    ROWS_OF_16
);
functions!(
    "avx2",
    clustered_wide,
    int4_wide,
    WideTaps32,
    Madd,
    ROWS_OF_16
);

/// Bytes that sparse weights are prefetched ahead, possibly past their end. The address of a vector
/// depends on the masks before it, so that the processor alone reads too few ahead: at 65 % zeros
/// from memory a layer took 408 us without, 290 with. 4-bit weights gained nothing.
const AHEAD: usize = 4096;

/// Computes a unit of sparse weights, eight rows at once.
///
/// # Safety
/// See [`RowsFunction`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi2,avx2,popcnt")]
unsafe fn sparse_64(unit: &Unit) {
    let mut sums = [0; UNIT];
    // SAFETY: this function enables the instructions; the caller guarantees the memory of the
    // unit: in `steps` steps the input has all taps, and each step of a row a mask, and as many
    // weights as the mask has ones. 64 bytes behind the last weight are readable; a prefetch may
    // have any address. The assembly is a comment: it leaves its register as it is, and touches
    // neither memory, stack nor flags.
    unsafe {
        let input = Input::new(unit, Taps64::TAPS, Taps64::TAP_BYTES);
        let (mut weights, mut masks) = (unit.weights, unit.masks);
        for first in (0..UNIT).step_by(ROWS_OF_32) {
            let mut total = [_mm512_setzero_si512(); ROWS_OF_32];
            for step in 0..unit.steps {
                let x = Taps64::values(input.at(step));
                for total in &mut total {
                    let mask = masks.read();
                    _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(AHEAD).cast());
                    let mut packed = _mm512_loadu_si512(weights.cast());
                    // Keeps the load apart: the instruction that loads and expands is several
                    // times slower on AMD's cores.
                    std::arch::asm!(
                        "/* {0} */",
                        inout(zmm_reg) packed,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                    let expanded = _mm512_maskz_expand_epi8(mask, packed);
                    *total = _mm512_dpbusd_epi32(*total, x, expanded);
                    weights = weights.wrapping_add(mask.count_ones() as usize);
                    masks = masks.wrapping_add(1);
                }
            }
            for (sum, total) in sums[first..].iter_mut().zip(total) {
                *sum = _mm512_reduce_add_epi32(total);
            }
        }
        store::<Vnni512>(unit, sums);
    }
}

/// The function for weights of 4 bits.
pub(super) fn lookup(set: Available, stored: Stored) -> Variant {
    let of = |functions: [RowsFunction; 2]| functions[usize::from(stored == Stored::Int4)];
    match set.set() {
        InstructionSet::Avx512Vnni => {
            Variant::of::<Taps64>(of([clustered_64, int4_64]), ROWS_OF_32)
        }
        InstructionSet::AvxVnni => Variant::of::<Taps32>(of([clustered_32, int4_32]), ROWS_OF_16),
        _ => Variant::of::<WideTaps32>(of([clustered_wide, int4_wide]), ROWS_OF_16),
    }
}

/// The function for sparse weights with AVX-512 VBMI2.
pub(super) fn sparse() -> Variant {
    Variant::of::<Taps64>(sparse_64, ROWS_OF_32)
}
