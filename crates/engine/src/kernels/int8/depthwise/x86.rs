//! INT8 depthwise convolutions on x86-64. The input is read plus 128 (u8).
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::tile::{GROUP, Multiply, Register, Row, RowFunction, row};
use super::{Variant, choose};
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::int8::Form;

/// The interleaving of two registers, within each 16 bytes: the lower half and the upper half.
///
/// # Safety
/// An implementation accesses no memory. A caller guarantees that the machine has the
/// implementation's instruction set.
unsafe trait Interleave: Register {
    unsafe fn bytes(self, other: Self) -> [Self; 2];
    unsafe fn pairs(self, other: Self) -> [Self; 2];
}

/// The functions of a register, which differ only in the names of the instructions.
macro_rules! register {
    (
        $register:ty, $bytes:literal,
        $load:ident $store:ident $bits:ident $splat:ident $xor:ident $min:ident $max:ident,
        $to_float:ident $load_float:ident $product:ident $round:ident $words:ident $narrow:ident,
        $low8:ident $high8:ident $low16:ident $high16:ident
    ) => {
        // SAFETY: `load` and `store` access the register's bytes, and `quantize` reads four
        // quarters of as many multipliers. The instruction set is that of the register's size:
        // SSE4.1, AVX2, or AVX-512 F and BW.
        unsafe impl Register for $register {
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller guarantees the instructions and the readable bytes.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller guarantees the instructions and the writable bytes.
                unsafe { $store(to.cast(), self) }
            }
            #[inline(always)]
            unsafe fn splat(byte: u8) -> Self {
                // SAFETY: the caller guarantees the instructions.
                unsafe { $splat(byte.cast_signed()) }
            }
            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                // SAFETY: the caller guarantees the instructions.
                unsafe { $xor(self, other) }
            }
            #[inline(always)]
            unsafe fn scale(self, by: *const f32) -> Self {
                // SAFETY: the caller guarantees the instructions and the multipliers.
                unsafe { $bits($product($to_float(self), $load_float(by))) }
            }
            #[inline(always)]
            unsafe fn quantize(sums: [Self; 4], by: *const f32, low: Self, high: Self) -> Self {
                // Packing saturates, and undoes the order of the quarters.
                // SAFETY: the caller guarantees the instructions and the multipliers.
                unsafe {
                    macro_rules! rounded {
                        ($q:literal) => {{
                            let by = $load_float(by.add($q * ($bytes / 4)));
                            $round($product($to_float(sums[$q]), by))
                        }};
                    }
                    let words = $words(rounded!(0), rounded!(1));
                    let values = $narrow(words, $words(rounded!(2), rounded!(3)));
                    $min($max(values, low), high)
                }
            }
        }

        // SAFETY: neither function accesses memory.
        unsafe impl Interleave for $register {
            #[inline(always)]
            unsafe fn bytes(self, other: Self) -> [Self; 2] {
                // SAFETY: the caller guarantees the instructions.
                unsafe { [$low8(self, other), $high8(self, other)] }
            }
            #[inline(always)]
            unsafe fn pairs(self, other: Self) -> [Self; 2] {
                // SAFETY: the caller guarantees the instructions.
                unsafe { [$low16(self, other), $high16(self, other)] }
            }
        }
    };
}

register!(
    __m128i, 16,
    _mm_loadu_si128 _mm_storeu_si128 _mm_castps_si128 _mm_set1_epi8 _mm_xor_si128 _mm_min_epi8 _mm_max_epi8,
    _mm_cvtepi32_ps _mm_loadu_ps _mm_mul_ps _mm_cvtps_epi32 _mm_packs_epi32 _mm_packs_epi16,
    _mm_unpacklo_epi8 _mm_unpackhi_epi8 _mm_unpacklo_epi16 _mm_unpackhi_epi16
);
register!(
    __m256i, 32,
    _mm256_loadu_si256 _mm256_storeu_si256 _mm256_castps_si256 _mm256_set1_epi8 _mm256_xor_si256 _mm256_min_epi8 _mm256_max_epi8,
    _mm256_cvtepi32_ps _mm256_loadu_ps _mm256_mul_ps _mm256_cvtps_epi32 _mm256_packs_epi32 _mm256_packs_epi16,
    _mm256_unpacklo_epi8 _mm256_unpackhi_epi8 _mm256_unpacklo_epi16 _mm256_unpackhi_epi16
);
register!(
    __m512i, 64,
    _mm512_loadu_si512 _mm512_storeu_si512 _mm512_castps_si512 _mm512_set1_epi8 _mm512_xor_si512 _mm512_min_epi8 _mm512_max_epi8,
    _mm512_cvtepi32_ps _mm512_loadu_ps _mm512_mul_ps _mm512_cvtps_epi32 _mm512_packs_epi32 _mm512_packs_epi16,
    _mm512_unpacklo_epi8 _mm512_unpackhi_epi8 _mm512_unpacklo_epi16 _mm512_unpackhi_epi16
);

/// AVX-512 VNNI: four taps of u8 by i8.
struct Vnni;

/// AVX-VNNI: the same, with instructions of another encoding.
struct AvxVnni;

/// AVX2: two taps of i16 by i16; neither products nor sums saturate.
struct Madd;

/// Multiplies four adjacent taps with one instruction.
macro_rules! four_taps {
    ($name:ident, $register:ty, $dot:ident) => {
        // SAFETY: `dot` reads as many bytes of weights as the register has; `interleave`
        // accesses no memory. The instruction set is that of the type and of the register.
        unsafe impl Multiply<$register> for $name {
            const WEIGHT_BYTES: usize = 1;
            type Taps = $register;

            #[inline(always)]
            unsafe fn interleave([a, b, c, d]: [$register; GROUP]) -> [$register; 4] {
                // SAFETY: the caller guarantees the instructions.
                unsafe {
                    let ([low, high], [second_low, second_high]) = (a.bytes(b), c.bytes(d));
                    let ([q0, q1], [q2, q3]) = (low.pairs(second_low), high.pairs(second_high));
                    [q0, q1, q2, q3]
                }
            }
            #[inline(always)]
            unsafe fn dot(sums: $register, taps: $register, weights: *const i8) -> $register {
                // SAFETY: the caller guarantees the instructions and a register of weights.
                unsafe { $dot(sums, taps, <$register>::load(weights.cast())) }
            }
        }
    };
}

four_taps!(Vnni, __m512i, _mm512_dpbusd_epi32);
four_taps!(Vnni, __m256i, _mm256_dpbusd_epi32);
four_taps!(Vnni, __m128i, _mm_dpbusd_epi32);
four_taps!(AvxVnni, __m256i, _mm256_dpbusd_avx_epi32);
four_taps!(AvxVnni, __m128i, _mm_dpbusd_avx_epi32);

/// Multiplies twice two adjacent taps, widened to 16 bits.
macro_rules! two_taps {
    ($register:ty, $madd:ident, $add:ident) => {
        // SAFETY: `dot` reads two registers of weights; `interleave` accesses no memory. The
        // instruction set is AVX2.
        unsafe impl Multiply<$register> for Madd {
            const WEIGHT_BYTES: usize = 2;
            type Taps = [$register; 2];

            #[inline(always)]
            unsafe fn interleave([a, b, c, d]: [$register; GROUP]) -> [[$register; 2]; 4] {
                // SAFETY: the caller guarantees AVX2.
                unsafe {
                    let zero = <$register>::splat(0);
                    let ([low, high], [second_low, second_high]) = (a.bytes(b), c.bytes(d));
                    let ([p0, p1], [p2, p3]) = (low.bytes(zero), high.bytes(zero));
                    let ([q0, q1], [q2, q3]) = (second_low.bytes(zero), second_high.bytes(zero));
                    [[p0, q0], [p1, q1], [p2, q2], [p3, q3]]
                }
            }
            #[inline(always)]
            unsafe fn dot(sums: $register, taps: [$register; 2], weights: *const i8) -> $register {
                // SAFETY: the caller guarantees AVX2 and two registers of weights.
                unsafe {
                    let first = <$register>::load(weights.cast());
                    let after = weights.wrapping_add(<$register>::BYTES);
                    let second = <$register>::load(after.cast());
                    let sums = $add(sums, $madd(taps[0], first));
                    $add(sums, $madd(taps[1], second))
                }
            }
        }
    };
}

two_taps!(__m256i, _mm256_madd_epi16, _mm256_add_epi32);
two_taps!(__m128i, _mm_madd_epi16, _mm_add_epi32);

/// The function of an instruction set for one register.
macro_rules! rows {
    ($features:literal, $function:ident, $register:ty, $multiply:ty) => {
        /// # Safety
        /// See [`RowFunction`]; the machine has the instructions that this function enables.
        #[target_feature(enable = $features)]
        unsafe fn $function<const W: usize, const S: usize, const L: usize>(work: &Row) {
            // SAFETY: this function enables the instructions of the register and of the
            // product; the caller guarantees the rest of the contract of `RowFunction`.
            unsafe { row::<$register, $multiply, W, S, L>(work) }
        }
    };
}

rows!(
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2",
    vnni_64,
    __m512i,
    Vnni
);
rows!(
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2",
    vnni_32,
    __m256i,
    Vnni
);
rows!(
    "avx512f,avx512bw,avx512vl,avx512vnni,avx2",
    vnni_16,
    __m128i,
    Vnni
);
rows!("avx2,avxvnni", avx_vnni_32, __m256i, AvxVnni);
rows!("avx2,avxvnni", avx_vnni_16, __m128i, AvxVnni);
rows!("avx2", madd_32, __m256i, Madd);
rows!("avx2", madd_16, __m128i, Madd);

/// How an instruction set reads its input and weights.
pub(super) fn variant(set: Available) -> Variant {
    let vnni = matches!(
        set.set(),
        InstructionSet::Avx512Vnni | InstructionSet::AvxVnni
    );
    Variant {
        blocks: match set.set() {
            InstructionSet::Avx512Vnni => &[64, 32, 16],
            InstructionSet::Scalar => &[],
            _ => &[32, 16],
        },
        form: Form::Offset,
        wide: !vnni,
        in_pairs: !vnni,
    }
}

/// The function for a block of channels. `window` is the columns and the stride of a window
/// without dilation.
pub(super) fn function(set: Available, block: usize, window: Option<[usize; 2]>) -> RowFunction {
    match (set.set(), block) {
        (InstructionSet::Avx512Vnni, 64) => choose!(vnni_64, window),
        (InstructionSet::Avx512Vnni, 32) => choose!(vnni_32, window),
        (InstructionSet::Avx512Vnni, _) => choose!(vnni_16, window),
        (InstructionSet::AvxVnni, 32) => choose!(avx_vnni_32, window),
        (InstructionSet::AvxVnni, _) => choose!(avx_vnni_16, window),
        (_, 32) => choose!(madd_32, window),
        _ => choose!(madd_16, window),
    }
}
