//! Every operator: gradients against central differences, values against the engine's reference.

use pilotage_compiler::evaluate;
use pilotage_graph::{Graph, Tensor};
use pilotage_learning::{LearningError, Loss, Network, Role};
use proptest::prelude::*;

use crate::cases::{KINDS, graph};
use crate::{Builder, Numbers, gap};

/// A network of which everything that can be trained is trained.
fn network(graph: &Graph) -> Network {
    let mut network = Network::from_graph(graph).unwrap();
    let names: Vec<(String, Role)> = (network.parameters().iter())
        .map(|p| (p.name().to_owned(), p.role()))
        .collect();
    for (name, role) in names {
        if role != Role::Statistic {
            network.set_trained(&name, true).unwrap();
        }
    }
    network.set_input_gradients(true).unwrap();
    network.set_threads(1);
    network.set_parts(2);
    network
}

/// The elements of a batch.
struct Batch {
    samples: usize,
    inputs: Vec<Vec<f32>>,
    targets: Vec<f32>,
    weights: Vec<f32>,
}

impl Batch {
    fn new(network: &Network, samples: usize, random: &mut Numbers) -> Self {
        let outputs = network.output_size() * samples;
        let sizes = network.input_sizes();
        Self {
            samples,
            inputs: sizes
                .iter()
                .map(|&size| random.spread(size * samples))
                .collect(),
            targets: random.spread(outputs),
            weights: (0..outputs).map(|_| random.between(0.5, 1.5)).collect(),
        }
    }

    fn loss(&self, network: &mut Network) -> f64 {
        let outputs = network.output_size();
        let losses = network.gradients(self.samples, Loss::Squared, &|index, example| {
            for (to, from) in example.inputs.iter_mut().zip(&self.inputs) {
                let size = to.len();
                to.copy_from_slice(&from[index * size..][..size]);
            }
            let at = index * outputs..(index + 1) * outputs;
            example.targets.copy_from_slice(&self.targets[at.clone()]);
            example.weights.copy_from_slice(&self.weights[at]);
        });
        losses.mean
    }
}

/// All values that have a gradient, and the gradient.
fn point(network: &Network, batch: &Batch) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut values = batch.inputs.clone();
    let mut gradients: Vec<Vec<f32>> = (0..values.len())
        .map(|input| network.input_gradient(input))
        .collect();
    for (parameter, &trained) in network.parameters().iter().zip(network.trained()) {
        if trained {
            values.push(parameter.values().to_vec());
            gradients.push(parameter.gradient().to_vec());
        }
    }
    (values, gradients)
}

fn set(network: &mut Network, batch: &mut Batch, values: &[Vec<f32>]) {
    let (inputs, parameters) = values.split_at(batch.inputs.len());
    batch.inputs = inputs.to_vec();
    let names: Vec<String> = (network.parameters().iter().zip(network.trained()))
        .filter(|(_, trained)| **trained)
        .map(|(p, _)| p.name().to_owned())
        .collect();
    for (name, values) in names.iter().zip(parameters) {
        network.set_values(name, values).unwrap();
    }
}

/// Compares the gradient along random directions with central differences.
fn check(network: &mut Network, samples: usize, seed: u64, what: &str) {
    let mut random = Numbers::new(seed);
    let mut batch = Batch::new(network, samples, &mut random);
    batch.loss(network);
    let (values, gradients) = point(network, &batch);
    let norm: f64 = (gradients.iter().flatten())
        .map(|&g| f64::from(g) * f64::from(g))
        .sum::<f64>()
        .sqrt();
    let most = values.iter().map(Vec::len).max().unwrap();
    // Below half the distance between two elements, so that no maximum changes and no element
    // crosses 0.
    let step = gap(most) / 4.0;
    for _ in 0..3 {
        let direction: Vec<Vec<f32>> = (values.iter())
            .map(|v| v.iter().map(|_| random.between(-1.0, 1.0)).collect())
            .collect();
        let expected: f64 = (gradients.iter().flatten())
            .zip(direction.iter().flatten())
            .map(|(&g, &d)| f64::from(g) * f64::from(d))
            .sum();
        let mut at = |factor: f32| {
            let moved: Vec<Vec<f32>> = (values.iter().zip(&direction))
                .map(|(v, d)| {
                    v.iter()
                        .zip(d)
                        .map(|(v, d)| v + factor * step * d)
                        .collect()
                })
                .collect();
            set(network, &mut batch, &moved);
            batch.loss(network)
        };
        // Richardson's extrapolation removes the error of second order.
        let coarse = (at(1.0) - at(-1.0)) / f64::from(2.0 * step);
        let fine = (at(0.5) - at(-0.5)) / f64::from(step);
        let found = (4.0 * fine - coarse) / 3.0;
        // The losses have the rounding of float32, which the small step enlarges.
        let tolerance = 2e-4 + 1e-2 * norm;
        assert!(
            (found - expected).abs() < tolerance,
            "{what}: {found} by differences, {expected} by the backward pass, norm {norm}"
        );
    }
    set(network, &mut batch, &values);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn gradients_are_those_of_central_differences(seed in 0_u64..1 << 40) {
        for kind in 0..KINDS {
            let graph = graph(kind, seed);
            let operators: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
            let samples = 1 + seed as usize % 3;
            check(&mut network(&graph), samples, seed, &operators.join(", "));
        }
    }

    /// Every sample of a batch has the values that the engine's reference computes for it alone.
    #[test]
    fn values_are_those_of_the_engines_reference(seed in 0_u64..1 << 40) {
        for kind in 0..KINDS {
            let graph = graph(kind, seed);
            let mut network = network(&graph);
            let samples = 3;
            let batch = Batch::new(&network, samples, &mut Numbers::new(seed));
            let answers = network.answers(samples, &|index, example| {
                for (to, from) in example.inputs.iter_mut().zip(&batch.inputs) {
                    let size = to.len();
                    to.copy_from_slice(&from[index * size..][..size]);
                }
            });
            let each = answers.len() / samples;
            for sample in 0..samples {
                let inputs: Vec<Tensor> = (graph.inputs.iter().zip(&batch.inputs))
                    .map(|(&id, data)| {
                        let shape = graph.value(id).shape.clone();
                        let size = data.len() / samples;
                        Tensor::new(shape, data[sample * size..][..size].to_vec()).unwrap()
                    })
                    .collect();
                let expected = evaluate(&graph, &inputs).unwrap();
                let expected = expected[0].as_f32().unwrap();
                let found = &answers[sample * each..][..each];
                for (found, expected) in found.iter().zip(expected) {
                    let tolerance = 1e-5 * expected.abs().max(1.0);
                    prop_assert!(
                        (found - expected).abs() <= tolerance,
                        "kind {kind} ({}): {found} is not {expected}",
                        graph.nodes.last().unwrap().op.name()
                    );
                }
            }
        }
    }
}

/// Statistics of the whole batch, whose gradient flows through all its parts.
#[test]
fn batch_statistics_have_the_gradients_of_central_differences() {
    for seed in 0..4 {
        let mut b = Builder::new(seed);
        let x = b.input(&[1, 2, 3, 3]);
        let w = b.constant(&[3, 2, 2, 2]);
        let conv = pilotage_graph::Conv {
            kernel: [2, 2],
            strides: [1, 1],
            pads: [0; 4],
            dilations: [1, 1],
            groups: 1,
        };
        let y = b.node(pilotage_graph::Op::Conv(conv), &[x, w]);
        let (scale, bias) = (b.constant(&[3]), b.constant(&[3]));
        let mean = b.fixed(&[3], vec![0.0; 3]);
        let variance = b.fixed(&[3], vec![1.0; 3]);
        let inputs = [y, scale, bias, mean, variance];
        let op = pilotage_graph::Op::BatchNormalization { epsilon: 1e-3 };
        let y = b.node(op, &inputs);
        let y = b.node(pilotage_graph::Op::Tanh, &[y]);
        let mut network = network(&b.finish(&[y]));
        network.set_batch_statistics(true, 0.9).unwrap();
        check(&mut network, 5, seed, "BatchNormalization in training");
    }
}

#[test]
fn all_unsupported_nodes_are_listed() {
    let mut b = Builder::new(0);
    let x = b.input(&[1, 2, 3]);
    let y = b.node(
        pilotage_graph::Op::Transpose {
            perm: vec![1, 0, 2],
        },
        &[x],
    );
    let y = b.node(
        pilotage_graph::Op::Transpose {
            perm: vec![1, 0, 2],
        },
        &[y],
    );
    let larger = b.node(
        pilotage_graph::Op::Compare(pilotage_graph::Comparison::Greater),
        &[y, x],
    );
    let y = b.node(pilotage_graph::Op::Where, &[larger, y, x]);
    let error = Network::from_graph(&b.finish(&[y])).unwrap_err();
    let LearningError::Unsupported(nodes) = &error else {
        panic!("{error}");
    };
    let operators: Vec<&str> = nodes.0.iter().map(|node| node.operator).collect();
    assert_eq!(operators, ["Transpose", "Transpose", "Greater", "Where"]);
    let message = error.to_string();
    assert!(
        message.contains("`n4` (Greater): its output is bool"),
        "{message}"
    );
    assert!(!message.contains('\n'));
}
