//! Packs compressed rows in the order in which their functions read them.

use super::{UNIT, Variant};
use crate::aligned_bytes::AlignedBytes;
use crate::weights::{self, CLUSTERS, GROUPS, INT4};

/// Bytes behind the last sparse weight that its function reads.
const SLACK: usize = 64;

/// A layer's weights as a function reads them.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) weights: AlignedBytes,
    /// The offset of each unit's weights.
    pub(super) starts: Vec<usize>,
    pub(super) tables: AlignedBytes,
    pub(super) scales: Vec<u8>,
    pub(super) masks: Vec<u64>,
    /// Scales or masks of a unit; 0 if there are none.
    pub(super) parts: usize,
    /// Bytes of weights, scales, masks and the tables of rows.
    pub(super) bytes: usize,
}

/// Weights to pack.
#[derive(Clone, Copy)]
pub(super) struct Packing<'a> {
    /// Rows of `row` weights.
    pub(super) weights: &'a [i8],
    pub(super) row: usize,
    pub(super) variant: Variant,
}

/// The size of groups in which the weights are 4-bit integers times a scale.
pub(super) fn group(weights: &[i8], row: usize) -> Option<(usize, Vec<u8>)> {
    GROUPS.into_iter().find_map(|group| {
        let scales = weights::group_scales(weights, row, group)?;
        Some((group, scales))
    })
}

impl Packing<'_> {
    /// Pairs of vectors in a row.
    pub(super) fn pairs(&self) -> usize {
        self.row.div_ceil(2 * self.variant.taps)
    }

    /// Vectors in a row.
    pub(super) fn singles(&self) -> usize {
        self.row.div_ceil(self.variant.taps)
    }

    fn rows(&self) -> usize {
        self.weights.len() / self.row
    }

    /// The weight of a row at a tap; `None` outside the layer.
    fn weight(&self, row: usize, tap: usize) -> Option<i8> {
        let inside = tap < self.row && row < self.rows();
        inside.then(|| self.weights[row * self.row + tap])
    }

    /// Calls `pack` with the row and the step for each block of rows, step and row of the block,
    /// and returns the offsets at which units start.
    fn in_order(&self, steps: usize, mut pack: impl FnMut(usize, usize) -> usize) -> Vec<usize> {
        let (mut starts, mut next) = (Vec::new(), 0);
        for first in (0..self.rows().next_multiple_of(UNIT)).step_by(self.variant.rows) {
            if first % UNIT == 0 {
                starts.push(next);
            }
            for step in 0..steps {
                for row in first..first + self.variant.rows {
                    next = pack(row, step);
                }
            }
        }
        starts
    }

    /// Weights by the codebook of each row.
    pub(super) fn clustered(&self, codebooks: &[Vec<i8>]) -> Storage {
        let taps = self.variant.taps;
        let rows = self.rows().next_multiple_of(UNIT);
        let mut tables = vec![0; rows * CLUSTERS];
        for (table, codebook) in tables.chunks_exact_mut(CLUSTERS).zip(codebooks) {
            table[..codebook.len()].copy_from_slice(codebook);
        }
        // The index of each value in the codebook of the row that is packed.
        let mut places = vec![[0_u8; 256]; rows];
        for (places, codebook) in places.iter_mut().zip(codebooks) {
            for (index, value) in (0..).zip(codebook) {
                places[usize::from(value.cast_unsigned())] = index;
            }
        }
        let mut packed = Vec::new();
        let starts = self.in_order(self.pairs(), |row, step| {
            let index = |tap| {
                let weight = self.weight(row, tap);
                weight.map_or(0, |weight| places[row][usize::from(weight.cast_unsigned())])
            };
            let first = step * 2 * taps;
            let pair = |tap| index(first + tap) | index(first + taps + tap) << 4;
            packed.extend((0..taps).map(|tap| pair(tap).cast_signed()));
            packed.len()
        });
        Storage {
            bytes: packed.len() + tables.len(),
            weights: AlignedBytes::holding(&packed),
            starts,
            tables: AlignedBytes::holding(&tables),
            scales: Vec::new(),
            masks: Vec::new(),
            parts: 0,
        }
    }

    /// Weights that are 4-bit integers times the scale of their group, of `group` weights each.
    pub(super) fn int4(&self, group: usize, scales: &[u8]) -> Storage {
        let taps = self.variant.taps;
        let groups = self.row.div_ceil(group);
        let scale = |row: usize, tap: usize| {
            let inside = tap < self.row && row < self.rows();
            if inside {
                scales[row * groups + tap / group]
            } else {
                1
            }
        };
        let (mut packed, mut packed_scales) = (Vec::new(), Vec::new());
        let starts = self.in_order(self.pairs(), |row, step| {
            let first = step * 2 * taps;
            // A vector is inside a group: groups are multiples of its taps.
            let scales = [scale(row, first), scale(row, first + taps)];
            packed_scales.extend(scales);
            let integer = |tap: usize, scale: u8| {
                weights::int4(self.weight(row, tap).unwrap_or(0), scale) as u8 & 0xf
            };
            let pair = |tap: usize| {
                integer(first + tap, scales[0]) | integer(first + taps + tap, scales[1]) << 4
            };
            packed.extend((0..taps).map(|tap| pair(tap).cast_signed()));
            packed.len()
        });
        let tables: Vec<i8> = (0..=i32::from(u8::MAX))
            .flat_map(|scale| {
                let integers = (0..=*INT4.end()).chain(*INT4.start()..0);
                // A product outside i8 is no weight and is not read.
                integers.map(move |integer| (integer * scale) as i8)
            })
            .collect();
        Storage {
            bytes: packed.len() + packed_scales.len(),
            weights: AlignedBytes::holding(&packed),
            starts,
            tables: AlignedBytes::holding(&tables),
            scales: packed_scales,
            masks: Vec::new(),
            parts: 2 * self.pairs() * UNIT,
        }
    }

    pub(super) fn sparse(&self) -> Storage {
        let taps = self.variant.taps;
        let mut packed = Vec::new();
        let mut masks = Vec::new();
        let starts = self.in_order(self.singles(), |row, step| {
            let mut mask = 0;
            for tap in 0..taps {
                let weight = self.weight(row, step * taps + tap).unwrap_or(0);
                if weight != 0 {
                    mask |= 1 << tap;
                    packed.push(weight);
                }
            }
            masks.push(mask);
            packed.len()
        });
        let bytes = packed.len() + masks.len() * size_of::<u64>();
        packed.resize(packed.len() + SLACK, 0);
        Storage {
            weights: AlignedBytes::holding(&packed),
            starts,
            tables: AlignedBytes::zeroed(0),
            scales: Vec::new(),
            masks,
            parts: self.singles() * UNIT,
            bytes,
        }
    }
}
