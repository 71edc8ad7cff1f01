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
    fn whatever_comes_in_stays_in_range(speed: f32, yaw_rate: f32) {
        let (steering, throttle) = Mixer::simulated().mix(Controls::Twist { speed, yaw_rate });
        prop_assert!(steering.is_nan() || (-1.0..=1.0).contains(&steering));
        prop_assert!(throttle.is_nan() || (-1.0..=1.0).contains(&throttle));
    }
}

#[test]
fn nan_reaches_the_guard_as_nan() {
    let controls = Controls::Twist {
        speed: f32::NAN,
        yaw_rate: 0.0,
    };
    assert!(Mixer::simulated().mix(controls).1.is_nan());
}

#[test]
fn a_curve_that_falls_is_refused() {
    let curve = vec![(0.0, 0.0), (2.0, 0.5), (1.0, 0.6)];
    assert!(matches!(
        Mixer::new(0.3, 0.4, curve),
        Err(MixerError::Curve(_))
    ));
}
