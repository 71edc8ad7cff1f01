use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn twist_undoes_mix_within_the_limits(speed in 0.5f32..23.0, turn in -1.0f32..1.0) {
        let mixer = Mixer::simulated();
        let sharpest = (mixer.steering_range().tan() / mixer.wheelbase()) as f32;
        let yaw_rate = speed * turn * sharpest;
        let (steering, throttle) = mixer.mix(Controls::Twist { speed, yaw_rate });
        let (v, w) = mixer.twist(steering, throttle);
        prop_assert!((v - f64::from(speed)).abs() < 1e-4 * f64::from(speed));
        prop_assert!((w - f64::from(yaw_rate)).abs() < 1e-3);
    }

    #[test]
    fn what_is_finite_stays_in_range(first in -1e30f32..1e30, second in -1e30f32..1e30) {
        for controls in [
            Controls::Twist { speed: first, yaw_rate: second },
            Controls::Direct { steering: first, throttle: second },
        ] {
            let (steering, throttle) = Mixer::simulated().mix(controls);
            prop_assert!((-1.0..=1.0).contains(&steering), "{steering}");
            prop_assert!((-1.0..=1.0).contains(&throttle), "{throttle}");
        }
    }
}

#[test]
fn one_number_that_is_not_finite_reaches_the_guard_as_nan() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for controls in [
            Controls::Twist {
                speed: wrong,
                yaw_rate: 0.0,
            },
            Controls::Twist {
                speed: 3.0,
                yaw_rate: wrong,
            },
            Controls::Direct {
                steering: wrong,
                throttle: 0.1,
            },
            Controls::Direct {
                steering: 0.0,
                throttle: wrong,
            },
        ] {
            let (steering, throttle) = Mixer::simulated().mix(controls);
            assert!(steering.is_nan() && throttle.is_nan(), "{controls:?}");
        }
    }
}

#[test]
fn a_curve_that_falls_is_refused() {
    let curve = vec![(0.0, 0.0), (2.0, 0.5), (1.0, 0.6)];
    assert!(matches!(
        Mixer::new(0.3, 0.4, curve),
        Err(MixerError::Curve(_))
    ));
}
