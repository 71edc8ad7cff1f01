//! Convolution and fully connected layers on 8-bit integers by tiles, their
//! weights packed for the machine. The same bits as the plain loops of
//! [`quantized`](super::quantized) give.
//!
//! The input is first staged (see [`Stage`]), so that every window is whole.
//! Instructions that multiply u8 by i8 read levels plus 128; the bias takes
//! 128 times the sum of the weights off again, padding included.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
mod stage;
pub(crate) mod tile;
#[cfg(target_arch = "x86_64")]
mod vnni512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::ops::Range;

use self::stage::{Form, Stage};
use self::tile::{Tile, TileFunction};
use super::activation;
use super::convolution::ConvolutionShape;
use super::quantized::Ending;
use super::tiled::divide;
use crate::cpu::{AlignedBytes, InstructionSet};
use crate::plan::Activation;

/// How an instruction set tiles.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    form: Form,
    /// Taps of a lane that are multiplied at once.
    group: usize,
    lanes: usize,
    /// Most vectors of channels.
    vectors: usize,
    /// Most channels that are split over the lanes of a last vector; see [`Width`].
    narrow: usize,
}

impl Tiling {
    /// For rows of so many output pixels. `None` for plain loops.
    fn of(instruction_set: InstructionSet, pixels: usize) -> Option<Self> {
        // A single pixel is bound by reading weights: many sums under way.
        let vectors = |usual| if pixels == 1 { 8 } else { usual };
        match instruction_set {
            InstructionSet::Avx512Vnni => Some(Self {
                form: Form::Offset,
                group: 4,
                lanes: 16,
                vectors: vectors(4),
                narrow: 8,
            }),
            InstructionSet::AvxVnni => Some(Self {
                form: Form::Offset,
                group: 4,
                lanes: 8,
                vectors: vectors(2),
                narrow: 0,
            }),
            InstructionSet::Avx512 | InstructionSet::Avx2 => Some(Self {
                form: Form::Wide,
                group: 2,
                lanes: 8,
                vectors: vectors(2),
                narrow: 0,
            }),
            InstructionSet::NeonDotprod => Some(Self {
                form: Form::Plain,
                group: 4,
                lanes: 4,
                vectors: vectors(4),
                narrow: 0,
            }),
            InstructionSet::Neon => Some(Self {
                form: Form::Plain,
                group: 2,
                lanes: 4,
                vectors: vectors(4),
                narrow: 0,
            }),
            InstructionSet::Scalar => None,
        }
    }
}

/// Vectors of channels of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Vectors whose lanes are each a channel.
    pub(super) full: usize,
    /// Above 1: there is one more vector, each channel of which has so many lanes,
    /// for as many groups of taps. 24 channels then cost 1.5 vectors of 16, not 2.
    pub(super) split: usize,
}

impl Width {
    fn new(full: usize, rest: usize) -> Self {
        let split = match rest {
            0 => 1,
            1..=4 => 4,
            _ => 2,
        };
        Self { full, split }
    }

    fn rests(self) -> bool {
        self.split > 1
    }

    fn vectors(self) -> usize {
        self.full + usize::from(self.rests())
    }
}

/// The function for a shape of tile. All counts of pixels from 1 to
/// [`most_pixels`] have one.
fn function(instruction_set: InstructionSet, pixels: usize, width: Width) -> Option<TileFunction> {
    #[cfg(target_arch = "x86_64")]
    return x86::function(instruction_set, pixels, width);
    #[cfg(target_arch = "aarch64")]
    return arm::function(instruction_set, pixels, width.vectors());
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (instruction_set, pixels, width);
        None
    }
}

/// The most pixels of a tile so wide.
fn most_pixels(instruction_set: InstructionSet, width: Width) -> usize {
    (1..=12)
        .rev()
        .find(|&pixels| function(instruction_set, pixels, width).is_some())
        .unwrap_or(1)
}

/// Output channels that are computed together.
#[derive(Debug)]
struct ChannelTile {
    /// First input channel.
    input: usize,
    /// First output channel.
    output: usize,
    stored: usize,
    /// First weight, and first bias and multiplier.
    weights: usize,
    bias: usize,
    /// Which of [`TiledLayer::spans`] tile the columns.
    spans: Range<usize>,
}

/// Output columns that are computed together.
#[derive(Debug)]
struct Span {
    start: usize,
    pixels: usize,
    function: TileFunction,
}

/// An INT8 layer ready to run on a machine with vectors.
///
/// Its work is a list of units, tile by tile of channels, each a row's span of
/// columns; any division of the list may run at the same time.
#[derive(Debug)]
pub(crate) struct TiledLayer {
    shape: ConvolutionShape,
    stage: Stage,
    tiling: Tiling,
    /// Runs in a kernel's row, and elements of each.
    runs: [usize; 2],
    /// For each tile (kH, runs, steps, lanes, group).
    weights: AlignedBytes,
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    tiles: Vec<ChannelTile>,
    spans: Vec<Span>,
    /// Units before each tile, and all.
    units: Vec<usize>,
    ending: Ending,
}

/// How a layer's input is staged, where it is tiled at all.
fn stage(shape: &ConvolutionShape, instruction_set: InstructionSet) -> Option<(Tiling, Stage)> {
    let tiling = Tiling::of(instruction_set, shape.output[1])?;
    let empty = shape.batch * shape.output[0] * shape.output[1] * shape.units * shape.groups == 0;
    if empty {
        return None;
    }
    Some((tiling, Stage::new(shape, tiling.form)?))
}

/// Bytes of scratch memory that [`TiledLayer::run`] needs; 0 where it is not used.
pub(crate) fn scratch(shape: &ConvolutionShape, instruction_set: InstructionSet) -> usize {
    stage(shape, instruction_set).map_or(0, |(_, stage)| stage.bytes())
}

impl TiledLayer {
    /// `weights` is (groups * units, kH, kW, depth). `None`, and the ending
    /// back, where plain loops have to do it.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        bias: Option<&[i32]>,
        multiplier: &[f32],
        ending: Ending,
        instruction_set: InstructionSet,
    ) -> Result<Self, Ending> {
        let Some((tiling, stage)) = stage(&shape, instruction_set) else {
            return Err(ending);
        };
        let [down, across] = &shape.axes;
        let joined = across.dilation == 1 && shape.groups == 1;
        let runs = if joined {
            [1, across.kernel * shape.depth]
        } else {
            [across.kernel, shape.depth]
        };
        let taps = down.kernel * across.kernel * shape.depth;
        let mut packed = Vec::new();
        let mut this = Self {
            shape,
            stage,
            tiling,
            runs,
            weights: AlignedBytes::zeroed(0),
            bias: Vec::new(),
            multiplier: Vec::new(),
            tiles: Vec::new(),
            spans: Vec::new(),
            units: vec![0],
            ending,
        };
        let mut known: Vec<(Width, Range<usize>)> = Vec::new();
        for group in 0..shape.groups {
            let mut first = 0;
            let rest = shape.units % tiling.lanes;
            // Beside a single full vector, halves load as often as they multiply: no gain.
            let narrow = match shape.units / tiling.lanes {
                1 => tiling.narrow / 2,
                _ => tiling.narrow,
            };
            for [full, narrow] in divide(shape.units, tiling.lanes, narrow, tiling.vectors) {
                let width = Width::new(full, rest * narrow);
                let lanes = width.vectors() * tiling.lanes;
                let stored = if width.rests() {
                    full * tiling.lanes + rest
                } else {
                    lanes.min(shape.units - first)
                };
                let output = group * shape.units + first;
                let spans = match known.iter().find(|(key, _)| *key == width) {
                    Some((_, spans)) => spans.clone(),
                    None => {
                        let Some(spans) = this.add_spans(instruction_set, width) else {
                            return Err(this.ending);
                        };
                        known.push((width, spans.clone()));
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
                    weights: packed.len(),
                    bias: this.bias.len(),
                    spans,
                });
                for run in 0..down.kernel * runs[0] {
                    let tap = |channel: usize, step: usize, tap: usize| {
                        let tap = step * tiling.group + tap;
                        if channel < stored && tap < runs[1] {
                            weights[(output + channel) * taps + run * runs[1] + tap]
                        } else {
                            0
                        }
                    };
                    let steps = runs[1].div_ceil(tiling.group);
                    let whole = full * tiling.lanes;
                    for step in 0..steps {
                        for channel in 0..whole {
                            packed.extend((0..tiling.group).map(|t| tap(channel, step, t)));
                        }
                        // The last vector's, for as many steps at once, follow these.
                        let behind = step % width.split + 1;
                        if width.rests() && (behind == width.split || step + 1 == steps) {
                            let start = step + 1 - behind;
                            for lane in 0..tiling.lanes {
                                let channel = whole + lane / width.split;
                                let step = start + lane % width.split;
                                packed.extend((0..tiling.group).map(|t| tap(channel, step, t)));
                            }
                        }
                    }
                }
                let bias = |unit: usize| {
                    let offset = match tiling.form {
                        Form::Offset => weights[unit * taps..][..taps]
                            .iter()
                            .map(|&w| i32::from(w) * 128)
                            .fold(0, i32::wrapping_add),
                        Form::Plain | Form::Wide => 0,
                    };
                    // Sums wrap; the last, which is the true one, fits.
                    bias.map_or(0, |bias| bias[unit]).wrapping_sub(offset)
                };
                for lane in 0..lanes {
                    let behind = lane.saturating_sub(full * tiling.lanes);
                    let channel = lane - behind + behind / width.split;
                    let first = behind % width.split == 0;
                    this.bias.push(if channel < stored && first {
                        bias(output + channel)
                    } else {
                        0
                    });
                    // Sums of a split channel's lanes come first.
                    this.multiplier.push(if lane < stored {
                        multiplier[output + lane]
                    } else {
                        0.0
                    });
                }
                first += stored;
            }
        }
        this.weights = AlignedBytes::holding(&packed);
        Ok(this)
    }

    /// Divides the columns for tiles of one width.
    fn add_spans(&mut self, instruction_set: InstructionSet, width: Width) -> Option<Range<usize>> {
        let first = self.spans.len();
        let columns = self.shape.output[1];
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

    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Stages the input for [`run`](Self::run); `staged` has the bytes that
    /// [`scratch`] gave.
    ///
    /// # Safety
    /// The machine has the instruction set.
    pub(crate) unsafe fn stage(&self, input: &[i8], staged: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 instruction set with tiles has AVX2.
        unsafe {
            x86::fill(&self.stage, input, staged);
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.stage.fill(input, staged);
    }

    /// How much there is to divide.
    pub(crate) fn units(&self) -> usize {
        self.units.last().copied().unwrap_or(0)
    }

    /// Computes some of the units. `scale` is the input's, for an ending that
    /// has it at run time.
    ///
    /// # Safety
    /// The machine has the instruction set, `staged` is what [`stage`](Self::stage)
    /// made, `output` has the sizes and type of the layer's, and nothing else
    /// reads it, or writes what these units write, meanwhile.
    pub(crate) unsafe fn run(
        &self,
        staged: &[u8],
        output: Target,
        scale: f32,
        units: Range<usize>,
    ) {
        let mut tile = self
            .units
            .partition_point(|&before| before <= units.start)
            .saturating_sub(1);
        let mut at = units.start;
        while at < units.end {
            let spans = self.tiles[tile].spans.len();
            let end = self.units[tile + 1].min(units.end);
            for unit in at..end {
                let place = unit - self.units[tile];
                let (row, span) = (place / spans, place % spans);
                // SAFETY: as for this function.
                unsafe { self.unit(staged, output, scale, tile, row, span) };
            }
            at = end;
            tile += 1;
        }
    }

    /// # Safety
    /// See [`run`](Self::run).
    unsafe fn unit(
        &self,
        staged: &[u8],
        output: Target,
        scale: f32,
        tile: usize,
        row: usize,
        span: usize,
    ) {
        let tile = &self.tiles[tile];
        let span = &self.spans[tile.spans.start + span];
        let [down, across] = &self.shape.axes;
        let [height, width] = self.shape.output;
        let channels = self.stage.channels;
        let out_channels = self.shape.units * self.shape.groups;
        let (batch, y) = (row / height, row % height);
        let [staged_height, staged_width] = self.stage.size;
        let place =
            (batch * staged_height + y * down.stride) * staged_width + span.start * across.stride;
        let bytes = self.tiling.form.bytes();
        let first = (place * channels + tile.input) * bytes;
        let (limits, size) = match self.ending {
            Ending::Int8 { low, high } => (Some([f32::from(low), f32::from(high)]), 1),
            Ending::Float { .. } | Ending::Dynamic { .. } => (None, 4),
        };
        let [runs, run] = self.runs;
        let pixel = (batch * height + y) * width + span.start;
        let start = (pixel * out_channels + tile.output) * size;
        let work = Tile {
            input: staged.as_ptr().wrapping_add(first),
            pixel_stride: across.stride * channels * bytes,
            rows: down.kernel,
            row_stride: down.dilation * staged_width * channels * bytes,
            runs,
            run_stride: across.dilation * channels * bytes,
            steps: run.div_ceil(self.tiling.group),
            weights: self.weights.as_ptr().wrapping_add(tile.weights).cast(),
            bias: self.bias[tile.bias..].as_ptr(),
            multiplier: self.multiplier[tile.bias..].as_ptr(),
            output: output.start.wrapping_add(start),
            output_stride: out_channels * size,
            stored: tile.stored,
            limits,
        };
        if run > 0 && down.kernel > 0 && runs > 0 {
            let last = first
                + (span.pixels - 1) * work.pixel_stride
                + (work.rows - 1) * work.row_stride
                + (runs - 1) * work.run_stride
                + work.steps * self.tiling.group * bytes;
            debug_assert!(last <= staged.len());
        }
        let last = start + (span.pixels - 1) * work.output_stride + tile.stored * size;
        debug_assert!(last <= output.bytes);
        // SAFETY: the stage holds every window and the slack behind the last, the
        // weights were packed for every tap and lane, and the output has every
        // pixel and channel.
        unsafe { (span.function)(&work) };
        if limits.is_some() {
            return;
        }
        for pixel in 0..span.pixels {
            let start = work.output.wrapping_add(pixel * work.output_stride);
            // SAFETY: just written, and no one else's; any bits are an f32.
            let sums = unsafe { std::slice::from_raw_parts_mut(start.cast(), tile.stored) };
            self.finish(tile, scale, sums);
        }
    }

    /// Makes floats of a pixel's sums, which lie where the floats will.
    fn finish(&self, tile: &ChannelTile, scale: f32, sums: &mut [f32]) {
        let multiplier = &self.multiplier[tile.bias..][..sums.len()];
        let whole = |x: f32| x.to_bits().cast_signed() as f32;
        let curve = match &self.ending {
            Ending::Dynamic { bias, curve } => {
                let bias = &bias[tile.output..][..sums.len()];
                for ((x, &m), &bias) in sums.iter_mut().zip(multiplier).zip(bias) {
                    let product = whole(*x) * (scale * m);
                    *x = product + bias;
                }
                *curve
            }
            Ending::Float { curve } => {
                for (x, &m) in sums.iter_mut().zip(multiplier) {
                    *x = whole(*x) * m;
                }
                *curve
            }
            Ending::Int8 { .. } => Activation::None,
        };
        activation::apply(curve, sums);
    }
}

/// An output that several threads fill, each its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    start: *mut u8,
    bytes: usize,
}

impl Target {
    pub(crate) fn new<T>(output: &mut [T]) -> Self {
        Self {
            start: output.as_mut_ptr().cast(),
            bytes: size_of_val(output),
        }
    }
}

// SAFETY: whoever writes through it promises to write apart from all others.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}
