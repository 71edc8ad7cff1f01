//! Fully connected layers with compressed weights: the same integers as the definition, on every
//! instruction set.

use pilotage_engine::WeightStorage;

use super::*;

/// What the weights of a layer have in common.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Each row has so many values.
    Clustered(usize),
    /// 4-bit integers times a scale for each so many weights of a row.
    Grouped(usize),
    /// The share of zeros.
    Sparse(f32),
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1_usize..=16).prop_map(Kind::Clustered),
        prop::sample::select(vec![64, 128]).prop_map(Kind::Grouped),
        (0.4_f32..1.0).prop_map(Kind::Sparse),
    ]
}

/// The name of the storage on instruction sets that have it.
fn expected(kind: Kind, set: InstructionSet) -> &'static [&'static str] {
    match (kind, set) {
        (_, InstructionSet::Scalar) => &["dense"],
        // Few weights may have few values, or few bits, by chance.
        (Kind::Clustered(_), _) => &["clustered", "sparse"],
        (Kind::Grouped(_), _) => &["int4", "clustered", "sparse"],
        (Kind::Sparse(_), InstructionSet::Avx512Vnni) => &["sparse", "clustered", "int4", "dense"],
        (Kind::Sparse(_), _) => &["dense", "clustered", "int4"],
    }
}

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        ((self.next() * 0.5 + 0.5) * count as f32) as usize % count
    }

    fn any(&mut self) -> i8 {
        (self.next() * 128.0).floor() as i8
    }

    fn weights(&mut self, kind: Kind, [units, depth]: [usize; 2]) -> Vec<i8> {
        let mut weights = Vec::new();
        for _ in 0..units {
            let values: Vec<i8> = match kind {
                Kind::Clustered(count) => (0..count).map(|_| self.any()).collect(),
                _ => Vec::new(),
            };
            let mut scale = 1;
            for tap in 0..depth {
                weights.push(match kind {
                    Kind::Clustered(count) => values[self.below(count)],
                    Kind::Grouped(group) => {
                        if tap % group == 0 {
                            scale = self.below(16) as i8 + 1;
                        }
                        (self.below(16) as i8 - 8) * scale.min(16)
                    }
                    Kind::Sparse(zeros) if self.next() * 0.5 + 0.5 < zeros => 0,
                    Kind::Sparse(_) => self.any(),
                });
            }
        }
        weights
    }

    /// A layer with compressible weights and a bias.
    fn layer(
        &mut self,
        b: &mut PlanBuilder,
        kind: Kind,
        shape: [usize; 2],
    ) -> impl Fn(Epilogue) -> Operation + use<> {
        let [units, depth] = shape;
        let weights = b.constant(&shape, ConstantData::I8(self.weights(kind, shape)));
        let bias = self.i32s(b, units);
        let multiplier = self.multipliers(b, units, depth + 1);
        move |finish| Operation::QuantizedFullyConnected {
            weights,
            bias: Some(bias),
            multiplier,
            finish,
        }
    }
}

/// Checks a plan with compressed and dense weights, on every instruction set and with several
/// threads, against the definition.
fn assert_same_bits(plan: &Plan, kind: Kind, seed: u64) {
    assert_matches_definition(plan, seed);
    let (inputs, _) = random_inputs(plan, seed);
    let expected_bits = bits_of(&outputs_of(plan, &inputs));
    for set in InstructionSet::available() {
        for (weights, threads) in [
            (WeightStorage::Compressed, 1),
            (WeightStorage::Compressed, 3),
            (WeightStorage::Dense, 1),
        ] {
            let options = CpuOptions {
                threads,
                instruction_set: Some(set),
                profile: true,
                weights,
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(plan, options).unwrap();
            let found = infer(&mut engine, &inputs);
            assert_eq!(bits_of(&found), expected_bits, "{set}, {weights:?}");
            for step in engine.profile() {
                let Some((stored, bytes)) = step.weights else {
                    continue;
                };
                let allowed = match weights {
                    WeightStorage::Compressed => expected(kind, set),
                    _ => &["dense"],
                };
                assert!(allowed.contains(&stored), "{set}: {kind:?} as {stored}");
                assert!(bytes > 0);
            }
        }
    }
}

fn bits_of(buffers: &[Buffer]) -> Vec<Vec<u64>> {
    let bits = |buffer: &Buffer| buffer.to_f64().iter().map(|x| x.to_bits()).collect();
    buffers.iter().map(bits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn compressed_layers_match_the_definition(
        kind in kinds(),
        depth in 1_usize..300,
        units in 1_usize..70,
        seed in 0_u64..1000,
    ) {
        let mut numbers = Numbers(seed);
        let mut b = PlanBuilder::default();
        let x = b.input(&[1, depth], ElementType::I8);
        let scale = b.input_f32(&[1]);
        let layer = numbers.layer(&mut b, kind, [units, depth]);
        let mut outputs = Vec::new();
        for finish in epilogues(&mut b, &mut numbers, units) {
            let inputs = inputs_of(&finish, x, scale);
            let output = output_type(&finish);
            outputs.push(b.typed_step(layer(finish), &inputs, &[1, units], output));
        }
        assert_same_bits(&b.finish(&outputs), kind, seed);
    }
}

#[test]
fn compressed_layers_read_each_others_outputs_in_place() {
    for (seed, kind) in [Kind::Clustered(16), Kind::Grouped(64), Kind::Sparse(0.8)]
        .into_iter()
        .enumerate()
    {
        let mut numbers = Numbers(seed as u64);
        let mut b = PlanBuilder::default();
        let mut x = b.input(&[1, 130], ElementType::I8);
        let mut depth = 130;
        for units in [200, 77, 9] {
            let layer = numbers.layer(&mut b, kind, [units, depth]);
            x = b.typed_step(layer(FULL_RANGE), &[x], &[1, units], ElementType::I8);
            depth = units;
        }
        assert_same_bits(&b.finish(&[x]), kind, 1);
    }
}

#[test]
fn small_and_batched_layers_stay_dense() {
    let stored = |shape: [usize; 2], rows: usize, weights| {
        let mut numbers = Numbers(3);
        let mut b = PlanBuilder::default();
        let x = b.input(&[rows, shape[1]], ElementType::I8);
        let layer = numbers.layer(&mut b, Kind::Clustered(16), shape);
        let y = b.typed_step(layer(FULL_RANGE), &[x], &[rows, shape[0]], ElementType::I8);
        let options = CpuOptions {
            profile: true,
            weights,
            ..CpuOptions::default()
        };
        let engine = CpuEngine::new(&b.finish(&[y]), options).unwrap();
        engine.profile().next().unwrap().weights.unwrap().0
    };
    assert_eq!(stored([64, 100], 1, WeightStorage::Fastest), "dense");
    assert_eq!(stored([64, 100], 2, WeightStorage::Compressed), "dense");
    if InstructionSet::best() != InstructionSet::Scalar {
        assert_eq!(stored([64, 100], 1, WeightStorage::Compressed), "clustered");
        assert_eq!(stored([1024, 1024], 1, WeightStorage::Fastest), "clustered");
        assert_eq!(stored([1024, 1024], 1, WeightStorage::Dense), "dense");
    }
}
