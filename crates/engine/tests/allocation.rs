//! An inference allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pilotage_engine::conformance::{self, Buffer};
use pilotage_engine::{CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};

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

// The only test of this file: another would be counted too.
#[test]
fn infer_allocates_nothing() {
    for (name, plan) in conformance::networks() {
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
