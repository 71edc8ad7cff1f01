use proptest::prelude::*;

use super::*;

/// Pairs at 20 Hz.
fn pairs(recorded: &[f64], predicted: &[f64]) -> Vec<Pair> {
    let values = recorded.iter().zip(predicted).enumerate();
    values
        .map(|(index, (&recorded, &predicted))| Pair {
            index,
            time: Some(100.0 + index as f64 * 0.05),
            recorded,
            predicted,
        })
        .collect()
}

fn figures(pairs: &[Pair]) -> Figures {
    Figures::of(pairs, 0, "-1 to 1", true).unwrap()
}

/// A drive of turns: sines that do not repeat.
fn drive(count: usize) -> Vec<f64> {
    let value = |at: f64| 0.4 * (at * 0.11).sin() + 0.2 * (at * 0.043).cos();
    (0..count).map(|at| value(at as f64)).collect()
}

#[test]
fn figures_by_hand() {
    let figures = figures(&pairs(&[0.0, 0.5, -0.5, 0.4], &[0.1, 0.5, -0.2, 0.2]));
    let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-12, "{one} {other}");
    // Errors: 0.1, 0, 0.3, -0.2.
    near(figures.errors.mae, 0.15);
    near(figures.errors.rmse, (0.14_f64 / 4.0).sqrt());
    near(figures.bias, 0.05);
    near(figures.largest, 0.3);
    near(figures.always_straight.unwrap().mae, 0.35);
    // The mean is 0.1.
    near(figures.always_mean.mae, (0.1 + 0.4 + 0.6 + 0.3) / 4.0);
    // Pearson's formula, computed in Python.
    assert!((figures.correlation.unwrap() - 0.939_800_939_801_409_7).abs() < 1e-9);
}

#[test]
fn a_delayed_prediction_has_its_lag() {
    let recorded = drive(600);
    for delay in [-7_i64, -1, 0, 2, 9] {
        let at = |place: usize| usize::try_from(place as i64 + 20 - delay).unwrap();
        let predicted: Vec<f64> = (0..500)
            .map(|place| 0.8 * recorded[at(place)] + 0.1)
            .collect();
        let lag = figures(&pairs(&recorded[20..520], &predicted)).lag.unwrap();
        assert_eq!(lag.frames, delay);
        assert!((lag.ms.unwrap() - delay as f64 * 50.0).abs() < 1e-6);
        assert!(lag.correlation > 0.999_999, "{lag:?}");
    }
}

#[test]
fn frames_on_both_sides_of_a_gap_are_not_paired() {
    // Two drives whose predictions come 3 frames late; at the gap the drive jumps.
    let (one, other) = (drive(300), drive(300).into_iter().map(|it| 0.3 - it));
    let other: Vec<f64> = other.collect();
    let late = |of: &[f64]| {
        [&of[..1]; 3]
            .concat()
            .into_iter()
            .chain(of[..297].iter().copied())
            .collect::<Vec<f64>>()
    };
    let mut both = pairs(&one, &late(&one));
    let mut second = pairs(&other, &late(&other));
    for pair in &mut second {
        pair.index += 300;
        pair.time = pair.time.map(|time| time + 60.0);
    }
    both.extend(second);
    assert_eq!(runs(&both).len(), 2);
    assert_eq!(figures(&both).lag.unwrap().frames, 3);
}

#[test]
fn constants_have_no_correlation_and_no_lag() {
    let recorded = drive(100);
    for predicted in [[0.0; 100], [0.3; 100]] {
        let figures = figures(&pairs(&recorded, &predicted));
        assert_eq!((figures.correlation, figures.lag), (None, None));
    }
    // A straight line correlates equally well at every lag.
    let ramp: Vec<f64> = (0..100).map(f64::from).collect();
    assert_eq!(
        figures(&pairs(&ramp, &ramp))
            .lag
            .map_or(0, |lag| lag.frames),
        0
    );
    assert_eq!(Figures::of(&[], 0, "", true), None);
}

proptest! {
    #[test]
    fn figures_obey_their_identities(
        values in prop::collection::vec((-1.0_f64..1.0, -1.0_f64..1.0), 2..60),
    ) {
        let (recorded, predicted): (Vec<f64>, Vec<f64>) = values.iter().copied().unzip();
        let figures = figures(&pairs(&recorded, &predicted));
        let count = values.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
        let variance = |values: &[f64]| {
            let mean = mean(values);
            values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count
        };
        let errors: Vec<f64> = values.iter().map(|(recorded, predicted)| predicted - recorded).collect();
        // The mean squared error is bias and spread of the errors.
        let square = figures.errors.rmse * figures.errors.rmse;
        prop_assert!((square - figures.bias * figures.bias - variance(&errors)).abs() < 1e-9);
        prop_assert!(figures.errors.mae <= figures.errors.rmse + 1e-12);
        prop_assert!(figures.errors.rmse <= figures.largest + 1e-12);
        // Of all constants, the mean has the least squared error: the standard deviation.
        prop_assert!((figures.always_mean.rmse - variance(&recorded).sqrt()).abs() < 1e-9);
        // Var(p - r) = Var(p) + Var(r) - 2 Cov(p, r).
        if let Some(correlation) = figures.correlation {
            let (of_recorded, of_predicted) = (variance(&recorded), variance(&predicted));
            let expected = of_recorded + of_predicted
                - 2.0 * correlation * (of_recorded * of_predicted).sqrt();
            prop_assert!((variance(&errors) - expected).abs() < 1e-9);
        }
    }
}
