//! The VESC, the motor controller of F1TENTH cars, which also drives the steering servo.
//!
//! The VESC also has its own timeout, set in VESC Tool: without commands it releases the motor or
//! brakes. That protects the car if this program cannot.

mod packet;

use std::io;
use std::time::Duration;

use pilotage_vehicle::{MeasuredSpeed, Time};

use super::device_lock::LockPolicy;
use super::failure::{Attempts, Failure};
use super::serial::Port;
use super::settings::VescSettings;
use crate::{Actuator, ActuatorError, Mode, Output};
use packet::{Answer, Packet, Parser};

const NAME: &str = "vesc";

/// All values are sent again at this interval, because the VESC drops a packet with a wrong
/// checksum without an answer.
const REFRESH_INTERVAL: Duration = Duration::from_millis(20);
/// The firmware version is requested at this interval, because a port accepts bytes even if the
/// VESC does not read them.
const REQUEST_INTERVAL: Duration = Duration::from_millis(250);
/// The speed is requested at this interval, if car.toml has its unit.
const SPEED_INTERVAL: Duration = Duration::from_millis(20);
/// After this many consecutive requests without an answer the VESC is considered gone. A pause
/// without requests does not count.
const MAX_UNANSWERED: u32 = 4;

/// A VESC on a serial port.
#[derive(Debug)]
pub struct Vesc {
    settings: VescSettings,
    lock_policy: LockPolicy,
    port: Option<Port>,
    parser: Parser,
    sent: Option<(Time, Output)>,
    asked: Option<Time>,
    speed: Option<MeasuredSpeed>,
    /// When the speed was requested last.
    speed_asked: Option<Time>,
    /// Requests since the last answer: the time of the first one, and their number.
    unanswered: Option<(Time, u32)>,
    attempts: Attempts,
}

impl Vesc {
    /// Opens the port, and waits for another writer as `lock_policy` specifies. Nothing is sent yet.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another process holds it; otherwise the system's error.
    pub fn open(settings: &VescSettings, lock_policy: impl Into<LockPolicy>) -> io::Result<Self> {
        let lock_policy = lock_policy.into();
        Ok(Self {
            port: Some(Port::open(&settings.port, settings.baud, lock_policy)?),
            settings: settings.clone(),
            lock_policy: lock_policy.without_waiting(),
            parser: Parser::default(),
            sent: None,
            asked: None,
            speed: None,
            speed_asked: None,
            unanswered: None,
            attempts: Attempts::new(settings.port.display().to_string().into()),
        })
    }

    /// Sets other ends and centres.
    pub(crate) fn adjust(&mut self, settings: &VescSettings) {
        self.settings = settings.clone();
        self.sent = None;
    }

    fn attempt(&mut self, now: Time, output: &Output) -> Result<(), Failure> {
        // After a USB port was unplugged, it has to be opened again.
        let port = match &mut self.port {
            Some(port) => port,
            None => {
                let opened = Port::open(&self.settings.port, self.settings.baud, self.lock_policy)?;
                (self.asked, self.sent, self.unanswered) = (None, None, None);
                (self.speed, self.speed_asked) = (None, None);
                self.parser = Parser::default();
                self.port.insert(opened)
            }
        };
        let (answered, erpm) = answers(port, &mut self.parser)?;
        if answered {
            self.unanswered = None;
        }
        if let (Some(erpm), Some(unit)) = (erpm, self.settings.erpm_per_mps) {
            let mps = self.settings.direction() * erpm as f32 / unit;
            // An answer may have waited: it is as old as its request at most.
            let at = self.speed_asked.unwrap_or(now);
            self.speed = Some(MeasuredSpeed { at, mps });
        }
        let ask = self
            .asked
            .is_none_or(|asked| now.since(asked) >= REQUEST_INTERVAL);
        let silent = self.unanswered.and_then(|(first, requests)| {
            // The last request also gets its full time for an answer.
            let all = requests > MAX_UNANSWERED || (requests == MAX_UNANSWERED && ask);
            all.then_some(first)
        });
        let due = self
            .sent
            .is_none_or(|(at, sent)| sent != *output || now.since(at) >= REFRESH_INTERVAL);
        let ask_speed = self.settings.erpm_per_mps.is_some()
            && self
                .speed_asked
                .is_none_or(|asked| now.since(asked) >= SPEED_INTERVAL);
        if ask || due || ask_speed {
            // Also send to a silent VESC: it may receive, and only be unable to answer.
            send(port, &self.settings, output, (ask, ask_speed))?;
            self.sent = Some((now, *output));
        }
        if ask_speed {
            self.speed_asked = Some(now);
        }
        if ask {
            self.asked = Some(now);
            let (first, requests) = self.unanswered.unwrap_or((now, 0));
            self.unanswered = Some((first, requests.saturating_add(1)));
        }
        match silent {
            Some(first) => Err(Failure::Silent {
                millis: now.since(first).as_millis() as u64,
            }),
            None => Ok(()),
        }
    }
}

/// Reads the waiting bytes. Returns whether they contain an answer, and the newest speed in them.
fn answers(port: &mut Port, parser: &mut Parser) -> io::Result<(bool, Option<i32>)> {
    let (mut answered, mut newest) = (false, None);
    port.receive_waiting(|bytes| {
        for byte in bytes {
            match parser.answer(*byte) {
                Some(Answer::Erpm(erpm)) => newest = Some(erpm),
                Some(Answer::Version) => {}
                None => continue,
            }
            answered = true;
        }
    })?;
    Ok((answered, newest))
}

impl VescSettings {
    /// 1, or -1 if the motor turns backwards for a car that drives ahead.
    fn direction(&self) -> f32 {
        let full = self.full_duty.or(self.full_erpm).unwrap_or(1.0);
        if full < 0.0 { -1.0 } else { 1.0 }
    }
}

/// Sends all commands for `output` in one write, and requests the version and the speed.
fn send(
    port: &mut Port,
    settings: &VescSettings,
    output: &Output,
    (ask, ask_speed): (bool, bool),
) -> io::Result<()> {
    let mut packet = Packet::default();
    let servo = match output.mode {
        Mode::Drive => {
            match (settings.full_duty, settings.full_erpm) {
                (Some(duty), _) => packet.set_duty(output.throttle * duty),
                (None, erpm) => packet.set_erpm(output.throttle * erpm.unwrap_or_default()),
            }
            let end = match output.steering.is_sign_negative() {
                true => settings.right,
                false => settings.left,
            };
            settings.centre + (end - settings.centre) * output.steering.abs()
        }
        Mode::Failsafe | Mode::Brake => {
            packet.stop(settings.failsafe_brake_a);
            settings.failsafe
        }
        Mode::Disarmed => {
            packet.stop(settings.disarmed_brake_a);
            settings.disarmed
        }
    };
    packet.set_servo(servo);
    // ALIVE restarts the VESC's own timeout, whatever the output is.
    packet.alive();
    if ask {
        packet.ask_version();
    }
    if ask_speed {
        packet.ask_erpm();
    }
    port.send(packet.bytes())
}

impl Actuator for Vesc {
    fn name(&self) -> &str {
        NAME
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        self.attempts.due(now)?;
        let result = self.attempt(now, output);
        if let Err(failure) = result {
            if failure.ends_port() {
                self.port = None;
            }
            self.sent = None;
        }
        self.attempts.ended(now, result, "")
    }

    fn speed(&self) -> Option<MeasuredSpeed> {
        self.speed
    }
}

#[cfg(test)]
mod tests;
