//! The brake of a speed controller without reverse.

use pilotage_guard::drivers::BrakeSettings;

use super::*;

fn braked() -> ThrottleSettings {
    ThrottleSettings {
        reverse_us: 1500,
        arming: vec![ArmingStep { us: 1500, ms: 100 }],
        brake: Some(BrakeSettings { us: 1150, ms: 300 }),
        ..controller()
    }
}

/// Only the guard's policy says when to brake, and for how long. The servo is at its failsafe value.
#[test]
fn the_brake_is_a_pulse_of_its_own_for_a_controller_that_is_armed() {
    let chip = Chip::new();
    let mut motors = driver(&chip, wheels(&servo(), &braked()));
    let brake = output(Mode::Brake, 0.0, 0.0);
    motors.write(at(0), &output(Mode::Drive, 0.0, 1.0)).unwrap();
    motors.write(at(5), &brake).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
    for millis in [10, 110] {
        motors
            .write(at(millis), &output(Mode::Drive, 0.0, 1.0))
            .unwrap();
    }
    assert_pulse(&chip, THROTTLE, 2000.0);
    motors.write(at(115), &brake).unwrap();
    assert_pulse(&chip, THROTTLE, 1150.0);
    assert_pulse(&chip, STEERING, 1300.0);
    motors.write(at(120), &FAILSAFE).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
    // After a failure of the chip the controller has to be armed anew.
    chip.0.borrow_mut().nacks = 1;
    motors.write(at(125), &brake).unwrap_err();
    motors.write(at(130), &brake).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
}

/// Without reverse a throttle below 0 is neutral.
#[test]
fn no_throttle_but_the_brake_brakes() {
    let chip = Chip::new();
    let throttle = ThrottleSettings {
        arming: Vec::new(),
        ..braked()
    };
    let mut motors = driver(&chip, wheels(&servo(), &throttle));
    for throttle in [-1.0, -0.5, 0.0] {
        motors
            .write(at(0), &output(Mode::Drive, 0.0, throttle))
            .unwrap();
        assert_pulse(&chip, THROTTLE, 1500.0);
    }
}
