//! The servo, the motor and the calibration.

use super::closed_forms::{rolling, run};
use crate::single_track::brush::Brush;
use crate::single_track::servo::Servo;
use crate::{Preset, Steering};

#[test]
fn the_servo_waits_then_turns_at_its_rate_then_has_play() {
    let mut servo = Servo::new(Steering {
        range: 0.4,
        rate: 4.0,
        delay: 0.02,
        backlash: 0.02,
    });
    let mut run = |command: f64, milliseconds: u32| {
        let mut angle = 0.0;
        for _ in 0..milliseconds {
            angle = servo.advance(command, 1e-3);
        }
        angle
    };
    assert_eq!(run(1.0, 20), 0.0);
    // Half of the play is taken up first.
    assert!((run(1.0, 50) - (0.2 - 0.01)).abs() < 0.005);
    assert!((run(1.0, 100) - 0.39).abs() < 1e-9);
    // Back by less than the play: the wheels stay.
    assert!((run(0.96, 100) - 0.39).abs() < 1e-9);
    assert!((run(0.0, 200) - 0.01).abs() < 1e-9);
    assert!((run(-1.0, 300) + 0.39).abs() < 1e-9);
}

#[test]
fn a_servo_takes_more_commands_than_it_has_memory_for() {
    let steering = Preset::Donkeycar.dynamics().steering;
    let mut servo = Servo::new(Steering {
        delay: 0.1,
        ..steering
    });
    for step in 0..2000_u32 {
        let command = f64::from(step % 17) / 8.0 - 1.0;
        let angle = servo.advance(command, 1e-4);
        assert!(angle.abs() <= steering.range);
    }
    let mut angle = 0.0;
    for _ in 0..1000 {
        angle = servo.advance(0.5, 1e-3);
    }
    let end = 0.5 * steering.range;
    assert!((angle - end).abs() <= 0.5 * steering.backlash + 1e-9);
}

#[test]
fn the_motor_has_a_dead_zone_and_limits() {
    let motor = Preset::Donkeycar.dynamics().motor;
    assert_eq!(motor.duty(0.05), 0.0);
    assert_eq!(motor.duty(-0.04), 0.0);
    assert!((motor.duty(1.0) - 1.0).abs() < 1e-12);
    assert!((motor.duty(-1.0) + 1.0).abs() < 1e-12);
    assert_eq!(motor.force_at(1.0, 0.0), motor.force);
    assert!(motor.force_at(1.0, motor.no_load_speed).abs() < 1e-9);
    // Fast wheels with a lower throttle: the motor brakes, but not as the brakes do.
    assert_eq!(motor.force_at(0.2, 7.0), -motor.drag_brake);
    let kart = Preset::Kart.dynamics();
    assert!((kart.motor.force_at(1.0, 25.0) * 25.0 - kart.motor.power).abs() < 1e-6);
    assert_eq!(kart.brakes.forces_at(-1.0), [0.0, kart.brakes.force]);
    assert_eq!(kart.brakes.forces_at(0.5), [0.0, 0.5 * kart.brakes.force]);
    assert_eq!(kart.motor.hold_at(-1.0, 10.0), kart.motor.drag_brake);
}

#[test]
fn the_tyre_is_linear_at_first_and_slides_at_last() {
    let brush = Brush {
        grip: 10.0,
        stiffness: [100.0, 80.0],
    };
    let force = |rolling: f64, slip: [f64; 2]| {
        let response = brush.response(rolling, slip);
        (
            [0, 1].map(|axis| response.damping[axis] * slip[axis]),
            response.slides,
        )
    };
    let ([along, across], slides) = force(5.0, [5e-6, 0.0]);
    assert!((along - 1e-4).abs() < 1e-8 && across == 0.0 && !slides);
    let ([_, across], _) = force(-5.0, [0.0, 5e-6]);
    assert!((across - 0.8e-4).abs() < 1e-8);
    // Half of the slip at which the whole contact slides, 3 mu F / C: 7/8 of the grip.
    let ([along, _], slides) = force(5.0, [5.0 * 0.15, 0.0]);
    assert!((along - 8.75).abs() < 1e-9 && !slides);
    for slip in [[5.0, 0.0], [0.0, -3.0], [2.0, 4.0]] {
        let (force, slides) = force(1.0, slip);
        assert!((libm::hypot(force[0], force[1]) - 10.0).abs() < 1e-9 && slides);
    }
    // A standing wheel: no division by zero.
    assert!(force(0.0, [0.0, 0.0]).0 == [0.0, 0.0]);
    let half = brush.within([3.0, 4.0]);
    assert_eq!(half, ([3.0, 4.0], 0.5));
    assert_eq!(brush.within([-30.0, 40.0]), ([-6.0, 8.0], 1.0));
}

#[test]
fn the_calibrated_throttle_holds_its_speed() {
    for (name, preset) in Preset::ALL {
        assert_eq!(preset.name(), name);
        let dynamics = preset.dynamics();
        let mixer = dynamics.mixer().unwrap();
        for share in [0.1, 0.4, 0.8] {
            let speed = share * dynamics.limits().top_speed;
            let mut car = rolling(dynamics, 0.5 * speed);
            run(&mut car, 0.0, mixer.throttle(speed), 20.0);
            let difference = car.speed() - speed;
            assert!(
                difference.abs() < 0.03 * speed,
                "{name}: {difference} m/s at {speed} m/s"
            );
        }
    }
}
