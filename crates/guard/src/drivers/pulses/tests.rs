use super::*;

const SERVO: Pulses = Pulses {
    minus: 1900,
    zero: 1450,
    plus: 1100,
    failsafe: Rest::Pulse(1460),
    disarmed: Rest::Silent,
    brake: None,
};

#[test]
fn ends_centre_and_rest_are_as_configured() {
    let drive = |value| SERVO.micros(Mode::Drive, value);
    assert_eq!(drive(-1.0), Some(1900.0));
    assert_eq!(drive(-0.5), Some(1675.0));
    assert_eq!(drive(0.0), Some(1450.0));
    assert_eq!(drive(1.0), Some(1100.0));
    assert_eq!(drive(7.0), Some(1100.0), "no further than the end");
    assert_eq!(SERVO.micros(Mode::Failsafe, 1.0), Some(1460.0));
    assert_eq!(SERVO.micros(Mode::Disarmed, 1.0), None);
    assert_eq!(Rest::of_micros(0), Rest::Silent);
    assert_eq!(SERVO.micros(Mode::Brake, 1.0), Some(1460.0));
    let motor = Pulses {
        brake: Some(1200),
        ..SERVO
    };
    assert_eq!(motor.micros(Mode::Brake, 1.0), Some(1200.0));
    assert_eq!(motor.micros(Mode::Failsafe, 1.0), Some(1460.0));
}

#[test]
fn arming_runs_once_and_after_each_disarming() {
    let at = |millis: u64| Time::from_nanos(1_000_000 * millis);
    let second = Duration::from_secs(1);
    let mut arming = Arming::new([(1000, second), (1500, second)]);
    assert_eq!(arming.pulse(at(0), Mode::Disarmed), None);
    assert_eq!(arming.pulse(at(500), Mode::Failsafe), None);
    assert_eq!(arming.pulse(at(1000), Mode::Drive), Some(1000.0));
    assert_eq!(arming.pulse(at(1999), Mode::Drive), Some(1000.0));
    // A stop interrupts the ESC's arming sequence, which then starts from the beginning.
    assert_eq!(arming.pulse(at(1999), Mode::Failsafe), None);
    assert_eq!(arming.pulse(at(3000), Mode::Drive), Some(1000.0));
    assert_eq!(arming.pulse(at(4000), Mode::Drive), Some(1500.0));
    assert_eq!(arming.pulse(at(5000), Mode::Drive), None);
    assert_eq!(arming.pulse(at(5100), Mode::Failsafe), None);
    assert_eq!(
        arming.pulse(at(5200), Mode::Drive),
        None,
        "arming is complete"
    );
    assert_eq!(arming.pulse(at(5300), Mode::Disarmed), None);
    assert_eq!(arming.pulse(at(6000), Mode::Drive), Some(1000.0));
}

#[test]
fn a_controller_that_is_not_armed_yet_is_not_braked() {
    let mut arming = Arming::new([(1500, Duration::from_secs(1))]);
    assert_eq!(arming.mode(Mode::Brake), Mode::Failsafe);
    let _ = arming.pulse(Time::from_nanos(1), Mode::Drive);
    assert_eq!(arming.mode(Mode::Brake), Mode::Failsafe);
    let _ = arming.pulse(Time::from_nanos(1_000_000_001), Mode::Drive);
    assert_eq!(arming.mode(Mode::Brake), Mode::Brake);
    for mode in [Mode::Disarmed, Mode::Failsafe, Mode::Drive] {
        assert_eq!(arming.mode(mode), mode);
    }
}
