//! Changes of the chip's registers by a reset or by another writer are detected and corrected.

use pilotage_guard::drivers::{CHECK_EVERY, Wheels};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output};

use crate::chip::Chip;
use crate::outputs::{DISARMED, FAILSAFE, at, output};
use crate::{
    MOTORS, STEERING, THROTTLE, TICK, assert_pulse, controller, driver, servo, servo_driver, wheels,
};

/// Applies `change` to a chip in use. The driver must detect it within [`CHECK_EVERY`] and restore
/// the registers.
fn assert_change_detected(wheels: Wheels, steady: Output, change: impl Fn(&Chip)) {
    let chip = Chip::new();
    let mut motors = driver(&chip, wheels);
    let mut now = at(0);
    for _ in 0..37 {
        motors.write(now, &steady).unwrap();
        now = now + TICK;
    }
    let registers = chip.0.borrow().model.registers;
    change(&chip);
    let changed = now;
    let error = loop {
        match motors.write(now, &steady) {
            Ok(()) => now = now + TICK,
            Err(error) => break error,
        }
        assert!(now.since(changed) <= CHECK_EVERY, "not detected");
    };
    assert!(matches!(error, ActuatorError::Changed { .. }), "{error}");
    motors.write(now, &steady).unwrap();
    let restored = chip.0.borrow().model.registers;
    assert_eq!(restored[0xFE], registers[0xFE]);
    assert_eq!(restored[0x01], 0x04);
    assert_eq!(restored[0x06..0x46], registers[0x06..0x46]);
}

#[test]
fn a_reset_is_detected_and_corrected() {
    assert_change_detected(wheels(&servo(), &controller()), FAILSAFE, Chip::reset);
    assert_change_detected(Wheels::Differential(MOTORS), FAILSAFE, Chip::reset);
    // Sleep mode, no auto-increment; the other registers are unchanged.
    for mode1 in [0x31, 0x01] {
        let change = |chip: &Chip| chip.poke(0, mode1);
        assert_change_detected(wheels(&servo(), &controller()), DISARMED, change);
    }
}

/// It is cleared by a reset only (NXP's data sheet, table 5), so that the failure lasts.
#[test]
fn an_external_clock_is_a_failure_as_long_as_it_is_set() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip);
    motors.write(at(0), &FAILSAFE).unwrap();
    chip.poke(0, 0x61);
    let failed = (1..=200).find(|&tick| motors.write(at(5 * tick), &FAILSAFE).is_err());
    let failed = failed.expect("not detected within a second");
    for tick in failed..failed + 100 {
        motors.write(at(5 * tick), &FAILSAFE).unwrap_err();
    }
}

#[test]
fn another_writer_to_the_prescaler_is_detected() {
    let other = |chip: &Chip| chip.poke(0xFE, 0x79);
    assert_change_detected(wheels(&servo(), &controller()), FAILSAFE, other);
    assert_change_detected(
        Wheels::Differential(MOTORS),
        output(Mode::Drive, 0.2, 0.4),
        other,
    );
}

#[test]
fn inverted_or_open_drain_outputs_are_detected_and_corrected() {
    for mode2 in [0x14, 0x00, 0x0C, 0x06] {
        let other = |chip: &Chip| chip.poke(1, mode2);
        assert_change_detected(wheels(&servo(), &controller()), FAILSAFE, other);
        assert_change_detected(Wheels::Differential(MOTORS), DISARMED, other);
    }
}

#[test]
fn another_writer_to_a_channel_is_overwritten_by_the_second_tick() {
    let chip = Chip::new();
    let mut motors = servo_driver(&chip);
    let mut now = at(0);
    motors.write(now, &FAILSAFE).unwrap();
    for channel in [STEERING, THROTTLE] {
        // A pulse of another length, no pulse, and always high.
        for (byte, value) in [(2, 0xFF), (3, 0x10), (1, 0x10)] {
            chip.poke(6 + 4 * channel + byte, value);
            let mut ticks = 0;
            while ticks < 2 {
                now = now + TICK;
                // If the channel is read back first, the write fails, and the next one restores it.
                if motors.write(now, &FAILSAFE).is_ok() {
                    ticks += 1;
                }
            }
            assert_pulse(&chip, THROTTLE, 1500.0);
            assert_pulse(&chip, STEERING, 1300.0);
        }
    }
}

/// Another program that never stops writing: each register that decides about a pulse is read back.
#[test]
fn each_register_of_a_channel_that_stays_changed_is_detected() {
    const FULL: u8 = 0x10;
    // From a channel's first register, by what the channel puts out (NXP's data sheet, table 7):
    // ON_H, OFF_L and OFF_H.
    let of_pulse = [(1, FULL), (2, 0xFF), (3, 0x0F)];
    let of_high = [(1, 0), (3, FULL)];
    let of_low = [(3, 0)];
    let servo = || wheels(&servo(), &controller());
    let motors = || Wheels::Differential(MOTORS);
    let drives = output(Mode::Drive, 0.0, 0.5);
    let mut changes = Vec::new();
    for channel in [STEERING, THROTTLE] {
        changes.extend(of_pulse.map(|change| (servo(), FAILSAFE, channel, change)));
    }
    for motor in [MOTORS.left, MOTORS.right] {
        let [pwm, ahead, back] = [motor.pwm.unwrap(), motor.ahead, motor.back].map(usize::from);
        changes.extend(of_pulse.map(|change| (motors(), drives, pwm, change)));
        changes.extend(of_high.map(|change| (motors(), drives, ahead, change)));
        changes.extend(of_low.map(|change| (motors(), drives, back, change)));
    }
    for (wheels, steady, channel, (register, value)) in changes {
        let register = 6 + 4 * channel + register;
        let chip = Chip::new();
        let mut motors = driver(&chip, wheels);
        motors.write(at(0), &steady).unwrap();
        chip.0.borrow_mut().stuck = Some((register, value));
        let mut now = at(0);
        let error = loop {
            now = now + TICK;
            if let Err(error) = motors.write(now, &steady) {
                break error;
            }
            assert!(now.since(at(0)) <= CHECK_EVERY, "register {register}");
        };
        let ActuatorError::Changed {
            register: found, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(usize::from(found), register);
    }
}

#[test]
fn inverted_outputs_are_corrected_first() {
    let chip = Chip::new();
    servo_driver(&chip).write(at(0), &FAILSAFE).unwrap();
    // Another program has inverted the outputs, as a motor shield's driver may.
    chip.poke(1, 0x14);
    assert_ne!(chip.micros(THROTTLE), 1500.0);
    chip.0.borrow_mut().bytes = Some(Vec::new());
    servo_driver(&chip).write(at(0), &FAILSAFE).unwrap();
    assert_pulse(&chip, THROTTLE, 1500.0);
    assert_pulse(&chip, STEERING, 1300.0);
    let first = chip.0.borrow_mut().bytes.take().unwrap().swap_remove(0);
    assert_eq!(first, [0x01, 0x04]);
}
