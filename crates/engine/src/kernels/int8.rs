//! INT8 convolutions and fully connected layers, computed in tiles with packed weights.
//! The results have the same bits as those of the plain loops in
//! [`quantized`](super::quantized).
//!
//! The input is first copied with its padding (see [`PackedInput`]), so that every window is
//! complete, or read in place, see [`TiledLayer::hold`]. Instructions that multiply u8 by
//! i8 read quantized values plus 128. The bias compensates for it: 128 times the sum of
//! the weights, including those of the padding, is subtracted from it.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
mod depthwise;
#[cfg(target_arch = "aarch64")]
mod dotprod;
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod halves;
#[cfg(target_arch = "aarch64")]
pub(crate) mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed_input;
mod packing;
mod rows;
mod storage;
pub(crate) mod tile;
mod tiling;
#[cfg(target_arch = "x86_64")]
mod vnni512;
mod width;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::ops::Range;

pub(crate) use self::depthwise::DepthwiseLayer;
use self::packed_input::PackedInput;
pub(crate) use self::packed_input::{Form, SLACK};
use self::packing::{ChannelTile, Constants, Packed};
use self::rows::{Rows, UNIT};
pub(crate) use self::storage::Stored;
pub use self::storage::WeightStorage;
use self::tile::{Levels, Tile};
use self::tiling::Tiling;
use super::convolution::ConvolutionShape;
use super::quantized::EpilogueKernel;
use crate::instruction_set::Available;

/// Minimum number of places of each tile for a layer to be divided by place.
const MANY_PLACES: usize = 32;

/// An INT8 layer that is packed for vectors. Its work is a list of units; disjoint ranges of it
/// may run at the same time.
#[derive(Debug)]
pub(crate) struct TiledLayer {
    shape: ConvolutionShape,
    stage: PackedInput,
    tiling: Tiling,
    body: Body,
    epilogue: EpilogueKernel,
    /// Whether outputs are stored plus 128.
    offset: bool,
}

/// The packed weights of a layer.
#[derive(Debug)]
enum Body {
    Tiles(Tiles),
    /// Compressed weights of a fully connected layer; a unit is [`UNIT`] rows.
    Rows(Rows),
}

/// A layer's tiles and their division into units.
///
/// A tile's places are its spans of columns, row by row. If each tile has many places, a
/// unit is a share of the places of all tiles: a thread then computes the part of the
/// output that corresponds to the part of the input it has computed. Otherwise a unit is
/// one place of one tile, ordered by tile.
#[derive(Debug)]
struct Tiles {
    packed: Packed,
    by_place: bool,
    units: usize,
    /// The number of places before each tile, and in total.
    before: Vec<usize>,
}

impl Tiles {
    fn new(packed: Packed, rows: usize) -> Self {
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
        Self {
            packed,
            by_place,
            units: units.unwrap_or(0),
            before,
        }
    }

    /// The places of a tile that belong to a range of units.
    fn places(&self, index: usize, units: &Range<usize>) -> Range<usize> {
        let [before, end] = [self.before[index], self.before[index + 1]];
        if self.by_place {
            let share = |unit| (end - before) * unit / self.units;
            share(units.start)..share(units.end)
        } else {
            let place = |unit: usize| unit.clamp(before, end) - before;
            place(units.start)..place(units.end)
        }
    }
}

impl TiledLayer {
    /// `weights` is (groups * units, kH, kW, depth). Returns the epilogue as the error if
    /// the layer has to run as plain loops.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        bias: Option<&[i32]>,
        multiplier: &[f32],
        epilogue: EpilogueKernel,
        instruction_set: Available,
        storage: WeightStorage,
    ) -> Result<Self, EpilogueKernel> {
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
            let stage = PackedInput::new(&shape, tiling.form)?;
            let body = match Rows::new(&shape, constants, tiling, storage) {
                Some(rows) => Body::Rows(rows),
                None => {
                    let packed = Packed::new(&shape, constants, tiling)?;
                    Body::Tiles(Tiles::new(packed, shape.batch * shape.output[0]))
                }
            };
            Some((tiling, stage, body))
        };
        let Some((tiling, stage, body)) = tiled() else {
            return Err(epilogue);
        };
        Ok(Self {
            shape,
            stage,
            tiling,
            body,
            epilogue,
            offset: false,
        })
    }

    /// How the weights are stored, and their bytes.
    pub(crate) fn stored(&self) -> (Stored, usize) {
        match &self.body {
            Body::Tiles(tiles) => (Stored::Dense, tiles.packed.weights.len()),
            Body::Rows(rows) => (rows.stored, rows.bytes()),
        }
    }

    /// Sets the storage format of the input: plain or the one that the tiles read. Returns
    /// true if the layer then reads the input in place, and [`SLACK`] bytes behind it.
    pub(crate) fn hold(&mut self, form: Form) -> bool {
        self.stage.hold(form)
    }

    /// Stores outputs in the format that tiles read, unless that is [`Form::Wide`]. Returns
    /// the format.
    pub(crate) fn store_as_read(&mut self) -> Form {
        self.offset = self.tiling.form == Form::Offset;
        match self.offset {
            true => Form::Offset,
            false => Form::Plain,
        }
    }

    /// Bytes of scratch memory that [`stage`](Self::stage) fills; 0 if the input is read in
    /// place.
    pub(crate) fn scratch(&self) -> usize {
        self.stage.bytes()
    }

    /// Whether the input is read in place.
    pub(crate) fn in_place(&self) -> bool {
        self.stage.in_place()
    }

    /// Number of rows to [`stage`](Self::stage); different rows may be staged at the same
    /// time.
    pub(crate) fn stage_rows(&self) -> usize {
        self.stage.rows()
    }

    pub(crate) fn ending(&self) -> &EpilogueKernel {
        &self.epilogue
    }

    /// Copies some rows of the input to `packed` for [`run`](Self::run). `packed` has
    /// [`scratch`](Self::scratch) bytes.
    ///
    /// # Safety
    /// - During the call nothing else reads or writes these rows of `packed`.
    pub(crate) unsafe fn stage(&self, input: &[i8], packed: Target, rows: Range<usize>) {
        // SAFETY: the tiles were chosen for an instruction set that the machine has, and on x86-64
        // each one with tiles includes AVX2. `PackedInput::fill` and `x86::fill` have the same contract for the
        // rows as this function.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            x86::fill(&self.stage, input, packed, rows);
            #[cfg(not(target_arch = "x86_64"))]
            self.stage.fill(input, packed, rows);
        }
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        match &self.body {
            Body::Tiles(tiles) => tiles.units,
            Body::Rows(rows) => rows.units(),
        }
    }

    /// Computes a range of the units. `scale` is the input's scale; only a dynamic epilogue
    /// uses it.
    ///
    /// # Safety
    /// - `packed` is filled by [`stage`](Self::stage), or is the input and [`SLACK`] bytes
    ///   behind it if the layer reads it in place.
    /// - `output` has the sizes and the type of the layer's output.
    /// - During the call nothing else reads the output, or writes the elements that these
    ///   units write.
    pub(crate) unsafe fn run(
        &self,
        packed: &[u8],
        output: Target,
        scale: f32,
        units: Range<usize>,
    ) {
        let tiles = match &self.body {
            Body::Tiles(tiles) => tiles,
            Body::Rows(rows) => {
                for unit in units {
                    // SAFETY: `rows` has the contract of this function.
                    unsafe { self.rows(rows, packed, output, scale, unit) };
                }
                return;
            }
        };
        for (index, tile) in tiles.packed.tiles.iter().enumerate() {
            let spans = tile.spans.len();
            for place in tiles.places(index, &units) {
                let place = [place / spans, place % spans];
                // SAFETY: `unit` has the contract of this function.
                unsafe { self.unit(&tiles.packed, packed, output, scale, tile, place) };
            }
        }
    }

    /// Computes a unit of compressed rows.
    ///
    /// # Safety
    /// See [`run`](Self::run).
    unsafe fn rows(&self, rows: &Rows, packed: &[u8], output: Target, scale: f32, unit: usize) {
        let (levels, size) = self.levels();
        let first = unit * UNIT;
        let stored = UNIT.min(self.shape.units - first);
        debug_assert!((first + stored) * size <= output.bytes);
        let to = output.start.wrapping_add(first * size);
        // SAFETY: the caller guarantees the packed input, which has all taps of the only pixel,
        // and the output, of which these rows belong to this unit alone.
        unsafe { rows.run(packed, to, (unit, stored), levels) };
        if levels.is_none() {
            // SAFETY: as in `unit`: these 4-byte sums have just been written, belong to this
            // unit alone, and are aligned for f32.
            let sums = unsafe { std::slice::from_raw_parts_mut(to.cast(), stored) };
            self.epilogue
                .finish(&rows.multiplier[first..], first, scale, sums);
        }
    }

    /// How sums are quantized, and the bytes of an output.
    fn levels(&self) -> (Option<Levels>, usize) {
        match self.epilogue {
            EpilogueKernel::Int8 { low, high } => {
                let limits = [f32::from(low), f32::from(high)];
                let offset = self.offset;
                (Some(Levels { limits, offset }), 1)
            }
            EpilogueKernel::Float { .. } | EpilogueKernel::Dynamic { .. } => (None, 4),
        }
    }

    /// # Safety
    /// See [`run`](Self::run).
    unsafe fn unit(
        &self,
        weights: &Packed,
        packed: &[u8],
        output: Target,
        scale: f32,
        tile: &ChannelTile,
        [row, span]: [usize; 2],
    ) {
        let span = &weights.spans[tile.spans.start + span];
        let [down, across] = &self.shape.axes;
        let [height, width] = self.shape.output;
        let channels = self.stage.channels;
        let out_channels = self.shape.units * self.shape.groups;
        let (batch, y) = (row / height, row % height);
        let [packed_height, packed_width] = self.stage.size;
        let place =
            (batch * packed_height + y * down.stride) * packed_width + span.start * across.stride;
        let bytes = self.tiling.form.bytes();
        let first = (place * channels + tile.input) * bytes;
        let (levels, size) = self.levels();
        let [runs, run] = weights.runs;
        let pixel = (batch * height + y) * width + span.start;
        let start = (pixel * out_channels + tile.output) * size;
        let work = Tile {
            input: packed.as_ptr().wrapping_add(first),
            pixel_stride: across.stride * channels * bytes,
            rows: down.kernel,
            row_stride: down.dilation * packed_width * channels * bytes,
            runs,
            run_stride: across.dilation * channels * bytes,
            steps: run.div_ceil(self.tiling.group),
            weights: weights.weights.as_ptr().wrapping_add(tile.weights).cast(),
            bias: weights.bias[tile.bias..].as_ptr(),
            multiplier: weights.multiplier[tile.bias..].as_ptr(),
            output: output.start.wrapping_add(start),
            output_stride: out_channels * size,
            stored: tile.stored,
            dense: tile.stored == out_channels && weights.within_i32,
            pairs: weights.pairs,
            levels,
        };
        if run > 0 && down.kernel > 0 && runs > 0 {
            let last = first
                + (span.pixels - 1) * work.pixel_stride
                + (work.rows - 1) * work.row_stride
                + (runs - 1) * work.run_stride
                + work.steps * self.tiling.group * bytes;
            debug_assert!(last <= packed.len());
        }
        let last = start + (span.pixels - 1) * work.output_stride + tile.stored * size;
        debug_assert!(last <= output.bytes);
        // SAFETY: the caller guarantees the instruction set. `packed` contains every window
        // and the slack behind the last (`PackedInput::new` and `hold` determine its size); `new`
        // packed weights, biases and multipliers for every tap and lane; the output has every
        // pixel and channel of the shape. The debug assertions above check these bounds.
        unsafe { (span.function)(&work) };
        if levels.is_some() {
            return;
        }
        for pixel in 0..span.pixels {
            let start = work.output.wrapping_add(pixel * work.output_stride);
            // SAFETY: the tile function has just written these 4-byte sums, which belong to
            // this unit alone: the caller guarantees that nothing else accesses them. The
            // output is aligned for f32, its element type, and any bits are a valid f32.
            let sums = unsafe { std::slice::from_raw_parts_mut(start.cast(), tile.stored) };
            let multiplier = &weights.multiplier[tile.bias..];
            self.epilogue.finish(multiplier, tile.output, scale, sums);
        }
    }
}

/// Memory that several threads fill, each a disjoint part.
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

    /// A mutable slice of some of its bytes.
    ///
    /// # Safety
    /// The memory is still borrowed for this target, and nothing else reads or writes these
    /// bytes while the slice is alive.
    #[inline(always)]
    unsafe fn part<'a>(self, first: usize, bytes: usize) -> &'a mut [u8] {
        assert!(first <= self.bytes && bytes <= self.bytes - first);
        // SAFETY: the assertion keeps the range inside the slice that the target was created
        // from; the caller guarantees that the slice is still borrowed and not aliased.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), bytes) }
    }
}

// SAFETY: the pointer is only used in `TiledLayer::stage`, `TiledLayer::run` and
// `DepthwiseLayer::run`, whose callers guarantee that no other thread accesses the same bytes at
// the same time.
unsafe impl Send for Target {}
// SAFETY: as for `Send`.
unsafe impl Sync for Target {}
