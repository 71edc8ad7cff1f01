//! A network that is quantized while it is trained computes the bits of the INT8 engine.

use std::collections::{BTreeMap, BTreeSet};

use pilotage_compiler::{
    Form, Method, PortLayout, QuantizeOptions, Run, calibrate, lower, run_plan, simplify, values,
};
use pilotage_engine::plan::Operation;
use pilotage_engine::{CpuOptions, InstructionSet};
use pilotage_graph::{Graph, Op, Pool, ReadOptions, Tensor, ValueId};
use pilotage_learning::{
    Learner, Loss, Network, Optimizer, RangeUpdate, Schedule, Training, magnitude_mask,
};

use crate::training::{convolution, dense};
use crate::{Builder, Numbers};

const FRAMES: usize = 24;
const SHAPE: [usize; 3] = [3, 9, 11];

/// Rows of interleaved channels.
fn frames() -> Vec<Vec<u8>> {
    let frame = |index: usize| -> Vec<u8> {
        let mut random = Numbers::new(index as u64 + 100);
        let base = random.below(200);
        (0..SHAPE.iter().product())
            .map(|_| (base + random.below(56)) as u8)
            .collect()
    };
    (0..FRAMES).map(frame).collect()
}

/// The frame as planes of pixels minus 128.
fn planes(frame: &[u8]) -> Vec<f32> {
    let [channels, height, width] = SHAPE;
    let mut planes = Vec::with_capacity(frame.len());
    for channel in 0..channels {
        let pixels = (0..height * width).map(|pixel| frame[pixel * channels + channel]);
        planes.extend(pixels.map(|p| f32::from(p) - 128.0));
    }
    planes
}

/// Layers with padding and without, each kind of activation, a pooling, a residual connection and
/// a concatenation.
fn graph() -> Graph {
    let mut b = Builder::new(3);
    let x = b.input(&[1, SHAPE[0], SHAPE[1], SHAPE[2]]);
    let scale = b.fixed(&[], vec![1.0 / 64.0]);
    let x = b.node(Op::Mul, &[x, scale]);
    let y = convolution(&mut b, x, 6, 0);
    let y = b.node(Op::Relu, &[y]);
    let pool = Pool {
        kernel: [2, 2],
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        count_include_pad: false,
    };
    let y = b.node(Op::MaxPool(pool), &[y]);
    let z = convolution(&mut b, y, 5, 1);
    let left = b.node(Op::Tanh, &[z]);
    let right = b.node(
        Op::Clip {
            min: -0.25,
            max: 1.5,
        },
        &[z],
    );
    let sum = b.node(Op::Add, &[left, right]);
    let wide = b.node(Op::Concat { axis: 1 }, &[sum, right]);
    let y = convolution(&mut b, wide, 4, 1);
    let y = b.node(Op::LeakyRelu { alpha: 0.1 }, &[y]);
    let y = b.node(Op::Flatten { axis: 1 }, &[y]);
    let y = dense(&mut b, y, 12);
    let y = b.node(Op::Relu, &[y]);
    let y = dense(&mut b, y, 2);
    simplify(&b.finish(&[y]))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The engine's answers for all frames, from the model as a file.
fn engine(model: &[u8], set: Option<InstructionSet>, scales: &[f32]) -> Vec<f32> {
    let graph = Graph::read(model, &ReadOptions::default()).unwrap();
    let plan = lower(&graph, PortLayout::Model).unwrap();
    let integer = |operation: &Operation| {
        matches!(
            operation,
            Operation::QuantizedConv2d { .. } | Operation::QuantizedFullyConnected { .. }
        )
    };
    let layers = plan
        .steps
        .iter()
        .filter(|step| integer(&step.operation))
        .count();
    assert_eq!(layers, 5, "{:#?}", plan.steps);
    let mut answers = Vec::new();
    for frame in frames() {
        let pixels: Vec<i8> = planes(&frame).iter().map(|&p| p as i8).collect();
        let input = Tensor::new([1, SHAPE[0], SHAPE[1], SHAPE[2]], pixels).unwrap();
        let options = CpuOptions {
            instruction_set: set,
            ..CpuOptions::default()
        };
        let outputs = run_plan(&plan, options, &[input]).unwrap();
        match outputs[0].as_i8() {
            Some(integers) => {
                let scaled = integers.iter().map(|&q| f32::from(q) * scales[0]);
                answers.extend(scaled);
            }
            None => answers.extend_from_slice(outputs[0].as_f32().unwrap()),
        }
    }
    answers
}

fn ranges(graph: &Graph, options: &QuantizeOptions) -> BTreeMap<ValueId, pilotage_compiler::Range> {
    let frames = frames();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let values = values(graph, options).unwrap();
    calibrate(graph, false, &values, &frames, Method::MinMax, Run::ALONE).unwrap()
}

fn trained(form: Form, update: RangeUpdate, prune: bool) -> Network {
    let options = QuantizeOptions {
        form,
        float_layers: Default::default(),
        one_scale: Default::default(),
    };
    let mut network = Network::from_graph(&graph()).unwrap();
    network.set_threads(2);
    let ranges = ranges(network.graph(), &options);
    // Too wide at first, so that there is something to learn.
    let wide = ranges.into_iter().map(|(value, mut range)| {
        range.limit *= 1.3;
        (value, range)
    });
    network.quantize(&options, &wide.collect(), update).unwrap();
    if prune {
        let weights: Vec<(String, Vec<f32>)> = (network.parameters().iter())
            .filter(|p| p.shape().len() == 4)
            .map(|p| (p.name().to_owned(), p.values().to_vec()))
            .collect();
        for (name, values) in weights {
            network.prune(&name, magnitude_mask(&values, 0.4)).unwrap();
            network.cluster(&name, 8, true, 3).unwrap();
        }
    }
    let frames = frames();
    let training = Training {
        optimizer: Optimizer::ADAM,
        schedule: Schedule::constant(0.003),
        loss: Loss::Squared,
        clip: None,
        average: None,
    };
    let before = network.ranges();
    let mut learner = Learner::new(network, training).unwrap();
    let mut losses = Vec::new();
    for _ in 0..12 {
        let losses_of_step = learner.step(FRAMES, &|index, example| {
            example.inputs[0].copy_from_slice(&planes(&frames[index]));
            let mean = frames[index].iter().map(|&p| f32::from(p)).sum::<f32>();
            example.targets[0] = mean / (255.0 * frames[index].len() as f32);
            example.targets[1] = 0.5 - example.targets[0];
        });
        losses.push(losses_of_step.mean);
    }
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");
    let network = learner.finish();
    let limits = |ranges: BTreeMap<ValueId, pilotage_compiler::Range>| -> Vec<f32> {
        ranges.values().map(|range| range.limit).collect()
    };
    let moved = limits(before) != limits(network.ranges());
    assert_eq!(moved, update != RangeUpdate::Fixed);
    network
}

/// Clustered weights have no more different integers than clusters, in all units together, and
/// pruned weights are 0.
fn assert_few_levels(graph: &Graph) {
    let weights = graph.values.iter().filter(|value| value.shape.len() == 4);
    let weights = weights.filter_map(|value| value.constant.as_ref()?.as_i8());
    let mut layers = 0;
    for weights in weights {
        let levels: BTreeSet<i8> = weights.iter().copied().collect();
        assert!(levels.len() <= 8 && levels.len() > 2, "{levels:?}");
        let zeros = weights.iter().filter(|&&w| w == 0).count();
        assert!(
            zeros * 10 >= weights.len() * 4 - 10,
            "{zeros} of {}",
            weights.len()
        );
        layers += 1;
    }
    assert_eq!(layers, 3);
}

#[test]
fn the_engine_computes_the_bits_that_training_computed() {
    let averaged = RangeUpdate::Averaged { decay: 0.8 };
    for (form, update, prune) in [
        (Form::Int8, RangeUpdate::Learned, false),
        (Form::Int8, averaged, true),
        (Form::Int8Integer, averaged, false),
        (Form::Int8, RangeUpdate::Fixed, false),
    ] {
        let mut network = trained(form, update, prune);
        let frames = frames();
        let answers = network.answers(FRAMES, &|index, example| {
            example.inputs[0].copy_from_slice(&planes(&frames[index]));
        });
        let (graph, scales) = network.to_quantized_graph().unwrap();
        if prune {
            assert_few_levels(&graph);
        }
        let model = graph.write();
        for set in [Some(InstructionSet::Scalar), None] {
            let found = engine(&model, set, &scales);
            assert_eq!(
                bits(&found),
                bits(&answers),
                "{form:?}, {update:?}, {set:?}"
            );
        }
        let different = answers
            .chunks(2)
            .filter(|pair| pair[0] != answers[0])
            .count();
        assert!(
            different > FRAMES / 2,
            "the answers hardly differ: {answers:?}"
        );
    }
}

/// Gradients pass through rounding: those of a quantized network are near those of the float one.
#[test]
fn gradients_pass_through_the_rounding() {
    let options = QuantizeOptions {
        form: Form::Int8,
        float_layers: Default::default(),
        one_scale: Default::default(),
    };
    let mut network = Network::from_graph(&graph()).unwrap();
    let frames = frames();
    let fill = |index: usize, example: &mut pilotage_learning::Example<'_>| {
        example.inputs[0].copy_from_slice(&planes(&frames[index]));
        example.targets.fill(1.0);
    };
    let gradients = |network: &mut Network| -> Vec<Vec<f32>> {
        network.gradients(FRAMES, Loss::Squared, &fill);
        let weights = network.parameters().iter().filter(|p| p.shape().len() > 1);
        weights.map(|p| p.gradient().to_vec()).collect()
    };
    let float = gradients(&mut network);
    let ranges = ranges(network.graph(), &options);
    network
        .quantize(&options, &ranges, RangeUpdate::Fixed)
        .unwrap();
    let quantized = gradients(&mut network);
    assert_eq!(float.len(), 5);
    for (float, quantized) in float.iter().zip(&quantized) {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let cosine =
            dot(float, quantized) / (dot(float, float).sqrt() * dot(quantized, quantized).sqrt());
        assert!(cosine > 0.97, "{cosine}");
    }
    network.dequantize().unwrap();
    assert_eq!(gradients(&mut network), float);
}
