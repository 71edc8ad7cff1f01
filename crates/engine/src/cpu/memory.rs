//! The memory layout of a plan: one arena, whose bytes are reused once a tensor is no
//! longer read.
#![allow(unsafe_code)]

use crate::aligned_bytes::{AlignedBytes, LINE};
use crate::plan::{ConstantData, ConstantId, Operand, Operation, Plan, TensorId};
use crate::{ElementType, TensorRef};

/// The location of a tensor in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Byte offset in the arena.
    Arena(usize),
    /// Byte offset in the constants.
    Constants(usize),
    /// The tensor that the caller passes for the input with this index.
    Input(usize),
}

/// A tensor's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) place: Place,
    /// Elements.
    pub(crate) len: usize,
    pub(crate) element_type: ElementType,
}

/// An element type of the memory.
///
/// # Safety
/// Any bits are a valid value, the type has no padding, and its alignment is at most a
/// cache line.
pub(crate) unsafe trait Element: Copy {}
// SAFETY: a primitive number: any bits are valid, no padding, alignment of at most 8.
unsafe impl Element for f32 {}
// SAFETY: as for `f32`.
unsafe impl Element for i64 {}
// SAFETY: as for `f32`.
unsafe impl Element for i32 {}
// SAFETY: as for `f32`.
unsafe impl Element for u64 {}
// SAFETY: as for `f32`.
unsafe impl Element for u32 {}
// SAFETY: as for `f32`.
unsafe impl Element for u8 {}
// SAFETY: as for `f32`.
unsafe impl Element for i8 {}

/// All the memory of one inference.
#[derive(Clone, Copy)]
pub(crate) struct Views<'a> {
    arena: *mut u8,
    arena_len: usize,
    constants: &'a AlignedBytes,
    inputs: &'a [TensorRef<'a>],
}

impl<'a> Views<'a> {
    pub(crate) fn new(
        arena: &'a mut AlignedBytes,
        constants: &'a AlignedBytes,
        inputs: &'a [TensorRef<'a>],
    ) -> Self {
        Self {
            arena_len: arena.len(),
            arena: arena.as_mut_ptr(),
            constants,
            inputs,
        }
    }

    /// The elements of a slot.
    ///
    /// # Safety
    /// - The arena and the constants have the sizes of the [`MemoryMap`] that the slot
    ///   comes from. The slot's length may exceed the tensor's by the slack that the map
    ///   reserved behind it.
    /// - The inputs match their ports in element type and length.
    /// - `T` has the size of the slot's elements.
    /// - No slice of overlapping memory from [`write`](Self::write) is alive.
    pub(crate) unsafe fn read<T: Element>(&self, slot: Slot) -> &'a [T] {
        debug_assert_eq!(size_of::<T>(), slot.element_type.size());
        let bytes = slot.len * size_of::<T>();
        let start = match slot.place {
            Place::Arena(offset) => {
                debug_assert!(offset + bytes <= self.arena_len);
                // SAFETY: the map gives offsets inside the arena, whose size it determines.
                unsafe { self.arena.add(offset).cast_const() }
            }
            Place::Constants(offset) => {
                debug_assert!(offset + bytes <= self.constants.len());
                // SAFETY: the map gives offsets inside the constants, which it allocates.
                unsafe { self.constants.as_ptr().add(offset) }
            }
            Place::Input(index) => match self.inputs[index] {
                TensorRef::F32(data) => data.as_ptr().cast(),
                TensorRef::I64(data) => data.as_ptr().cast(),
                TensorRef::I32(data) => data.as_ptr().cast(),
                TensorRef::U8(data) => data.as_ptr().cast(),
                TensorRef::I8(data) => data.as_ptr().cast(),
            },
        };
        // SAFETY: `start` points to `slot.len` elements: the map reserves as many, and
        // the inputs have the lengths of their ports. It is aligned for `T`: the arena
        // and the constants start at a cache line, offsets are multiples of one, and an
        // input's elements have the size of `T`. The memory is initialized, and any bits
        // are a valid `T`. The caller guarantees that no mutable slice overlaps.
        unsafe { std::slice::from_raw_parts(start.cast(), slot.len) }
    }

    /// The elements of a slot in the arena, mutable.
    ///
    /// # Safety
    /// As for [`read`](Self::read), and no other slice of overlapping memory is alive.
    #[allow(
        clippy::mut_from_ref,
        reason = "the slice borrows the arena, not the views"
    )]
    pub(crate) unsafe fn write<T: Element>(&self, slot: Slot) -> &'a mut [T] {
        debug_assert_eq!(size_of::<T>(), slot.element_type.size());
        let Place::Arena(offset) = slot.place else {
            unreachable!("a step's output is in the arena");
        };
        debug_assert!(offset + slot.len * size_of::<T>() <= self.arena_len);
        // SAFETY: as in `read`; `new` borrowed the arena mutably for `'a`, and the caller
        // guarantees that no other slice overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(offset).cast(), slot.len) }
    }
}

/// How long the plan's outputs stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputMemory {
    /// Until the end of an inference.
    Kept,
    /// Like other tensors: until the last step that reads them, or the one that computes them.
    Reused,
}

/// The locations of all tensors, constants and scratch memory of a plan.
pub(crate) struct MemoryMap {
    tensors: Vec<Slot>,
    constants: Vec<Slot>,
    /// Scratch memory of each step while it runs.
    pub(crate) scratch: Vec<Slot>,
    /// Bytes of the arena.
    pub(crate) arena: usize,
    /// The constants that are inputs of steps or outputs of the plan.
    pub(crate) data: AlignedBytes,
}

impl MemoryMap {
    /// Lays out a validated plan. `scratch` is the bytes of scratch memory of each step.
    /// `slack` is the bytes behind each tensor that no other tensor may use during its
    /// lifetime; it counts for tensors that own their memory, see [`owners`].
    pub(crate) fn new(
        plan: &Plan,
        scratch: &[usize],
        slack: &[usize],
        outputs: OutputMemory,
    ) -> Self {
        let (constants, data) = place_constants(plan);
        let mut map = Self {
            tensors: plan
                .tensors
                .iter()
                .map(|spec| Slot {
                    place: Place::Arena(0),
                    len: spec.shape.iter().product(),
                    element_type: spec.element_type,
                })
                .collect(),
            constants,
            scratch: scratch
                .iter()
                .map(|&len| Slot {
                    place: Place::Arena(0),
                    len,
                    element_type: ElementType::U8,
                })
                .collect(),
            arena: 0,
            data,
        };
        map.place_tensors(plan, slack, outputs);
        map
    }

    pub(crate) fn slot(&self, operand: Operand) -> Slot {
        match operand {
            Operand::Tensor(TensorId(id)) => self.tensors[id],
            Operand::Constant(ConstantId(id)) => self.constants[id],
        }
    }

    fn place_tensors(&mut self, plan: &Plan, slack: &[usize], outputs: OutputMemory) {
        let owner = owners(plan);
        let mut lifetimes: Vec<Option<Lifetime>> = vec![None; plan.tensors.len()];
        for (index, port) in plan.inputs.iter().enumerate() {
            if let Operand::Tensor(TensorId(id)) = port.operand {
                self.tensors[id].place = Place::Input(index);
            }
        }
        let extend = |lifetimes: &mut [Option<Lifetime>], id: usize, step: usize| {
            if let Some(lifetime) = &mut lifetimes[id] {
                lifetime.last = step;
            }
        };
        for (index, step) in plan.steps.iter().enumerate() {
            for operand in &step.inputs {
                if let Operand::Tensor(TensorId(id)) = operand {
                    extend(&mut lifetimes, owner[*id], index);
                }
            }
            let output = step.output.0;
            if matches!(step.operation, Operation::Reshape) {
                self.tensors[output].place = self.slot(step.inputs[0]).place;
            } else {
                let slot = self.tensors[output];
                let bytes = slot.len * slot.element_type.size() + slack[output];
                lifetimes[output] = Some(Lifetime {
                    first: index,
                    last: index,
                    bytes: bytes.next_multiple_of(LINE),
                    offset: 0,
                });
            }
        }
        let kept = match outputs {
            OutputMemory::Kept => &plan.outputs[..],
            OutputMemory::Reused => &[],
        };
        for port in kept {
            if let Operand::Tensor(TensorId(id)) = port.operand {
                extend(&mut lifetimes, owner[id], plan.steps.len());
            }
        }
        lifetimes.extend(self.scratch.iter().enumerate().map(|(step, slot)| {
            (slot.len > 0).then(|| Lifetime {
                first: step,
                last: step,
                bytes: slot.len.next_multiple_of(LINE),
                offset: 0,
            })
        }));
        self.arena = place_lifetimes(&mut lifetimes);
        for (slot, lifetime) in self
            .scratch
            .iter_mut()
            .zip(&lifetimes[plan.tensors.len()..])
        {
            slot.place = Place::Arena(lifetime.map_or(0, |lifetime| lifetime.offset));
        }
        for (slot, &owner) in self.tensors.iter_mut().zip(&owner) {
            if let (Place::Arena(_), Some(lifetime)) = (slot.place, lifetimes[owner]) {
                slot.place = Place::Arena(lifetime.offset);
            }
        }
    }
}

/// The tensor that owns the memory of each tensor of a validated plan. The output of a
/// reshape is in the memory of its input; all others own their memory.
pub(crate) fn owners(plan: &Plan) -> Vec<usize> {
    let mut owner: Vec<usize> = (0..plan.tensors.len()).collect();
    for step in &plan.steps {
        if let (Operation::Reshape, Operand::Tensor(TensorId(id))) =
            (&step.operation, step.inputs[0])
        {
            owner[step.output.0] = owner[id];
        }
    }
    owner
}

/// The lifetime of a tensor: from the step that writes it to the last that reads it.
#[derive(Debug, Clone, Copy)]
struct Lifetime {
    first: usize,
    last: usize,
    bytes: usize,
    offset: usize,
}

/// Assigns the offsets, the largest tensor first, each at the lowest offset that is
/// free during its whole lifetime. Returns the bytes needed.
fn place_lifetimes(lifetimes: &mut [Option<Lifetime>]) -> usize {
    let mut order: Vec<usize> = (0..lifetimes.len())
        .filter(|&id| lifetimes[id].is_some())
        .collect();
    order.sort_by_key(|&id| {
        (
            lifetimes[id].map(|lifetime| std::cmp::Reverse(lifetime.bytes)),
            id,
        )
    });
    // Kept sorted by offset.
    let mut placed: Vec<Lifetime> = Vec::new();
    let mut total = 0;
    for id in order {
        let Some(lifetime) = &mut lifetimes[id] else {
            continue;
        };
        let mut offset = 0;
        for other in &placed {
            if other.first > lifetime.last || other.last < lifetime.first {
                continue;
            }
            if offset + lifetime.bytes <= other.offset {
                break;
            }
            offset = offset.max(other.offset + other.bytes);
        }
        lifetime.offset = offset;
        total = total.max(offset + lifetime.bytes);
        let at = placed.partition_point(|other| other.offset <= offset);
        placed.insert(at, *lifetime);
    }
    total
}

/// Copies the constants that are read as tensors into one block.
fn place_constants(plan: &Plan) -> (Vec<Slot>, AlignedBytes) {
    let mut used = vec![false; plan.constants.len()];
    let operands = plan.steps.iter().flat_map(|step| &step.inputs);
    let ports = plan.outputs.iter().map(|port| &port.operand);
    for operand in operands.chain(ports) {
        if let Operand::Constant(ConstantId(id)) = operand {
            used[*id] = true;
        }
    }
    let mut total = 0;
    let slots: Vec<Slot> = plan
        .constants
        .iter()
        .zip(&used)
        .map(|(constant, &used)| {
            let element_type = constant.data.element_type();
            let len = if used { constant.data.len() } else { 0 };
            let slot = Slot {
                place: Place::Constants(total),
                len,
                element_type,
            };
            total += (len * element_type.size()).next_multiple_of(LINE);
            slot
        })
        .collect();
    let mut data = AlignedBytes::zeroed(total);
    for (slot, constant) in slots.iter().zip(&plan.constants) {
        if let Place::Constants(offset) = slot.place
            && slot.len > 0
        {
            let bytes = data.bytes_mut();
            let target = &mut bytes[offset..offset + slot.len * slot.element_type.size()];
            write_bytes(&constant.data, target);
        }
    }
    (slots, data)
}

fn write_bytes(data: &ConstantData, target: &mut [u8]) {
    macro_rules! copy {
        ($data:expr) => {
            for (target, value) in target
                .chunks_exact_mut(size_of_val(&$data[0]))
                .zip($data.iter())
            {
                target.copy_from_slice(&value.to_ne_bytes());
            }
        };
    }
    match data {
        ConstantData::F32(data) => copy!(data),
        // `Plan::validate` allows f16 only for weights, which are packed and not copied.
        ConstantData::F16(_) => {}
        ConstantData::I64(data) => copy!(data),
        ConstantData::I32(data) => copy!(data),
        ConstantData::U8(data) => copy!(data),
        ConstantData::I8(data) => copy!(data),
    }
}
