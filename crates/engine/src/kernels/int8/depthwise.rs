//! INT8 depthwise convolutions: each channel has its own kernel, so that adjacent channels are
//! the lanes of a vector. The input is read in place, without a copy that has the padding: rows
//! and columns outside it are read from a buffer of zeros.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use self::tile::{GROUP, Limits, Row, RowFunction, Stored, channel};
use super::packing::{Constants, within_i32};
use super::{Form, Target};
use crate::aligned_bytes::AlignedBytes;
use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::activation;
use crate::kernels::convolution::ConvolutionShape;
use crate::kernels::depthwise::divide;
use crate::kernels::quantized::EpilogueKernel;

/// Selects the instance of a function for a window's columns and stride.
macro_rules! choose {
    ($function:ident, $window:expr) => {
        match $window {
            Some([3, 1]) => $function::<3, 1, 3> as RowFunction,
            Some([3, 2]) => $function::<3, 2, 2>,
            Some([5, 1]) => $function::<5, 1, 5>,
            Some([5, 2]) => $function::<5, 2, 3>,
            _ => $function::<0, 1, 1>,
        }
    };
}
use choose;

/// How an instruction set reads its input and weights.
#[derive(Debug, Clone, Copy)]
struct Variant {
    /// The channels of its blocks, the most first; none for plain loops.
    blocks: &'static [usize],
    /// The format that is multiplied.
    form: Form,
    /// Whether weights are i16 instead of i8.
    wide: bool,
    /// Whether the taps of a group are adjacent in pairs instead of fours.
    in_pairs: bool,
}

impl Variant {
    fn of(set: Available) -> Self {
        #[cfg(target_arch = "x86_64")]
        return x86::variant(set);
        #[cfg(target_arch = "aarch64")]
        return arm::variant(set);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            let _ = set;
            Self {
                blocks: &[],
                form: Form::Plain,
                wide: false,
                in_pairs: false,
            }
        }
    }
}

fn function(set: Available, block: usize, window: Option<[usize; 2]>) -> Option<RowFunction> {
    #[cfg(target_arch = "x86_64")]
    return Some(x86::function(set, block, window));
    #[cfg(target_arch = "aarch64")]
    return Some(arm::function(set, block, window));
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = (set, block, window);
        None
    }
}

/// Channels that are computed together.
#[derive(Debug)]
struct Block {
    first: usize,
    channels: usize,
    function: RowFunction,
    /// Index of the first byte of the weights, and of the first bias and multiplier.
    weights: usize,
    sums: usize,
}

/// The most channels of a block.
const MOST: usize = 64;

/// A depthwise INT8 layer that is packed for vectors. Its work is a list of units, the rows of
/// its output; disjoint ranges of it may run at the same time.
#[derive(Debug)]
pub(crate) struct DepthwiseLayer {
    shape: ConvolutionShape,
    blocks: Vec<Block>,
    weights: AlignedBytes,
    /// For each block, quarter and lane.
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    /// For each channel.
    multipliers: Vec<f32>,
    epilogue: EpilogueKernel,
    set: Available,
    /// The format of the input: plain or plus 128.
    input_form: Form,
    /// Whether outputs are stored plus 128.
    offset: bool,
}

impl DepthwiseLayer {
    /// `weights` is (channels, kH, kW, 1). Returns the epilogue as the error if the layer has to
    /// run as plain loops.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        bias: Option<&[i32]>,
        multiplier: &[f32],
        epilogue: EpilogueKernel,
        set: Available,
    ) -> Result<Self, EpilogueKernel> {
        let constants = Constants {
            weights,
            bias,
            multiplier,
        };
        // Products are rounded to i32 before they are clamped.
        if !shape.is_depthwise() || !within_i32(constants) {
            return Err(epilogue);
        }
        let mut this = Self {
            shape,
            blocks: Vec::new(),
            weights: AlignedBytes::zeroed(0),
            bias: Vec::new(),
            multiplier: Vec::new(),
            multipliers: multiplier.to_vec(),
            epilogue,
            set,
            input_form: Form::Plain,
            offset: false,
        };
        let across = &shape.axes[1];
        let window = (across.dilation == 1).then_some([across.kernel, across.stride]);
        let variant = Variant::of(set);
        let mut packed = Vec::new();
        for (first, channels, size) in divide(shape.groups, variant.blocks) {
            let Some(function) = function(set, size, window) else {
                return Err(this.epilogue);
            };
            this.blocks.push(Block {
                first,
                channels,
                function,
                weights: packed.len(),
                sums: this.bias.len(),
            });
            add_weights(
                &shape,
                weights,
                (first..first + channels, size),
                variant,
                &mut packed,
            );
            this.add_sums(constants, (first..first + channels, size), variant.form);
        }
        if this.blocks.is_empty() {
            return Err(this.epilogue);
        }
        this.weights = AlignedBytes::holding(&packed);
        Ok(this)
    }

    /// Appends the biases and multipliers of a block of `size` lanes.
    fn add_sums(&mut self, constants: Constants<'_>, block: (Range<usize>, usize), form: Form) {
        let (channels, size) = block;
        for quarter in 0..4 {
            for lane in 0..size / 4 {
                let unit = channels.start + channel(quarter, lane);
                let (bias, multiplier) = match channels.contains(&unit) {
                    true => (constants.start(unit, form), constants.multiplier[unit]),
                    false => (0, 0.0),
                };
                self.bias.push(bias);
                self.multiplier.push(multiplier);
            }
        }
    }

    /// Bytes of the packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn ending(&self) -> &EpilogueKernel {
        &self.epilogue
    }

    /// Sets the format of the input: plain or plus 128.
    pub(crate) fn hold(&mut self, form: Form) {
        self.input_form = form;
    }

    /// Stores outputs in the format that INT8 tiles read, if that is plus 128. Returns the
    /// format.
    pub(crate) fn store_as_read(&mut self) -> Form {
        self.offset = matches!(
            self.set.set(),
            InstructionSet::Avx512Vnni | InstructionSet::AvxVnni
        );
        match self.offset {
            true => Form::Offset,
            false => Form::Plain,
        }
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.shape.batch * self.shape.output[0]
    }

    /// Computes a range of the units. `scale` is the input's scale; only a dynamic epilogue uses
    /// it.
    ///
    /// # Safety
    /// - `output` has the sizes and the type of the layer's output.
    /// - During the call nothing else reads the output, or writes the elements of these rows.
    pub(crate) unsafe fn run(&self, input: &[i8], output: Target, scale: f32, units: Range<usize>) {
        let size = match self.epilogue {
            EpilogueKernel::Int8 { .. } => 1,
            EpilogueKernel::Float { .. } | EpilogueKernel::Dynamic { .. } => 4,
        };
        let [down, across] = &self.shape.axes;
        let channels = self.shape.groups;
        let [height, width] = self.shape.output;
        let picture = down.size * across.size * channels;
        assert_eq!(input.len(), self.shape.batch * picture);
        let length = width * channels;
        for unit in units {
            debug_assert!((unit + 1) * length * size <= output.bytes);
            let from = input.as_ptr().wrapping_add(unit / height * picture);
            let to = output.start.wrapping_add(unit * length * size);
            for block in &self.blocks {
                let work = Row {
                    input: from.cast::<u8>().wrapping_add(block.first),
                    output: to.wrapping_add(block.first * size),
                    output_pixel: channels * size,
                    ..self.work(block, unit % height)
                };
                // SAFETY: the machine has the instruction set that the function was chosen for.
                // The input has every pixel of the shape and the caller guarantees the same of
                // the output; a block's channels are those of the shape, and `new` packed
                // weights, biases and multipliers for each of its lanes.
                unsafe { (block.function)(&work) };
            }
            if size == 4 {
                // SAFETY: the blocks have just written this row, which the caller guarantees that
                // nothing else uses. The output is aligned for f32, its element type, and any
                // bits are a valid f32.
                let row = unsafe { std::slice::from_raw_parts_mut(to.cast(), length) };
                self.finish(scale, row);
            }
        }
    }

    /// Converts a row of what the blocks stored to outputs, in place.
    fn finish(&self, scale: f32, row: &mut [f32]) {
        match self.epilogue {
            EpilogueKernel::Float { curve } => activation::apply(curve, row),
            EpilogueKernel::Dynamic { .. } => {
                for pixel in row.chunks_exact_mut(self.shape.groups) {
                    self.epilogue.finish(&self.multipliers, 0, scale, pixel);
                }
            }
            EpilogueKernel::Int8 { .. } => {}
        }
    }

    /// A row of a block, without its places in the input and the output.
    fn work(&self, block: &Block, y: usize) -> Row {
        let [down, across] = self.shape.axes;
        let variant = Variant::of(self.set);
        let zero = if self.input_form == Form::Offset {
            0x80
        } else {
            0
        };
        let read = if variant.form == Form::Offset {
            0x80
        } else {
            0
        };
        static ZEROS: [[u8; MOST]; 2] = [[0; MOST], [0x80; MOST]];
        let stored = match self.epilogue {
            EpilogueKernel::Int8 { low, high } => Stored::Quantized(Limits {
                low,
                high,
                flip: if self.offset { 0x80 } else { 0 },
            }),
            EpilogueKernel::Float { .. } => Stored::Floats,
            EpilogueKernel::Dynamic { .. } => Stored::Sums,
        };
        Row {
            input: std::ptr::null(),
            pixel: self.shape.groups,
            zeros: ZEROS[usize::from(zero > 0)].as_ptr(),
            flip: zero ^ read,
            down,
            across,
            y,
            width: self.shape.output[1],
            channels: block.channels,
            weights: self.weights.as_ptr().wrapping_add(block.weights).cast(),
            bias: self.bias[block.sums..].as_ptr(),
            multiplier: self.multiplier[block.sums..].as_ptr(),
            output: std::ptr::null_mut(),
            output_pixel: 0,
            stored,
        }
    }
}

/// Appends a block's weights in the order of [`Row::weights`]; those of missing rows and channels
/// are 0.
fn add_weights(
    shape: &ConvolutionShape,
    weights: &[i8],
    (channels, size): (Range<usize>, usize),
    variant: Variant,
    packed: &mut Vec<i8>,
) {
    let [rows, columns] = [0, 1].map(|axis| shape.axes[axis].kernel);
    let weight = |unit: usize, row: usize, column: usize| match channels.contains(&unit) {
        true if row < rows => weights[(unit * rows + row) * columns + column],
        _ => 0,
    };
    let adjacent = if variant.in_pairs { GROUP / 2 } else { GROUP };
    for group in 0..rows.div_ceil(GROUP) {
        for column in 0..columns {
            for quarter in 0..4 {
                for part in 0..GROUP / adjacent {
                    for lane in 0..size / 4 {
                        let unit = channels.start + channel(quarter, lane);
                        let first = group * GROUP + part * adjacent;
                        for row in first..first + adjacent {
                            let weight = weight(unit, row, column);
                            if variant.wide {
                                let bytes = i16::from(weight).to_ne_bytes();
                                packed.extend(bytes.map(u8::cast_signed));
                            } else {
                                packed.push(weight);
                            }
                        }
                    }
                }
            }
        }
    }
}
