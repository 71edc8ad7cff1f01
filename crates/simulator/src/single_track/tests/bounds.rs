//! What holds for any commands.

use proptest::prelude::*;

use super::closed_forms::{coasting, ideal, rolling, run};
use crate::single_track::{GRAVITY, Motion};
use crate::{Car, CarKind, Pose, Preset, TyreCar, random_friction};

fn presets() -> impl Strategy<Value = Preset> {
    prop::sample::select(Preset::ALL.map(|(_, preset)| preset).to_vec())
}

/// A value of a command: within its range, at its ends, or invalid.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -1.0..=1.0_f32,
        2 => prop::sample::select(vec![-1.0, 0.0, 1.0]),
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -7.0]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_commands_keep_the_state_finite_and_bounded(
        preset in presets(),
        friction in prop_oneof![0.0..2.0_f64, Just(f64::NAN), Just(-1.0)],
        commands in prop::collection::vec((value(), value(), 1..400_u32), 1..30),
    ) {
        let dynamics = TyreCar { preset, friction }.dynamics();
        let mixer = preset.dynamics().mixer().unwrap();
        let car = CarKind::Tyres(TyreCar { preset, friction });
        let mut car = Car::new(car, mixer, Pose::default());
        let mut seconds = 0.0;
        for (steering, throttle, count) in commands {
            for _ in 0..count {
                car.step(steering, throttle, 1e-3);
            }
            seconds += f64::from(count) * 1e-3;
            let Pose { x, y, heading } = car.pose();
            let fastest = dynamics.motor.no_load_speed;
            prop_assert!(libm::hypot(x, y) <= 1.01 * fastest * seconds + 1e-3);
            prop_assert!(heading.abs() <= std::f64::consts::PI);
            prop_assert!(car.speed().abs() <= 1.01 * fastest);
            // All energy in the spin, of a car at its highest speed.
            let spin = fastest * libm::sqrt(dynamics.mass / dynamics.yaw_inertia);
            prop_assert!(car.yaw_rate().abs() <= 1.01 * spin);
            let used = car.tyres().unwrap();
            let limit = dynamics.friction * GRAVITY;
            prop_assert!(used.peak_lateral_acceleration <= limit * (1.0 + 1e-9));
            prop_assert!((0.0..=1.0).contains(&used.largest_friction_share));
            prop_assert!((0.0..=std::f64::consts::FRAC_PI_2).contains(&used.peak_slip_angle));
            prop_assert!((0.0..=seconds + 1e-6).contains(&used.sliding_seconds));
        }
    }

    #[test]
    fn a_car_without_its_motor_never_gains_energy(
        preset in presets(),
        friction in 0.1..1.5_f64,
        slide in ([-10.0..10.0_f64, -10.0..10.0], -6.0..6.0_f64),
        commands in prop::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64, 1..300_u32), 1..20),
    ) {
        let dynamics = coasting(TyreCar { preset, friction }.dynamics());
        let mut motion = Motion::new(dynamics);
        motion.slide(slide.0, slide.1);
        let mut pose = Pose::default();
        let mut energy = motion.energy();
        let tolerance = 1e-6 * energy + 1e-9;
        for (steering, throttle, count) in commands {
            for _ in 0..count {
                motion.advance(&mut pose, steering, throttle, 1e-3);
                prop_assert!(
                    motion.energy() <= energy + tolerance,
                    "{} J after {energy} J", motion.energy()
                );
                energy = motion.energy();
            }
        }
    }

    #[test]
    fn energy_comes_from_the_motor_alone(
        preset in presets(),
        commands in prop::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64, 1..300_u32), 1..20),
    ) {
        let dynamics = preset.dynamics();
        let mut motion = Motion::new(dynamics);
        let mut pose = Pose::default();
        let mut work = 0.0;
        for (steering, throttle, count) in commands {
            for _ in 0..count {
                motion.advance(&mut pose, steering, throttle, 1e-3);
                work += dynamics.motor.power * 1e-3;
                prop_assert!(motion.energy() <= 1.001 * work);
            }
        }
    }
}

/// On ice, the centre of gravity goes straight on at its speed, however the car spins.
#[test]
fn a_spinning_car_without_grip_keeps_its_motion() {
    let preset = Preset::Kart;
    let dynamics = TyreCar {
        preset,
        friction: 0.0,
    }
    .dynamics();
    let dynamics = coasting(ideal(dynamics));
    let mut motion = Motion::new(dynamics);
    motion.slide([5.0, 3.0], 4.0);
    let before = motion.energy();
    let mut pose = Pose::default();
    for _ in 0..10_000 {
        motion.advance(&mut pose, 0.5, 0.0, 1e-3);
    }
    assert!((motion.energy() / before - 1.0).abs() < 1e-9);
    let centre = pose.ahead(dynamics.axles[1], 0.0);
    let expected = [dynamics.axles[1] + 50.0, 30.0];
    for axis in [0, 1] {
        assert!((centre[axis] - expected[axis]).abs() < 1e-6, "{centre:?}");
    }
    let turned = libm::remainder(40.0, std::f64::consts::TAU);
    assert!((pose.heading - turned).abs() < 1e-9);
}

#[test]
fn without_grip_nothing_moves_the_car() {
    for friction in [0.0, -1.0, f64::NAN] {
        let preset = Preset::Kart;
        let mut car = rolling(TyreCar { preset, friction }.dynamics(), 0.0);
        run(&mut car, 0.5, 1.0, 2.0);
        assert_eq!(car.pose(), Pose::default());
    }
}

#[test]
fn a_drive_is_the_same_on_every_machine() {
    let mut car = rolling(Preset::F1tenth.dynamics(), 6.0);
    for step in 0..3000_u32 {
        let steering = f64::from(step % 700) / 350.0 - 1.0;
        run(&mut car, steering, 0.5, 1e-3);
    }
    let Pose { x, y, heading } = car.pose();
    assert_eq!(
        [x, y, heading].map(f64::to_bits),
        [
            4626779522422211943,
            4622260495935652239,
            4611125517020138066
        ],
        "{x} {y} {heading}"
    );
}

#[test]
fn friction_from_a_seed_is_within_its_range() {
    let draws: Vec<f64> = (0..1000).map(random_friction).collect();
    assert!(draws.iter().all(|friction| (0.7..1.2).contains(friction)));
    let mean = draws.iter().sum::<f64>() / 1000.0;
    assert!((mean - 0.95).abs() < 0.02, "{mean}");
    // The same in every release: results name their seed.
    assert_eq!(random_friction(7), 0.736_960_667_809_195_3);
}
