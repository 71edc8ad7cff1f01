//! The inner loops over compressed rows.
#![allow(unsafe_code)]

use super::UNIT;
use crate::kernels::int8::tile::{Levels, Sums};
use crate::weights::CLUSTERS;

/// The memory that a unit of [`UNIT`] rows reads and writes.
#[derive(Debug)]
pub(in crate::kernels::int8) struct Unit {
    /// The packed input: `taps` taps.
    pub(super) input: *const u8,
    pub(super) taps: usize,
    /// Steps of a row: a pair of vectors of 4-bit weights, or a vector of sparse ones.
    pub(super) steps: usize,
    /// For each block of rows that are computed at once, for each step, for each of these rows
    /// the weights of the step.
    pub(super) weights: *const u8,
    /// [`CLUSTERS`] weights for each row, or for each scale from 0 on.
    pub(super) tables: *const i8,
    /// Two scales for each step of a row of 4-bit weights, in the order of the weights.
    pub(super) scales: *const u8,
    /// The bits of sparse weights, in the order of the weights.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for x86-64"))]
    pub(super) masks: *const u64,
    pub(super) bias: *const i32,
    pub(super) multiplier: *const f32,
    pub(super) output: *mut u8,
    /// Rows that are stored, from the first one on.
    pub(super) stored: usize,
    /// How sums are quantized; `None` stores the i32 sums.
    pub(super) levels: Option<Levels>,
}

/// Computes a unit.
///
/// # Safety
/// - `input` has `taps` readable taps of the function's format.
/// - `weights`, `tables`, `scales` and `masks` have what `steps` steps of [`UNIT`] rows read; 64 more bytes
///   behind sparse weights are readable.
/// - [`UNIT`] biases and multipliers are readable, `stored` outputs are writable, and `stored` is
///   at most [`UNIT`].
/// - The machine has the function's instruction set.
pub(in crate::kernels::int8) type RowsFunction = unsafe fn(&Unit);

/// Bytes of the taps of the largest step.
const STEP_BYTES: usize = 128;

/// A register of i32 sums of products of taps.
///
/// # Safety
/// An implementation guarantees that its functions access only this memory:
/// - `values` reads `TAPS` taps of `TAP_BYTES` bytes;
/// - `indices` reads `TAPS` bytes;
/// - `table` reads [`CLUSTERS`] bytes.
///
/// `2 * TAPS * TAP_BYTES` is at most [`STEP_BYTES`]. A caller guarantees that this memory is
/// readable, and that the machine has the implementation's instruction set.
pub(super) unsafe trait Taps: Copy {
    /// Taps of a vector.
    const TAPS: usize;
    /// Bytes of a tap of the packed input.
    const TAP_BYTES: usize;
    type Values: Copy;
    type Indices: Copy;
    type Table: Copy;

    unsafe fn zero() -> Self;
    unsafe fn values(from: *const u8) -> Self::Values;
    /// The low, and the high, 4 bits of each byte.
    unsafe fn indices(from: *const u8) -> [Self::Indices; 2];
    unsafe fn table(from: *const i8) -> Self::Table;
    /// Adds the products of the values and the table's weights at the indices, exactly.
    unsafe fn dot(self, values: Self::Values, table: Self::Table, indices: Self::Indices) -> Self;
    /// The sum of all lanes; it wraps.
    unsafe fn total(self) -> i32;
}

/// The taps of each step: those of the input, or of a copy of its last ones with zeros behind
/// them. A zero gives no product, whatever the weight.
pub(super) struct Input {
    start: *const u8,
    step: usize,
    whole: usize,
    tail: [u8; STEP_BYTES],
}

impl Input {
    /// # Safety
    /// `unit.input` has `unit.taps` readable taps of `tap_bytes` bytes, and a step of `taps` taps
    /// has at most [`STEP_BYTES`] bytes.
    #[inline(always)]
    pub(super) unsafe fn new(unit: &Unit, taps: usize, tap_bytes: usize) -> Self {
        let whole = unit.taps / taps;
        let step = taps * tap_bytes;
        let mut tail = [0; STEP_BYTES];
        // SAFETY: the caller guarantees the taps, and that a step fits `tail`; these are fewer
        // than a step has.
        unsafe {
            let last = unit.input.wrapping_add(whole * step);
            let bytes = (unit.taps - whole * taps) * tap_bytes;
            last.copy_to_nonoverlapping(tail.as_mut_ptr(), bytes);
        }
        Self {
            start: unit.input,
            step,
            whole,
            tail,
        }
    }

    /// The first byte of the step's taps, all of which are readable.
    #[inline(always)]
    pub(super) fn at(&self, step: usize) -> *const u8 {
        if step < self.whole {
            self.start.wrapping_add(step * self.step)
        } else {
            self.tail.as_ptr()
        }
    }
}

/// Computes a unit of clustered weights, `R` rows at once. A byte has the indices of tap i in
/// its low, and of tap i + `TAPS` in its high 4 bits.
///
/// # Safety
/// As for [`RowsFunction`]; the machine has the instructions of `T` and `V`.
#[inline(always)]
pub(super) unsafe fn clustered<T: Taps, V: Sums, const R: usize>(unit: &Unit) {
    let mut sums = [0; UNIT];
    // SAFETY: the caller guarantees the instructions and the memory of the unit: in `steps` steps
    // the input has all taps, each row a table, and each step of a row `TAPS` bytes.
    unsafe {
        let input = Input::new(unit, 2 * T::TAPS, T::TAP_BYTES);
        let mut weights = unit.weights;
        for first in (0..UNIT).step_by(R) {
            let tables: [T::Table; R] = std::array::from_fn(|row| {
                T::table(unit.tables.wrapping_add((first + row) * CLUSTERS))
            });
            let mut total = [T::zero(); R];
            for step in 0..unit.steps {
                let x = input.at(step);
                let low = T::values(x);
                let high = T::values(x.wrapping_add(T::TAPS * T::TAP_BYTES));
                for (total, &table) in total.iter_mut().zip(&tables) {
                    let [a, b] = T::indices(weights);
                    weights = weights.wrapping_add(T::TAPS);
                    *total = total.dot(low, table, a).dot(high, table, b);
                }
            }
            for (sum, total) in sums[first..].iter_mut().zip(total) {
                *sum = total.total();
            }
        }
        store::<V>(unit, sums);
    }
}

/// Computes a unit of weights that are 4-bit integers times a scale, `R` rows at once. A row's step
/// has two scales: for the low and for the high 4 bits. The table of a scale has the sixteen
/// integers times it.
///
/// # Safety
/// As for [`clustered`].
#[inline(always)]
pub(super) unsafe fn int4<T: Taps, V: Sums, const R: usize>(unit: &Unit) {
    let mut sums = [0; UNIT];
    // SAFETY: as in `clustered`; each step of a row has two scales, and there is a table for each
    // scale.
    unsafe {
        let input = Input::new(unit, 2 * T::TAPS, T::TAP_BYTES);
        let table = |scale: *const u8| {
            T::table(
                unit.tables
                    .wrapping_add(usize::from(scale.read()) * CLUSTERS),
            )
        };
        let (mut weights, mut scales) = (unit.weights, unit.scales);
        for first in (0..UNIT).step_by(R) {
            let mut total = [T::zero(); R];
            for step in 0..unit.steps {
                let x = input.at(step);
                let low = T::values(x);
                let high = T::values(x.wrapping_add(T::TAPS * T::TAP_BYTES));
                for total in &mut total {
                    let [a, b] = T::indices(weights);
                    let next = total.dot(low, table(scales), a);
                    *total = next.dot(high, table(scales.wrapping_add(1)), b);
                    weights = weights.wrapping_add(T::TAPS);
                    scales = scales.wrapping_add(2);
                }
            }
            for (sum, total) in sums[first..].iter_mut().zip(total) {
                *sum = total.total();
            }
        }
        store::<V>(unit, sums);
    }
}

/// Adds the biases to the sums of a unit and stores them.
///
/// # Safety
/// As for [`RowsFunction`]; the machine has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn store<V: Sums>(unit: &Unit, mut sums: [i32; UNIT]) {
    // SAFETY: the caller guarantees the instructions, `UNIT` biases and multipliers, which is a
    // multiple of `COUNT`, and that `stored` outputs are writable; each vector stores those of
    // them that it has.
    unsafe {
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = sum.wrapping_add(unit.bias.add(row).read());
        }
        for first in (0..UNIT).step_by(V::COUNT) {
            let stored = unit.stored.saturating_sub(first).min(V::COUNT);
            let sums = V::load(sums.as_ptr().add(first));
            match unit.levels {
                Some(levels) => {
                    let to = unit.output.cast::<i8>().wrapping_add(first);
                    sums.levels(unit.multiplier.add(first), levels, to, stored);
                }
                None => sums.store(unit.output.cast::<i32>().wrapping_add(first), stored),
            }
        }
    }
}
