//! Training as a whole: repeatability, averages, distillation, schedules and export.

use pilotage_graph::{Conv, Gemm, Graph, Op, ReadOptions, ValueId, metadata};
use pilotage_learning::{
    Decay, Example, Learner, LearningError, Loss, Network, Optimizer, Schedule, Training,
};

use crate::{Builder, Numbers};

pub fn dense(b: &mut Builder, x: ValueId, outputs: usize) -> ValueId {
    let inputs = b.shape(x)[1];
    let data = small(b, inputs * outputs, inputs);
    let w = b.fixed(&[outputs, inputs], data);
    let bias = b.fixed(&[outputs], vec![0.01; outputs]);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    };
    b.node(Op::Gemm(gemm), &[x, w, bias])
}

pub fn convolution(b: &mut Builder, x: ValueId, units: usize, pad: usize) -> ValueId {
    let channels = b.shape(x)[1];
    let data = small(b, units * channels * 9, channels * 9);
    let w = b.fixed(&[units, channels, 3, 3], data);
    let bias = b.fixed(&[units], vec![0.05; units]);
    let conv = Conv {
        kernel: [3, 3],
        strides: [1, 2],
        pads: [pad; 4],
        dilations: [1, 1],
        groups: 1,
    };
    b.node(Op::Conv(conv), &[x, w, bias])
}

fn small(b: &mut Builder, count: usize, inputs: usize) -> Vec<f32> {
    let bound = (6.0 / inputs as f32).sqrt();
    (0..count)
        .map(|_| b.random.between(-bound, bound))
        .collect()
}

/// A network with a normalization and a dropout.
fn graph() -> Graph {
    let mut b = Builder::new(5);
    let x = b.input(&[1, 2, 6, 7]);
    let y = convolution(&mut b, x, 4, 0);
    let scale = b.fixed(&[4], vec![1.0; 4]);
    let zero = b.fixed(&[4], vec![0.0; 4]);
    let (mean, one) = (b.fixed(&[4], vec![0.0; 4]), b.fixed(&[4], vec![1.0; 4]));
    let norm = Op::BatchNormalization { epsilon: 1e-3 };
    let y = b.node(norm, &[y, scale, zero, mean, one]);
    let y = b.node(Op::Relu, &[y]);
    let y = b.node(Op::Flatten { axis: 1 }, &[y]);
    let y = b.node(Op::Identity, &[y]);
    let y = dense(&mut b, y, 2);
    b.finish(&[y])
}

/// The name of the node that Dropout became.
fn identity(graph: &Graph) -> String {
    let node = graph.nodes.iter().find(|node| node.op == Op::Identity);
    node.unwrap().name.clone()
}

fn sgd(rate: f64) -> Training {
    Training {
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            decay: 0.0,
        },
        schedule: Schedule::constant(rate),
        loss: Loss::Squared,
        clip: None,
        average: None,
    }
}

/// Samples whose targets follow from their inputs.
pub fn fill(index: usize, example: &mut Example<'_>) {
    let mut random = Numbers::new(index as u64);
    let mut sum = 0.0;
    for x in example.inputs[0].iter_mut() {
        *x = random.between(-1.0, 1.0);
        sum += *x;
    }
    for (output, target) in example.targets.iter_mut().enumerate() {
        *target = (sum * 0.1 + output as f32 * 0.2).clamp(-1.0, 1.0);
    }
    example.seed = index as u64;
}

fn bits(network: &Network) -> Vec<u32> {
    let parameters = network.parameters().iter();
    parameters
        .flat_map(|p| p.values().iter().map(|x| x.to_bits()))
        .collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let graph = graph();
    let train = |threads: usize, seeds: u64| {
        let mut network = Network::from_graph(&graph).unwrap();
        network.set_threads(threads);
        network.set_batch_statistics(true, 0.9).unwrap();
        network.set_dropout(&identity(&graph), 0.3).unwrap();
        let mut learner = Learner::new(network, sgd(0.05)).unwrap();
        for _ in 0..3 {
            // Not a multiple of the number of parts.
            learner.step(11, &|index, example| {
                fill(index, example);
                example.seed += seeds;
            });
        }
        bits(learner.network())
    };
    let one = train(1, 0);
    assert_eq!(one, train(2, 0));
    assert_eq!(one, train(7, 0));
    assert_ne!(one, train(1, 100), "dropout does not depend on the seed");
}

/// A training that continues in another learner ends with the same bits.
#[test]
fn a_training_continues_from_its_progress() {
    let graph = graph();
    let training = Training {
        optimizer: Optimizer::ADAM,
        average: Some(0.5),
        schedule: Schedule {
            rate: 0.01,
            warm_up: 1,
            decay: Decay::Cosine {
                steps: 6,
                last: 0.1,
            },
        },
        ..sgd(0.0)
    };
    let learner = || {
        let mut network = Network::from_graph(&graph).unwrap();
        network.set_trained("c2", false).unwrap();
        Learner::new(network, training.clone()).unwrap()
    };
    let mut whole = learner();
    let steps = |learner: &mut Learner, count| {
        for _ in 0..count {
            learner.step(5, &fill);
        }
    };
    steps(&mut whole, 5);
    let mut first = learner();
    steps(&mut first, 2);
    let mut second = learner();
    let values = first.network().values();
    second.network_mut().set_all_values(&values).unwrap();
    second.resume(first.progress()).unwrap();
    steps(&mut second, 3);
    assert_eq!(whole.progress(), second.progress());
    assert_eq!(bits(whole.network()), bits(second.network()));
    assert_eq!(bits(&whole.finish()), bits(&second.finish()));

    let mut progress = first.progress();
    progress.states[1].second.push(0.0);
    assert!(learner().resume(progress).is_err());
    assert!(learner().resume(Default::default()).is_err());
}

#[test]
fn frozen_layers_keep_their_weights() {
    let graph = graph();
    let mut network = Network::from_graph(&graph).unwrap();
    let convolution = &graph.nodes[0];
    network.freeze(&convolution.name).unwrap();
    let error = network.freeze("none").unwrap_err().to_string();
    assert!(error.contains("begins with `none`; there is "), "{error}");
    assert!(
        !error.contains(&format!(" {},", convolution.name)),
        "{error}"
    );
    let mut learner = Learner::new(network, sgd(0.05)).unwrap();
    let before = learner.network().values();
    learner.step(5, &fill);
    let weights = |id: ValueId| {
        let name = &graph.value(id).name;
        let index = learner.network().parameter_index(name).unwrap();
        learner.network().parameters()[index].values().to_vec()
    };
    let constant = |id: ValueId| graph.value(id).constant.as_ref().unwrap().as_f32().unwrap();
    assert_eq!(
        weights(convolution.inputs[1]),
        constant(convolution.inputs[1])
    );
    assert_ne!(before, learner.network().values());
}

#[test]
fn a_batch_of_fewer_samples_than_parts_is_trained() {
    let mut learner = Learner::new(Network::from_graph(&graph()).unwrap(), sgd(0.05)).unwrap();
    let before = bits(learner.network());
    learner.step(1, &fill);
    assert_ne!(before, bits(learner.network()));
}

#[test]
fn training_reduces_the_loss_and_the_average_lags_behind() {
    let mut network = Network::from_graph(&graph()).unwrap();
    network.set_batch_statistics(true, 0.9).unwrap();
    let training = Training {
        optimizer: Optimizer::ADAM,
        average: Some(0.5),
        schedule: Schedule {
            rate: 0.01,
            warm_up: 2,
            decay: Decay::None,
        },
        ..sgd(0.0)
    };
    let mut learner = Learner::new(network, training).unwrap();
    let first = learner.step(16, &fill).mean;
    let mut latest = Vec::new();
    for _ in 0..30 {
        learner.step(16, &fill);
        latest.push(
            learner
                .network()
                .parameters()
                .last()
                .unwrap()
                .values()
                .to_vec(),
        );
    }
    let last = learner.step(16, &fill).mean;
    assert!(last < first / 3.0, "{first} to {last}");
    let end = learner
        .network()
        .parameters()
        .last()
        .unwrap()
        .values()
        .to_vec();
    let averaged = learner
        .finish()
        .parameters()
        .last()
        .unwrap()
        .values()
        .to_vec();
    assert_ne!(end, averaged);
    // With a decay of a half, the last few steps determine the average.
    for (index, averaged) in averaged.iter().enumerate() {
        let recent = latest[20..]
            .iter()
            .map(|values| values[index])
            .chain([end[index]]);
        let low = recent.clone().fold(f32::INFINITY, f32::min) - 1e-3;
        let high = recent.fold(f32::NEG_INFINITY, f32::max) + 1e-3;
        assert!((low..high).contains(averaged));
    }
}

/// A student that starts at the teacher's weights has nothing to learn from it alone.
#[test]
fn distillation_uses_the_teachers_answers() {
    let graph = graph();
    let mut teacher = Network::from_graph(&graph).unwrap();
    let mut student = Learner::new(Network::from_graph(&graph).unwrap(), sgd(0.1)).unwrap();
    let own = student.distill(&mut teacher, 1.0, 8, &fill).unwrap();
    assert!(own.mean < 1e-12, "{}", own.mean);
    let labels = student.distill(&mut teacher, 0.0, 8, &fill).unwrap();
    let mixed = student.distill(&mut teacher, 0.5, 8, &fill).unwrap();
    assert!(labels.mean > 0.0 && mixed.mean < labels.mean);
    let mut b = Builder::new(0);
    let x = b.input(&[1, 3]);
    let y = dense(&mut b, x, 2);
    let mut other = Network::from_graph(&b.finish(&[y])).unwrap();
    let error = student.distill(&mut other, 1.0, 8, &fill).unwrap_err();
    assert!(
        error.to_string().contains("the teacher's inputs"),
        "{error}"
    );
    // The same number of elements in all.
    let of_two = |sizes: [usize; 2]| {
        let mut b = Builder::new(0);
        let parts = sizes.map(|size| {
            let x = b.input(&[1, size]);
            dense(&mut b, x, 2)
        });
        let y = b.node(Op::Add, &parts);
        Network::from_graph(&b.finish(&[y])).unwrap()
    };
    let mut student = Learner::new(of_two([2, 4]), sgd(0.1)).unwrap();
    let error = student
        .distill(&mut of_two([4, 2]), 1.0, 1, &|_, _| {})
        .unwrap_err();
    assert!(
        error.to_string().contains("the teacher's inputs[0]"),
        "{error}"
    );
    student
        .distill(&mut of_two([2, 4]), 1.0, 1, &|_, _| {})
        .unwrap();
}

#[test]
fn schedules_reach_their_ends() {
    let cosine = Schedule {
        rate: 0.1,
        warm_up: 4,
        decay: Decay::Cosine {
            steps: 24,
            last: 0.01,
        },
    };
    let rates: Vec<f64> = (0..40).map(|step| cosine.at(step)).collect();
    assert!((rates[0] - 0.025).abs() < 1e-12 && (rates[3] - 0.1).abs() < 1e-12);
    assert!((rates[4] - 0.1).abs() < 1e-12 && (rates[14] - 0.0505).abs() < 1e-9);
    assert!(rates[24..].iter().all(|rate| (rate - 0.001).abs() < 1e-12));
    assert!(rates[4..25].windows(2).all(|pair| pair[1] <= pair[0]));
    let step = Schedule {
        rate: 1.0,
        warm_up: 0,
        decay: Decay::Step {
            steps: 3,
            factor: 0.5,
        },
    };
    let rates: Vec<f64> = (0..7).map(|at| step.at(at)).collect();
    assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
}

/// The exported model has the trained weights, the names and the metadata of the original.
#[test]
fn a_trained_model_is_read_back() {
    let entries = [("camera", "front"), ("note", "line\nline")];
    let bytes = graph().write_with_metadata(&entries);
    let options = ReadOptions::default();
    let original = Graph::read(&bytes, &options).unwrap();
    let network = Network::from_graph(&original).unwrap();
    let mut learner = Learner::new(network, sgd(0.05)).unwrap();
    for _ in 0..3 {
        learner.step(8, &fill);
    }
    let mut network = learner.finish();
    let kept = metadata(&bytes, &options).unwrap();
    let kept: Vec<(&str, &str)> = kept.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let trained = network.to_graph().unwrap().write_with_metadata(&kept);
    assert_eq!(metadata(&trained, &options).unwrap()["note"], "line\nline");
    let read = Graph::read(&trained, &options).unwrap();
    let names = |graph: &Graph| -> Vec<String> {
        graph
            .values
            .iter()
            .map(|value| value.name.clone())
            .collect()
    };
    assert_eq!(names(&original), names(&read));
    assert_ne!(original, read);
    let answers = network.answers(5, &fill);
    assert_eq!(
        Network::from_graph(&read).unwrap().answers(5, &fill),
        answers
    );
}

#[test]
fn a_rate_factor_scales_the_steps_of_its_parameter_only() {
    let moved = |factor: f32| -> Vec<Vec<f32>> {
        let mut network = Network::from_graph(&graph()).unwrap();
        let trained = network.trained().iter().position(|&trained| trained);
        let name = network.parameters()[trained.unwrap()].name().to_owned();
        network.set_rate_factor(&name, factor).unwrap();
        let values = |network: &Network| -> Vec<Vec<f32>> {
            let parameters = network.parameters().iter();
            parameters.map(|p| p.values().to_vec()).collect()
        };
        let before = values(&network);
        let mut learner = Learner::new(network, sgd(0.1)).unwrap();
        learner.step(4, &fill);
        let after = values(learner.network());
        let change = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
        after.iter().zip(&before).map(change).collect()
    };
    let (whole, part) = (moved(1.0), moved(0.25));
    let mut scaled = 0;
    for (whole, part) in whole.iter().zip(&part) {
        if whole != part {
            scaled += 1;
            for (whole, part) in whole.iter().zip(part) {
                assert!((0.25 * whole - part).abs() < 1e-6, "{whole} {part}");
            }
        }
    }
    assert_eq!(scaled, 1);
    let mut network = Network::from_graph(&graph()).unwrap();
    assert!(network.set_rate_factor("c2", -1.0).is_err());
}

#[test]
fn wrong_settings_are_errors() {
    let mut network = Network::from_graph(&graph()).unwrap();
    let message = network.set_trained("no", true).unwrap_err().to_string();
    assert!(
        message.starts_with("there is no parameter `no`; there is c2, "),
        "{message}"
    );
    assert!(network.set_dropout("no", 0.1).is_err());
    assert!(network.set_values("c2", &[0.0]).is_err());
    assert!(network.set_all_values(&[0.0]).is_err());
    let error = network.to_quantized_graph().unwrap_err();
    assert!(matches!(error, LearningError::NotQuantized));
    for rate in [f64::NAN, -1.0, f64::INFINITY] {
        let network = Network::from_graph(&graph()).unwrap();
        assert!(Learner::new(network, sgd(rate)).is_err());
    }
}
