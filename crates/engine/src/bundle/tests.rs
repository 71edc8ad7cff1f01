use proptest::prelude::*;

use super::*;
use crate::plan::{Activation, ConstantId, Operand, Operation, TensorId};
use crate::{Layout, Meaning};

fn bundle(weights: Vec<f32>, alpha: f32) -> Bundle {
    let units = weights.len() / 3;
    let spec = |size| TensorSpec {
        shape: vec![1, size],
        element_type: ElementType::F32,
    };
    let port = |name: &str, id| PlanPort {
        name: name.into(),
        operand: Operand::Tensor(TensorId(id)),
        layout: Layout::Plain,
    };
    Bundle {
        manifest: Manifest {
            name: "tiny".into(),
            domain: Domain::Simulated,
            preprocessing: serde_json::json!({"size": [3, 1]}),
            outputs: vec![Output {
                name: "out".into(),
                index: 0,
                meaning: Meaning::Steering,
                scale: 1.0,
                offset: 0.0,
            }],
            source_sha256: "00".repeat(32),
            tool_version: "0.1.0".into(),
        },
        plan: Plan {
            tensors: vec![spec(3), spec(units)],
            constants: vec![
                Constant {
                    shape: vec![units, 3],
                    data: ConstantData::F32(weights),
                },
                Constant {
                    shape: vec![2],
                    data: ConstantData::I64(vec![-1, i64::MAX]),
                },
            ],
            inputs: vec![port("in", 0)],
            outputs: vec![port("out", 1)],
            steps: vec![Step {
                name: "dense".into(),
                operation: Operation::FullyConnected {
                    weights: ConstantId(0),
                    bias: None,
                    activation: Activation::LeakyRelu { alpha },
                },
                inputs: vec![Operand::Tensor(TensorId(0))],
                output: TensorId(1),
            }],
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(
        weights in prop::collection::vec(prop::num::f32::NORMAL, 6..=6),
        alpha in prop::num::f32::NORMAL,
    ) {
        let bundle = bundle(weights, alpha);
        let file = bundle.write().unwrap();
        prop_assert_eq!(&file, &bundle.clone().write().unwrap());
        prop_assert_eq!(Bundle::read(&file).unwrap(), bundle);
    }

    #[test]
    fn any_bytes_are_an_engine_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = bundle(vec![0.5; 6], 0.1).write().unwrap();
        let mut tail = file[..HEADER].to_vec();
        tail.extend(&bytes);
        prop_assert!(Bundle::read(&bytes).is_err());
        prop_assert!(Bundle::read(&tail).is_err());
    }
}

#[test]
fn every_flipped_byte_is_an_error() {
    let file = bundle(vec![0.5, -1.0, 2.0], 0.1).write().unwrap();
    for at in 0..file.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            assert!(Bundle::read(&damaged).is_err(), "byte {at} ^ {flip:#x}");
        }
    }
}

#[test]
fn every_shorter_or_longer_file_is_an_error() {
    let file = bundle(vec![0.5, -1.0, 2.0], 0.1).write().unwrap();
    for length in 1..file.len() {
        let error = Bundle::read(&file[..length]).unwrap_err();
        assert!(
            matches!(error, BundleError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    assert!(matches!(
        Bundle::read(&[file, vec![0]].concat()),
        Err(BundleError::TooLong { extra: 1 })
    ));
    assert!(matches!(Bundle::read(&[]), Err(BundleError::NotAnEngine)));
    let message = BundleError::NotAnEngine.to_string();
    assert!(message.contains("engines/*.toml"), "{message}");
    assert!(!message.contains("pilotage compile"), "{message}");
}

/// A file whose checksums are right but whose content is not: what an attacker writes.
fn forged(manifest: &str, plan: &str, constants: &[u8]) -> Vec<u8> {
    let sections = [manifest.as_bytes(), plan.as_bytes(), constants];
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend(3_u32.to_le_bytes());
    for (kind, section) in (1_u32..).zip(sections) {
        file.extend(kind.to_le_bytes());
        file.extend([0; 4]);
        file.extend((section.len() as u64).to_le_bytes());
        file.extend(Sha256::digest(section));
    }
    file.extend(Sha256::digest(&file));
    for section in sections {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(section);
    }
    file
}

#[test]
fn forged_content_is_an_error() {
    let good = bundle(vec![0.5, -1.0, 2.0], 0.1);
    let manifest = serde_json::to_string(&good.manifest).unwrap();
    let file = good.write().unwrap();
    let [_, plan, constants] = sections(&file).unwrap();
    let plan = str::from_utf8(plan).unwrap();
    assert_eq!(
        Bundle::read(&forged(&manifest, plan, constants)).unwrap(),
        good
    );
    let swap = |from: &str, to: &str| {
        assert!(plan.contains(from), "{plan}");
        Bundle::read(&forged(&manifest, &plan.replace(from, to), constants)).unwrap_err()
    };
    let huge = usize::MAX.to_string();
    assert!(matches!(
        swap(
            "\"shape\":[1,3],\"element_type\":\"f32\"},{\"shape\":[1,1]",
            &format!("\"shape\":[1,{huge}],\"element_type\":\"f32\"}},{{\"shape\":[1,1]")
        ),
        BundleError::Plan(PlanError::TooLarge { .. })
    ));
    assert!(matches!(
        swap(
            "\"constants\":[{\"shape\":[1,3]",
            &format!("\"constants\":[{{\"shape\":[{huge},3]")
        ),
        BundleError::ConstantPlace { id: 0 }
    ));
    assert!(matches!(
        swap("\"element_type\":\"i64\"", "\"element_type\":\"bool\""),
        BundleError::ConstantType { id: 1, .. }
    ));
    assert!(matches!(
        swap("\"weights\":0", "\"weights\":7"),
        BundleError::Plan(PlanError::Unknown { .. })
    ));
    assert!(matches!(
        swap("\"alpha\":0.1", "\"alpha\":1e39"),
        BundleError::Plan(PlanError::OutOfRange { .. }) | BundleError::Json { .. }
    ));
    assert!(matches!(
        swap("{\"tensors\"", "{\"extra\":1,\"tensors\""),
        BundleError::Json {
            section: "plan",
            ..
        }
    ));
    let nan = [&f32::NAN.to_le_bytes()[..], &constants[4..]].concat();
    assert!(matches!(
        Bundle::read(&forged(&manifest, plan, &nan)),
        Err(BundleError::NotFinite { id: 0 })
    ));
    let deep = format!("{{\"tensors\":{}", "[".repeat(100_000));
    assert!(matches!(
        Bundle::read(&forged(&manifest, &deep, constants)),
        Err(BundleError::Json {
            section: "plan",
            ..
        })
    ));
}

#[test]
fn a_weight_that_is_not_finite_is_not_written() {
    let bad = bundle(vec![0.5, f32::INFINITY, 2.0], 0.1);
    assert!(matches!(bad.write(), Err(BundleError::NotFinite { id: 0 })));
}
