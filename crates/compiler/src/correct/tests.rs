use pilotage_graph::{Conv, ElementType, Gemm, GraphBuilder, Pool, Tensor, TensorType};

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

/// The quantized network, with the ranges that `frames` reach.
fn int8(graph: &Graph, frames: &[&[u8]]) -> Graph {
    let options = QuantizeOptions {
        form: Form::Int8,
        float_layers: Default::default(),
        one_scale: Default::default(),
    };
    let values = values(graph, &options).unwrap();
    let method = Method::MinMax;
    let ranges = calibrate(graph, false, &values, frames, method, Run::ALONE).unwrap();
    quantize(graph, &ranges, &options).unwrap().0
}

#[test]
fn the_mean_of_every_unit_is_as_before_quantization() {
    let graph = net();
    let pixels: Vec<Vec<u8>> = (0..20_u8)
        .map(|f| (0..16_u8).map(|i| 150 + f + i * 3).collect())
        .collect();
    let frames: Vec<&[u8]> = pixels.iter().map(|frame| &frame[..]).collect();
    let quantized = int8(&graph, &frames);
    let (corrected, count) =
        correct_biases(&graph, &quantized, false, &frames, Run::ALONE).unwrap();
    assert_eq!(count, 1);
    let means = |graph: &Graph| {
        let output = graph.outputs[0];
        means(graph, false, &frames, vec![output], Run::ALONE)
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

/// Convolutions with a residual connection, a pool, and a fully connected layer.
fn residual_net() -> Graph {
    let mut b = GraphBuilder::new("residual");
    let picture = TensorType::new(ElementType::F32, [1, 3, 8, 8]);
    let x = b.input("x", picture).unwrap();
    let parameter = |b: &mut GraphBuilder, name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let seed = name.len() * 29;
        let data = (0..count).map(|i| ((i * 37 + seed) % 64) as f32 / 256.0 - 0.1);
        let data: Vec<f32> = data.collect();
        b.constant(name, Tensor::new(shape, data).unwrap()).unwrap()
    };
    let layer = |b: &mut GraphBuilder, name: &str, input: ValueId, channels: usize| {
        let w = parameter(b, &format!("{name} weights"), &[4, channels, 3, 3]);
        let bias = parameter(b, &format!("{name} bias"), &[4]);
        let conv = Conv {
            kernel: [3; 2],
            strides: [1; 2],
            pads: [1; 4],
            dilations: [1; 2],
            groups: 1,
        };
        let y = b.node(name, Op::Conv(conv), &[input, w, bias]).unwrap();
        b.node(format!("{name} relu"), Op::Relu, &[y]).unwrap()
    };
    let first = layer(&mut b, "conv1", x, 3);
    let second = layer(&mut b, "conv2", first, 4);
    let sum = b.node("add", Op::Add, &[first, second]).unwrap();
    let pool = Pool {
        kernel: [2; 2],
        strides: [2; 2],
        pads: [0; 4],
        dilations: [1; 2],
        count_include_pad: false,
    };
    let pooled = b.node("pool", Op::MaxPool(pool), &[sum]).unwrap();
    let third = layer(&mut b, "conv3", pooled, 4);
    let flat = b.node("flat", Op::Flatten { axis: 1 }, &[third]).unwrap();
    let w = parameter(&mut b, "fc weights", &[2, 64]);
    let bias = parameter(&mut b, "fc bias", &[2]);
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
fn segments_give_the_means_of_the_whole_network() {
    let graph = residual_net();
    let picture = |frame: usize| (0..192).map(move |i| ((i * 31 + frame * 77) % 256) as u8);
    let pixels: Vec<Vec<u8>> = (0..5).map(|frame| picture(frame).collect()).collect();
    let frames: Vec<&[u8]> = pixels.iter().map(|frame| &frame[..]).collect();
    let mut quantized = int8(&graph, &frames);
    let layers = layers(&graph, &quantized);
    assert_eq!(layers.len(), 4);
    let mut segments = Segments::new(&quantized, false, &frames);
    for layer in &layers {
        let found = segments.means(layer.quantized, Run::ALONE).unwrap();
        let tap = vec![layer.quantized];
        let whole = means(&quantized, false, &frames, tap, Run::ALONE).unwrap();
        assert_eq!([found], whole[..]);
        // A changed bias changes what the later layers read.
        let biases: Vec<i32> = layer.biases.iter().map(|bias| bias + 500).collect();
        segments.set(layer.bias, biases.clone());
        set(&mut quantized, layer.bias, biases);
    }
}
