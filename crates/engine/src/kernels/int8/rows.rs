//! Fully connected layers of one pixel whose weights stay compressed: they are limited by reading
//! their weights, so that fewer bytes take less time. The sums are those of the dense tiles.
//!
//! A row is the weights of one unit. Taps of a row are the lanes of a vector, which are added at
//! its end; in the dense tiles units are the lanes. So each row has one codebook at a time, which
//! a byte shuffle looks up.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
mod kernel;
mod packing;
#[cfg(target_arch = "x86_64")]
mod x86;

use self::kernel::{RowsFunction, Unit};
use self::packing::Storage;
use super::packing::Constants;
use super::storage::{Stored, WeightStorage};
use super::tile::Levels;
use super::tiling::Tiling;
use crate::aligned_bytes::AlignedBytes;
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::convolution::ConvolutionShape;
use crate::weights;

/// Rows that are computed and stored together.
pub(super) const UNIT: usize = 16;

/// Weights below which the dense tiles are faster: they stay in the second cache.
const LEAST: usize = 512 << 10;

/// The share of zeros from which sparse weights are faster than dense ones, and than 4-bit ones.
const SPARSE: f64 = 0.5;
const SPARSER: f64 = 0.75;

/// The function of an instruction set for a storage, and what it expects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub(super) function: RowsFunction,
    /// Taps of a vector.
    pub(super) taps: usize,
    /// Rows that are computed at once; divides [`UNIT`].
    pub(super) rows: usize,
    /// Bytes of a tap of the packed input.
    pub(super) tap_bytes: usize,
}

impl Variant {
    /// The variant that computes `rows` rows at once by taps of the type `T`.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn of<T: kernel::Taps>(function: RowsFunction, rows: usize) -> Self {
        Self {
            function,
            taps: T::TAPS,
            rows,
            tap_bytes: T::TAP_BYTES,
        }
    }
}

/// A layer's compressed weights, and the rest of its constants padded to whole units.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) stored: Stored,
    variant: Variant,
    taps: usize,
    /// Vectors, or pairs of vectors, of a row.
    steps: usize,
    storage: Storage,
    bias: Vec<i32>,
    pub(super) multiplier: Vec<f32>,
}

impl Rows {
    /// `None` if the layer has more than one pixel, or the dense tiles are faster.
    pub(super) fn new(
        shape: &ConvolutionShape,
        constants: Constants<'_>,
        tiling: Tiling,
        storage: WeightStorage,
    ) -> Option<Self> {
        let pixels = shape.batch * shape.output[0] * shape.output[1];
        let taps = shape.axes[0].kernel * shape.axes[1].kernel * shape.depth;
        let one = pixels == 1 && shape.groups == 1 && shape.axes.iter().all(|axis| axis.size == 1);
        let least = match storage {
            WeightStorage::Fastest => LEAST,
            WeightStorage::Compressed => 1,
            WeightStorage::Dense => return None,
        };
        if !one || taps == 0 || constants.weights.len() < least {
            return None;
        }
        let (compressed, variant) = choose(constants.weights, taps, tiling.set)?;
        let packing = packing::Packing {
            weights: constants.weights,
            row: taps,
            variant,
        };
        let (stored, steps, storage) = match compressed {
            Compressed::Clustered(codebooks) => {
                let storage = packing.clustered(&codebooks);
                (Stored::Clustered, packing.pairs(), storage)
            }
            Compressed::Int4 { group, scales } => {
                let storage = packing.int4(group, &scales);
                (Stored::Int4, packing.pairs(), storage)
            }
            Compressed::Sparse => (Stored::Sparse, packing.singles(), packing.sparse()),
        };
        let units = shape.units.next_multiple_of(UNIT);
        let mut bias: Vec<_> = (0..shape.units)
            .map(|unit| constants.start(unit, tiling.form))
            .collect();
        bias.resize(units, 0);
        let mut multiplier = constants.multiplier.to_vec();
        multiplier.resize(units, 0.0);
        Some(Self {
            stored,
            variant,
            taps,
            steps,
            storage,
            bias,
            multiplier,
        })
    }

    /// Number of units of [`UNIT`] rows.
    pub(super) fn units(&self) -> usize {
        self.bias.len() / UNIT
    }

    /// Bytes of weights that an inference reads.
    pub(super) fn bytes(&self) -> usize {
        self.storage.bytes
    }

    /// Computes the first `stored` rows of a unit.
    ///
    /// # Safety
    /// - `input` has the layer's taps in the format of its tiling.
    /// - `stored` elements at `output` are writable, of the type that `levels` implies, and
    ///   nothing else accesses them; `stored` is at most [`UNIT`].
    pub(super) unsafe fn run(
        &self,
        input: &[u8],
        output: *mut u8,
        (unit, stored): (usize, usize),
        levels: Option<Levels>,
    ) {
        debug_assert!(input.len() >= self.taps * self.variant.tap_bytes && stored <= UNIT);
        let rows = unit * UNIT..(unit + 1) * UNIT;
        let at = |bytes: &AlignedBytes, offset: usize| bytes.as_ptr().wrapping_add(offset);
        let storage = &self.storage;
        let work = Unit {
            input: input.as_ptr(),
            taps: self.taps,
            steps: self.steps,
            weights: at(&storage.weights, storage.starts[unit]),
            tables: match self.stored {
                Stored::Clustered => at(&storage.tables, rows.start * weights::CLUSTERS),
                _ => at(&storage.tables, 0),
            }
            .cast(),
            scales: storage.scales.as_ptr().wrapping_add(unit * storage.parts),
            masks: storage.masks.as_ptr().wrapping_add(unit * storage.parts),
            bias: self.bias[rows.clone()].as_ptr(),
            multiplier: self.multiplier[rows].as_ptr(),
            output,
            stored,
            levels,
        };
        // SAFETY: the variant was chosen for an instruction set that the machine has. `Packing`
        // stores `steps` steps of weights, tables, scales and masks for each row of a unit; bias and
        // multiplier are padded to whole units. The caller guarantees input and output.
        unsafe { (self.variant.function)(&work) };
    }
}

/// A storage of weights, with what the analysis of the weights has found for it.
enum Compressed {
    /// The codebook of each row.
    Clustered(Vec<Vec<i8>>),
    /// The size of a group, and the scale of each group of each row.
    Int4 {
        group: usize,
        scales: Vec<u8>,
    },
    Sparse,
}

/// The storage that takes the least time, and its function; `None` for dense weights.
///
/// Sparse weights take a bit and a byte for each that is not 0; the others half a byte. The
/// thresholds are those of measurements (docs/performance.md, "Compressed weights").
fn choose(weights: &[i8], row: usize, set: Available) -> Option<(Compressed, Variant)> {
    let zeros = weights::zeros(weights) as f64 / weights.len() as f64;
    let sparse = |least: f64| {
        let variant = sparse_variant(set).filter(|_| zeros >= least)?;
        Some((Compressed::Sparse, variant))
    };
    let clustered = || {
        let variant = lookup_variant(set, Stored::Clustered)?;
        let codebooks = weights::codebooks(weights, row, true)?;
        Some((Compressed::Clustered(codebooks), variant))
    };
    let int4 = || {
        let variant = lookup_variant(set, Stored::Int4)?;
        let (group, scales) = packing::group(weights, row)?;
        Some((Compressed::Int4 { group, scales }, variant))
    };
    sparse(SPARSER)
        .or_else(clustered)
        .or_else(int4)
        .or_else(|| sparse(SPARSE))
}

/// The function for weights of 4 bits.
fn lookup_variant(set: Available, stored: Stored) -> Option<Variant> {
    if set.set() == InstructionSet::Scalar {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    return Some(x86::lookup(set, stored));
    #[cfg(target_arch = "aarch64")]
    return Some(arm::lookup(set, stored));
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = stored;
        None
    }
}

/// The function for sparse weights. Only AVX-512 VBMI2 has an instruction that expands them;
/// shuffles by tables of eight weights would be slower than the dense tiles.
fn sparse_variant(set: Available) -> Option<Variant> {
    #[cfg(target_arch = "x86_64")]
    return set.expands_bytes().then(x86::sparse);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = set;
        None
    }
}
