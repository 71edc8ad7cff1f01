use proptest::prelude::*;

use super::*;

fn output(bins: Option<Bins>) -> Output {
    Output {
        name: "out".into(),
        index: 0,
        meaning: Meaning::Steering,
        scale: 1.0,
        offset: 0.0,
        bins,
    }
}

fn of_bins(count: usize, first: f32, last: f32, decode: Decode) -> Output {
    output(Some(Bins {
        count,
        first,
        last,
        decode,
    }))
}

/// Donkeycar's `linear_unbin` (donkeycar/utils.py): the bin times R / (N + offset), plus offset;
/// with N = 15, offset = -1, R = 2 for the angle, and N = 20, offset = 0, R = 0.5 for the throttle.
fn linear_unbin(bin: usize, count: f64, offset: f64, range: f64) -> f32 {
    (bin as f64 * (range / (count + offset)) + offset) as f32
}

#[test]
fn argmax_decodes_as_donkeycar_does() {
    let angle = of_bins(15, -1.0, 1.0, Decode::Argmax);
    let throttle = of_bins(20, 0.0, 0.475, Decode::Argmax);
    for bin in 0..20 {
        let mut elements = [0.01; 20];
        elements[bin] = 0.5;
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-6;
        let expected = linear_unbin(bin, 20.0, 0.0, 0.5);
        assert!(near(throttle.number(&elements), expected), "{bin}");
        if bin < 15 {
            let expected = linear_unbin(bin, 15.0, -1.0, 2.0);
            assert!(near(angle.number(&elements), expected), "{bin}");
        }
    }
    // NumPy's argmax also takes the first of several.
    assert_eq!(angle.number(&[0.1; 15]), -1.0);
}

#[test]
fn the_expectation_lies_between_the_bins() {
    let by = |decode| of_bins(3, -1.0, 1.0, decode);
    assert_eq!(by(Decode::Expectation).number(&[0.0, 0.5, 0.5]), 0.5);
    // The elements need not sum to one: those of an integer engine do not.
    assert_eq!(by(Decode::Expectation).number(&[0.0, 64.0, 64.0]), 0.5);
    let logits = [2.0, 2.0, 2.0 + std::f32::consts::LN_2];
    assert!((by(Decode::Softmax).number(&logits) - 0.25).abs() < 1e-6);
    let large = [1e30, 0.0, -1e30];
    assert_eq!(by(Decode::Softmax).number(&large), -1.0);
}

#[test]
fn an_answer_that_is_no_number_stays_none() {
    for decode in [Decode::Argmax, Decode::Expectation, Decode::Softmax] {
        let output = of_bins(3, -1.0, 1.0, decode);
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..3 {
                let mut elements = [0.2; 3];
                elements[place] = wrong;
                assert!(output.number(&elements).is_nan(), "{decode:?} {elements:?}");
            }
        }
        assert!(output.number(&[0.5, 0.5]).is_nan(), "too few elements");
        assert!(output.number(&[]).is_nan());
    }
    for nothing in [[0.0; 3], [-1.0; 3]] {
        assert!(
            of_bins(3, -1.0, 1.0, Decode::Expectation)
                .number(&nothing)
                .is_nan()
        );
    }
    assert!(of_bins(0, 0.0, 1.0, Decode::Argmax).number(&[1.0]).is_nan());
    assert!(output(None).number(&[]).is_nan());
    assert_eq!(output(None).number(&[0.25, 7.0]), 0.25);
}

proptest! {
    #[test]
    fn numbers_lie_within_the_bins(
        elements in proptest::collection::vec(-50.0f32..50.0, 1..40),
        (first, last) in (-3.0f32..3.0, -3.0f32..3.0),
    ) {
        for decode in [Decode::Argmax, Decode::Expectation, Decode::Softmax] {
            let number = of_bins(elements.len(), first, last, decode).number(&elements);
            let (least, most) = (first.min(last) - 1e-5, first.max(last) + 1e-5);
            let none = decode == Decode::Expectation && elements.iter().all(|&x| x <= 0.0);
            prop_assert!((least..=most).contains(&number) || none && number.is_nan(), "{number}");
        }
    }
}
