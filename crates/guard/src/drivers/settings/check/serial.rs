//! Checks the tables of the actuators on serial ports.

use pilotage_config::{ConfigError, Source};

use super::super::super::maestro;
use super::super::{BridgeSettings, MaestroSettings, VescSettings};
use super::{SERVO_PERIOD, check_steering, check_throttle, distinct, path, within};

/// A VESC's largest duty cycle; it treats a larger value as an error.
const MOST_DUTY: f32 = 0.95;
/// The default of a VESC's own limit ("Max ERPM"; `MCCONF_L_RPM_MAX` in its mcconf_default.h).
const MOST_ERPM: f32 = 100_000.0;

/// The rates of a bridge's and a VESC's port, in bits per second. A guard that drives sends 24 bytes
/// each tick at most (a VESC's duty cycle, servo position and ALIVE; a bridge's command has 18), of 10 bits each
/// and every 5 ms, and each 20 ms 10 more that request a VESC's speed: 53,000 bits per second. On a slower line the commands fill the kernel's buffer, and
/// a stop waits behind them for seconds.
const BAUDS: [u32; 5] = [57_600, 115_200, 230_400, 460_800, 921_600];

impl MaestroSettings {
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.maestro.{key}");
        let frequency = 1.0 / SERVO_PERIOD.as_secs_f32();
        path(source, &key("port"), &self.port)?;
        check_steering(source, &key("steering"), &self.steering, frequency)?;
        check_throttle(source, &key("throttle"), &self.throttle, frequency)?;
        let channels = [self.steering.channel, self.throttle.channel];
        distinct(source, "actuator.maestro", &channels, maestro::CHANNELS)
    }
}

impl BridgeSettings {
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.bridge.{key}");
        let frequency = 1.0 / SERVO_PERIOD.as_secs_f32();
        path(source, &key("port"), &self.port)?;
        baud(source, &key("baud"), self.baud)?;
        check_steering(source, &key("steering"), &self.steering, frequency)?;
        check_throttle(source, &key("throttle"), &self.throttle, frequency)
    }
}

impl VescSettings {
    pub(super) fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let key = |key: &str| format!("actuator.vesc.{key}");
        path(source, &key("port"), &self.port)?;
        baud(source, &key("baud"), self.baud)?;
        match (self.full_duty, self.full_erpm) {
            (Some(duty), None) => within(source, &key("full_duty"), duty, -MOST_DUTY..=MOST_DUTY)?,
            (None, Some(erpm)) => within(source, &key("full_erpm"), erpm, -MOST_ERPM..=MOST_ERPM)?,
            _ => {
                return Err(source.error(
                    "actuator.vesc",
                    "needs either `full_duty` or `full_erpm`, for the motor's duty cycle or its speed",
                ));
            }
        }
        if let Some(erpm) = self.erpm_per_mps {
            within(source, &key("erpm_per_mps"), erpm, 10.0..=MOST_ERPM)?;
        }
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

fn baud(source: &Source<'_>, key: &str, baud: u32) -> Result<(), ConfigError> {
    if BAUDS.contains(&baud) {
        return Ok(());
    }
    let reason = format!(
        "must be one of {BAUDS:?}, not {baud}: on a slower line commands wait for seconds, a stop too"
    );
    Err(source.error(key, reason))
}
