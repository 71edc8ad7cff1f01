//! Cars with a motor on each side.

use super::*;

/// As Waveshare's JetBot board.
pub const TWO_INPUTS: Differential = Differential {
    left: Motor {
        pwm: None,
        ahead: 1,
        back: 0,
        tried: 0,
    },
    right: Motor {
        pwm: None,
        ahead: 2,
        back: 3,
        tried: 0,
    },
    turn: 0.6,
    failsafe: Stop::Coast,
    disarmed: Stop::Coast,
};

#[test]
fn a_differential_car_brakes_and_coasts_as_configured() {
    let chip = Chip::new();
    let mut motors = driver(&chip, Wheels::Differential(MOTORS));
    let direction = |motor: Motor| {
        let channels = [motor.pwm.unwrap(), motor.ahead, motor.back];
        channels.map(|channel| chip.out(channel.into()))
    };
    for (rest, level) in [(DISARMED, Out::Low), (FAILSAFE, Out::High)] {
        motors.write(at(0), &output(Mode::Drive, 0.0, 0.5)).unwrap();
        for motor in [MOTORS.left, MOTORS.right] {
            assert_eq!(direction(motor), [Out::Ticks(2048), Out::High, Out::Low]);
        }
        motors.write(at(0), &rest).unwrap();
        for motor in [MOTORS.left, MOTORS.right] {
            assert_eq!(direction(motor), [Out::Low, level, level], "{rest:?}");
        }
    }
}

/// Trimming turns one motor ahead, and only while the car is being trimmed: the output is then
/// throttle 0 in mode Drive.
#[test]
fn a_motor_that_is_tried_turns_ahead_alone_and_never_in_failsafe() {
    let tried = Motor {
        tried: 250,
        ..MOTORS.left
    };
    let chip = Chip::new();
    let wheels = Wheels::Differential(Differential {
        left: tried,
        ..MOTORS
    });
    let mut motors = driver(&chip, wheels);
    let out = |channel: u8| chip.out(channel.into());
    motors.write(at(0), &output(Mode::Drive, 0.0, 0.0)).unwrap();
    assert_eq!([8, 9, 10].map(out), [Out::Ticks(1024), Out::High, Out::Low]);
    assert_eq!([13, 12, 11].map(out), [Out::Low, Out::High, Out::High]);
    for rest in [FAILSAFE, DISARMED] {
        motors.write(at(5), &rest).unwrap();
        assert_eq!([8, 13].map(out), [Out::Low; 2]);
    }
}

/// Whatever the outputs before and after, a motor never gets more than the faster of the two while
/// its channels are written one after the other: the bus may fail at any of them.
#[test]
fn a_motor_with_two_inputs_passes_through_no_higher_speed() {
    let speeds = [0.0, 0.2, -0.2, 0.4, -0.4];
    let drives = speeds.map(|speed| output(Mode::Drive, 0.0, speed));
    let outputs: Vec<Output> = drives.into_iter().chain([FAILSAFE, DISARMED]).collect();
    let share = |out: Out| match out {
        Out::Low => 0.0,
        Out::Ticks(ticks) => f32::from(ticks) / 4096.0,
        Out::High => 1.0,
    };
    for (from, to) in outputs
        .iter()
        .flat_map(|from| outputs.iter().map(move |to| (from, to)))
    {
        let most = from.throttle.abs().max(to.throttle.abs());
        for transfers in 0..20 {
            let chip = Chip::new();
            let mut motors = driver(&chip, Wheels::Differential(TWO_INPUTS));
            motors.write(at(0), from).unwrap();
            chip.0.borrow_mut().fails_after = Some(transfers);
            let whole = motors.write(at(5), to).is_ok();
            for motor in [TWO_INPUTS.left, TWO_INPUTS.right] {
                for channel in [motor.ahead, motor.back] {
                    let share = share(chip.out(channel.into()));
                    assert!(share <= most + 1e-3, "{from:?} to {to:?}: {share}");
                }
            }
            if whole {
                break;
            }
        }
    }
}
