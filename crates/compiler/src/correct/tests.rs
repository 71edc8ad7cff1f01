use pilotage_graph::{ElementType, Gemm, GraphBuilder, Tensor, TensorType};

use super::*;
use crate::calibrate::{Method, calibrate};
use crate::quantize::{Form, QuantizeOptions, quantize, values};

/// Weights that all round in the same direction, so that the mean of every unit shifts.
fn net() -> Graph {
    let mut b = GraphBuilder::new("net");
    let x = TensorType::new(ElementType::F32, [1, 1, 4, 4]);
    let x = b.input("x", x).unwrap();
    let flat = b.node("flat", Op::Flatten { axis: 1 }, &[x]).unwrap();
    let weights: Vec<f32> = (0..48)
        .map(|i| if i % 16 == 0 { 1.27 } else { 0.0345 })
        .collect();
    let w = b
        .constant("w", Tensor::new([3, 16], weights).unwrap())
        .unwrap();
    let bias = Tensor::new([3], vec![1.0_f32, -2.0, 3.0]).unwrap();
    let bias = b.constant("b", bias).unwrap();
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    let y = b.node("fc", Op::Gemm(gemm), &[flat, w, bias]).unwrap();
    b.output("y", y).unwrap();
    b.finish().unwrap()
}

#[test]
fn the_mean_of_every_unit_is_as_before_quantization() {
    let graph = net();
    let pixels: Vec<Vec<u8>> = (0..20_u8)
        .map(|f| (0..16_u8).map(|i| 150 + f + i * 3).collect())
        .collect();
    let frames: Vec<&[u8]> = pixels.iter().map(|frame| &frame[..]).collect();
    let options = QuantizeOptions {
        form: Form::Int8,
        float_layers: Default::default(),
        one_scale: Default::default(),
    };
    let to_calibrate = values(&graph, &options).unwrap();
    let ranges = calibrate(
        &graph,
        false,
        &to_calibrate,
        &frames,
        Method::MinMax,
        Run::ALONE,
    )
    .unwrap();
    let (quantized, _) = quantize(&graph, &ranges, &options).unwrap();
    let (corrected, count) =
        correct_biases(&graph, &quantized, false, &frames, Run::ALONE).unwrap();
    assert_eq!(count, 1);
    let means = |graph: &Graph| {
        let output = graph.outputs[0];
        means(graph, false, &frames, [output].into_iter(), Run::ALONE)
            .unwrap()
            .remove(0)
    };
    let (exact, before, after) = (means(&graph), means(&quantized), means(&corrected));
    for ((exact, before), after) in exact.iter().zip(before).zip(after) {
        // 15 of 16 weights are 0.0045 too small.
        assert!((exact - before).abs() > 1.0, "{exact} {before}");
        // One quantization step of the sum is 0.01.
        assert!((exact - after).abs() <= 0.006, "{exact} {after}");
    }
}
