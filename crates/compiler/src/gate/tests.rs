use pilotage_engine::{Bins, GateLimits, Output};
use pilotage_graph::{ElementType, GraphBuilder, Op, TensorType};

use super::*;

/// Two outputs, `a` of three elements and `b` of two.
const LENGTHS: [(&str, usize); 2] = [("a", 3), ("b", 2)];

#[test]
fn lengths_are_those_of_the_outputs_in_order() {
    let mut b = GraphBuilder::new("net");
    for (name, size) in LENGTHS {
        let x = TensorType::new(ElementType::F32, [1, size]);
        let x = b.input(format!("in {name}"), x).unwrap();
        let y = b.node(format!("node {name}"), Op::Relu, &[x]).unwrap();
        b.output(name, y).unwrap();
    }
    assert_eq!(lengths(&b.finish().unwrap()), LENGTHS);
}

/// An element of the output `name`, with the default limits.
fn element(name: &str, index: usize, meaning: Meaning, bins: Option<Bins>) -> (Output, GateLimits) {
    let (scale, offset) = (1.0, 0.0);
    let name = name.to_owned();
    let output = Output {
        name,
        index,
        meaning,
        scale,
        offset,
        bins,
    };
    (output, GateLimits::default())
}

/// A gate for one output with answers to two frames.
fn gate_of(meaning: Meaning, answers: [f32; 2]) -> Gate {
    let reference = answers.map(|x| vec![0.0, 0.0, 0.0, x, 0.0]);
    Gate::new(
        &LENGTHS,
        &[element("b", 0, meaning, None)],
        reference.to_vec(),
    )
}

#[test]
fn the_error_of_all_outputs_is_relative_to_the_variance() {
    // The answers are 7 and 11 m/s: a variance of 4.
    let gate = gate_of(Meaning::Speed, [7.0, 11.0]);
    let error = |second: f32| {
        let answers = [8.0, second].map(|x| vec![7.0, 7.0, 7.0, x, 7.0]);
        error(&gate, &gate.results("plan", &answers, &[]))
    };
    assert_eq!(error(11.0), 0.125);
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(error(wrong) > 1e100);
    }
}

#[test]
fn a_network_that_ignores_its_frames_is_recognized() {
    let constant = |meaning, answers, others: &[f32]| {
        let others: Vec<_> = others.iter().map(|&x| vec![0.0, 0.0, 0.0, x]).collect();
        constant_output(&gate_of(meaning, answers), &others)
    };
    let found = constant(Meaning::Throttle, [0.25, 0.25], &[0.25]).unwrap();
    assert_eq!(
        (found.frames, found.what.as_str()),
        (3, "throttle (0.2500)")
    );
    assert!(found.to_string().contains("all 3 frames"));
    // A change on other frames suffices.
    assert_eq!(constant(Meaning::Steering, [0.5, 0.5], &[0.5, 0.51]), None);
    assert_eq!(constant(Meaning::Steering, [0.5, 0.501], &[]), None);
    // Answers that are not finite are not called constant.
    assert_eq!(constant(Meaning::Steering, [f32::NAN, f32::NAN], &[]), None);

    // With two outputs: a constant throttle is accepted, a constant steering is not.
    let both = |steering: [f32; 2], throttle: [f32; 2]| {
        let outputs = [(0, Meaning::Steering), (1, Meaning::Throttle)]
            .map(|(index, meaning)| element("b", index, meaning, None));
        let frame = |i: usize| vec![0.0, 0.0, 0.0, steering[i], throttle[i]];
        constant_output(
            &Gate::new(&LENGTHS, &outputs, vec![frame(0), frame(1)]),
            &[],
        )
    };
    assert_eq!(both([0.1, -0.2], [0.3, 0.3]), None);
    let found = both([0.1, 0.1], [0.2, 0.3]).unwrap();
    assert_eq!(found.what, "steering (0.1000)");
    let found = both([0.1, 0.1], [0.3, 0.3]).unwrap();
    assert_eq!(found.what, "steering (0.1000) and throttle (0.3000)");
}

#[test]
fn a_network_whose_same_bin_wins_is_not_still() {
    let bins = Bins {
        count: 3,
        first: -1.0,
        last: 1.0,
        decode: Decode::Argmax,
    };
    let constant = |first: [f32; 3], second: [f32; 3]| {
        let reference = vec![first.to_vec(), second.to_vec()];
        let outputs = [element("a", 0, Meaning::Steering, Some(bins))];
        constant_output(&Gate::new(&LENGTHS, &outputs, reference), &[])
    };
    assert_eq!(constant([0.1, 0.8, 0.1], [0.2, 0.7, 0.1]), None);
    assert!(constant([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]).is_some());
}
