use std::collections::BTreeMap;

use pilotage_graph::{ElementType, Gemm, GraphBuilder, Op, Tensor, TensorType};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A case that tests/write_calibration.py wrote.
#[derive(Deserialize)]
struct Case {
    limit: f64,
    counts: BTreeMap<usize, u64>,
    entropy: f64,
    #[serde(rename = "percentile 99.9")]
    percentile: f64,
    #[serde(rename = "least squares")]
    least_squares: f64,
}

impl Case {
    fn all() -> BTreeMap<String, Self> {
        serde_json::from_str(include_str!("../../tests/calibration.json")).unwrap()
    }

    fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::new(self.limit as f32);
        for (&bin, &count) in &self.counts {
            histogram.counts[bin] = count;
        }
        histogram
    }

    fn bin_width(&self) -> f64 {
        2.0 * self.limit / BINS as f64
    }
}

#[test]
fn entropy_is_onnxruntimes_on_the_same_histograms() {
    for (name, case) in Case::all() {
        let found = f64::from(Method::Entropy.limit(&case.histogram()));
        // The same bin: the numbers differ only by f32 rounding.
        let near = (found - case.entropy).abs() < 0.01 * case.bin_width();
        assert!(near, "{name}: {found}, onnxruntime {}", case.entropy);
    }
}

#[test]
fn percentile_is_numpys_within_a_bin() {
    for (name, case) in Case::all() {
        let found = f64::from(Method::Percentile(99.9).limit(&case.histogram()));
        let near = (found - case.percentile).abs() <= case.bin_width();
        assert!(near, "{name}: {found}, numpy {}", case.percentile);
    }
}

#[test]
fn least_squares_is_numpys_on_the_data_itself() {
    for (name, case) in Case::all() {
        let found = f64::from(Method::Mse.limit(&case.histogram()));
        // The histogram resolves each number only to its bin, and the error is flat near its
        // minimum. Hence the tolerance of 5 % of the limit.
        let near = (found - case.least_squares).abs() <= 0.05 * case.limit;
        assert!(near, "{name}: {found}, numpy {}", case.least_squares);
    }
}

#[test]
fn minmax_is_the_largest_magnitude() {
    for case in Case::all().values() {
        assert_eq!(Method::MinMax.limit(&case.histogram()), case.limit as f32);
    }
}

proptest! {
    #[test]
    fn a_histogram_counts_everything_once(
        data in prop::collection::vec(-3.0_f32..3.0, 1..300),
        split in 0_usize..300,
    ) {
        let limit = data.iter().fold(0.1_f32, |most, x| most.max(x.abs()));
        let mut whole = Histogram::new(limit);
        whole.add(&data);
        prop_assert_eq!(whole.counts.iter().sum::<u64>(), data.len() as u64);
        let (a, b) = data.split_at(split.min(data.len()));
        let (mut first, mut second) = (Histogram::new(limit), Histogram::new(limit));
        second.add(a);
        first.add(b);
        first.merge(&second);
        prop_assert_eq!(first, whole);
    }

    #[test]
    fn every_method_keeps_a_part_of_the_observed_range(
        data in prop::collection::vec(-3.0_f32..3.0, 1..300),
        scale in 1e-3_f32..1e3,
    ) {
        let data: Vec<f32> = data.iter().map(|x| x * scale).collect();
        let limit = data.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
        let mut histogram = Histogram::new(limit);
        histogram.add(&data);
        for method in [Method::MinMax, Method::Percentile(99.0), Method::Entropy, Method::Mse] {
            let kept = method.limit(&histogram);
            prop_assert!(kept > 0.0 && kept <= limit, "{:?} {} {}", method, kept, limit);
        }
    }
}

/// The negative sum of an image of 2 x 2 grey pixels, then ReLU. The output is 0 if all pixels
/// are above 128.
fn darkness() -> (Graph, Vec<ValueId>) {
    let mut b = GraphBuilder::new("net");
    let x = TensorType::new(ElementType::F32, [1, 1, 2, 2]);
    let x = b.input("x", x).unwrap();
    let flat = b.node("flat", Op::Flatten { axis: 1 }, &[x]).unwrap();
    let w = Tensor::new([1, 4], vec![-1.0_f32; 4]).unwrap();
    let w = b.constant("w", w).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let sum = b.node("fc", Op::Gemm(gemm), &[flat, w]).unwrap();
    let y = b.node("relu", Op::Relu, &[sum]).unwrap();
    b.output("y", y).unwrap();
    let graph = b.finish().unwrap();
    let find = |name: &str| graph.values.iter().position(|v| v.name == name);
    let values = vec![ValueId(find("y").unwrap())];
    (graph, values)
}

#[test]
fn ranges_are_those_of_the_frames() {
    let (graph, values) = darkness();
    let (dark, light) = ([28_u8; 4], [78_u8; 4]);
    let frames: Vec<&[u8]> = vec![&dark, &light, &light];
    let ranges = calibrate(&graph, false, &values, &frames, Method::MinMax, Run::ALONE).unwrap();
    let range = &ranges[&values[0]];
    assert_eq!(range.limit, 400.0);
    assert_eq!(range.scale(), 400.0 / 127.0);
    assert_eq!(range.histogram.counts.iter().sum::<u64>(), 3);
    assert_eq!(range.histogram.clipped(300.0), 1.0 / 3.0);
}

#[test]
fn a_value_without_a_range_is_an_error_that_names_it() {
    let (mut graph, values) = darkness();
    let bright = [200_u8; 4];
    let error = calibrate(
        &graph,
        false,
        &values,
        &[&bright],
        Method::MinMax,
        Run::ALONE,
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("`y` is 0 on all 1 calibration frames"),
        "{message}"
    );
    let weights = graph.values.iter_mut().find(|v| v.name == "w").unwrap();
    let infinite = vec![f32::INFINITY, -f32::INFINITY, 0.0, 0.0];
    weights.constant = Some(Tensor::new([1, 4], infinite).unwrap());
    let error = calibrate(
        &graph,
        false,
        &values,
        &[&bright],
        Method::MinMax,
        Run::ALONE,
    )
    .unwrap_err();
    assert!(matches!(error, CalibrateError::NotFinite { .. }), "{error}");
}
