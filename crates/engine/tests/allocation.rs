//! An inference allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pilotage_engine::conformance::{self, Buffer, PlanBuilder};
use pilotage_engine::plan::{Activation, ConstantData, Finish, Operation, Plan, Window};
use pilotage_engine::{CpuEngine, CpuOptions, ElementType, Engine, TensorMut, TensorRef};

/// Counts what every thread asks for.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// INT8 layers of each kind: of odd channels, padded, depthwise, and fully connected to
/// levels and to floats.
fn integers() -> Plan {
    let mut b = PlanBuilder::default();
    let mut x = b.input(&[1, 21, 31, 3], ElementType::I8);
    let mut layer = |depth: usize, taps: &[usize]| {
        let shape = [&[depth], taps].concat();
        let count = shape.iter().product::<usize>();
        let levels = (0..count).map(|i| (i * 37 % 255) as i8).collect();
        let multiplier = ConstantData::F32(vec![0.001; depth]);
        let weights = b.constant(&shape, ConstantData::I8(levels));
        (weights, b.constant(&[depth], multiplier))
    };
    let convolutions = [
        (layer(24, &[5, 5, 3]), [5, 2, 0, 1], [1, 9, 14, 24]),
        (layer(36, &[3, 3, 24]), [3, 1, 1, 1], [1, 9, 14, 36]),
        (layer(36, &[3, 3, 1]), [3, 1, 1, 36], [1, 9, 14, 36]),
    ];
    let (hidden, last) = (layer(70, &[4536]), layer(2, &[70]));
    let finish = Finish::Int8 { low: 0, high: 127 };
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
            finish,
        };
        x = b.typed_step(convolution, &[x], &shape, ElementType::I8);
    }
    x = b.typed_step(Operation::Reshape, &[x], &[1, 4536], ElementType::I8);
    let activation = Activation::Tanh;
    for ((weights, multiplier), finish, units, made) in [
        (hidden, finish, 70, ElementType::I8),
        (last, Finish::Float { activation }, 2, ElementType::F32),
    ] {
        let dense = Operation::QuantizedFullyConnected {
            weights,
            bias: None,
            multiplier,
            finish,
        };
        x = b.typed_step(dense, &[x], &[1, units], made);
    }
    b.finish(&[x])
}

// The only test of this file: another would be counted too.
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
            let (inputs, _) = conformance::lend(&plan, 7);
            let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
            let lent: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
            let mut fill: Vec<TensorMut<'_>> = outputs.iter_mut().map(Buffer::as_mut).collect();
            // The new threads' own start may allocate.
            engine.infer(&lent, &mut fill).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            let before = ASKED.load(Ordering::SeqCst);
            for _ in 0..20 {
                engine.infer(&lent, &mut fill).unwrap();
            }
            let asked = ASKED.load(Ordering::SeqCst) - before;
            assert_eq!(asked, 0, "{name}, {threads} threads");
        }
    }
}
