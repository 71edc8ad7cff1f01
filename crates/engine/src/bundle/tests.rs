use pilotage_vehicle::Domain;
use proptest::prelude::*;

use super::*;
use crate::plan::{Activation, ConstantId, Operand, Operation, TensorId};

use crate::{AxisOrder, Bins, Decode, FrameSize, Meaning, Output};

fn bundle(weights: Vec<f32>, alpha: f32) -> Bundle {
    let units = weights.len() / 3;
    let spec = |size| TensorSpec {
        shape: vec![1, size],
        element_type: ElementType::F32,
    };
    let port = |name: &str, id| PlanPort {
        name: name.into(),
        operand: Operand::Tensor(TensorId(id)),
        layout: AxisOrder::Model,
    };
    Bundle {
        manifest: Manifest {
            name: "tiny".into(),
            domain: Domain::Simulated,
            preprocessing: serde_json::json!({"size": [3, 1]}),
            frame_size: Some(FrameSize {
                width: 160,
                height: 120,
            }),
            outputs: vec![Output {
                name: "out".into(),
                index: 0,
                meaning: Meaning::Steering,
                scale: 1.0,
                offset: 0.0,
                bins: Some(Bins {
                    count: 3,
                    first: -1.0,
                    last: 1.0,
                    decode: Decode::Argmax,
                }),
            }],
            throttle: Some(0.25),
            decoder: None,
            precision: "fp32".into(),
            recipe: serde_json::json!({"model": "tiny.onnx"}),
            calibration: None,
            gate: Vec::new(),
            trials: Vec::new(),
            raised: Vec::new(),
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
        sections: BTreeMap::from([("gate.frames".to_owned(), vec![1, 2, 3])]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_bundles_are_read_back(
        weights in prop::collection::vec(prop::num::f32::NORMAL, 6..=6),
        alpha in prop::num::f32::NORMAL,
    ) {
        let bundle = bundle(weights, alpha);
        let file = bundle.write().unwrap();
        prop_assert_eq!(&file, &bundle.clone().write().unwrap());
        prop_assert_eq!(Bundle::read(&file).unwrap(), bundle);
    }

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = bundle(vec![0.5; 6], 0.1).write().unwrap();
        let mut tail = file[..200].to_vec();
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
    for length in 0..file.len() {
        let error = Bundle::read(&file[..length]).unwrap_err();
        let expected = match length {
            0..8 => matches!(error, BundleError::NotAnEngine),
            _ => matches!(error, BundleError::Truncated),
        };
        assert!(expected, "{length}: {error}");
    }
    let longer = Bundle::read(&[file, vec![0]].concat()).unwrap_err();
    assert!(longer.to_string().contains("copy it again"), "{longer}");
    let message = BundleError::NotAnEngine.to_string();
    assert!(message.contains("engines/*.toml"), "{message}");
    assert!(!message.contains("pilotage compile"), "{message}");
}

/// A file with correct checksums and invalid content, as an attacker would write it.
fn forged(manifest: &Manifest, plan: &str, constants: &[u8]) -> Vec<u8> {
    let sections = [("plan", plan.as_bytes()), ("constants", constants)];
    let sections = sections.map(|(name, content)| (name.to_owned(), content.to_vec()));
    container::write(manifest, &BTreeMap::from(sections)).unwrap()
}

#[test]
fn forged_content_is_an_error() {
    let mut good = bundle(vec![0.5, -1.0, 2.0], 0.1);
    good.sections.clear();
    let manifest = good.manifest.clone();
    let file = good.write().unwrap();
    let (_, sections) = container::read(&file).unwrap();
    let (plan, constants) = (sections["plan"], sections["constants"]);
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

/// An INT8 plan whose weights are stored compressed.
fn compressible() -> Bundle {
    let mut made = bundle(vec![0.5; 6], 0.1);
    made.sections.clear();
    // Each row has two values besides the zeros.
    let weights = (0..64 * 48_i32).map(|at| match at % 8 {
        0 => (at / 48 + 1) as i8,
        1 => -(at / 48 + 3) as i8,
        _ => 0,
    });
    made.plan.constants.push(Constant {
        shape: vec![64, 48],
        data: ConstantData::I8(weights.collect()),
    });
    made
}

#[test]
fn compressed_weights_are_smaller_and_the_same_integers() {
    let made = compressible();
    let file = made.write().unwrap();
    assert_eq!(Bundle::read(&file).unwrap(), made);
    let (_, sections) = container::read(&file).unwrap();
    // A bit for each weight, a codebook for each row, a bit for each that is not 0.
    assert!(
        sections["constants"].len() < 64 * 48 / 4,
        "{}",
        sections["constants"].len()
    );
    let plan = str::from_utf8(sections["plan"]).unwrap();
    assert!(plan.contains("sparse_clustered"), "{plan}");
}

#[test]
fn files_of_version_3_are_read() {
    let made = bundle(vec![0.5, -1.0, 2.0], 0.1);
    let file = made.write().unwrap();
    let (manifest, sections) = container::read(&file).unwrap();
    let sections = sections.into_iter();
    let sections = sections
        .map(|(name, content)| (name, content.to_vec()))
        .collect();
    let old = container::write_version(3, &manifest, &sections).unwrap();
    assert_ne!(old, file);
    assert_eq!(Bundle::read(&old).unwrap(), made);
    for version in [2, 6] {
        let other = container::write_version(version, &manifest, &sections).unwrap();
        let error = Bundle::read(&other).unwrap_err();
        assert!(
            matches!(error, BundleError::Version { found } if found == version),
            "{error}"
        );
        assert!(error.to_string().contains("reads 3 to 5"), "{error}");
    }
}

#[test]
fn forged_compressed_weights_are_errors() {
    let good = compressible();
    let manifest = good.manifest.clone();
    let file = good.write().unwrap();
    let (_, sections) = container::read(&file).unwrap();
    let plan = str::from_utf8(sections["plan"]).unwrap();
    let constants = sections["constants"];
    let swap = |from: &str, to: &str| {
        assert!(plan.contains(from), "{plan}");
        Bundle::read(&forged(&manifest, &plan.replace(from, to), constants)).unwrap_err()
    };
    let bits = "\"bits\":1";
    for other in ["\"bits\":0", "\"bits\":2", "\"bits\":200"] {
        let error = swap(bits, other);
        assert!(
            matches!(error, BundleError::ConstantEncoding { id: 2 }),
            "{error}"
        );
    }
    let error = swap("\"per_row\":true", "\"per_row\":false");
    assert!(
        matches!(error, BundleError::ConstantEncoding { id: 2 }),
        "{error}"
    );
    let error = swap("sparse_clustered", "clustered");
    assert!(
        matches!(error, BundleError::ConstantEncoding { id: 2 }),
        "{error}"
    );
    let error = swap("sparse_clustered", "zip");
    assert!(matches!(error, BundleError::Json { .. }), "{error}");
    let error = swap(
        "[64,48],\"element_type\":\"i8\"",
        "[64,48],\"element_type\":\"u8\"",
    );
    assert!(
        matches!(error, BundleError::ConstantType { id: 2, .. }),
        "{error}"
    );
    // The elements would need much more memory than the file has.
    let error = swap("[64,48]", "[1048576,1048576]");
    let too_large = matches!(error, BundleError::Plan(PlanError::TooLarge { .. }));
    assert!(too_large, "{error}");
    let error = swap("[64,48]", "[268000000,1]");
    assert!(
        matches!(error, BundleError::ConstantEncoding { id: 2 }),
        "{error}"
    );
    for length in [0, 1, 63] {
        let cut = &constants[..constants.len() - length - 1];
        let error = Bundle::read(&forged(&manifest, plan, cut)).unwrap_err();
        assert!(
            matches!(error, BundleError::ConstantPlace { id: 2 }),
            "{error}"
        );
    }
}

#[test]
fn a_weight_that_is_not_finite_is_not_written() {
    let bad = bundle(vec![0.5, f32::INFINITY, 2.0], 0.1);
    assert!(matches!(bad.write(), Err(BundleError::NotFinite { id: 0 })));
}

/// Safetensors containers that are not engine files.
#[test]
fn other_containers_are_errors() {
    let wrap = |metadata: Option<&str>, sections: &[(&str, &[u8])]| {
        let views = sections.iter().map(|(name, content)| {
            let shape = vec![content.len()];
            let view = safetensors::tensor::TensorView::new(
                safetensors::tensor::Dtype::U8,
                shape,
                content,
            );
            (*name, view.unwrap())
        });
        let metadata = metadata
            .map(|text| std::collections::HashMap::from([("pilotage".to_owned(), text.into())]));
        safetensors::tensor::serialize(views, metadata).unwrap()
    };
    let error = |file: Vec<u8>| Bundle::read(&file).unwrap_err();
    let plain = error(wrap(None, &[("weights", &[1, 2, 3])]));
    assert!(matches!(plain, BundleError::NotAnEngine), "{plain}");
    let old = error(wrap(Some("{\"version\":1}"), &[]));
    assert!(matches!(old, BundleError::Version { found: 1 }), "{old}");
    let uncovered = error(wrap(Some("{\"version\":3}"), &[]));
    assert!(
        matches!(uncovered, BundleError::Checksum { .. }),
        "{uncovered}"
    );
    let long = [u64::MAX.to_le_bytes().to_vec(), vec![b'{'; 100]].concat();
    assert!(matches!(error(long), BundleError::NotAnEngine));
}
