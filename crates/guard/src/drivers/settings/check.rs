//! Checks `[actuator]`, and converts it to drivers' parameters.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use pilotage_config::{ConfigError, Source};

use super::super::differential::{Differential, Motor};
use super::super::maestro;
use super::super::pca9685::Wheels;
use super::super::pulses::{Arming, MOST_STEPS, Pulses, Rest};
use super::{
    ActuatorSettings, Kind, MaestroSettings, MotorSettings, Pca9685Settings, PwmSettings,
    SteeringSettings, Stop, ThrottleSettings, VescSettings,
};

/// Range of pulses for servos and speed controllers, in microseconds.
const PULSES: RangeInclusive<u16> = 400..=2600;
/// Longest arming sequence.
const LONGEST_ARMING: Duration = Duration::from_secs(10);
/// A VESC's largest duty cycle; it treats a larger value as an error.
const MOST_DUTY: f32 = 0.95;

impl ActuatorSettings {
    /// Checks the tables of all kinds in `source`, not only that of the chosen kind.
    ///
    /// # Errors
    /// When a value is invalid, or the table of the chosen kind is missing.
    pub fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let chip = self.pca9685.as_ref().map(|settings| settings.check(source));
        let vesc = self.vesc.as_ref().map(|settings| settings.check(source));
        let pwm = self.pwm.as_ref().map(|settings| settings.check(source));
        let maestro = self.maestro.as_ref().map(|settings| settings.check(source));
        let (name, table) = match self.kind {
            Kind::Simulator | Kind::DryRun => ("", Some(())),
            Kind::Pca9685 => ("pca9685", chip.as_ref().map(drop)),
            Kind::Vesc => ("vesc", vesc.as_ref().map(drop)),
            Kind::Pwm => ("pwm", pwm.as_ref().map(drop)),
            Kind::Maestro => ("maestro", maestro.as_ref().map(drop)),
        };
        for checked in [chip, vesc, pwm, maestro] {
            checked.transpose()?;
        }
        table.ok_or_else(|| {
            source.error(
                "actuator.kind",
                format!("is `{name}`, so the file needs a table `[actuator.{name}]`: docs/car.md"),
            )
        })
    }

    /// The time until a write takes effect: one PWM cycle.
    pub fn delay(&self) -> Duration {
        let frequency = match (self.kind, &self.pca9685, &self.pwm) {
            (Kind::Pca9685, Some(settings), _) => settings.frequency,
            (Kind::Pwm, _, Some(settings)) => settings.frequency,
            (Kind::Maestro, ..) => return maestro::PERIOD,
            _ => return Duration::ZERO,
        };
        Duration::try_from_secs_f32(1.0 / frequency).unwrap_or_default()
    }
}

impl Pca9685Settings {
    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.pca9685.{key}");
        path(source, &key("bus"), &self.bus)?;
        within(source, &key("address"), self.address, 0x40..=0x7F)?;
        if self.address == 0x70 {
            let reason = "0x70 is where all such chips answer: give this chip's own address";
            return Err(source.error(&key("address"), reason));
        }
        within(source, &key("frequency"), self.frequency, 24.0..=1526.0)?;
        within(source, &key("oscillator"), self.oscillator, 20e6..=30e6)?;
        if let Some(pin) = &self.output_enable {
            path(source, &key("output_enable.chip"), &pin.chip)?;
        }
        let mut channels = arrayvec::ArrayVec::<u8, 8>::new();
        match (&self.steering, &self.throttle, &self.differential) {
            (Some(steering), Some(throttle), None) => {
                check_steering(source, &key("steering"), steering, self.frequency)?;
                check_throttle(source, &key("throttle"), throttle, self.frequency)?;
                channels.extend([steering.channel, throttle.channel]);
            }
            (None, None, Some(motors)) => {
                within(source, &key("differential.turn"), motors.turn, 0.0..=1.0)?;
                for motor in [motors.left, motors.right] {
                    channels.extend(motor.pwm);
                    channels.extend([motor.ahead, motor.back]);
                    for (name, stop) in
                        [("failsafe", motors.failsafe), ("disarmed", motors.disarmed)]
                    {
                        if motor.pwm.is_none() && stop == Stop::Brake {
                            let reason = "must be \"coast\" for motors without `pwm`: a brake would \
                                          pass through full speed";
                            return Err(source.error(&key(&format!("differential.{name}")), reason));
                        }
                    }
                }
            }
            _ => {
                return Err(source.error(
                    "actuator.pca9685",
                    "needs either `steering` and `throttle`, for a servo and a speed controller, \
                     or `differential`, for two motors",
                ));
            }
        }
        distinct(source, "actuator.pca9685", &channels, 16)
    }

    /// The wheels that the channels drive; `None` only for settings that
    /// [`ActuatorSettings::check`] rejects.
    pub(crate) fn wheels(&self) -> Option<Wheels> {
        if let Some(motors) = &self.differential {
            let motor = |motor: MotorSettings| Motor {
                pwm: motor.pwm,
                ahead: motor.ahead,
                back: motor.back,
                tried: motor.tried,
            };
            return Some(Wheels::Differential(Differential {
                left: motor(motors.left),
                right: motor(motors.right),
                turn: motors.turn,
                failsafe: motors.failsafe,
                disarmed: motors.disarmed,
            }));
        }
        let (steering, throttle) = (self.steering.as_ref()?, self.throttle.as_ref()?);
        Some(Wheels::Servo {
            steering: (steering.channel, steering.pulses()),
            throttle: (throttle.channel, throttle.pulses()),
            arming: throttle.arming(),
        })
    }
}

impl MaestroSettings {
    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.maestro.{key}");
        let frequency = 1.0 / maestro::PERIOD.as_secs_f32();
        path(source, &key("port"), &self.port)?;
        check_steering(source, &key("steering"), &self.steering, frequency)?;
        check_throttle(source, &key("throttle"), &self.throttle, frequency)?;
        let channels = [self.steering.channel, self.throttle.channel];
        distinct(source, "actuator.maestro", &channels, maestro::CHANNELS)
    }
}

impl SteeringSettings {
    /// The pulses of this channel.
    pub const fn pulses(&self) -> Pulses {
        Pulses {
            minus: self.right_us,
            zero: self.centre_us,
            plus: self.left_us,
            failsafe: Rest::of_micros(self.failsafe_us),
            disarmed: Rest::of_micros(self.disarmed_us),
        }
    }
}

impl ThrottleSettings {
    /// The pulses of this channel.
    pub const fn pulses(&self) -> Pulses {
        Pulses {
            minus: self.reverse_us,
            zero: self.neutral_us,
            plus: self.ahead_us,
            failsafe: Rest::of_micros(self.failsafe_us),
            disarmed: Rest::of_micros(self.disarmed_us),
        }
    }

    /// The arming sequence.
    pub fn arming(&self) -> Arming {
        let steps = self.arming.iter();
        Arming::new(steps.map(|step| (step.us, Duration::from_millis(step.ms.into()))))
    }
}

impl VescSettings {
    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.vesc.{key}");
        path(source, &key("port"), &self.port)?;
        let bauds = [
            9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600,
        ];
        if !bauds.contains(&self.baud) {
            let reason = format!("must be one of {bauds:?}, not {}", self.baud);
            return Err(source.error(&key("baud"), reason));
        }
        within(
            source,
            &key("full_duty"),
            self.full_duty,
            -MOST_DUTY..=MOST_DUTY,
        )?;
        for (name, amperes) in [
            ("failsafe_brake_a", self.failsafe_brake_a),
            ("disarmed_brake_a", self.disarmed_brake_a),
        ] {
            within(source, &key(name), amperes, 0.0..=100.0)?;
        }
        for (name, position) in [
            ("left", self.left),
            ("centre", self.centre),
            ("right", self.right),
            ("failsafe", self.failsafe),
            ("disarmed", self.disarmed),
        ] {
            within(source, &key(name), position, 0.0..=1.0)?;
        }
        let [low, high] = [self.left.min(self.right), self.left.max(self.right)];
        if self.centre <= low || self.centre >= high {
            let reason = "must lie between `left` and `right`";
            return Err(source.error(&key("centre"), reason));
        }
        Ok(())
    }
}

impl PwmSettings {
    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.pwm.{key}");
        within(source, &key("frequency"), self.frequency, 24.0..=400.0)?;
        path(source, &key("steering_pin.chip"), &self.steering_pin.chip)?;
        path(source, &key("throttle_pin.chip"), &self.throttle_pin.chip)?;
        check_steering(source, &key("steering"), &self.steering, self.frequency)?;
        check_throttle(source, &key("throttle"), &self.throttle, self.frequency)?;
        if self.steering_pin == self.throttle_pin {
            let channels = [self.steering.channel, self.throttle.channel];
            distinct(source, "actuator.pwm", &channels, u8::MAX)?;
        }
        Ok(())
    }
}

fn check_steering(
    source: &Source<'_>,
    table: &str,
    steering: &SteeringSettings,
    frequency: f32,
) -> Result<(), ConfigError> {
    let &SteeringSettings {
        left_us,
        centre_us,
        right_us,
        failsafe_us,
        disarmed_us,
        ..
    } = steering;
    for (name, micros) in [
        ("left_us", left_us),
        ("centre_us", centre_us),
        ("right_us", right_us),
    ] {
        pulse(source, &format!("{table}.{name}"), micros, frequency)?;
    }
    let ends = left_us.min(right_us)..=left_us.max(right_us);
    if centre_us == left_us || centre_us == right_us || !ends.contains(&centre_us) {
        let reason = format!(
            "must lie between `left_us` ({left_us}) and `right_us` ({right_us}), not at {centre_us}"
        );
        return Err(source.error(&format!("{table}.centre_us"), reason));
    }
    for (name, micros) in [("failsafe_us", failsafe_us), ("disarmed_us", disarmed_us)] {
        if micros != 0 && !ends.contains(&micros) {
            let reason =
                format!("must be 0 (no pulse) or between `left_us` and `right_us`, not {micros}");
            return Err(source.error(&format!("{table}.{name}"), reason));
        }
    }
    Ok(())
}

fn check_throttle(
    source: &Source<'_>,
    table: &str,
    throttle: &ThrottleSettings,
    frequency: f32,
) -> Result<(), ConfigError> {
    let &ThrottleSettings {
        ahead_us,
        neutral_us,
        reverse_us,
        failsafe_us,
        disarmed_us,
        ..
    } = throttle;
    for (name, micros) in [
        ("ahead_us", ahead_us),
        ("neutral_us", neutral_us),
        ("reverse_us", reverse_us),
    ] {
        pulse(source, &format!("{table}.{name}"), micros, frequency)?;
    }
    let ends = ahead_us.min(reverse_us)..=ahead_us.max(reverse_us);
    if neutral_us == ahead_us || !ends.contains(&neutral_us) {
        let reason = format!(
            "must lie between `ahead_us` ({ahead_us}) and `reverse_us` ({reverse_us}), and not at \
             `ahead_us`; where the controller has no reverse, `reverse_us` is `neutral_us`"
        );
        return Err(source.error(&format!("{table}.neutral_us"), reason));
    }
    for (name, micros) in [("failsafe_us", failsafe_us), ("disarmed_us", disarmed_us)] {
        if micros != 0 && micros != neutral_us {
            let reason = format!(
                "must be `neutral_us` ({neutral_us}) or 0 (no pulse), not {micros}: a car that is \
                 not driving must not move"
            );
            return Err(source.error(&format!("{table}.{name}"), reason));
        }
    }
    let key = format!("{table}.arming");
    if throttle.arming.len() > MOST_STEPS {
        return Err(source.error(&key, format!("must have at most {MOST_STEPS} steps")));
    }
    let whole: u32 = throttle.arming.iter().map(|step| u32::from(step.ms)).sum();
    if Duration::from_millis(whole.into()) > LONGEST_ARMING {
        let reason = format!("must be over within {} s", LONGEST_ARMING.as_secs());
        return Err(source.error(&key, reason));
    }
    for step in &throttle.arming {
        pulse(source, &key, step.us, frequency)?;
        // The throttle limit does not apply to arming pulses.
        if step.us.cmp(&neutral_us) == ahead_us.cmp(&neutral_us) {
            let reason = format!("a pulse of {} us would drive the car ahead", step.us);
            return Err(source.error(&key, reason));
        }
    }
    Ok(())
}

fn pulse(source: &Source<'_>, key: &str, us: u16, frequency: f32) -> Result<(), ConfigError> {
    within(source, key, us, PULSES)?;
    let cycle = 1e6 / frequency;
    if f32::from(us) >= cycle {
        let reason = format!("{us} us do not fit into the {cycle:.0} us of a cycle");
        return Err(source.error(key, reason));
    }
    Ok(())
}

fn distinct(
    source: &Source<'_>,
    table: &str,
    channels: &[u8],
    count: u8,
) -> Result<(), ConfigError> {
    for (index, channel) in channels.iter().enumerate() {
        if *channel >= count {
            let reason = format!("there is no channel {channel}: they are 0 to {}", count - 1);
            return Err(source.error(table, reason));
        }
        if channels[..index].contains(channel) {
            let reason = format!("channel {channel} is used twice");
            return Err(source.error(table, reason));
        }
    }
    Ok(())
}

fn path(source: &Source<'_>, key: &str, path: &std::path::Path) -> Result<(), ConfigError> {
    if path.is_absolute() {
        return Ok(());
    }
    let reason = format!(
        "must be a whole path such as /dev/..., not `{}`",
        path.display()
    );
    Err(source.error(key, reason))
}

fn within<T: PartialOrd + fmt::Display>(
    source: &Source<'_>,
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(source.error(
        key,
        format!("must lie between {least} and {most}, and is {value}"),
    ))
}
