use super::*;
use crate::{Decode, Meaning};

/// Two outputs, `a` of three elements and `b` of two.
const LENGTHS: [(&str, usize); 2] = [("a", 3), ("b", 2)];

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
    Gate::new(&LENGTHS, &[(output, limits)], reference)
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
    Gate::new(&LENGTHS, &outputs, reference.to_vec())
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
fn nan_or_missing_answers_never_pass() {
    let gate = gate(GateLimits {
        mse: Some(f64::MAX / 2.0),
        worst: Some(f64::MAX / 2.0),
    });
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let results = gate.results("plan", &answers(1.0, wrong), &[]);
        assert!(!results[0].passes(), "{wrong}: {results:?}");
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
        bins: Some(crate::Bins {
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
        let gate = Gate::new(&LENGTHS, &outputs, reference.clone());
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
    let gate = Gate::new(&LENGTHS, &outputs, reference.clone());
    let integers = [frame([10.0, 80.0, 10.0]), frame([0.0, 50.0, 50.0])];
    let units = [("a".to_owned(), 0.01)];
    let result = gate.results("plan", &integers, &units).remove(0);
    assert!(result.worst < 1e-6, "{result:?}");
}

/// Of a path, what it commands and its points are compared.
#[test]
fn a_path_is_compared_by_what_it_commands() {
    let decoder = crate::PathDecoder {
        name: "a".into(),
        index: 0,
        path: crate::PathForm::Waypoints {
            points: crate::Points {
                count: 3,
                order: crate::PointOrder::First(vec![0.5, 1.0, 1.5]),
                scale: [1.0; 2],
                offset: [0.0; 2],
                far_first: false,
            },
        },
        pursuit: crate::Pursuit {
            look_ahead: 1.0,
            look_ahead_time: 0.0,
            least_points: 2,
        },
        speed: PathSpeed::Period(0.5),
    };
    let frame = |points: [f32; 3]| [&points[..], &[0.0, 0.0]].concat();
    let reference = vec![frame([0.0, 0.0, 0.0]), frame([0.0, 1.0, 2.0])];
    let path = decoder.bind(&LENGTHS).unwrap();
    let gate =
        Gate::new(&LENGTHS, &[], reference.clone()).with_path(path.clone(), PathLimits::default());
    let results = |answers: [[f32; 3]; 2]| gate.results("plan", &answers.map(frame), &[]);
    let names: Vec<String> = results([[0.0; 3]; 2])
        .into_iter()
        .map(|it| it.output)
        .collect();
    assert_eq!(names, ["curvature", "speed", "waypoints"]);
    let same = results([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]);
    assert!(
        same.iter().all(|it| it.passes() && it.worst == 0.0),
        "{same:?}"
    );
    // A point beyond the look-ahead is off by 0.3 m: nothing changes but the speed and the points.
    let off = results([[0.0, 0.0, 0.3], [0.0, 1.0, 2.0]]);
    assert_eq!(off[0].worst, 0.0);
    let longer = f64::hypot(0.5, 0.300_000_012) - 0.5;
    assert!((off[1].worst - longer).abs() < 1e-6, "{off:?}");
    assert!(
        (off[2].worst - 0.3 / 3.0_f64.sqrt()).abs() < 1e-6,
        "{off:?}"
    );
    // A span of 2 m to the side.
    assert!((off[2].most_worst - 0.2).abs() < 1e-9, "{off:?}");

    // Where only one of the two is a path, nothing passes; where neither is, the car stops for both.
    let behind = |second: [f32; 3]| {
        let mut decoder = decoder.clone();
        decoder.pursuit.least_points = 3;
        decoder.path = crate::PathForm::Waypoints {
            points: crate::Points {
                count: 3,
                order: crate::PointOrder::Second(vec![0.0; 3]),
                scale: [1.0; 2],
                offset: [0.0; 2],
                far_first: false,
            },
        };
        let reference = vec![frame([0.5, 1.0, 1.5]), frame([-0.5, -1.0, -1.5])];
        let path = decoder.bind(&LENGTHS).unwrap();
        let gate = Gate::new(&LENGTHS, &[], reference).with_path(path, PathLimits::default());
        let answers = [frame([0.5, 1.0, 1.5]), frame(second)];
        gate.results("plan", &answers, &[]).remove(0)
    };
    assert!(behind([-0.5, -1.0, -1.5]).passes());
    // The first point is ahead, the others are not: the path turns back.
    assert!(behind([0.5, -1.0, -1.5]).passes());
    assert!(!behind([0.5, 1.0, 1.5]).passes());
    let reference = vec![frame([0.0, 0.0, 0.0])];
    let gate = Gate::new(&LENGTHS, &[], reference).with_path(path, PathLimits::default());
    let results = gate.results("plan", &[frame([f32::NAN, 0.0, 0.0])], &[]);
    assert!(results.iter().all(|it| !it.passes()), "{results:?}");
}
