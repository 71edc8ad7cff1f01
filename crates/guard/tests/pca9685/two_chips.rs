//! Cars with a servo on one chip and motors on a second one.

use arrayvec::ArrayVec;
use embedded_hal::i2c::{I2c, Operation};
use pilotage_guard::drivers::{MotorBank, TwoChips};

use super::*;
use crate::chip::Refused;

/// The address of the motors' chip. [`Chip`] has only one address.
const MOTORS_AT: u8 = 0x60;

/// A model at [`MOTORS_AT`].
#[derive(Clone)]
struct MotorsChip(Chip);

impl embedded_hal::i2c::ErrorType for MotorsChip {
    type Error = Refused;
}

impl I2c for MotorsChip {
    fn transaction(&mut self, address: u8, parts: &mut [Operation<'_>]) -> Result<(), Refused> {
        // Another address is refused by the chip.
        let address = if address == MOTORS_AT { ADDRESS } else { 0 };
        self.0.transaction(address, parts)
    }
}

fn motor(pwm: Option<u8>, ahead: u8, back: u8) -> Motor {
    Motor {
        pwm,
        ahead,
        back,
        tried: 0,
    }
}

/// As Waveshare's JetRacer: cars/jetracer-waveshare.toml.
fn bank() -> MotorBank {
    MotorBank {
        motors: ArrayVec::from_iter([
            motor(Some(0), 1, 2),
            motor(Some(7), 6, 5),
            motor(None, 4, 3),
        ]),
        failsafe: Stop::Coast,
        disarmed: Stop::Coast,
        tried: 0,
    }
}

/// The servo's chip, the motors' chip, and the driver of both.
fn car(bank: MotorBank) -> (Chip, Chip, TwoChips<MotorsChip, Chip>) {
    let (servos, motors) = (Chip::new(), Chip::new());
    let steering = Wheels::Steering {
        steering: (STEERING as u8, servo().pulses()),
    };
    let driver = TwoChips::new(
        Pca9685::new(
            MotorsChip(motors.clone()),
            MOTORS_AT,
            25e6,
            1526.0,
            Wheels::Motors(bank),
            None,
        )
        .unwrap(),
        Pca9685::new(servos.clone(), ADDRESS, 25e6, 50.0, steering, None).unwrap(),
    );
    (servos, motors, driver)
}

fn outputs(chip: &Chip) -> [Out; 8] {
    std::array::from_fn(|channel| chip.out(channel))
}

#[test]
fn it_is_an_actuator() {
    let (servos, motors, mut driver) = car(bank());
    assert_eq!(driver.name(), "pca9685");
    conformance::actuator(&mut driver, 2e-2, |_| {
        let ticks = |channel| match motors.out(channel) {
            Out::Ticks(ticks) => f32::from(ticks) / 4096.0,
            Out::Low => 0.0,
            Out::High => 1.0,
        };
        let steering = (1500.0 - servos.micros(STEERING)) / 400.0;
        (steering, ticks(4) - ticks(3))
    });
}

#[test]
fn all_motors_turn_alike_and_coast_when_stopped() {
    let (servos, motors, mut driver) = car(bank());
    let half = Out::Ticks(2048);
    let (off, on) = (Out::Low, Out::High);
    for (millis, written, expected, micros) in [
        (0, DISARMED, [off; 8], 1700.0),
        (
            5,
            output(Mode::Drive, 1.0, 0.5),
            [half, on, off, off, half, off, on, half],
            1100.0,
        ),
        (
            10,
            output(Mode::Drive, -1.0, -0.5),
            [half, off, on, half, off, on, off, half],
            1900.0,
        ),
        (15, output(Mode::Brake, 0.0, 0.0), [off; 8], 1300.0),
        (20, FAILSAFE, [off; 8], 1300.0),
    ] {
        driver.write(at(millis), &written).unwrap();
        assert_eq!(outputs(&motors), expected, "{written:?}");
        let found = servos.micros(STEERING);
        assert!((found - micros).abs() < 5.0, "{found} us, not {micros}");
    }
}

/// The motors are not driven on while the servo's chip fails, nor is the servo lost with the motors'
/// chip.
#[test]
fn a_failure_of_either_chip_is_one_of_the_car_and_keeps_none_from_failsafe() {
    let drive = output(Mode::Drive, 1.0, 0.5);
    let (servos, motors, mut driver) = car(bank());
    driver.write(at(0), &drive).unwrap();
    servos.0.borrow_mut().fails_after = Some(0);
    let error = driver.write(at(5), &drive).unwrap_err();
    assert!(matches!(error, ActuatorError::Write { .. }), "{error}");
    driver.write(at(5), &FAILSAFE).unwrap_err();
    assert_eq!(outputs(&motors), [Out::Low; 8]);
    servos.0.borrow_mut().fails_after = None;
    driver.write(at(1000), &FAILSAFE).unwrap();

    driver.write(at(1005), &drive).unwrap();
    motors.0.borrow_mut().fails_after = Some(0);
    driver.write(at(1010), &FAILSAFE).unwrap_err();
    let found = servos.micros(STEERING);
    assert!(
        (found - 1300.0).abs() < 5.0,
        "the servo's failsafe: {found}"
    );
    // The motors' chip has lost its power, and is set up again to stand.
    motors.0.borrow_mut().fails_after = None;
    motors.reset();
    driver.write(at(2000), &FAILSAFE).unwrap();
    assert_eq!(outputs(&motors), [Out::Low; 8]);
}

#[test]
fn motors_that_are_tried_turn_ahead_and_never_in_failsafe() {
    let (_, motors, mut driver) = car(MotorBank {
        tried: 250,
        ..bank()
    });
    let quarter = Out::Ticks(1024);
    driver.write(at(0), &output(Mode::Drive, 0.0, 0.0)).unwrap();
    let (off, on) = (Out::Low, Out::High);
    let expected = [quarter, on, off, off, quarter, off, on, quarter];
    assert_eq!(outputs(&motors), expected);
    driver.write(at(5), &FAILSAFE).unwrap();
    assert_eq!(outputs(&motors), [off; 8]);
}
