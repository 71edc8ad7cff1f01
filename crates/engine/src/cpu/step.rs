//! Runs one step of a plan.
#![allow(unsafe_code)]

use super::kernel::Kernel;
use super::memory::{MemoryMap, Slot, Views};
use super::workers::{Workers, divide};
use crate::ElementType;
use crate::instruction_set::Available;
#[cfg(target_arch = "x86_64")]
use crate::instruction_set::InstructionSet;
use crate::kernels::activation;
use crate::kernels::binary::affine;
use crate::kernels::convert;
use crate::kernels::int8::{SLACK, Target};
use crate::kernels::movement::concat_part;
use crate::kernels::quantized::{self, EpilogueKernel};
use crate::kernels::tiled::Output;
use crate::plan::{Operand, Step};

/// Multiply-adds below which sharing costs more than it saves: the overhead of a job is
/// about half a microsecond.
const WORTH_SHARING: u64 = 100_000;

/// Bytes of a layer's packed input below which one thread packs it.
const WORTH_FILLING: usize = 16 << 10;

/// A step ready to run.
pub(crate) struct PreparedStep {
    pub(crate) name: String,
    pub(crate) multiply_adds: u64,
    /// How the weights of an INT8 layer are stored, and their bytes.
    pub(crate) weights: Option<(&'static str, usize)>,
    kernel: Kernel,
    inputs: Vec<Slot>,
    output: Slot,
    scratch: Slot,
    /// The instructions of plain loops.
    loops: Loops,
}

/// The instructions that plain loops are compiled for. The results have the same bits.
#[derive(Debug, Clone, Copy)]
enum Loops {
    /// Those of the architecture.
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Loops {
    /// Those of an instruction set: on x86-64 each but the scalar one includes AVX2. Pools combine
    /// a pixel's channels, often fewer than the longest vectors have lanes: with AVX-512 they were
    /// left to a scalar remainder.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "for x86-64")
    )]
    fn of(set: Available, kernel: &Kernel) -> Self {
        match set.set() {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni if !matches!(kernel, Kernel::Pool(_)) => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512Vnni
            | InstructionSet::Avx512
            | InstructionSet::AvxVnni
            | InstructionSet::Avx2 => Self::Avx2,
            _ => Self::Plain,
        }
    }
}

/// Binds `$T` to a type of the slot's size and runs `$body`.
macro_rules! by_size {
    ($slot:expr, $T:ident => $body:expr) => {
        match $slot.element_type.size() {
            8 => {
                type $T = u64;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u8;
                $body
            }
        }
    };
}

/// Binds `$T` to the slot's own type and runs `$body`.
macro_rules! by_type {
    ($slot:expr, $T:ident => $body:expr) => {
        match $slot.element_type {
            ElementType::F32 => {
                type $T = f32;
                $body
            }
            ElementType::I64 => {
                type $T = i64;
                $body
            }
            // No tensor is F16: in a valid plan only weights are.
            ElementType::F16 | ElementType::I32 => {
                type $T = i32;
                $body
            }
            ElementType::U8 | ElementType::Bool => {
                type $T = u8;
                $body
            }
            ElementType::I8 => {
                type $T = i8;
                $body
            }
        }
    };
}

impl PreparedStep {
    /// Assigns memory to a step's kernel; `scratch` is the step's slot in the map.
    pub(crate) fn new(
        step: &Step,
        (kernel, multiply_adds): (Kernel, u64),
        (map, scratch): (&MemoryMap, Slot),
        instruction_set: Available,
    ) -> Self {
        let mut inputs: Vec<_> = step.inputs.iter().map(|&input| map.slot(input)).collect();
        if let Kernel::TiledInt8(layer) = &kernel
            && layer.in_place()
        {
            inputs[0].len += SLACK;
        }
        Self {
            name: step.name.clone(),
            multiply_adds,
            weights: kernel.stored(),
            loops: Loops::of(instruction_set, &kernel),
            kernel,
            inputs,
            output: map.slot(Operand::Tensor(step.output)),
            scratch,
        }
    }

    /// Whether the engine's threads share the step, if there are several.
    pub(crate) fn shared(&self) -> bool {
        let divisible = matches!(
            self.kernel,
            Kernel::Tiled(_)
                | Kernel::VectorDepthwise(_)
                | Kernel::TiledInt8(_)
                | Kernel::DepthwiseInt8(_)
        );
        divisible && self.multiply_adds >= WORTH_SHARING
    }

    /// Runs the step.
    ///
    /// # Safety
    /// - `views` covers an arena and constants of the map that was given to
    ///   [`new`](Self::new).
    /// - Its inputs match their ports in element type and length.
    /// - No other slice of this memory is alive.
    pub(crate) unsafe fn run(&self, views: Views<'_>, workers: Option<&mut Workers>) {
        let mut workers = workers.filter(|_| self.shared());
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: the slots come from the map of `views`, as the caller guarantees.
                // `Plan::validate` checked that the tensors have the kernel's element
                // types, and `by_type` and `by_size` choose types of the slot's size. The
                // map gives a step's output memory that no tensor alive at the step uses,
                // so that it does not overlap the inputs.
                unsafe { views.read(self.inputs[$index]) }
            };
        }
        macro_rules! write {
            () => {
                // SAFETY: as in `read!`; an earlier slice of the output is no longer alive.
                unsafe { views.write(self.output) }
            };
        }
        match &self.kernel {
            Kernel::Scalar(kernel) => kernel.run(read!(0), write!()),
            Kernel::Tiled(kernel) => {
                let (input, output) = (read!(0), Output::new(write!()));
                // SAFETY: the plan is valid, so that the slots have the sizes of the shape; the
                // workers run disjoint units and `Workers::run` waits for all of them.
                let run = |units| unsafe { kernel.run(input, output, units) };
                divide(workers, kernel.units(), &run);
            }
            Kernel::VectorDepthwise(kernel) => {
                let (input, output) = (read!(0), Output::new(write!()));
                // SAFETY: as for `Kernel::Tiled`.
                let run = |units| unsafe { kernel.run(input, output, units) };
                divide(workers, kernel.units(), &run);
            }
            Kernel::TiledInt8(kernel) => {
                let packed: &[u8] = if kernel.in_place() {
                    read!(0)
                } else {
                    // SAFETY: the scratch slot comes from the map of `views`, which gives it
                    // memory that no tensor alive at the step uses.
                    let packed = Target::new::<u8>(unsafe { views.write(self.scratch) });
                    let input = read!(0);
                    // SAFETY: the workers fill disjoint rows.
                    let fill = |rows| unsafe { kernel.stage(input, packed, rows) };
                    let workers = workers.as_deref_mut();
                    let workers = workers.filter(|_| self.scratch.len >= WORTH_FILLING);
                    divide(workers, kernel.stage_rows(), &fill);
                    // SAFETY: all rows are filled, and nothing writes to the scratch memory
                    // until the next inference.
                    unsafe { views.read(self.scratch) }
                };
                // SAFETY: as in `read` and `write`: the contract of this function.
                let (output, scale) = unsafe { self.int8_output(kernel.ending(), views) };
                // SAFETY: as for `Kernel::Tiled`; `packed` is the output of `stage`, or the
                // input and its slack.
                let run = |units| unsafe { kernel.run(packed, output, scale, units) };
                divide(workers, kernel.units(), &run);
            }
            Kernel::DepthwiseInt8(kernel) => {
                let input = read!(0);
                // SAFETY: as in `read` and `write`: the contract of this function.
                let (output, scale) = unsafe { self.int8_output(kernel.ending(), views) };
                // SAFETY: as for `Kernel::Tiled`.
                let run = |units| unsafe { kernel.run(input, output, scale, units) };
                divide(workers, kernel.units(), &run);
            }
            _ => match self.loops {
                // SAFETY: `loops` has the contract of this function.
                Loops::Plain => unsafe { self.loops(views) },
                // SAFETY: as above; the machine has AVX2: `Loops::of` selects it only for an
                // available instruction set that includes it.
                #[cfg(target_arch = "x86_64")]
                Loops::Avx2 => unsafe { self.loops_avx2(views) },
                // SAFETY: likewise for AVX-512 F, BW and VL.
                #[cfg(target_arch = "x86_64")]
                Loops::Avx512 => unsafe { self.loops_avx512(views) },
            },
        }
    }

    /// The output of an INT8 layer, and the scale of its input.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn int8_output(&self, epilogue: &EpilogueKernel, views: Views<'_>) -> (Target, f32) {
        // SAFETY: the contract of `run`, the only caller, covers `views`. A valid plan gives the
        // output of each epilogue its type, and a dynamic one the scale as the second input.
        unsafe {
            match epilogue {
                EpilogueKernel::Int8 { .. } => (Target::new::<i8>(views.write(self.output)), 1.0),
                EpilogueKernel::Float { .. } => (Target::new::<f32>(views.write(self.output)), 1.0),
                EpilogueKernel::Dynamic { .. } => {
                    let scale = views.read::<f32>(self.inputs[1])[0];
                    (Target::new::<f32>(views.write(self.output)), scale)
                }
            }
        }
    }

    /// [`loops`](Self::loops), compiled for AVX2; the results have the same bits.
    ///
    /// # Safety
    /// As for [`run`](Self::run), and the machine has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn loops_avx2(&self, views: Views<'_>) {
        // SAFETY: `loops` has the contract of `run`, which the caller guarantees here too.
        unsafe { self.loops(views) }
    }

    /// [`loops`](Self::loops), compiled for AVX-512; the results have the same bits.
    ///
    /// # Safety
    /// As for [`run`](Self::run), and the machine has AVX2 and AVX-512 F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
    unsafe fn loops_avx512(&self, views: Views<'_>) {
        // SAFETY: `loops` has the contract of `run`, which the caller guarantees here too.
        unsafe { self.loops(views) }
    }

    /// The operations that are plain loops, which the compiler vectorizes for the
    /// instruction set of the function that this is inlined into.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn loops(&self, views: Views<'_>) {
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: as in `run`, whose contract this function has.
                unsafe { views.read(self.inputs[$index]) }
            };
        }
        macro_rules! write {
            () => {
                // SAFETY: as in `run`.
                unsafe { views.write(self.output) }
            };
        }
        match &self.kernel {
            Kernel::Scalar(_)
            | Kernel::Tiled(_)
            | Kernel::VectorDepthwise(_)
            | Kernel::TiledInt8(_)
            | Kernel::DepthwiseInt8(_)
            | Kernel::Shared => {}
            Kernel::Depthwise(kernel) => kernel.run(read!(0), write!()),
            Kernel::MatMul(kernel) => {
                let scratch = Slot {
                    len: kernel.scratch(),
                    element_type: ElementType::F32,
                    ..self.scratch
                };
                // SAFETY: the scratch slot comes from the map of `views`, which gives it as many
                // bytes of memory that no tensor alive at the step uses.
                let scratch = unsafe { views.write(scratch) };
                kernel.run(read!(0), read!(1), write!(), scratch);
            }
            Kernel::Unary(function) => {
                let output: &mut [f32] = write!();
                output.copy_from_slice(read!(0));
                activation::apply(*function, output);
            }
            Kernel::Binary(operator, function, kernel) => {
                kernel.run(*operator, *function, read!(0), read!(1), write!());
            }
            Kernel::Affine {
                scale,
                shift,
                curve,
            } => affine(scale, shift, *curve, read!(0), write!()),
            Kernel::Pool(kernel) => match self.output.element_type {
                ElementType::I8 => kernel.run_i8(read!(0), write!()),
                _ => kernel.run(read!(0), write!()),
            },
            Kernel::Reduce(kernel) => kernel.run(read!(0), write!()),
            Kernel::Select(kernel) => kernel.run(read!(0), read!(1), read!(2), write!()),
            Kernel::Gather(kernel) => {
                by_size!(self.output, T => kernel.run::<T>(read!(0), write!()));
            }
            Kernel::Softmax(kernel) => kernel.run(read!(0), write!()),
            Kernel::Concat { rows } => {
                let mut offset = 0;
                for index in 0..self.inputs.len() {
                    by_size!(self.output, T => {
                        concat_part::<T>(read!(index), write!(), *rows, offset);
                    });
                    offset += self.inputs[index].len.checked_div(*rows).unwrap_or(0);
                }
            }
            Kernel::Copy(kernel) => {
                by_size!(self.output, T => kernel.run::<T>(read!(0), write!()));
            }
            Kernel::Pad(kernel) => by_type!(self.output, T => {
                kernel.run::<T>(convert::Number::from_f32(kernel.value()), read!(0), write!());
            }),
            Kernel::Cast => self.cast(views),
            Kernel::Quantize(scales) => match self.output.element_type {
                ElementType::I8 => scales.quantize::<i8>(-128, 127, read!(0), write!()),
                _ => scales.quantize::<u8>(0, 255, read!(0), write!()),
            },
            Kernel::Dequantize(scales) => by_type!(self.inputs[0], T => {
                scales.dequantize::<T>(read!(0), write!());
            }),
            Kernel::Quantized(kernel) => match kernel.ending() {
                EpilogueKernel::Int8 { low, high } => {
                    kernel.run_to_i8(*low, *high, read!(0), write!())
                }
                EpilogueKernel::Float { curve } => kernel.run_to_f32(*curve, read!(0), write!()),
                EpilogueKernel::Dynamic { bias, curve } => {
                    let scale: &[f32] = read!(1);
                    kernel.run_dynamic((bias, *curve), scale[0], read!(0), write!());
                }
            },
            Kernel::Lookup(table) => quantized::look_up(table, read!(0), write!()),
            Kernel::QuantizedAdd(sum) => {
                let is_i8 = |at: usize| self.inputs[at].element_type == ElementType::I8;
                match (is_i8(0), is_i8(1)) {
                    (false, false) => sum.run::<f32, f32>(read!(0), read!(1), write!()),
                    (false, true) => sum.run::<f32, i8>(read!(0), read!(1), write!()),
                    (true, false) => sum.run::<i8, f32>(read!(0), read!(1), write!()),
                    (true, true) => sum.run::<i8, i8>(read!(0), read!(1), write!()),
                }
            }
            Kernel::DynamicScale => {
                let output: &mut [f32] = write!();
                output[0] = quantized::dynamic_scale(read!(0));
            }
            Kernel::DynamicQuantize => {
                let scale: &[f32] = read!(1);
                let output: &mut [i8] = write!();
                convert::quantize((scale[0], 0), -128, 127, read!(0), output);
            }
        }
    }

    fn cast(&self, views: Views<'_>) {
        let [input] = self.inputs[..] else { return };
        let from_float = input.element_type == ElementType::F32;
        by_type!(input, A => {
            // SAFETY: the contract of `loops`, the only caller, covers `views`; `A` has the
            // size of the input's elements.
            let data = unsafe { views.read::<A>(input) };
            if self.output.element_type == ElementType::Bool {
                // SAFETY: as for the input, which the output does not overlap; a bool is one
                // byte.
                convert::cast_bool(data, unsafe { views.write::<u8>(self.output) });
            } else {
                by_type!(self.output, B => {
                    // SAFETY: as for the input, which the output does not overlap; `B` has the
                    // size of the output's elements.
                    convert::cast(from_float, data, unsafe { views.write::<B>(self.output) });
                });
            }
        });
    }
}
