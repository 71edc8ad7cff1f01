//! Whatever the plan (JSON, up to the first zero byte) and its constants (the rest):
//! one that is taken for sound runs without reaching past its memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_engine::conformance::{infer, lend};
use pilotage_engine::plan::Operation;
use pilotage_engine::{CpuEngine, CpuOptions, Plan};
use pilotage_engine_fuzz::{of_plan, read};

/// Most work and memory, so that an input takes little time.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == 0);
    let (plan, constants) = bytes.split_at(end.unwrap_or(bytes.len()));
    let constants = constants.get(1..).unwrap_or_default();
    let Some(bundle) = of_plan(plan, constants).and_then(|file| read(&file)) else {
        return;
    };
    if work(&bundle.plan) > MOST {
        return;
    }
    let Ok(mut engine) = CpuEngine::new(&bundle.plan, CpuOptions::default()) else {
        return;
    };
    let (inputs, _) = lend(&bundle.plan, 1);
    infer(&mut engine, &inputs);
});

fn work(plan: &Plan) -> u64 {
    let layers = plan.layers();
    let steps = plan.steps.iter().zip(&layers).map(|(step, layer)| {
        let made: u64 = layer.output.iter().map(|&size| size as u64).product();
        match &step.operation {
            Operation::Pool2d { window, .. } => {
                let [height, width] = window.kernel.map(|size| size as u64);
                made.saturating_mul(height.saturating_mul(width))
            }
            _ => made.saturating_add(layer.multiply_adds),
        }
    });
    let inputs = plan.tensors.iter().map(|tensor| {
        let sizes = tensor.shape.iter().map(|&size| size as u64);
        sizes.product::<u64>()
    });
    steps.chain(inputs).fold(0, u64::saturating_add)
}
