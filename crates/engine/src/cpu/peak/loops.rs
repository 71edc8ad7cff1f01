//! The loops that are timed to find the peak performance.

use std::hint::black_box;

use super::Numbers;
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::int8::tile::Sums;
use crate::kernels::simd::Vector;

/// A loop of multiply-adds.
pub(super) struct Dots {
    /// Runs a number of rounds.
    ///
    /// # Safety
    /// The machine has the instruction set that the loop was chosen for.
    pub(super) run: unsafe fn(usize),
    /// Multiply-adds of a round.
    pub(super) in_a_round: usize,
}

/// A loop that reads memory from start to end.
pub(super) struct Reads {
    /// Reads the bytes once.
    ///
    /// # Safety
    /// The machine has the instruction set that the loop was chosen for, and the number of
    /// bytes is a multiple of `step`.
    pub(super) run: unsafe fn(&[u8]),
    /// Bytes of an iteration.
    pub(super) step: usize,
}

/// Values and weights: enough for every loop, small enough for the level 1 cache.
#[repr(align(64))]
struct Operands {
    values: [u8; 64],
    weights: [i8; 256],
}

static OPERANDS: Operands = Operands {
    values: [1; 64],
    weights: [1; 256],
};

/// Adds the products of `P` values and `Z` vectors of weights, each to its own sum. The
/// operands go through `black_box` in each round, so that the compiler cannot move the
/// products out of the loop.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn dots<V: Sums, const P: usize, const Z: usize>(rounds: usize) {
    const { assert!(P * V::STEP <= 64 && Z * V::COUNT * V::GROUP <= 256 && V::COUNT <= 16) };
    // SAFETY: the caller guarantees the instructions. The assertion above bounds all reads of
    // `OPERANDS`; `bias` and `buffer` have 16 elements, at least `V::COUNT`.
    unsafe {
        let bias = [0_i32; 16];
        let mut sums = [[V::load(bias.as_ptr()); Z]; P];
        for _ in 0..rounds {
            let operands = black_box(&OPERANDS);
            let weights: [V::Weights; Z] = std::array::from_fn(|z| {
                V::weights(operands.weights.as_ptr().add(z * V::COUNT * V::GROUP))
            });
            for (p, sums) in sums.iter_mut().enumerate() {
                let value = V::value(operands.values.as_ptr().add(p * V::STEP));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = sum.dot(value, weights);
                }
            }
        }
        for sum in sums.iter().flatten() {
            let mut buffer = [0_i32; 16];
            sum.store(buffer.as_mut_ptr(), V::COUNT);
            black_box(buffer);
        }
    }
}

/// The operands of [`products`]: ones, so that no sum becomes denormal, which is slow.
static FLOATS: [f32; 64] = [1.0; 64];

/// As [`dots`], on f32.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn products<V: Vector, const P: usize, const Z: usize>(rounds: usize) {
    const { assert!(P <= 64 && Z * V::LANES <= 64 && V::LANES <= 16) };
    // SAFETY: the caller guarantees the instructions. The assertion above bounds all reads of
    // `FLOATS`; `buffer` has 16 elements, at least `V::LANES`.
    unsafe {
        let mut sums = [[V::splat(0.0); Z]; P];
        for _ in 0..rounds {
            let operands = black_box(&FLOATS);
            let weights: [V; Z] =
                std::array::from_fn(|z| V::load(operands.as_ptr().add(z * V::LANES)));
            for (value, sums) in operands.iter().zip(&mut sums) {
                let value = V::splat(*value);
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = value.mul_add(weights, *sum);
                }
            }
        }
        for sum in sums.iter().flatten() {
            let mut buffer = [0.0_f32; 16];
            sum.store(buffer.as_mut_ptr());
            black_box(buffer);
        }
    }
}

/// Vectors that are read in one iteration, each added to its own sum.
const READ_AT_ONCE: usize = 8;

/// Reads `bytes` once.
///
/// # Safety
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn reads<V: Vector>(bytes: &[u8]) {
    let step = READ_AT_ONCE * V::LANES * 4;
    // SAFETY: the caller guarantees the instructions. `chunks_exact` gives chunks of
    // `READ_AT_ONCE` vectors, and each load reads one of them; loads may be unaligned.
    // `buffer` has 16 elements, at least `V::LANES`.
    unsafe {
        let one = V::splat(1.0);
        let mut sums = [V::splat(0.0); READ_AT_ONCE];
        for step in bytes.chunks_exact(step) {
            for (index, sum) in sums.iter_mut().enumerate() {
                let read = V::load(step.as_ptr().cast::<f32>().add(index * V::LANES));
                *sum = read.mul_add(one, *sum);
            }
        }
        for sum in sums {
            let mut buffer = [0.0_f32; 16];
            sum.store(buffer.as_mut_ptr());
            black_box(buffer);
        }
    }
}

/// The loop without vectors: reads words of 8 bytes.
fn read_words(bytes: &[u8]) {
    let words = bytes.as_chunks::<8>().0.iter();
    let sum = words.fold(0_u64, |sum, &word| {
        sum.wrapping_add(u64::from_ne_bytes(word))
    });
    black_box(sum);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use super::{dots, products, reads};
    use crate::kernels::int8::x86::{AvxVnni, Madd, Vnni512};

    /// Declares functions that enable an instruction set and run a loop with it.
    macro_rules! with {
        ($($features:literal fn $name:ident = $body:ident::<$($argument:tt),*>($input:ty);)*) => {
            $(
                /// # Safety
                /// The machine has the features that this function enables.
                #[target_feature(enable = $features)]
                pub(super) unsafe fn $name(input: $input) {
                    // SAFETY: this function enables the instructions that the loop needs.
                    unsafe { $body::<$($argument),*>(input) }
                }
            )*
        };
    }

    // Sums, weights, a value and a product have to fit in 32 or 16 registers.
    with! {
        "avx512f,avx512bw,avx512vl,avx512vnni,avx2" fn vnni512 = dots::<Vnni512, 6, 4>(usize);
        "avx2,avxvnni" fn avx_vnni = dots::<AvxVnni, 6, 2>(usize);
        "avx2" fn madd = dots::<Madd, 6, 2>(usize);
        "avx512f,avx512vl,avx2,fma" fn wide = products::<__m512, 6, 4>(usize);
        "avx2,fma" fn narrow = products::<__m256, 6, 2>(usize);
        "avx512f,avx512vl,avx2,fma" fn read_wide = reads::<__m512>(&[u8]);
        "avx2,fma" fn read_narrow = reads::<__m256>(&[u8]);
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::{float32x4_t, int32x4_t, vdupq_n_s32, vld1q_s8, vst1q_s32};
    use std::hint::black_box;

    use super::{OPERANDS, dots, products, reads};
    use crate::kernels::int8::arm::{Dotprod, Neon};
    use crate::kernels::int8::i8mm::multiply;

    /// [`dots`] of six pairs of pixels by four pairs of channels.
    ///
    /// # Safety
    /// The machine has i8mm (the INT8 matrix product) and dotprod.
    #[target_feature(enable = "i8mm,dotprod")]
    pub(super) unsafe fn i8mm(rounds: usize) {
        // SAFETY: this function enables the instructions. Weights are read up to byte 64 of
        // 256 and values, which overlap, up to byte 56 of 64. `buffer` has four elements.
        unsafe {
            let mut sums: [[int32x4_t; 4]; 6] = [[vdupq_n_s32(0); 4]; 6];
            for _ in 0..rounds {
                let operands = black_box(&OPERANDS);
                let weights: [_; 4] =
                    std::array::from_fn(|z| vld1q_s8(operands.weights.as_ptr().add(z * 16)));
                for (p, sums) in sums.iter_mut().enumerate() {
                    let value = vld1q_s8(operands.values.as_ptr().add(p * 8).cast());
                    for (sum, &weights) in sums.iter_mut().zip(&weights) {
                        *sum = multiply(*sum, value, weights);
                    }
                }
            }
            for sum in sums.iter().flatten() {
                let mut buffer = [0_i32; 4];
                vst1q_s32(buffer.as_mut_ptr(), *sum);
                black_box(buffer);
            }
        }
    }

    /// # Safety
    /// The machine has dotprod.
    #[target_feature(enable = "dotprod")]
    pub(super) unsafe fn dotprod(rounds: usize) {
        // SAFETY: this function enables the instructions of `Dotprod`.
        unsafe { dots::<Dotprod, 6, 4>(rounds) }
    }

    /// # Safety
    /// None: NEON is part of aarch64.
    pub(super) unsafe fn neon(rounds: usize) {
        // SAFETY: NEON is part of aarch64.
        unsafe { dots::<Neon, 6, 4>(rounds) }
    }

    /// # Safety
    /// None: NEON is part of aarch64.
    pub(super) unsafe fn neon_floats(rounds: usize) {
        // SAFETY: NEON is part of aarch64.
        unsafe { products::<float32x4_t, 6, 4>(rounds) }
    }

    /// # Safety
    /// None: NEON is part of aarch64.
    pub(super) unsafe fn read_neon(bytes: &[u8]) {
        // SAFETY: NEON is part of aarch64.
        unsafe { reads::<float32x4_t>(bytes) }
    }
}

/// The loop with the multiply-add instructions that tiles of `set` use.
pub(super) fn multiplying(set: Available, numbers: Numbers) -> Option<Dots> {
    use Numbers::{Float32, Int8};
    let entry = |run: unsafe fn(usize), in_a_round| Some(Dots { run, in_a_round });
    match (set.set(), numbers) {
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512Vnni, Int8) => entry(x86::vnni512, 6 * 4 * 16 * 4),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::AvxVnni, Int8) => entry(x86::avx_vnni, 6 * 2 * 8 * 4),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx2 | InstructionSet::Avx512, Int8) => entry(x86::madd, 6 * 2 * 8 * 2),
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx512 | InstructionSet::Avx512Vnni, Float32) => {
            entry(x86::wide, 6 * 4 * 16)
        }
        #[cfg(target_arch = "x86_64")]
        (InstructionSet::Avx2 | InstructionSet::AvxVnni, Float32) => entry(x86::narrow, 6 * 2 * 8),
        #[cfg(target_arch = "aarch64")]
        (InstructionSet::NeonI8mm, Int8) => entry(arm::i8mm, 6 * 4 * 2 * 2 * 8),
        #[cfg(target_arch = "aarch64")]
        (InstructionSet::NeonDotprod, Int8) => entry(arm::dotprod, 6 * 4 * 4 * 4),
        #[cfg(target_arch = "aarch64")]
        (InstructionSet::Neon, Int8) => entry(arm::neon, 6 * 4 * 4 * 2),
        #[cfg(target_arch = "aarch64")]
        (
            InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm,
            Float32,
        ) => entry(arm::neon_floats, 6 * 4 * 4),
        _ => None,
    }
}

/// The loop with the widest loads of `set`.
pub(super) fn reading(set: Available) -> Reads {
    let entry = |run: unsafe fn(&[u8]), lanes: usize| Reads {
        run,
        step: READ_AT_ONCE * lanes * 4,
    };
    match set.set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx512Vnni => entry(x86::read_wide, 16),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 | InstructionSet::AvxVnni => entry(x86::read_narrow, 8),
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon | InstructionSet::NeonDotprod | InstructionSet::NeonI8mm => {
            entry(arm::read_neon, 4)
        }
        _ => entry(read_words, 4),
    }
}
