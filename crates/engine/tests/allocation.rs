//! An inference does not allocate memory.
#![allow(
    unsafe_code,
    reason = "GlobalAlloc is unsafe; the crate allocation-counter counts one thread only"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pilotage_engine::conformance::{self, PlanBuilder};
use pilotage_engine::plan::{Activation, ConstantData, Epilogue, Operation, Plan, Window};
use pilotage_engine::{Buffer, CpuEngine, CpuOptions, ElementType, Engine, TensorMut, TensorRef};

/// Counts the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method forwards its arguments to the system allocator, which fulfils the
// contract of `GlobalAlloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller guarantees the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that `at` was allocated here, so by `System`, with
        // `layout`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as for `dealloc`; the caller guarantees a valid new size.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// INT8 layers of each kind: with an odd number of channels, padded, depthwise, and fully
/// connected with i8 and with f32 output.
fn integers() -> Plan {
    let mut b = PlanBuilder::default();
    let mut x = b.input(&[1, 21, 31, 3], ElementType::I8);
    let mut layer = |depth: usize, taps: &[usize]| {
        let shape = [&[depth], taps].concat();
        let count = shape.iter().product::<usize>();
        let weights = (0..count).map(|i| (i * 37 % 255) as i8).collect();
        let multiplier = ConstantData::F32(vec![0.001; depth]);
        let weights = b.constant(&shape, ConstantData::I8(weights));
        (weights, b.constant(&[depth], multiplier))
    };
    let convolutions = [
        (layer(24, &[5, 5, 3]), [5, 2, 0, 1], [1, 9, 14, 24]),
        (layer(36, &[3, 3, 24]), [3, 1, 1, 1], [1, 9, 14, 36]),
        (layer(36, &[3, 3, 1]), [3, 1, 1, 36], [1, 9, 14, 36]),
    ];
    let (hidden, last) = (layer(70, &[4536]), layer(2, &[70]));
    let epilogue = Epilogue::Int8 { low: 0, high: 127 };
    for ((weights, multiplier), [kernel, stride, pad, groups], shape) in convolutions {
        let convolution = Operation::QuantizedConv2d {
            weights,
            bias: None,
            multiplier,
            window: Window {
                kernel: [kernel; 2],
                strides: [stride; 2],
                pads: [pad; 2],
                dilations: [1; 2],
            },
            groups,
            finish: epilogue,
        };
        x = b.typed_step(convolution, &[x], &shape, ElementType::I8);
    }
    x = b.typed_step(Operation::Reshape, &[x], &[1, 4536], ElementType::I8);
    let activation = Activation::Tanh;
    for ((weights, multiplier), epilogue, units, element_type) in [
        (hidden, epilogue, 70, ElementType::I8),
        (last, Epilogue::Float { activation }, 2, ElementType::F32),
    ] {
        let dense = Operation::QuantizedFullyConnected {
            weights,
            bias: None,
            multiplier,
            finish: epilogue,
        };
        x = b.typed_step(dense, &[x], &[1, units], element_type);
    }
    b.finish(&[x])
}

// The only test of this file: the allocations of another test would be counted too.
#[test]
fn infer_allocates_nothing() {
    for (name, plan) in [conformance::networks(), vec![("integers", integers())]].concat() {
        for threads in [1, 2] {
            let options = CpuOptions {
                threads,
                profile: threads == 2,
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(&plan, options).unwrap();
            let (inputs, _) = conformance::random_inputs(&plan, 7);
            let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
            let inputs: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
            let mut outputs: Vec<TensorMut<'_>> = outputs.iter_mut().map(Buffer::as_mut).collect();
            // The start of the worker threads may allocate.
            engine.infer(&inputs, &mut outputs).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for _ in 0..20 {
                engine.infer(&inputs, &mut outputs).unwrap();
            }
            let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
            assert_eq!(allocations, 0, "{name}, {threads} threads");
        }
    }
}
