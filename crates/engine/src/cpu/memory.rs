//! Where tensors lie: one arena whose places are used again once a tensor is
//! no longer read.
#![allow(unsafe_code)]

use crate::plan::{ConstantData, ConstantId, Operand, Operation, Plan, TensorId};
use crate::{ElementType, TensorRef};

/// A cache line, and the widest vector there is.
const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Bytes that start at a cache line.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    lines: Vec<Line>,
}

impl AlignedBytes {
    pub(crate) fn zeroed(bytes: usize) -> Self {
        Self {
            lines: vec![Line([0; LINE]); bytes.div_ceil(LINE)],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len() * LINE
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.lines.as_ptr().cast()
    }

    /// A copy.
    pub(crate) fn holding(data: &[i8]) -> Self {
        let mut this = Self::zeroed(data.len());
        for (to, &x) in this.bytes_mut().iter_mut().zip(data) {
            *to = x.cast_unsigned();
        }
        this
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a `Line` is its 64 bytes, without padding.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: a `Line` is its 64 bytes, without padding.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }
}

/// Which memory a tensor is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Byte offset in the arena.
    Arena(usize),
    /// Byte offset in the constants.
    Constants(usize),
    /// What the caller lent for this input.
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

/// A type that may lie in the memory: any bits are a value of it.
///
/// # Safety
/// Plain old data without padding, and of no greater alignment than a cache line.
pub(crate) unsafe trait Element: Copy {}
// SAFETY: these are plain numbers.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for i64 {}
// SAFETY: as above.
unsafe impl Element for i32 {}
// SAFETY: as above.
unsafe impl Element for u64 {}
// SAFETY: as above.
unsafe impl Element for u32 {}
// SAFETY: as above.
unsafe impl Element for u8 {}
// SAFETY: as above.
unsafe impl Element for i8 {}

/// All memory of one inference.
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
    /// The slot comes from the [`MemoryMap`] these views' memory was made for, the
    /// inputs match their ports, `T` has the size of the slot's elements, and no
    /// slice that [`write`](Self::write) gave of overlapping memory is alive.
    pub(crate) unsafe fn read<T: Element>(&self, slot: Slot) -> &'a [T] {
        debug_assert_eq!(size_of::<T>(), slot.element_type.size());
        let bytes = slot.len * size_of::<T>();
        let start = match slot.place {
            Place::Arena(offset) => {
                debug_assert!(offset + bytes <= self.arena_len);
                // SAFETY: the map gives offsets inside the arena it sized.
                unsafe { self.arena.add(offset).cast_const() }
            }
            Place::Constants(offset) => {
                debug_assert!(offset + bytes <= self.constants.len());
                // SAFETY: likewise for the constants.
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
        // SAFETY: the slot's length was sized from the same shape; offsets are
        // multiples of a cache line and the caller's slices are aligned for an
        // element of this size; the caller rules out aliasing.
        unsafe { std::slice::from_raw_parts(start.cast(), slot.len) }
    }

    /// The elements of a slot in the arena, to fill.
    ///
    /// # Safety
    /// As for [`read`](Self::read), and no other slice of overlapping memory is alive.
    #[allow(clippy::mut_from_ref, reason = "the arena is apart from these views")]
    pub(crate) unsafe fn write<T: Element>(&self, slot: Slot) -> &'a mut [T] {
        debug_assert_eq!(size_of::<T>(), slot.element_type.size());
        let Place::Arena(offset) = slot.place else {
            unreachable!("a step's output is in the arena");
        };
        debug_assert!(offset + slot.len * size_of::<T>() <= self.arena_len);
        // SAFETY: as in `read`; the arena was lent mutably.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(offset).cast(), slot.len) }
    }
}

/// Where everything of a plan lies.
pub(crate) struct MemoryMap {
    tensors: Vec<Slot>,
    constants: Vec<Slot>,
    /// Memory of each step for itself while it runs.
    pub(crate) scratch: Vec<Slot>,
    /// Bytes of the arena.
    pub(crate) arena: usize,
    /// The constants that steps or outputs read as tensors.
    pub(crate) data: AlignedBytes,
}

impl MemoryMap {
    /// Lays out a validated plan, whose steps each want so many bytes of scratch, and
    /// whose tensors, where they own their memory (see [`owners`]), so many behind them
    /// that no other has meanwhile.
    pub(crate) fn new(plan: &Plan, scratch: &[usize], slack: &[usize]) -> Self {
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
        map.place_tensors(plan, slack);
        map
    }

    pub(crate) fn slot(&self, operand: Operand) -> Slot {
        match operand {
            Operand::Tensor(TensorId(id)) => self.tensors[id],
            Operand::Constant(ConstantId(id)) => self.constants[id],
        }
    }

    fn place_tensors(&mut self, plan: &Plan, slack: &[usize]) {
        let owner = owners(plan);
        let mut lives: Vec<Option<Life>> = vec![None; plan.tensors.len()];
        for (index, port) in plan.inputs.iter().enumerate() {
            if let Operand::Tensor(TensorId(id)) = port.operand {
                self.tensors[id].place = Place::Input(index);
            }
        }
        let extend = |lives: &mut [Option<Life>], id: usize, step: usize| {
            if let Some(life) = &mut lives[id] {
                life.last = step;
            }
        };
        for (index, step) in plan.steps.iter().enumerate() {
            for operand in &step.inputs {
                if let Operand::Tensor(TensorId(id)) = operand {
                    extend(&mut lives, owner[*id], index);
                }
            }
            let output = step.output.0;
            if matches!(step.operation, Operation::Reshape) {
                self.tensors[output].place = self.slot(step.inputs[0]).place;
            } else {
                let slot = self.tensors[output];
                let bytes = slot.len * slot.element_type.size() + slack[output];
                lives[output] = Some(Life {
                    first: index,
                    last: index,
                    bytes: bytes.next_multiple_of(LINE),
                    offset: 0,
                });
            }
        }
        for port in &plan.outputs {
            if let Operand::Tensor(TensorId(id)) = port.operand {
                extend(&mut lives, owner[id], plan.steps.len());
            }
        }
        lives.extend(self.scratch.iter().enumerate().map(|(step, slot)| {
            (slot.len > 0).then(|| Life {
                first: step,
                last: step,
                bytes: slot.len.next_multiple_of(LINE),
                offset: 0,
            })
        }));
        self.arena = place_lives(&mut lives);
        for (slot, life) in self.scratch.iter_mut().zip(&lives[plan.tensors.len()..]) {
            slot.place = Place::Arena(life.map_or(0, |life| life.offset));
        }
        for (slot, &owner) in self.tensors.iter_mut().zip(&owner) {
            if let (Place::Arena(_), Some(life)) = (slot.place, lives[owner]) {
                slot.place = Place::Arena(life.offset);
            }
        }
    }
}

/// Whose memory each tensor of a validated plan is in: a reshaped one is the tensor it
/// came from.
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

/// From the step that makes a tensor to the last that reads it.
#[derive(Debug, Clone, Copy)]
struct Life {
    first: usize,
    last: usize,
    bytes: usize,
    offset: usize,
}

/// Gives each its offset, the largest first, each at the lowest place that is
/// free throughout its life. Returns the bytes needed.
fn place_lives(lives: &mut [Option<Life>]) -> usize {
    let mut order: Vec<usize> = (0..lives.len()).filter(|&id| lives[id].is_some()).collect();
    order.sort_by_key(|&id| (lives[id].map(|life| std::cmp::Reverse(life.bytes)), id));
    // Kept sorted by offset.
    let mut placed: Vec<Life> = Vec::new();
    let mut total = 0;
    for id in order {
        let Some(life) = &mut lives[id] else { continue };
        let mut offset = 0;
        for other in &placed {
            if other.first > life.last || other.last < life.first {
                continue;
            }
            if offset + life.bytes <= other.offset {
                break;
            }
            offset = offset.max(other.offset + other.bytes);
        }
        life.offset = offset;
        total = total.max(offset + life.bytes);
        let at = placed.partition_point(|other| other.offset <= offset);
        placed.insert(at, *life);
    }
    total
}

/// The constants read as tensors, copied to one place.
fn place_constants(plan: &Plan) -> (Vec<Slot>, AlignedBytes) {
    let mut wanted = vec![false; plan.constants.len()];
    let operands = plan.steps.iter().flat_map(|step| &step.inputs);
    let ports = plan.outputs.iter().map(|port| &port.operand);
    for operand in operands.chain(ports) {
        if let Operand::Constant(ConstantId(id)) = operand {
            wanted[*id] = true;
        }
    }
    let mut total = 0;
    let slots: Vec<Slot> = plan
        .constants
        .iter()
        .zip(&wanted)
        .map(|(constant, &wanted)| {
            let element_type = constant.data.element_type();
            let len = if wanted { constant.data.len() } else { 0 };
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
        // Only weights are, and those are packed; the plan's check saw to it.
        ConstantData::F16(_) => {}
        ConstantData::I64(data) => copy!(data),
        ConstantData::I32(data) => copy!(data),
        ConstantData::U8(data) => copy!(data),
        ConstantData::I8(data) => copy!(data),
    }
}
