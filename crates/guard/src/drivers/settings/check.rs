//! Checks `[actuator]`, and converts it to drivers' parameters.

mod pca9685;
mod serial;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use pilotage_bridge::{LONGEST_BRAKE, PULSES};
use pilotage_config::{ConfigError, Source};

use super::super::pulses::{Arming, MOST_STEPS, Pulses, Rest};
use super::{
    ActuatorSettings, BrakeSettings, Kind, PwmSettings, SteeringSettings, ThrottleSettings,
};

/// The cycle of a Maestro whose "Period" was not changed, and of a bridge.
const SERVO_PERIOD: Duration = Duration::from_millis(20);
/// Longest arming sequence.
const LONGEST_ARMING: Duration = Duration::from_secs(10);

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
        let bridge = self.bridge.as_ref().map(|settings| settings.check(source));
        let (name, table) = match self.kind {
            Kind::Simulator | Kind::DryRun => ("", Some(())),
            Kind::Pca9685 => ("pca9685", chip.as_ref().map(drop)),
            Kind::Vesc => ("vesc", vesc.as_ref().map(drop)),
            Kind::Pwm => ("pwm", pwm.as_ref().map(drop)),
            Kind::Maestro => ("maestro", maestro.as_ref().map(drop)),
            Kind::Bridge => ("bridge", bridge.as_ref().map(drop)),
        };
        for checked in [chip, vesc, pwm, maestro, bridge] {
            checked.transpose()?;
        }
        table.ok_or_else(|| {
            source.error(
                "actuator.kind",
                format!("is `{name}`, so the file needs a table `[actuator.{name}]`: docs/car.md"),
            )
        })
    }

    /// How long a stop brakes; zero without a brake.
    pub fn brake(&self) -> Duration {
        let throttle = match self.kind {
            Kind::Pca9685 => self
                .pca9685
                .as_ref()
                .and_then(|chip| chip.throttle.as_ref()),
            Kind::Pwm => self.pwm.as_ref().map(|pins| &pins.throttle),
            Kind::Maestro => self.maestro.as_ref().map(|board| &board.throttle),
            Kind::Bridge => self.bridge.as_ref().map(|bridge| &bridge.throttle),
            Kind::Simulator | Kind::DryRun | Kind::Vesc => None,
        };
        let brake = throttle.and_then(|throttle| throttle.brake);
        brake.map_or(Duration::ZERO, |brake| {
            Duration::from_millis(brake.ms.into())
        })
    }

    /// The time until a write takes effect: one PWM cycle.
    pub fn delay(&self) -> Duration {
        let frequency = match (self.kind, &self.pca9685, &self.pwm) {
            (Kind::Pca9685, Some(settings), _) => settings.frequency,
            (Kind::Pwm, _, Some(settings)) => settings.frequency,
            (Kind::Maestro | Kind::Bridge, ..) => return SERVO_PERIOD,
            _ => return Duration::ZERO,
        };
        Duration::try_from_secs_f32(1.0 / frequency).unwrap_or_default()
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
            brake: None,
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
            brake: match self.brake {
                Some(brake) => Some(brake.us),
                None => None,
            },
        }
    }

    /// The arming sequence.
    pub fn arming(&self) -> Arming {
        let steps = self.arming.iter();
        Arming::new(steps.map(|step| (step.us, Duration::from_millis(step.ms.into()))))
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
    check_brake(source, table, throttle, frequency)?;
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

/// A brake is the pulse that a controller with reverse would reverse with, so there must be none.
fn check_brake(
    source: &Source<'_>,
    table: &str,
    throttle: &ThrottleSettings,
    frequency: f32,
) -> Result<(), ConfigError> {
    let Some(BrakeSettings { us, ms }) = throttle.brake else {
        return Ok(());
    };
    let key = format!("{table}.brake");
    pulse(source, &key, us, frequency)?;
    let &ThrottleSettings {
        ahead_us,
        neutral_us,
        reverse_us,
        ..
    } = throttle;
    if reverse_us != neutral_us {
        let reason = format!(
            "is only for a speed controller in forward/brake mode, without reverse: set that mode in \
             the controller, and `reverse_us` to `neutral_us` ({neutral_us}) here"
        );
        return Err(source.error(&key, reason));
    }
    if us == neutral_us || us.cmp(&neutral_us) == ahead_us.cmp(&neutral_us) {
        let reason = format!(
            "a pulse of {us} us does not brake: the brake is on the other side of `neutral_us` \
             ({neutral_us}) than `ahead_us` ({ahead_us})"
        );
        return Err(source.error(&key, reason));
    }
    within(source, &format!("{key}.ms"), ms, 1..=LONGEST_BRAKE)
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
