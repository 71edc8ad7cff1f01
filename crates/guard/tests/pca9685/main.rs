//! The PCA9685 actuator with a model of the chip. Access through /dev/i2c-N is not tested here,
//! because no build machine has such a bus.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod brake;
mod changes;
mod chip;
mod differential;
#[path = "../support/outputs.rs"]
mod outputs;
mod two_chips;

use std::time::Duration;

use chip::{ADDRESS, Chip, Out, Pin};
use outputs::{DISARMED, FAILSAFE, at, output};
use pilotage_guard::drivers::{
    ArmingStep, Differential, Motor, Pca9685, SteeringSettings, Stop, ThrottleSettings, Wheels,
};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output, conformance};
use proptest::prelude::*;

const STEERING: usize = 1;
const THROTTLE: usize = 0;
const TICK: Duration = Duration::from_millis(5);

fn servo() -> SteeringSettings {
    SteeringSettings {
        channel: STEERING as u8,
        left_us: 1100,
        centre_us: 1500,
        right_us: 1900,
        failsafe_us: 1300,
        disarmed_us: 1700,
    }
}

fn controller() -> ThrottleSettings {
    ThrottleSettings {
        channel: THROTTLE as u8,
        ahead_us: 2000,
        neutral_us: 1500,
        reverse_us: 1000,
        failsafe_us: 1500,
        disarmed_us: 1500,
        arming: Vec::new(),
        brake: None,
    }
}

fn wheels(steering: &SteeringSettings, throttle: &ThrottleSettings) -> Wheels {
    Wheels::Servo {
        steering: (steering.channel, steering.pulses()),
        throttle: (throttle.channel, throttle.pulses()),
        arming: throttle.arming(),
    }
}

const MOTORS: Differential = Differential {
    left: Motor {
        pwm: Some(8),
        ahead: 9,
        back: 10,
        tried: 0,
    },
    right: Motor {
        pwm: Some(13),
        ahead: 12,
        back: 11,
        tried: 0,
    },
    turn: 0.6,
    failsafe: Stop::Brake,
    disarmed: Stop::Coast,
};

fn driver(chip: &Chip, wheels: Wheels) -> Pca9685<Chip> {
    let pin = Box::new(Pin(chip.clone()));
    Pca9685::new(chip.clone(), ADDRESS, 25e6, 60.0, wheels, Some(pin)).unwrap()
}

fn servo_driver(chip: &Chip) -> Pca9685<Chip> {
    driver(chip, wheels(&servo(), &controller()))
}

#[track_caller]
fn assert_pulse(chip: &Chip, channel: usize, micros: f32) {
    let held = chip.micros(channel);
    let tick = chip.tick_us();
    assert!(
        (held - micros).abs() <= tick,
        "channel {channel} puts out {held} us, not {micros} us (a tick is {tick} us)"
    );
}

#[test]
fn it_is_an_actuator() {
    let chip = Chip::new();
    assert_eq!(servo_driver(&chip).name(), "pca9685");
    // Tolerance: a tick of about 4 us, of 400 us from the centre to an end.
    conformance::actuator(&mut servo_driver(&chip), 0.011, |_| {
        let value = |channel, left: f32| (chip.micros(channel) - 1500.0) / left;
        (value(STEERING, -400.0), value(THROTTLE, 500.0))
    });
}

#[test]
fn the_first_write_sets_a_fresh_chip_to_the_disarmed_pulses() {
    let chip = Chip::new();
    servo_driver(&chip).write(at(0), &DISARMED).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
    assert_pulse(&chip, STEERING, 1700.0);
    assert!((chip.tick_us() * 4096.0 * 60.0 / 1e6 - 1.0).abs() < 0.01);
    let state = chip.0.borrow();
    assert_eq!(state.model.written[0], THROTTLE, "the motor first");
    assert_eq!(state.through, Some(true));
    for other in 2..16 {
        assert_eq!(chip.out(other), Out::Low);
    }
}

#[test]
fn a_running_chip_with_the_right_settings_is_never_put_to_sleep() {
    let chip = Chip::new();
    servo_driver(&chip)
        .write(at(0), &output(Mode::Drive, 0.0, 0.5))
        .unwrap();
    // The guard dies, and another one starts.
    let mut next = servo_driver(&chip);
    next.write(at(0), &FAILSAFE).unwrap();
    next.write(at(5), &DISARMED).unwrap();
    assert_eq!(chip.0.borrow().model.slept, 0);
    assert_pulse(&chip, THROTTLE, 1500.0);
}

#[test]
fn pulses_of_a_wrong_length_are_off_before_the_chip_sleeps() {
    let chip = Chip::new();
    let fast = Box::new(Pin(chip.clone()));
    let controls = wheels(&servo(), &controller());
    let mut fast = Pca9685::new(chip.clone(), ADDRESS, 25e6, 100.0, controls, Some(fast)).unwrap();
    fast.write(at(0), &output(Mode::Drive, 0.3, 0.5)).unwrap();
    servo_driver(&chip).write(at(0), &FAILSAFE).unwrap();
    let state = chip.0.borrow();
    assert_eq!((state.model.slept, state.model.cut), (1, 0));
    drop(state);
    assert_pulse(&chip, THROTTLE, 1500.0);
    assert_pulse(&chip, STEERING, 1300.0);
}

#[test]
fn no_pulse_is_fully_off() {
    let chip = Chip::new();
    let mut throttle = controller();
    (throttle.failsafe_us, throttle.disarmed_us) = (0, 0);
    let mut motors = driver(&chip, wheels(&servo(), &throttle));
    for rest in [DISARMED, FAILSAFE] {
        motors.write(at(0), &output(Mode::Drive, 0.0, 1.0)).unwrap();
        assert_pulse(&chip, THROTTLE, 2000.0);
        motors.write(at(0), &rest).unwrap();
        assert_eq!(chip.out(THROTTLE), Out::Low);
        assert_ne!(
            chip.0.borrow().model.registers[0x09] & 0x10,
            0,
            "the full-off bit"
        );
    }
    assert_eq!(chip.0.borrow().model.slept, 0);
}

#[test]
fn the_controller_is_armed_when_the_car_first_drives() {
    let chip = Chip::new();
    let throttle = ThrottleSettings {
        arming: vec![
            ArmingStep { us: 1200, ms: 100 },
            ArmingStep { us: 1500, ms: 100 },
        ],
        ..controller()
    };
    let mut motors = driver(&chip, wheels(&servo(), &throttle));
    let drive = output(Mode::Drive, 0.0, 1.0);
    motors.write(at(0), &FAILSAFE).unwrap();
    for (millis, micros) in [(5, 1200.0), (100, 1200.0), (105, 1500.0), (205, 2000.0)] {
        motors.write(at(millis), &drive).unwrap();
        assert_pulse(&chip, THROTTLE, micros);
    }
    motors.write(at(210), &FAILSAFE).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
    // After a failure of the chip, the pulses that the controller received are unknown.
    chip.0.borrow_mut().nacks = 1;
    motors.write(at(215), &drive).unwrap_err();
    motors.write(at(220), &drive).unwrap();
    assert_pulse(&chip, THROTTLE, 1200.0);
}

#[test]
fn a_failed_write_is_retried_at_once_with_all_outputs() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip);
    motors.write(at(0), &output(Mode::Drive, 0.0, 1.0)).unwrap();
    chip.0.borrow_mut().nacks = 1;
    let error = motors.write(at(5), &FAILSAFE).unwrap_err();
    assert!(matches!(error, ActuatorError::Write { .. }), "{error}");
    assert_eq!(chip.0.borrow().through, Some(false), "held back on failure");
    chip.0.borrow_mut().model.written.clear();
    motors.write(at(5), &FAILSAFE).unwrap();
    assert_eq!(chip.0.borrow().model.written, [THROTTLE, STEERING]);
    assert_eq!(chip.0.borrow().through, Some(true));
    assert_pulse(&chip, THROTTLE, 1500.0);
}

#[test]
fn a_dead_bus_is_retried_less_often_and_recovers() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip);
    motors.write(at(0), &DISARMED).unwrap();
    chip.0.borrow_mut().nacks = u32::MAX;
    let before = chip.0.borrow().transactions;
    for millis in (5..2005).step_by(5) {
        motors.write(at(millis), &FAILSAFE).unwrap_err();
    }
    let tries = chip.0.borrow().transactions - before;
    assert!((8..=16).contains(&tries), "{tries} tries in 2 s");
    chip.0.borrow_mut().nacks = 0;
    let mut back = None;
    for millis in (2005..2500).step_by(5) {
        if motors.write(at(millis), &FAILSAFE).is_ok() {
            back = back.or(Some(millis));
        }
    }
    assert!(back.is_some_and(|millis| millis <= 2330), "{back:?}");
    assert_pulse(&chip, THROTTLE, 1500.0);
}

/// The expected bytes are derived from NXP's data sheet (rev. 4: tables 4 to 8, chapter 7.3.5), not
/// from the driver: prescaler of 25 MHz / (4096 * 50 Hz) - 1 = 121; a pulse's end at micros * 50 *
/// 4096 / 1e6 ticks.
#[test]
fn a_fresh_chip_is_written_these_bytes() {
    let chip = Chip::new();
    chip.0.borrow_mut().bytes = Some(Vec::new());
    let controls = wheels(&servo(), &controller());
    let mut motors = Pca9685::new(chip.clone(), ADDRESS, 25e6, 50.0, controls, None).unwrap();
    motors.write(at(0), &DISARMED).unwrap();
    let bytes = chip.0.borrow_mut().bytes.take().unwrap();
    let writes: Vec<Vec<u8>> = bytes.into_iter().filter(|bytes| bytes.len() > 1).collect();
    assert_eq!(
        writes,
        [
            // MODE2: not inverted, totem pole.
            vec![0x01, 0x04],
            // MODE1: asleep (SLEEP), with all-call enabled as after power-up (ALLCALL).
            vec![0x00, 0x11],
            vec![0xFE, 121],
            // MODE1: register auto-increment (AI).
            vec![0x00, 0x31],
            // Throttle, channel 0: from tick 0 to 307 (1500 us).
            vec![0x06, 0x00, 0x00, 0x33, 0x01],
            // Steering, channel 1: to 348 (1700 us).
            vec![0x0A, 0x00, 0x00, 0x5C, 0x01],
            // MODE1: awake.
            vec![0x00, 0x21],
        ]
    );
}

/// While an operator trims.
#[test]
fn adjusted_pulses_are_written_next() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip);
    motors.write(at(0), &FAILSAFE).unwrap();
    assert_pulse(&chip, STEERING, 1300.0);
    let servo = SteeringSettings {
        failsafe_us: 1350,
        ..servo()
    };
    motors.adjust(wheels(&servo, &controller()));
    motors.write(at(5), &FAILSAFE).unwrap();
    assert_pulse(&chip, STEERING, 1350.0);
}

#[test]
fn errors_name_the_device() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip).named("/dev/i2c-7, address 0x40");
    motors.write(at(0), &DISARMED).unwrap();
    chip.0.borrow_mut().nacks = 1;
    let error = motors.write(at(5), &FAILSAFE).unwrap_err().to_string();
    assert!(error.starts_with("/dev/i2c-7, address 0x40: "), "{error}");
    assert!(error.contains("No such device or address"), "{error}");
}

#[test]
fn after_the_first_a_write_does_not_allocate() {
    for wheels in [
        wheels(&servo(), &controller()),
        Wheels::Differential(MOTORS),
        Wheels::Differential(differential::TWO_INPUTS),
    ] {
        let chip = Chip::new();
        // The allocations of the model must not be counted.
        chip.0.borrow_mut().model.written.reserve(10_000);
        let mut motors = driver(&chip, wheels);
        motors.write(at(0), &DISARMED).unwrap();
        let counted = allocation_counter::measure(|| {
            for step in 1..500_u16 {
                let value = f32::from(step % 100) / 50.0 - 1.0;
                let _ = motors.write(at(u64::from(step) * 5), &output(Mode::Drive, value, value));
            }
            chip.0.borrow_mut().nacks = 5;
            for step in 500..1000_u16 {
                let _ = motors.write(at(u64::from(step) * 5), &FAILSAFE);
            }
        });
        assert_eq!(counted.count_total, 0);
    }
}

proptest! {
    #[test]
    fn every_pulse_is_within_a_tick_of_what_is_written(
        outputs in prop::collection::vec((0..4, -1.0_f32..=1.0, -1.0_f32..=1.0), 1..40)
    ) {
        let chip = Chip::new();
        let mut motors = servo_driver(&chip);
        for (index, (mode, steering, throttle)) in outputs.into_iter().enumerate() {
            let modes = [Mode::Disarmed, Mode::Failsafe, Mode::Brake, Mode::Drive];
            let mode = modes[mode as usize];
            motors.write(at(5 * index as u64), &output(mode, steering, throttle)).unwrap();
            let (servo, motor) = match mode {
                Mode::Disarmed => (1700.0, 1500.0),
                // This controller has no brake.
                Mode::Failsafe | Mode::Brake => (1300.0, 1500.0),
                Mode::Drive => (1500.0 - 400.0 * steering, 1500.0 + 500.0 * throttle),
            };
            assert_pulse(&chip, STEERING, servo);
            assert_pulse(&chip, THROTTLE, motor);
        }
    }

    #[test]
    fn a_differential_cars_path_depends_on_steering_alone(
        steering in -1.0_f32..=1.0, throttle in -1.0_f32..=1.0, turn in 0.0_f32..=1.0
    ) {
        let (left, right) = Differential { turn, ..MOTORS }.speeds(steering, throttle);
        prop_assert!(left.abs() <= 1.0 && right.abs() <= 1.0);
        // The curvature is the difference of the sides' speeds divided by their sum.
        prop_assert!(((right - left) - turn * steering * (right + left)).abs() < 1e-5);
        prop_assert!(left * throttle >= 0.0 && right * throttle >= 0.0, "no side is reversed");
        prop_assert!((left + right).abs() <= 2.0 * throttle.abs() + 1e-6);
    }
}
