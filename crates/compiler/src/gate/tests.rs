use pilotage_graph::{ElementType, GraphBuilder, Op, TensorType};

use super::*;

/// Two outputs, `a` of three elements and `b` of two.
fn graph() -> Graph {
    let mut b = GraphBuilder::new("net");
    for (name, size) in [("a", 3), ("b", 2)] {
        let x = TensorType::new(ElementType::F32, [1, size]);
        let x = b.input(format!("in {name}"), x).unwrap();
        let y = b.node(format!("node {name}"), Op::Relu, &[x]).unwrap();
        b.output(name, y).unwrap();
    }
    b.finish().unwrap()
}

fn gate(limits: GateLimits) -> Gate {
    let output = Output {
        name: "b".into(),
        index: 1,
        meaning: Meaning::Speed,
        scale: 2.0,
        offset: 5.0,
        bins: None,
    };
    let reference = vec![vec![0.0, 0.0, 0.0, 9.0, 1.0], vec![0.0, 0.0, 0.0, 9.0, 3.0]];
    Gate::new(&graph(), &[(output, limits)], reference)
}

fn answers(first: f32, second: f32) -> Vec<Vec<f32>> {
    [first, second]
        .map(|x| vec![7.0, 7.0, 7.0, 7.0, x])
        .to_vec()
}

#[test]
fn errors_are_in_the_unit_of_the_output() {
    let gate = gate(GateLimits {
        mse: Some(1.0),
        worst: Some(2.0),
    });
    let results = gate.results("plan", &answers(1.5, 3.0), &[]);
    assert_eq!(results.len(), 1);
    let result = &results[0];
    assert_eq!(
        (result.output.as_str(), result.unit.as_str()),
        ("speed", "m/s")
    );
    assert_eq!((result.mse, result.worst), (0.5, 1.0));
    assert!(result.passes());
    // The answers are 7 and 11 m/s: a variance of 4.
    assert_eq!(gate.error(&results), 0.125);
    assert!(!gate.results("plan", &answers(1.0, 4.5), &[])[0].passes());
}

#[test]
fn integer_answers_are_scaled() {
    let gate = gate(GateLimits::default());
    let units = [("b".to_owned(), 0.5)];
    let results = gate.results("plan", &answers(2.0, 6.0), &units);
    assert_eq!((results[0].mse, results[0].worst), (0.0, 0.0));
}

#[test]
fn default_limits_follow_from_the_span() {
    let result = &gate(GateLimits::default()).results("plan", &answers(1.0, 3.0), &[])[0];
    // From 7 to 11 m/s.
    assert!((result.most_mse - (0.02_f64 * 4.0).powi(2)).abs() < 1e-12);
    assert!((result.most_worst - 0.4).abs() < 1e-12);
    assert!(result.passes());
}

#[test]
fn answers_that_are_not_finite_have_no_limit_that_passes() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let gate = gate_of(Meaning::Speed, [wrong, 1.0]);
        let answers = [wrong, 1.0].map(|x| vec![0.0, 0.0, 0.0, x, 0.0]);
        let result = gate.results("plan", &answers, &[]).remove(0);
        assert!(!result.passes(), "{result:?}");
        assert!(result.most_mse.is_finite() && result.most_worst.is_finite());
    }
}

/// A gate for one output with answers to two frames.
fn gate_of(meaning: Meaning, answers: [f32; 2]) -> Gate {
    let output = Output {
        name: "b".into(),
        index: 0,
        meaning,
        scale: 1.0,
        offset: 0.0,
        bins: None,
    };
    let outputs = [(output, GateLimits::default())];
    let reference = answers.map(|x| vec![0.0, 0.0, 0.0, x, 0.0]);
    Gate::new(&graph(), &outputs, reference.to_vec())
}

#[test]
fn default_limits_have_a_floor_for_each_meaning() {
    for (meaning, root, worst) in [
        (Meaning::Steering, 0.01, 0.03),
        (Meaning::Throttle, 0.005, 0.02),
        (Meaning::Speed, 0.02, 0.1),
        (Meaning::YawRate, 0.02, 0.1),
    ] {
        // Answers within 0.01.
        let gate = gate_of(meaning, [0.2, 0.21]);
        let off = |by: f32| {
            let answers = [0.2 + by, 0.21].map(|x| vec![0.0, 0.0, 0.0, x, 0.0]);
            gate.results("plan", &answers, &[]).remove(0)
        };
        assert!(off(0.002).passes(), "{meaning:?}");
        let result = off(2.0 * worst as f32);
        assert!(!result.passes());
        assert!((result.most_mse - root * root).abs() < 1e-12);
        assert_eq!(result.most_worst, worst);
    }
}

#[test]
fn a_network_that_ignores_its_frames_is_recognized() {
    let still = |meaning, answers, others: &[f32]| {
        let others: Vec<_> = others.iter().map(|&x| vec![0.0, 0.0, 0.0, x]).collect();
        gate_of(meaning, answers).constant_output(&others)
    };
    let found = still(Meaning::Throttle, [0.25, 0.25], &[0.25]).unwrap();
    assert_eq!(
        (found.frames, found.what.as_str()),
        (3, "throttle (0.2500)")
    );
    assert!(found.to_string().contains("all 3 frames"));
    // A change on other frames suffices.
    assert_eq!(still(Meaning::Steering, [0.5, 0.5], &[0.5, 0.51]), None);
    assert_eq!(still(Meaning::Steering, [0.5, 0.501], &[]), None);
    // Answers that are not finite are not called constant.
    assert_eq!(still(Meaning::Steering, [f32::NAN, f32::NAN], &[]), None);

    // With two outputs: a constant throttle is accepted, a constant steering is not.
    let both = |steering: [f32; 2], throttle: [f32; 2]| {
        let output = |index, meaning| Output {
            name: "b".into(),
            index,
            meaning,
            scale: 1.0,
            offset: 0.0,
            bins: None,
        };
        let outputs = [(0, Meaning::Steering), (1, Meaning::Throttle)]
            .map(|(index, meaning)| (output(index, meaning), GateLimits::default()));
        let frame = |i: usize| vec![0.0, 0.0, 0.0, steering[i], throttle[i]];
        Gate::new(&graph(), &outputs, vec![frame(0), frame(1)]).constant_output(&[])
    };
    assert_eq!(both([0.1, -0.2], [0.3, 0.3]), None);
    let found = both([0.1, 0.1], [0.2, 0.3]).unwrap();
    assert_eq!(found.what, "steering (0.1000)");
    let found = both([0.1, 0.1], [0.3, 0.3]).unwrap();
    assert_eq!(found.what, "steering (0.1000) and throttle (0.3000)");
}

#[test]
fn nan_or_missing_answers_never_pass() {
    let gate = gate(GateLimits {
        mse: Some(f64::MAX / 2.0),
        worst: Some(f64::MAX / 2.0),
    });
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let results = gate.results("plan", &answers(1.0, wrong), &[]);
        assert!(!results[0].passes(), "{wrong}: {results:?}");
        assert!(gate.error(&results) > 1e100);
    }
    for short in [vec![], vec![vec![]], vec![vec![7.0; 5]]] {
        assert!(!gate.results("plan", &short, &[])[0].passes());
    }
}

#[test]
fn bins_are_compared_by_the_number_that_they_stand_for() {
    let output = |decode| Output {
        name: "a".into(),
        index: 0,
        meaning: Meaning::Steering,
        scale: -1.0,
        offset: 0.0,
        bins: Some(pilotage_engine::Bins {
            count: 3,
            first: -1.0,
            last: 1.0,
            decode,
        }),
    };
    let frame = |bins: [f32; 3]| [&bins[..], &[0.0, 0.0]].concat();
    let reference = vec![frame([0.1, 0.8, 0.1]), frame([0.0, 0.5, 0.5])];
    let answers = [frame([0.1, 0.8, 0.1]), frame([0.0, 0.49, 0.51])];
    let result = |decode| {
        let outputs = [(output(decode), GateLimits::default())];
        let gate = Gate::new(&graph(), &outputs, reference.clone());
        gate.results("plan", &answers, &[]).remove(0)
    };
    // Between two bins, the other one wins.
    let argmax = result(Decode::Argmax);
    assert_eq!((argmax.worst, argmax.mse), (1.0, 0.5));
    assert!(argmax.most_worst > 1.0 && argmax.most_mse == 0.0625);
    let expectation = result(Decode::Expectation);
    assert!((expectation.worst - 0.01).abs() < 1e-6, "{expectation:?}");
    // Integers are decoded without their scale.
    let outputs = [(output(Decode::Expectation), GateLimits::default())];
    let gate = Gate::new(&graph(), &outputs, reference.clone());
    let integers = [frame([10.0, 80.0, 10.0]), frame([0.0, 50.0, 50.0])];
    let units = [("a".to_owned(), 0.01)];
    let result = gate.results("plan", &integers, &units).remove(0);
    assert!(result.worst < 1e-6, "{result:?}");
}

#[test]
fn a_network_whose_same_bin_wins_is_not_still() {
    let output = Output {
        name: "a".into(),
        index: 0,
        meaning: Meaning::Steering,
        scale: 1.0,
        offset: 0.0,
        bins: Some(pilotage_engine::Bins {
            count: 3,
            first: -1.0,
            last: 1.0,
            decode: Decode::Argmax,
        }),
    };
    let still = |first: [f32; 3], second: [f32; 3]| {
        let reference = vec![first.to_vec(), second.to_vec()];
        let outputs = [(output.clone(), GateLimits::default())];
        Gate::new(&graph(), &outputs, reference).constant_output(&[])
    };
    assert_eq!(still([0.1, 0.8, 0.1], [0.2, 0.7, 0.1]), None);
    assert!(still([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]).is_some());
}
