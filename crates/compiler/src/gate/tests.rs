use pilotage_engine::Meaning;
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
