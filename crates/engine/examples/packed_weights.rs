//! Times a fully connected layer with compressed INT8 weights against the same layer with dense
//! ones: the first one of PilotNet with same padding (Keras), 14400 inputs and 1164 outputs, of
//! 17.0 million parameters in all. One thread, every variant in turn.
//!
//!     cargo run --release -p pilotage-engine --example packed_weights [RUNS]
//!
//! `repeated` runs one layer again and again: 16.8 MB of dense weights stay in a cache that is
//! large enough. `from memory` runs copies of the layer in turn, with 16 times as many bytes of
//! weights as the last cache of most machines, so that every run reads them from memory.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement on the command line"
)]

use std::time::{Duration, Instant};

use pilotage_engine::conformance::{PlanBuilder, infer, number, random_inputs};
use pilotage_engine::plan::{ConstantData, Epilogue, Operation, Plan};
use pilotage_engine::{
    Buffer, CpuEngine, CpuOptions, ElementType, Engine, InstructionSet, TensorMut, TensorRef,
    WeightStorage,
};

/// 25 x 9 places of 64 channels, for a picture of 200 x 66 after three strides of 2.
const INPUTS: usize = 14_400;
const OUTPUTS: usize = 1_164;
/// Bytes of all copies that run in turn.
const EVICTING: usize = 256 << 20;

/// A kind of weights.
struct Variant {
    name: &'static str,
    plan: Plan,
}

fn layer(name: &'static str, seed: u64, mut weight: impl FnMut(usize, &mut u64) -> i8) -> Variant {
    let mut builder = PlanBuilder::default();
    let mut seed = seed;
    let weights = (0..OUTPUTS * INPUTS)
        .map(|at| weight(at, &mut seed))
        .collect();
    let multiplier = 0.02 / (INPUTS as f32).sqrt();
    let operation = Operation::QuantizedFullyConnected {
        weights: builder.constant(&[OUTPUTS, INPUTS], ConstantData::I8(weights)),
        bias: None,
        multiplier: builder.constant(&[OUTPUTS], ConstantData::F32(vec![multiplier; OUTPUTS])),
        finish: Epilogue::Int8 { low: 0, high: 127 },
    };
    let input = builder.input(&[1, INPUTS], ElementType::I8);
    let output = builder.typed_step(operation, &[input], &[1, OUTPUTS], ElementType::I8);
    Variant {
        name,
        plan: builder.finish(&[output]),
    }
}

fn any(seed: &mut u64) -> i8 {
    (number(seed) * 127.5) as i8
}

fn variants() -> Vec<Variant> {
    // Each row of a clustered layer has values of its own.
    let level = |row: usize, of: usize, count: usize| {
        let step = 254 / count;
        (row % 7 + of * step) as i32 - 127
    };
    let pick = |seed: &mut u64, count: usize| {
        let share = f64::from(number(seed)) * 0.5 + 0.5;
        ((share * count as f64) as usize).min(count - 1)
    };
    let clustered = move |count: usize| {
        move |at: usize, seed: &mut u64| level(at / INPUTS, pick(seed, count), count) as i8
    };
    let sparse = |zeros: f32| {
        move |_: usize, seed: &mut u64| match number(seed) * 0.5 + 0.5 < zeros {
            true => 0,
            false => any(seed),
        }
    };
    let int4 = |at: usize, seed: &mut u64| {
        let scale = (at / 64 % 13) as i32 + 5;
        ((number(seed) * 7.9) as i32 * scale) as i8
    };
    vec![
        layer("dense", 1, |_, seed| any(seed)),
        layer("16 clusters", 2, clustered(16)),
        layer("8 clusters", 3, clustered(8)),
        layer("int4, groups of 64", 4, int4),
        layer("50 % zeros", 5, sparse(0.5)),
        layer("65 % zeros", 6, sparse(0.65)),
        layer("80 % zeros", 7, sparse(0.8)),
        layer("90 % zeros", 8, sparse(0.9)),
    ]
}

/// An engine with its input and output.
struct Case {
    engine: CpuEngine,
    input: Vec<Buffer>,
    output: Vec<i8>,
}

impl Case {
    fn new(plan: &Plan, set: InstructionSet, weights: WeightStorage) -> Self {
        let options = CpuOptions {
            instruction_set: Some(set),
            weights,
            profile: true,
            ..CpuOptions::default()
        };
        Self {
            engine: CpuEngine::new(plan, options).unwrap(),
            input: random_inputs(plan, 1).0,
            output: vec![0; OUTPUTS],
        }
    }

    fn run(&mut self) -> Duration {
        let inputs: Vec<TensorRef<'_>> = self.input.iter().map(Buffer::as_ref).collect();
        let mut outputs = [TensorMut::I8(&mut self.output)];
        let start = Instant::now();
        self.engine.infer(&inputs, &mut outputs).unwrap();
        start.elapsed()
    }

    fn stored(&self) -> (&'static str, usize) {
        self.engine.profile().next().unwrap().weights.unwrap()
    }
}

/// Median and 99th percentile in microseconds.
fn summary(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    [at(50), at(99)]
}

fn measure(variants: &[Variant], set: InstructionSet, runs: usize, evict: bool) {
    let mut cases: Vec<Vec<Case>> = variants
        .iter()
        .map(|variant| {
            let case = || Case::new(&variant.plan, set, WeightStorage::Fastest);
            let first = case();
            let copies = match evict {
                // Copies of one variant only: their bytes alone do not fit a cache.
                true => (EVICTING / variants.len()).div_ceil(first.stored().1),
                false => 1,
            };
            std::iter::once(first)
                .chain((1..copies).map(|_| case()))
                .collect()
        })
        .collect();
    let mut times = vec![Vec::with_capacity(runs); variants.len()];
    for run in 0..runs {
        for (cases, times) in cases.iter_mut().zip(&mut times) {
            if evict {
                let count = cases.len();
                times.push(cases[run % count].run());
            } else {
                // The other variants have filled the cache.
                cases[0].run();
                cases[0].run();
                times.push(cases[0].run());
            }
        }
    }
    let place = if evict { "from memory" } else { "repeated" };
    let mut dense = None;
    for ((variant, cases), times) in variants.iter().zip(&cases).zip(&mut times) {
        let [median, p99] = summary(times);
        let dense = *dense.get_or_insert(median);
        let (stored, bytes) = cases[0].stored();
        println!(
            "| {set} | {place} | {} | {stored} | {:.2} | {median:.0} | {p99:.0} | {:.2} | {:.1} |",
            variant.name,
            bytes as f64 / 1e6,
            dense / median,
            bytes as f64 / median / 1e3,
        );
    }
}

fn main() {
    let runs = std::env::args().nth(1).and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(100);
    let variants = variants();
    println!("{OUTPUTS} x {INPUTS}, one thread, medians of {runs} runs in turn");
    println!("| set | weights | kind | stored | MB | median us | p99 us | times as fast | GB/s |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for set in InstructionSet::available().filter(|&set| set != InstructionSet::Scalar) {
        for variant in &variants {
            let run = |weights| {
                let mut case = Case::new(&variant.plan, set, weights);
                infer(&mut case.engine, &case.input)
            };
            let [dense, packed] = [WeightStorage::Dense, WeightStorage::Fastest].map(run);
            assert_eq!(dense, packed, "{set}: {} differs", variant.name);
        }
        for evict in [false, true] {
            measure(&variants, set, runs, evict);
        }
    }
}
