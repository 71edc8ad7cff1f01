//! One step of a plan at work.
#![allow(unsafe_code)]

use super::InstructionSet;
use super::kernel::Kernel;
use super::memory::{MemoryMap, Slot, Views};
use super::workers::Workers;
use crate::ElementType;
use crate::kernels::activation;
use crate::kernels::binary::affine;
use crate::kernels::convert;
use crate::kernels::int8::{SLACK, Target};
use crate::kernels::movement::concat_part;
use crate::kernels::quantized::{self, Ending};
use crate::kernels::tiled::Output;
use crate::plan::{Operand, Step};

/// Multiply-adds below which sharing costs more than it saves: a job takes about half
/// a microsecond beside its parts.
const WORTH_SHARING: u64 = 100_000;

/// Bytes of a layer's staged input below which that alone is not shared.
const WORTH_FILLING: usize = 16 << 10;

/// A step ready to run.
pub(crate) struct PreparedStep {
    pub(crate) name: String,
    pub(crate) multiply_adds: u64,
    kernel: Kernel,
    inputs: Vec<Slot>,
    output: Slot,
    scratch: Slot,
    /// Whether plain loops may use AVX2.
    wide: bool,
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
            // No tensor is F16: a valid plan has it in weights only.
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
    /// Gives a step's kernel its memory: `scratch` is the map's for the step.
    pub(crate) fn new(
        step: &Step,
        (kernel, multiply_adds): (Kernel, u64),
        (map, scratch): (&MemoryMap, Slot),
        instruction_set: InstructionSet,
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
            kernel,
            inputs,
            output: map.slot(Operand::Tensor(step.output)),
            scratch,
            wide: cfg!(target_arch = "x86_64") && instruction_set != InstructionSet::Scalar,
        }
    }

    /// Whether threads share it, where there are several.
    pub(crate) fn shared(&self) -> bool {
        let divisible = matches!(self.kernel, Kernel::Tiled(_) | Kernel::TiledInt8(_));
        divisible && self.multiply_adds >= WORTH_SHARING
    }

    /// Runs the step.
    ///
    /// # Safety
    /// `views` are of the memory that the map given to [`new`](Self::new) was
    /// made for, the inputs lent match their ports, and no other slice of that
    /// memory is alive.
    pub(crate) unsafe fn run(&self, views: Views<'_>, mut workers: Option<&mut Workers>) {
        // The map keeps a step's output apart from all tensors alive at the step, its
        // inputs among them, and `by_type` and `by_size` choose types of the slot's size.
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: see above; the caller vouches for the memory.
                unsafe { views.read(self.inputs[$index]) }
            };
        }
        macro_rules! write {
            () => {
                // SAFETY: as above.
                unsafe { views.write(self.output) }
            };
        }
        match &self.kernel {
            Kernel::Scalar(kernel) => kernel.run(read!(0), write!()),
            Kernel::Tiled(kernel) => {
                let (input, output) = (read!(0), Output::new(write!()));
                // SAFETY: the engine checked that the machine has the instruction set;
                // the plan is valid, so that the slots have the sizes of the shape; the
                // workers run disjoint units and are done when they return.
                let run = |units| unsafe { kernel.run(input, output, units) };
                match workers {
                    Some(workers) if self.shared() => {
                        workers.run(kernel.units(), &run);
                    }
                    _ => run(0..kernel.units()),
                }
            }
            Kernel::TiledInt8(kernel) => {
                let staged: &[u8] = if kernel.in_place() {
                    read!(0)
                } else {
                    // SAFETY: the map keeps the scratch apart from all tensors alive at the step.
                    let staged = Target::new::<u8>(unsafe { views.write(self.scratch) });
                    let input = read!(0);
                    // SAFETY: the engine checked that the machine has the instruction set,
                    // and the workers fill different rows.
                    let fill = |rows| unsafe { kernel.stage(input, staged, rows) };
                    match workers.as_deref_mut() {
                        Some(workers) if self.shared() && self.scratch.len >= WORTH_FILLING => {
                            workers.run(kernel.stage_rows(), &fill);
                        }
                        _ => fill(0..kernel.stage_rows()),
                    }
                    // SAFETY: nothing writes it any more.
                    unsafe { views.read(self.scratch) }
                };
                let mut scale = 1.0;
                let output = match kernel.ending() {
                    Ending::Int8 { .. } => Target::new::<i8>(write!()),
                    Ending::Float { .. } => Target::new::<f32>(write!()),
                    Ending::Dynamic { .. } => {
                        let read: &[f32] = read!(1);
                        scale = read[0];
                        Target::new::<f32>(write!())
                    }
                };
                // SAFETY: as for float tiles.
                let run = |units| unsafe { kernel.run(staged, output, scale, units) };
                match workers {
                    Some(workers) if self.shared() => {
                        workers.run(kernel.units(), &run);
                    }
                    _ => run(0..kernel.units()),
                }
            }
            _ if self.wide => {
                // SAFETY: the engine checked that the machine has AVX2; the memory is as above.
                #[cfg(target_arch = "x86_64")]
                unsafe {
                    self.loops_avx2(views);
                }
            }
            // SAFETY: the memory is as above.
            _ => unsafe { self.loops(views) },
        }
    }

    /// [`loops`](Self::loops) with wider vectors; the same answers to the last bit.
    ///
    /// # Safety
    /// As for [`run`](Self::run), and the machine has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn loops_avx2(&self, views: Views<'_>) {
        // SAFETY: the caller's word.
        unsafe { self.loops(views) }
    }

    /// The operations that are plain loops, which the compiler vectorises for
    /// whichever instructions the caller has.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn loops(&self, views: Views<'_>) {
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: as in `run`.
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
            Kernel::Scalar(_) | Kernel::Tiled(_) | Kernel::TiledInt8(_) | Kernel::Shared => {}
            Kernel::Depthwise(kernel) => kernel.run(read!(0), write!()),
            Kernel::MatMul(kernel) => kernel.run(read!(0), read!(1), write!()),
            Kernel::Unary(curve) => {
                let output: &mut [f32] = write!();
                output.copy_from_slice(read!(0));
                activation::apply(*curve, output);
            }
            Kernel::Binary(operator, curve, kernel) => {
                kernel.run(*operator, *curve, read!(0), read!(1), write!());
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
            Kernel::ReduceMean(kernel) => kernel.run(read!(0), write!()),
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
                Ending::Int8 { low, high } => kernel.run_to_i8(*low, *high, read!(0), write!()),
                Ending::Float { curve } => kernel.run_to_f32(*curve, read!(0), write!()),
                Ending::Dynamic { bias, curve } => {
                    let scale: &[f32] = read!(1);
                    kernel.run_dynamic((bias, *curve), scale[0], read!(0), write!());
                }
            },
            Kernel::Lookup(table) => quantized::look_up(table, read!(0), write!()),
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
            // SAFETY: as in `run`, which is the only caller.
            let data = unsafe { views.read::<A>(input) };
            if self.output.element_type == ElementType::Bool {
                // SAFETY: as above.
                convert::cast_bool(data, unsafe { views.write::<u8>(self.output) });
            } else {
                by_type!(self.output, B => {
                    // SAFETY: as above.
                    convert::cast(from_float, data, unsafe { views.write::<B>(self.output) });
                });
            }
        });
    }
}
