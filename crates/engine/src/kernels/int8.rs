//! Convolution and fully connected layers on 8-bit integers by tiles, their
//! weights packed for the machine. The same bits as the plain loops of
//! [`quantized`](super::quantized) give.
//!
//! The input is first staged (see [`Stage`]), so that every window is whole, or
//! read where it lies, see [`TiledLayer::hold`]. Instructions that multiply u8 by
//! i8 read levels plus 128; the bias takes 128 times the sum of the weights off
//! again, padding included.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "aarch64")]
pub(crate) mod i8mm;
mod packing;
mod stage;
pub(crate) mod tile;
mod tiling;
#[cfg(target_arch = "x86_64")]
mod vnni512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::ops::Range;

use self::packing::{ChannelTile, Constants, Packed};
use self::stage::Stage;
pub(crate) use self::stage::{Form, SLACK};
use self::tile::{Levels, Tile};
use self::tiling::Tiling;
use super::activation;
use super::convolution::ConvolutionShape;
use super::quantized::Ending;
use crate::cpu::InstructionSet;
use crate::plan::Activation;

/// Places of a tile from which on the layer is divided by place, not by tile.
const MANY_PLACES: usize = 32;

/// An INT8 layer ready to run on a machine with vectors.
///
/// A tile's places are its spans of columns, row by row. The layer's work is a list
/// of units, any division of which may run at the same time. Where a tile has many
/// places a unit is a share of the places of all tiles, so that who did a part of
/// this layer's input does the same part of its output; otherwise it is a place of a
/// tile, tile by tile.
#[derive(Debug)]
pub(crate) struct TiledLayer {
    shape: ConvolutionShape,
    stage: Stage,
    tiling: Tiling,
    packed: Packed,
    by_place: bool,
    units: usize,
    /// Places before each tile, and all.
    before: Vec<usize>,
    ending: Ending,
    /// Whether levels are stored plus 128.
    offset: bool,
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
        let constants = Constants {
            weights,
            bias,
            multiplier,
        };
        let tiled = || {
            let tiling = Tiling::of(instruction_set, shape.output[1])?;
            let sizes = [shape.output[0], shape.output[1], shape.units, shape.groups];
            if shape.batch * sizes.iter().product::<usize>() == 0 {
                return None;
            }
            let stage = Stage::new(&shape, tiling.form)?;
            let packed = Packed::new(&shape, constants, tiling)?;
            Some((tiling, stage, packed))
        };
        let Some((tiling, stage, packed)) = tiled() else {
            return Err(ending);
        };
        let rows = shape.batch * shape.output[0];
        let places = |tile: &ChannelTile| rows * tile.spans.len();
        let by_place = packed.tiles.iter().all(|tile| places(tile) >= MANY_PLACES);
        let mut before = vec![0];
        for tile in &packed.tiles {
            before.push(before.last().copied().unwrap_or(0) + places(tile));
        }
        let units = if by_place {
            packed.tiles.iter().map(places).max()
        } else {
            before.last().copied()
        };
        Ok(Self {
            shape,
            stage,
            tiling,
            packed,
            by_place,
            units: units.unwrap_or(0),
            before,
            ending,
            offset: false,
        })
    }

    /// Has the input in this form, plain or the one in which tiles read it, and
    /// [`SLACK`] bytes behind it that may be read. True where the layer then reads the
    /// input itself, those bytes among it.
    pub(crate) fn hold(&mut self, form: Form) -> bool {
        self.stage.hold(form)
    }

    /// Stores levels as tiles read them, unless that is wide. Returns the form.
    pub(crate) fn store_as_read(&mut self) -> Form {
        self.offset = self.tiling.form == Form::Offset;
        match self.offset {
            true => Form::Offset,
            false => Form::Plain,
        }
    }

    /// Bytes of scratch memory that [`stage`](Self::stage) fills; 0 where the input
    /// itself is read.
    pub(crate) fn scratch(&self) -> usize {
        self.stage.bytes()
    }

    /// Whether the input itself is read.
    pub(crate) fn in_place(&self) -> bool {
        self.stage.in_place()
    }

    /// Rows to [`stage`](Self::stage), any of them at the same time.
    pub(crate) fn stage_rows(&self) -> usize {
        self.stage.rows()
    }

    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Stages some rows of the input for [`run`](Self::run); `staged` has the bytes
    /// that [`scratch`](Self::scratch) gives.
    ///
    /// # Safety
    /// The machine has the instruction set, and nothing else reads or writes these
    /// rows of `staged` meanwhile.
    pub(crate) unsafe fn stage(&self, input: &[i8], staged: Target, rows: Range<usize>) {
        // SAFETY: every x86-64 instruction set with tiles has AVX2; the rest is the
        // caller's word.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            x86::fill(&self.stage, input, staged, rows);
            #[cfg(not(target_arch = "x86_64"))]
            self.stage.fill(input, staged, rows);
        }
    }

    /// How much there is to divide.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// Computes some of the units. `scale` is the input's, for an ending that
    /// has it at run time.
    ///
    /// # Safety
    /// The machine has the instruction set, `staged` is what [`stage`](Self::stage)
    /// made, or the input and the bytes behind it, `output` has the sizes and type of
    /// the layer's, and nothing else reads it, or writes what these units write,
    /// meanwhile.
    pub(crate) unsafe fn run(
        &self,
        staged: &[u8],
        output: Target,
        scale: f32,
        units: Range<usize>,
    ) {
        for (index, tile) in self.packed.tiles.iter().enumerate() {
            let [before, end] = [self.before[index], self.before[index + 1]];
            let places = if self.by_place {
                let share = |unit| (end - before) * unit / self.units;
                share(units.start)..share(units.end)
            } else {
                let place = |unit: usize| unit.clamp(before, end) - before;
                place(units.start)..place(units.end)
            };
            let spans = tile.spans.len();
            for place in places {
                // SAFETY: as for this function.
                unsafe { self.unit(staged, output, scale, tile, [place / spans, place % spans]) };
            }
        }
    }

    /// # Safety
    /// See [`run`](Self::run).
    unsafe fn unit(
        &self,
        staged: &[u8],
        output: Target,
        scale: f32,
        tile: &ChannelTile,
        [row, span]: [usize; 2],
    ) {
        let span = &self.packed.spans[tile.spans.start + span];
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
        let (levels, size) = match self.ending {
            Ending::Int8 { low, high } => {
                let limits = [f32::from(low), f32::from(high)];
                let offset = self.offset;
                (Some(Levels { limits, offset }), 1)
            }
            Ending::Float { .. } | Ending::Dynamic { .. } => (None, 4),
        };
        let [runs, run] = self.packed.runs;
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
            weights: self
                .packed
                .weights
                .as_ptr()
                .wrapping_add(tile.weights)
                .cast(),
            bias: self.packed.bias[tile.bias..].as_ptr(),
            multiplier: self.packed.multiplier[tile.bias..].as_ptr(),
            output: output.start.wrapping_add(start),
            output_stride: out_channels * size,
            stored: tile.stored,
            dense: tile.stored == out_channels && self.packed.within_i32,
            levels,
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
        if levels.is_some() {
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
        let multiplier = &self.packed.multiplier[tile.bias..][..sums.len()];
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

    /// Some of its bytes.
    ///
    /// # Safety
    /// Nothing else reads or writes these bytes while the slice is alive.
    #[inline(always)]
    unsafe fn part<'a>(self, first: usize, bytes: usize) -> &'a mut [u8] {
        assert!(first <= self.bytes && bytes <= self.bytes - first);
        // SAFETY: inside what the target was made of; the caller rules out aliasing.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), bytes) }
    }
}

// SAFETY: whoever writes through it promises to write apart from all others.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}
