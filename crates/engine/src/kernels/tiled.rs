//! Float convolutions and fully connected layers, computed in tiles with packed weights.
#![allow(unsafe_code)]

use std::ops::Range;

use super::activation;
use super::convolution::ConvolutionShape;
use super::tile::{Arithmetic, Tile, TileFunction, Tiling, function, most_pixels};
use crate::plan::Activation;

/// Output channels that are computed together.
#[derive(Debug)]
struct ChannelTile {
    /// First input channel.
    input: usize,
    /// First output channel.
    output: usize,
    stored: usize,
    lanes: usize,
    /// Index of the first weight and of the first bias.
    weights: usize,
    bias: usize,
    /// The tile's spans of columns in [`TiledConvolution::spans`].
    spans: Range<usize>,
}

/// Output columns that are computed together; all use the same taps.
#[derive(Debug)]
struct Span {
    start: usize,
    pixels: usize,
    taps: Range<usize>,
    function: TileFunction,
}

/// A convolution that is packed for vectors.
///
/// Its work is a list of units, ordered by channel tile. A unit is one span of columns of
/// one row. Disjoint ranges of the list may run at the same time.
#[derive(Debug)]
pub(crate) struct TiledConvolution {
    shape: ConvolutionShape,
    /// For each tile (kH, kW, depth, lanes).
    weights: Vec<f32>,
    bias: Vec<f32>,
    tiles: Vec<ChannelTile>,
    spans: Vec<Span>,
    /// The number of units before each tile, and in total.
    units: Vec<usize>,
    low: f32,
    high: f32,
    /// Applied after the limits: what they cannot express.
    activation: Activation,
}

impl TiledConvolution {
    /// `weights` is (groups * units, kH, kW, depth). `None` if the instruction set has no
    /// tiles.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> Option<Self> {
        let tiling = Tiling::of(arithmetic, shape.output[1])?;
        let taps = shape.axes[0].kernel * shape.axes[1].kernel * shape.depth;
        let ([low, high], activation) = limits(activation, arithmetic);
        let mut this = Self {
            shape,
            weights: Vec::new(),
            bias: Vec::new(),
            tiles: Vec::new(),
            spans: Vec::new(),
            units: vec![0],
            low,
            high,
            activation,
        };
        let mut known: Vec<([usize; 2], Range<usize>)> = Vec::new();
        for group in 0..shape.groups {
            let mut first = 0;
            for [vectors, half] in divide(shape.units, tiling.lanes, tiling.half, tiling.vectors) {
                let lanes = vectors * tiling.lanes + half * tiling.half;
                let stored = lanes.min(shape.units - first);
                let output = group * shape.units + first;
                let spans = match known.iter().find(|(key, _)| *key == [vectors, half]) {
                    Some((_, spans)) => spans.clone(),
                    None => {
                        let spans = this.add_spans(arithmetic, vectors, half)?;
                        known.push(([vectors, half], spans.clone()));
                        spans
                    }
                };
                let rows = shape.batch * shape.output[0];
                let before = this.units.last().copied().unwrap_or(0);
                this.units.push(before + rows * spans.len());
                this.tiles.push(ChannelTile {
                    input: group * shape.depth,
                    output,
                    stored,
                    lanes,
                    weights: this.weights.len(),
                    bias: this.bias.len(),
                    spans,
                });
                for tap in 0..taps {
                    let packed = (output..output + stored).map(|unit| weights[unit * taps + tap]);
                    this.weights.extend(packed);
                    this.weights.extend((stored..lanes).map(|_| 0.0));
                }
                let packed = (output..output + stored).map(|unit| bias.map_or(0.0, |b| b[unit]));
                this.bias.extend(packed);
                this.bias.extend((stored..lanes).map(|_| 0.0));
                first += stored;
            }
        }
        Some(this)
    }

    /// Divides the columns into spans for tiles of one width.
    fn add_spans(
        &mut self,
        arithmetic: Arithmetic,
        vectors: usize,
        half: usize,
    ) -> Option<Range<usize>> {
        let most = most_pixels(arithmetic, vectors, half);
        let first = self.spans.len();
        let across = &self.shape.axes[1];
        let width = self.shape.output[1];
        let mut start = 0;
        while start < width {
            let taps = across.taps(start);
            let same = (start..width)
                .take_while(|&x| across.taps(x) == taps)
                .count();
            // Columns without taps have a span each.
            let same = if taps.is_empty() { 1 } else { same };
            let count = same.div_ceil(most);
            for index in 0..count {
                let from = start + same * index / count;
                let to = start + same * (index + 1) / count;
                self.spans.push(Span {
                    start: from,
                    pixels: to - from,
                    taps: taps.clone(),
                    function: function(arithmetic, to - from, vectors, half)?,
                });
            }
            start += same;
        }
        Some(first..self.spans.len())
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.units.last().copied().unwrap_or(0)
    }

    /// Computes a range of the units.
    ///
    /// # Safety
    /// - `input` and `output` have the sizes of the shape.
    /// - During the call nothing else reads the output, or writes the elements that these
    ///   units write.
    pub(crate) unsafe fn run(&self, input: &[f32], output: Output, units: Range<usize>) {
        let [height, width] = self.shape.output;
        let channels = self.shape.units * self.shape.groups;
        debug_assert_eq!(output.len, self.shape.batch * height * width * channels);
        let mut tile = self
            .units
            .partition_point(|&before| before <= units.start)
            .saturating_sub(1);
        let mut at = units.start;
        while at < units.end {
            let ChannelTile { ref spans, .. } = self.tiles[tile];
            let end = self.units[tile + 1].min(units.end);
            let before = at - self.units[tile];
            let (mut row, mut span) = (before / spans.len(), before % spans.len());
            while at < end {
                // SAFETY: `unit` has the contract of this function.
                unsafe { self.unit(input, output, tile, row, span) };
                span += 1;
                if span == spans.len() {
                    span = 0;
                    row += 1;
                }
                at += 1;
            }
            tile += 1;
        }
    }

    /// # Safety
    /// See [`run`](Self::run).
    unsafe fn unit(&self, input: &[f32], output: Output, tile: usize, row: usize, span: usize) {
        let tile = &self.tiles[tile];
        let span = &self.spans[tile.spans.start + span];
        let [down, across] = &self.shape.axes;
        let [height, width] = self.shape.output;
        let (depth, in_channels) = (self.shape.depth, self.shape.depth * self.shape.groups);
        let out_channels = self.shape.units * self.shape.groups;
        let (batch, y) = (row / height, row % height);
        let rows = down.taps(y);
        let empty = rows.is_empty() || span.taps.is_empty();
        let first = if empty {
            0
        } else {
            let place = (batch * down.size + down.position(y, rows.start)) * across.size
                + across.position(span.start, span.taps.start);
            place * in_channels + tile.input
        };
        let joined = across.dilation == 1 && self.shape.groups == 1;
        let (runs, run) = if joined {
            (1, span.taps.len() * depth)
        } else {
            (span.taps.len(), depth)
        };
        let tap = rows.start * across.kernel + span.taps.start;
        let weights = tile.weights + if empty { 0 } else { tap * depth * tile.lanes };
        let pixel = (batch * height + y) * width + span.start;
        let work = Tile {
            input: input.as_ptr().wrapping_add(first),
            pixel_stride: across.stride * in_channels,
            rows: if empty { 0 } else { rows.len() },
            row_stride: down.dilation * across.size * in_channels,
            runs,
            run_stride: across.dilation * in_channels,
            run,
            weights: self.weights.as_ptr().wrapping_add(weights),
            weights_stride: across.kernel * depth * tile.lanes,
            bias: self.bias[tile.bias..].as_ptr(),
            output: output
                .start
                .wrapping_add(pixel * out_channels + tile.output),
            output_stride: out_channels,
            stored: tile.stored,
            low: self.low,
            high: self.high,
        };
        if work.rows > 0 && run > 0 {
            let last = first
                + (span.pixels - 1) * work.pixel_stride
                + (work.rows - 1) * work.row_stride
                + (runs - 1) * work.run_stride
                + run;
            debug_assert!(last <= input.len());
            let last = weights + (work.rows - 1) * work.weights_stride + runs * run * tile.lanes;
            debug_assert!(last <= self.weights.len());
        }
        let last = (pixel + span.pixels - 1) * out_channels + tile.output + tile.stored;
        debug_assert!(last <= output.len);
        // SAFETY: the caller guarantees the instruction set. `WindowAxis::taps` gives only
        // taps inside the input, so that all input reads are in bounds; `new` packed weights
        // and biases for every tap and lane; the output has every pixel and channel of the
        // shape. The debug assertions above check these bounds.
        unsafe { (span.function)(&work) };
        if self.activation != Activation::None {
            for pixel in 0..span.pixels {
                let start = work.output.wrapping_add(pixel * out_channels);
                // SAFETY: the tile function has just written these elements, which belong to
                // this unit alone: the caller guarantees that nothing else accesses them.
                let stored = unsafe { std::slice::from_raw_parts_mut(start, tile.stored) };
                activation::apply(self.activation, stored);
            }
        }
    }
}

const UNLIMITED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// The limits of an activation function, and the function that remains after them.
pub(super) fn limits(activation: Activation, arithmetic: Arithmetic) -> ([f32; 2], Activation) {
    match activation {
        // Where a limit is 0, the vector clamp may give a zero of the other sign.
        _ if arithmetic.exact => (UNLIMITED, activation),
        Activation::Relu => ([0.0, f32::INFINITY], Activation::None),
        Activation::Clip { min, max } => {
            let [low, high] = UNLIMITED;
            ([min.unwrap_or(low), max.unwrap_or(high)], Activation::None)
        }
        other => (UNLIMITED, other),
    }
}

/// An output that several threads fill, each a disjoint part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(super) start: *mut f32,
    pub(super) len: usize,
}

impl Output {
    pub(crate) fn new(output: &mut [f32]) -> Self {
        Self {
            start: output.as_mut_ptr(),
            len: output.len(),
        }
    }
}

// SAFETY: the pointer is only written in `TiledConvolution::run` and `VectorDepthwise::run`, whose
// callers guarantee that no other thread accesses the same elements at the same time.
unsafe impl Send for Output {}
// SAFETY: as for `Send`.
unsafe impl Sync for Output {}

/// Divides `units` channels into tiles of at most `most` vectors. Returns the number of
/// full and of narrower vectors of each tile.
pub(super) fn divide(units: usize, lanes: usize, narrow: usize, most: usize) -> Vec<[usize; 2]> {
    let rest = units % lanes;
    let half = usize::from(rest > 0 && rest <= narrow);
    let vectors = if half == 1 {
        units / lanes + 1
    } else {
        units.div_ceil(lanes)
    };
    let count = vectors.div_ceil(most);
    (0..count)
        .map(|index| {
            let from = vectors * index / count;
            let to = vectors * (index + 1) / count;
            let half = if index + 1 == count { half } else { 0 };
            [to - from - half, half]
        })
        .collect()
}
