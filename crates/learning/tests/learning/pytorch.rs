//! Gradients and training steps against PyTorch's, which `write_pytorch.py` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pilotage_graph::{Conv, Function, Gemm, Graph, Op, Pool};
use pilotage_learning::{Decay, Learner, Loss, Network, Optimizer, Role, Schedule, Training};
use serde::Deserialize;

use crate::Builder;

#[derive(Deserialize)]
struct Listed {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Listed {
    fn floats(&self) -> Vec<f32> {
        self.data.iter().map(|&x| x as f32).collect()
    }

    /// The shape with a batch of 1.
    fn sample(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape[0] = 1;
        shape
    }
}

#[derive(Deserialize)]
struct Case {
    name: String,
    inputs: Vec<Listed>,
    parameters: Vec<Listed>,
    output: Listed,
    input_gradients: Vec<Listed>,
    parameter_gradients: Vec<Listed>,
}

#[derive(Deserialize)]
struct Run {
    name: String,
    losses: Vec<f64>,
    end: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct File {
    operators: Vec<Case>,
    x: Listed,
    y: Listed,
    start: BTreeMap<String, Listed>,
    runs: Vec<Run>,
}

fn file() -> File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn conv(kernel: [usize; 2], strides: [usize; 2], pads: [usize; 2], groups: usize) -> Conv {
    Conv {
        kernel,
        strides,
        pads: [pads[0], pads[1], pads[0], pads[1]],
        dilations: [1, 1],
        groups,
    }
}

fn pool(kernel: [usize; 2], stride: usize, pad: usize, count_include_pad: bool) -> Pool {
    Pool {
        kernel,
        strides: [stride; 2],
        pads: [pad; 4],
        dilations: [1, 1],
        count_include_pad,
    }
}

fn gemm() -> Op {
    Op::Gemm(Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    })
}

/// The graph of a case.
fn graph(case: &Case) -> Graph {
    let mut b = Builder::new(0);
    let mut values: Vec<_> = case.inputs.iter().map(|x| b.input(&x.sample())).collect();
    for parameter in &case.parameters {
        values.push(b.fixed(&parameter.shape, parameter.floats()));
    }
    let normalization = Op::BatchNormalization { epsilon: 1e-3 };
    let y = match case.name.as_str() {
        "conv" => {
            let conv = Conv {
                dilations: [1, 2],
                ..conv([3, 2], [2, 1], [1, 2], 1)
            };
            b.node(Op::Conv(conv), &values)
        }
        "groups" => b.node(Op::Conv(conv([3, 3], [1, 1], [1, 1], 2)), &values),
        "relu" => {
            let y = b.node(Op::Conv(conv([2, 2], [1, 1], [0, 0], 1)), &values);
            b.node(Op::Relu, &[y])
        }
        "depthwise" => b.node(Op::Conv(conv([3, 3], [2, 2], [1, 1], 3)), &values),
        "linear" => b.node(gemm(), &values),
        "matmul" => b.node(Op::MatMul, &values),
        "norm" => {
            values.push(b.fixed(&[2], vec![0.1, -0.2]));
            values.push(b.fixed(&[2], vec![0.5, 2.0]));
            b.node(normalization, &values)
        }
        "norm of batch" => {
            // Only after a layer is a normalization one of the batch.
            let one = b.fixed(&[2, 2, 1, 1], vec![1.0, 0.0, 0.0, 1.0]);
            values[0] = b.node(Op::Conv(conv([1, 1], [1, 1], [0, 0], 1)), &[values[0], one]);
            values.push(b.fixed(&[2], vec![0.0, 0.0]));
            values.push(b.fixed(&[2], vec![1.0, 1.0]));
            b.node(normalization, &values)
        }
        "elu" => b.node(Op::Elu { alpha: 1.5 }, &values),
        "leaky" => b.node(Op::LeakyRelu { alpha: 0.2 }, &values),
        "hard sigmoid" => {
            let (alpha, beta) = (1.0 / 6.0, 0.5);
            b.node(Op::HardSigmoid { alpha, beta }, &values)
        }
        "softplus" => b.node(Op::Softplus, &values),
        "erf" => b.node(Op::Function(Function::Erf), &values),
        "max pool" => b.node(Op::MaxPool(pool([3, 2], 2, 1, false)), &values),
        "average pool" => b.node(Op::AveragePool(pool([3, 3], 2, 1, false)), &values),
        "average pool with pads" => b.node(Op::AveragePool(pool([3, 3], 2, 1, true)), &values),
        "softmax" => {
            let (axis, end_axis) = (1, 2);
            b.node(Op::Softmax { axis, end_axis }, &values)
        }
        "mul" => b.node(Op::Mul, &values),
        "div" => b.node(Op::Div, &values),
        other => panic!("no graph for {other}"),
    };
    b.finish(&[y])
}

fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(found) - expected).abs() <= tolerance * largest,
            "{what}, element {at}: {found} is not PyTorch's {expected}"
        );
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    let cases = file().operators;
    assert_eq!(cases.len(), 19);
    for case in &cases {
        let mut network = Network::from_graph(&graph(case)).unwrap();
        // The constants of a case, in the order of the file.
        let names: Vec<String> = (network.parameters().iter())
            .filter(|p| p.role() != Role::Statistic)
            .map(|p| p.name().to_owned())
            .collect();
        for name in &names {
            network.set_trained(name, true).unwrap();
        }
        network.set_input_gradients(true).unwrap();
        network.set_parts(2);
        if case.name == "norm of batch" {
            network.set_batch_statistics(true, 0.9).unwrap();
        }
        let samples = case.inputs[0].shape[0];
        let inputs: Vec<Vec<f32>> = case.inputs.iter().map(Listed::floats).collect();
        let losses = network.gradients(samples, Loss::Squared, &|index, example| {
            for (to, from) in example.inputs.iter_mut().zip(&inputs) {
                let size = to.len();
                to.copy_from_slice(&from[index * size..][..size]);
            }
        });
        let expected = &case.output.data;
        let mean = expected.iter().map(|y| y * y).sum::<f64>() / expected.len() as f64;
        assert!((losses.mean - mean).abs() < 1e-5 * mean, "{}", case.name);
        for (input, expected) in case.input_gradients.iter().enumerate() {
            let found = network.input_gradient(input);
            close(
                &found,
                &expected.data,
                2e-5,
                &format!("{}, input", case.name),
            );
        }
        for (number, expected) in case.parameter_gradients.iter().enumerate() {
            let name = format!("c{}", case.inputs.len() + number + 1);
            let parameter = network.parameter_index(&name).unwrap();
            let found = network.parameters()[parameter].gradient();
            let what = format!("{}, parameter {number}", case.name);
            close(found, &expected.data, 2e-5, &what);
        }
    }
}

/// The names of the constants of [`small`], in the order of its layers.
const NAMES: [&str; 11] = [
    "conv1.weight",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "conv2.weight",
    "conv2.bias",
    "fc1.weight",
    "fc1.bias",
    "fc2.weight",
    "fc2.bias",
];

/// The network `Small` of the script. Its constants are `c2`, `c3` and so on.
fn small(start: &BTreeMap<String, Listed>) -> Graph {
    let mut b = Builder::new(0);
    let x = b.input(&[1, 3, 7, 8]);
    let c: Vec<_> = (NAMES.iter())
        .map(|&name| b.fixed(&start[name].shape, start[name].floats()))
        .collect();
    let y = b.node(Op::Conv(conv([3, 3], [2, 2], [1, 1], 1)), &[x, c[0]]);
    let norm = Op::BatchNormalization { epsilon: 1e-3 };
    let y = b.node(norm, &[y, c[1], c[2], c[3], c[4]]);
    let y = b.node(Op::Relu, &[y]);
    let y = b.node(Op::Conv(conv([3, 3], [1, 1], [1, 1], 2)), &[y, c[5], c[6]]);
    let y = b.node(Op::Elu { alpha: 1.0 }, &[y]);
    let y = b.node(Op::MaxPool(pool([2, 2], 2, 0, false)), &[y]);
    let y = b.node(Op::Flatten { axis: 1 }, &[y]);
    let y = b.node(gemm(), &[y, c[7], c[8]]);
    let y = b.node(Op::Relu, &[y]);
    let y = b.node(gemm(), &[y, c[9], c[10]]);
    b.finish(&[y])
}

fn training(name: &str, steps: u64) -> Training {
    let adam = |decay| Optimizer::Adam {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        decay,
    };
    let (optimizer, schedule, loss, clip) = match name {
        "adam" => (adam(0.0), Schedule::constant(0.01), Loss::Squared, None),
        "sgd" => (
            Optimizer::Sgd {
                momentum: 0.9,
                decay: 0.01,
            },
            Schedule::constant(0.05),
            Loss::Huber { delta: 0.5 },
            None,
        ),
        _ => (
            adam(0.1),
            Schedule {
                rate: 0.02,
                warm_up: 0,
                decay: Decay::Cosine { steps, last: 0.05 },
            },
            Loss::Squared,
            Some(0.5),
        ),
    };
    Training {
        optimizer,
        schedule,
        loss,
        clip,
        average: None,
    }
}

#[test]
fn training_steps_are_those_of_pytorch() {
    let file = file();
    let (x, y) = (file.x.floats(), file.y.floats());
    assert_eq!(file.runs.len(), 3);
    for run in &file.runs {
        let mut network = Network::from_graph(&small(&file.start)).unwrap();
        network.set_batch_statistics(true, 0.9).unwrap();
        let training = training(&run.name, run.losses.len() as u64);
        let mut learner = Learner::new(network, training).unwrap();
        for (step, expected) in run.losses.iter().enumerate() {
            let losses = learner.step(6, &|index, example| {
                let size = example.inputs[0].len();
                example.inputs[0].copy_from_slice(&x[index * size..][..size]);
                example.targets.copy_from_slice(&y[index * 2..][..2]);
                example.weights.copy_from_slice(&[1.0, 3.0]);
            });
            let difference = (losses.mean - expected).abs();
            assert!(
                difference < 2e-5 * expected,
                "{}, step {step}: {} is not {expected}",
                run.name,
                losses.mean
            );
        }
        for (number, name) in NAMES.iter().enumerate() {
            let index = learner
                .network()
                .parameter_index(&format!("c{}", number + 2));
            let found = learner.network().parameters()[index.unwrap()].values();
            let what = format!("{}: {name}", run.name);
            // Adam divides small gradients by small roots, which enlarges their rounding.
            close(found, &run.end[*name].data, 2e-4, &what);
        }
    }
}
