use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn twist_undoes_mix_within_the_limits(speed in 0.5f32..23.0, fraction in -1.0f32..1.0) {
        let mixer = Mixer::simulated();
        let largest_curvature = (mixer.steering_range().tan() / mixer.wheelbase()) as f32;
        let yaw_rate = speed * fraction * largest_curvature;
        let (steering, throttle) = mixer.mix(Controls::Twist { speed, yaw_rate });
        let (v, w) = mixer.twist(steering, throttle);
        prop_assert!((v - f64::from(speed)).abs() < 1e-4 * f64::from(speed));
        prop_assert!((w - f64::from(yaw_rate)).abs() < 1e-3);
    }

    #[test]
    fn finite_controls_stay_in_range(first in -1e30f32..1e30, second in -1e30f32..1e30) {
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
fn a_number_that_is_not_finite_becomes_nan() {
    for invalid in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for controls in [
            Controls::Twist {
                speed: invalid,
                yaw_rate: 0.0,
            },
            Controls::Twist {
                speed: 3.0,
                yaw_rate: invalid,
            },
            Controls::Direct {
                steering: invalid,
                throttle: 0.1,
            },
            Controls::Direct {
                steering: 0.0,
                throttle: invalid,
            },
        ] {
            let (steering, throttle) = Mixer::simulated().mix(controls);
            assert!(steering.is_nan() && throttle.is_nan(), "{controls:?}");
        }
    }
}

#[test]
fn a_falling_curve_is_rejected() {
    let curve = vec![(0.0, 0.0), (2.0, 0.5), (1.0, 0.6)];
    assert!(matches!(
        Mixer::new(0.3, 0.4, curve),
        Err(MixerError::Curve(_))
    ));
}
