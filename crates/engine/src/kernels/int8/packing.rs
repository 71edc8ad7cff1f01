//! Packs a layer's constants in the order in which its tiles read them.

use std::ops::Range;

use super::packed_input::Form;
use super::tile::TileFunction;
use super::tiling::{Tiling, function, most_pixels};
use super::width::Width;
use crate::aligned_bytes::AlignedBytes;
use crate::instruction_set::Available;
use crate::kernels::convolution::ConvolutionShape;
use crate::kernels::tiled::divide;

/// Output channels that are computed together.
#[derive(Debug)]
pub(super) struct ChannelTile {
    /// First input channel.
    pub(super) input: usize,
    /// First output channel.
    pub(super) output: usize,
    pub(super) stored: usize,
    /// Index of the first weight, and of the first bias and multiplier.
    pub(super) weights: usize,
    pub(super) bias: usize,
    /// The tile's spans of columns in [`Packed::spans`].
    pub(super) spans: Range<usize>,
}

/// Output columns that are computed together.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) pixels: usize,
    pub(super) function: TileFunction,
}

/// A layer's tiles and its constants, padded to the width of the tiles.
#[derive(Debug)]
pub(super) struct Packed {
    /// Contiguous runs in a row of the kernel, and the elements of each.
    pub(super) runs: [usize; 2],
    /// For each tile (kH, runs, steps, lanes, group).
    pub(super) weights: AlignedBytes,
    pub(super) bias: Vec<i32>,
    pub(super) multiplier: Vec<f32>,
    pub(super) tiles: Vec<ChannelTile>,
    /// Whether every possible sum times its multiplier fits i32.
    pub(super) within_i32: bool,
    /// See [`Tile::pairs`](super::tile::Tile::pairs).
    pub(super) pairs: bool,
    pub(super) spans: Vec<Span>,
}

/// A layer's constants in the plan.
#[derive(Clone, Copy)]
pub(super) struct Constants<'a> {
    /// (groups * units, kH, kW, depth).
    pub(super) weights: &'a [i8],
    pub(super) bias: Option<&'a [i32]>,
    pub(super) multiplier: &'a [f32],
}

impl Constants<'_> {
    /// The value with which the sum of a unit starts: its bias, and what compensates for an input
    /// plus 128. Intermediate sums may wrap; the final sum fits i32.
    pub(super) fn start(&self, unit: usize, form: Form) -> i32 {
        let taps = self.weights.len() / self.multiplier.len().max(1);
        let offset = match form {
            Form::Offset => self.weights[unit * taps..][..taps]
                .iter()
                .map(|&w| i32::from(w) * 128)
                .fold(0, i32::wrapping_add),
            Form::Plain | Form::Wide => 0,
        };
        self.bias.map_or(0, |bias| bias[unit]).wrapping_sub(offset)
    }
}

impl Packed {
    /// `None` if there is no function for a tile.
    pub(super) fn new(
        shape: &ConvolutionShape,
        constants: Constants<'_>,
        tiling: Tiling,
    ) -> Option<Self> {
        let [down, across] = &shape.axes;
        let joined = across.dilation == 1 && shape.groups == 1;
        let runs = if joined {
            [1, across.kernel * shape.depth]
        } else {
            [across.kernel, shape.depth]
        };
        let mut weights = Vec::new();
        let mut this = Self {
            runs,
            weights: AlignedBytes::zeroed(0),
            bias: Vec::new(),
            multiplier: Vec::new(),
            tiles: Vec::new(),
            within_i32: within_i32(constants),
            pairs: !constants.weights.contains(&i8::MIN),
            spans: Vec::new(),
        };
        let mut known: Vec<(Width, Range<usize>)> = Vec::new();
        let widths = widths(shape, tiling);
        let rest = shape.units % tiling.lanes;
        for group in 0..shape.groups {
            let mut first = 0;
            for &width in &widths {
                let full = width.full;
                let stored = if width == Width::HALVES {
                    shape.units
                } else if width.rests() {
                    full * tiling.lanes + rest
                } else {
                    (full * tiling.lanes).min(shape.units - first)
                };
                let spans = match known.iter().find(|(key, _)| *key == width) {
                    Some((_, spans)) => spans.clone(),
                    None => {
                        let spans = this.add_spans(shape.output[1], tiling.set, width)?;
                        known.push((width, spans.clone()));
                        spans
                    }
                };
                let tile = ChannelTile {
                    input: group * shape.depth,
                    output: group * shape.units + first,
                    stored,
                    weights: weights.len(),
                    bias: this.bias.len(),
                    spans,
                };
                this.add_weights(&tile, constants, tiling, width, down.kernel, &mut weights);
                this.add_sums(&tile, constants, tiling, width);
                this.tiles.push(tile);
                first += stored;
            }
        }
        this.weights = AlignedBytes::holding(&weights);
        Some(this)
    }

    /// Divides the columns into spans for tiles of one width.
    fn add_spans(
        &mut self,
        columns: usize,
        instruction_set: Available,
        width: Width,
    ) -> Option<Range<usize>> {
        let first = self.spans.len();
        let count = columns.div_ceil(most_pixels(instruction_set, width));
        for index in 0..count {
            let start = columns * index / count;
            let pixels = columns * (index + 1) / count - start;
            self.spans.push(Span {
                start,
                pixels,
                function: function(instruction_set, pixels, width)?,
            });
        }
        Some(first..self.spans.len())
    }

    /// Appends a tile's weights to `packed`; those of padding lanes and taps are 0.
    fn add_weights(
        &self,
        tile: &ChannelTile,
        constants: Constants<'_>,
        tiling: Tiling,
        width: Width,
        rows: usize,
        packed: &mut Vec<i8>,
    ) {
        let [runs, run_taps] = self.runs;
        let taps = rows * runs * run_taps;
        let steps = run_taps.div_ceil(tiling.group);
        let whole = width.full * tiling.lanes;
        for run in 0..rows * runs {
            let tap = |channel: usize, step: usize, tap: usize| {
                let tap = step * tiling.group + tap;
                if channel < tile.stored && tap < run_taps {
                    constants.weights[(tile.output + channel) * taps + run * run_taps + tap]
                } else {
                    0
                }
            };
            for step in 0..steps {
                for channel in 0..whole {
                    packed.extend((0..tiling.group).map(|t| tap(channel, step, t)));
                }
                // The weights of the split vectors follow, for `split` steps at once.
                let behind = step % width.split + 1;
                if width.rests() && (behind == width.split || step + 1 == steps) {
                    let start = step + 1 - behind;
                    for lane in 0..width.splits * tiling.lanes {
                        let channel = whole + lane / width.split;
                        let step = start + lane % width.split;
                        packed.extend((0..tiling.group).map(|t| tap(channel, step, t)));
                    }
                }
            }
        }
    }

    /// Appends a tile's biases, with which the sums start, and its multipliers.
    fn add_sums(
        &mut self,
        tile: &ChannelTile,
        constants: Constants<'_>,
        tiling: Tiling,
        width: Width,
    ) {
        let whole = width.full * tiling.lanes;
        for lane in 0..width.vectors() * tiling.lanes {
            let behind = lane.saturating_sub(whole);
            let channel = lane - behind + behind / width.split;
            let first = behind % width.split == 0;
            self.bias.push(if channel < tile.stored && first {
                constants.start(tile.output + channel, tiling.form)
            } else {
                0
            });
            // `Sums::gather` moves the sums of split channels to the first lanes.
            self.multiplier.push(if lane < tile.stored {
                constants.multiplier[tile.output + lane]
            } else {
                0.0
            });
        }
        if width == Width::HALVES {
            let of = |channel| constants.multiplier.get(tile.output + channel).copied();
            self.multiplier
                .extend(in_pairs().map(|channel| of(channel).unwrap_or(0.0)));
            // Biases and multipliers of a tile start at the same index.
            self.bias.resize(self.multiplier.len(), 0);
        }
    }
}

/// The widths of the tiles of one group of channels.
fn widths(shape: &ConvolutionShape, tiling: Tiling) -> Vec<Width> {
    let rest = shape.units % tiling.lanes;
    let narrow = match shape.units / tiling.lanes {
        1 if shape.output[1] > 1 && (tiling.narrow / 2 + 1..=tiling.narrow).contains(&rest) => {
            return vec![Width::HALVES];
        }
        1 => tiling.narrow / 2,
        _ => tiling.narrow,
    };
    divide(shape.units, tiling.lanes, narrow, tiling.vectors)
        .into_iter()
        .map(|[full, narrow]| Width::new(full, rest * narrow))
        .collect()
}

/// The channel of each lane of three vectors. Each vector is the pairwise sum of two vectors
/// of [`Width::HALVES`]: each quarter has two lanes of the one and two of the other.
fn in_pairs() -> impl Iterator<Item = usize> {
    (0..3 * 16).map(|lane| {
        let (vector, quarter, place) = (lane / 16, lane % 16 / 4, lane % 4);
        let split = (2 * vector + place / 2) % 3;
        split * 8 + quarter * 2 + place % 2
    })
}

/// See [`Packed::within_i32`]; computed from the largest possible magnitude of each sum.
pub(super) fn within_i32(constants: Constants<'_>) -> bool {
    let units = constants.multiplier.len();
    let taps = constants.weights.len() / units.max(1);
    (0..units).all(|unit| {
        let weights = &constants.weights[unit * taps..][..taps];
        let bias = constants.bias.map_or(0.0, |bias| f64::from(bias[unit]));
        let most = weights
            .iter()
            .map(|&w| f64::from(w).abs() * 128.0)
            .sum::<f64>()
            + bias.abs();
        most * f64::from(constants.multiplier[unit]).abs() < f64::from(i32::MAX)
    })
}
