//! Checks `[actuator.pca9685]`, and converts it to the driver's parameters.

use arrayvec::ArrayVec;
use pilotage_config::{ConfigError, Source};

use super::super::super::differential::{Differential, Motor};
use super::super::super::motor_bank::{MOST_MOTORS, MotorBank};
use super::super::super::pca9685::Wheels;
use super::super::{MotorBankSettings, MotorSettings, Pca9685Settings, Stop};
use super::{check_steering, check_throttle, distinct, path, within};

/// The frequencies of a chip.
const FREQUENCIES: std::ops::RangeInclusive<f32> = 24.0..=1526.0;

impl Pca9685Settings {
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.pca9685.{key}");
        path(source, &key("bus"), &self.bus)?;
        check_address(source, &key("address"), self.address)?;
        within(source, &key("frequency"), self.frequency, FREQUENCIES)?;
        within(source, &key("oscillator"), self.oscillator, 20e6..=30e6)?;
        if let Some(pin) = &self.output_enable {
            path(source, &key("output_enable.chip"), &pin.chip)?;
        }
        let mut channels = ArrayVec::<u8, 8>::new();
        match (
            &self.steering,
            &self.throttle,
            &self.differential,
            &self.motors,
        ) {
            (Some(steering), Some(throttle), None, None) => {
                check_steering(source, &key("steering"), steering, self.frequency)?;
                check_throttle(source, &key("throttle"), throttle, self.frequency)?;
                channels.extend([steering.channel, throttle.channel]);
            }
            (None, None, Some(motors), None) => {
                within(source, &key("differential.turn"), motors.turn, 0.0..=1.0)?;
                for motor in [motors.left, motors.right] {
                    let stops = [motors.failsafe, motors.disarmed];
                    check_stops(source, &key("differential"), motor, stops)?;
                    channels.extend(motor.channels());
                }
            }
            (Some(steering), None, None, Some(motors)) => {
                check_steering(source, &key("steering"), steering, self.frequency)?;
                channels.push(steering.channel);
                self.check_motors(source, motors)?;
            }
            _ => {
                return Err(source.error(
                    "actuator.pca9685",
                    "needs either `steering` and `throttle`, for a servo and a speed controller, \
                     or `differential`, for two motors, or `steering` and `motors`, for a servo and \
                     motors on a second chip",
                ));
            }
        }
        distinct(source, "actuator.pca9685", &channels, 16)
    }

    /// Checks the motors on the second chip.
    fn check_motors(
        &self,
        source: &Source<'_>,
        motors: &MotorBankSettings,
    ) -> Result<(), ConfigError> {
        let table = "actuator.pca9685.motors";
        let key = |key: &str| format!("{table}.{key}");
        check_address(source, &key("address"), motors.address)?;
        if motors.address == self.address {
            let reason = "is the address of the servo's chip; the motors' chip has another one";
            return Err(source.error(&key("address"), reason));
        }
        if self.output_enable.is_some() {
            let reason = "is for a car with one chip: one of two chips that fails must not be enabled \
                          by the other";
            return Err(source.error("actuator.pca9685.output_enable", reason));
        }
        within(source, &key("frequency"), motors.frequency, FREQUENCIES)?;
        if !(1..=MOST_MOTORS).contains(&motors.outputs.len()) {
            let reason = format!("must have 1 to {MOST_MOTORS} motors");
            return Err(source.error(&key("outputs"), reason));
        }
        let mut channels = ArrayVec::<u8, { 3 * MOST_MOTORS }>::new();
        for motor in &motors.outputs {
            check_stops(source, table, *motor, [motors.failsafe, motors.disarmed])?;
            channels.extend(motor.channels());
        }
        distinct(source, table, &channels, 16)
    }

    /// The wheels on the first chip, and those on the second one; `None` only for settings that
    /// [`ActuatorSettings::check`](super::ActuatorSettings::check) rejects.
    pub(crate) fn wheels(&self) -> Option<(Wheels, Option<Wheels>)> {
        if let Some(motors) = &self.differential {
            let wheels = Wheels::Differential(Differential {
                left: motors.left.motor(),
                right: motors.right.motor(),
                turn: motors.turn,
                failsafe: motors.failsafe,
                disarmed: motors.disarmed,
            });
            return Some((wheels, None));
        }
        let steering = self.steering.as_ref()?;
        let servo = (steering.channel, steering.pulses());
        if let Some(motors) = &self.motors {
            let outputs = motors.outputs.iter().take(MOST_MOTORS);
            let bank = Wheels::Motors(MotorBank {
                motors: outputs.map(MotorSettings::motor).collect(),
                failsafe: motors.failsafe,
                disarmed: motors.disarmed,
                tried: motors.tried,
            });
            return Some((Wheels::Steering { steering: servo }, Some(bank)));
        }
        let throttle = self.throttle.as_ref()?;
        let wheels = Wheels::Servo {
            steering: servo,
            throttle: (throttle.channel, throttle.pulses()),
            arming: throttle.arming(),
        };
        Some((wheels, None))
    }
}

impl MotorSettings {
    fn channels(self) -> impl Iterator<Item = u8> {
        self.pwm.into_iter().chain([self.ahead, self.back])
    }

    const fn motor(&self) -> Motor {
        Motor {
            pwm: self.pwm,
            ahead: self.ahead,
            back: self.back,
            tried: self.tried,
        }
    }
}

fn check_address(source: &Source<'_>, key: &str, address: u8) -> Result<(), ConfigError> {
    within(source, key, address, 0x40..=0x7F)?;
    if address == 0x70 {
        let reason = "0x70 is where all such chips answer: give this chip's own address";
        return Err(source.error(key, reason));
    }
    Ok(())
}

/// Checks what a motor does when stopped, and while disarmed.
fn check_stops(
    source: &Source<'_>,
    table: &str,
    motor: MotorSettings,
    [failsafe, disarmed]: [Stop; 2],
) -> Result<(), ConfigError> {
    for (name, stop) in [("failsafe", failsafe), ("disarmed", disarmed)] {
        if motor.pwm.is_none() && stop == Stop::Brake {
            let reason = "must be \"coast\" for motors without `pwm`: a brake would pass through full \
                          speed";
            return Err(source.error(&format!("{table}.{name}"), reason));
        }
    }
    Ok(())
}
