//! A microcontroller on a serial port that puts out the pulses of a servo and a speed controller, and
//! stops the car by itself when nothing new comes. `docs/bridge.md` describes the protocol, and
//! `crates/bridge` has it; `firmware/rp2040-bridge` is firmware that speaks it.
//!
//! Each command has the pulses for a stop and for the brake with it. The bridge answers each with
//! what it does and the pulses that it puts out.

use std::io;
use std::time::Duration;

use pilotage_bridge::{Command, Drive, Parser, STATUS, State, Status};
use pilotage_vehicle::Time;

use super::device_lock::LockPolicy;
use super::failure::{Attempts, Failure};
use super::pulses::Arming;
use super::serial::Port;
use super::settings::BridgeSettings;
use crate::{Actuator, ActuatorError, Mode, Output};

const NAME: &str = "bridge";
/// A command is sent at this interval at least: the bridge stops the car after 100 ms without a new
/// one.
const REFRESH_INTERVAL: Duration = Duration::from_millis(20);
/// After this time and this many commands without an answer the bridge is considered gone. A pause
/// without commands does not count.
const SILENCE: Duration = Duration::from_millis(250);
const MAX_UNANSWERED: u32 = 8;

/// The channels in messages.
const STEERING: u8 = 0;
const THROTTLE: u8 = 1;

/// A bridge on a serial port.
#[derive(Debug)]
pub struct Bridge {
    settings: BridgeSettings,
    arming: Arming,
    lock_policy: LockPolicy,
    port: Option<Port>,
    parser: Parser<STATUS>,
    /// The last command, and when it was sent.
    sent: Option<(Time, Command)>,
    sequence: u8,
    /// Commands since the last answer: the time of the first one, and their number.
    unanswered: Option<(Time, u32)>,
    /// What the last answer shows.
    fault: Option<Failure>,
    attempts: Attempts,
}

impl Bridge {
    /// Opens the port, and waits for another writer as `lock_policy` specifies. Nothing is sent yet.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another process holds it; otherwise the system's error.
    pub fn open(settings: &BridgeSettings, lock_policy: impl Into<LockPolicy>) -> io::Result<Self> {
        let lock_policy = lock_policy.into();
        Ok(Self {
            port: Some(Port::open(&settings.port, settings.baud, lock_policy)?),
            settings: settings.clone(),
            arming: settings.throttle.arming(),
            lock_policy: lock_policy.without_waiting(),
            parser: Parser::of_statuses(),
            sent: None,
            sequence: 0,
            unanswered: None,
            fault: None,
            attempts: Attempts::new(settings.port.display().to_string().into()),
        })
    }

    /// Sets other pulses, which are sent with the next write.
    pub fn adjust(&mut self, settings: &BridgeSettings) {
        self.settings = settings.clone();
    }

    /// The command for `output`, without its number.
    fn command(&mut self, now: Time, output: &Output) -> Command {
        let (steering, throttle) = (&self.settings.steering, &self.settings.throttle);
        let motor = self.arming.throttle(now, output, &throttle.pulses());
        let servo = steering.pulses().micros(output.mode, output.steering);
        // The conversion saturates, and NaN becomes 0, which is no pulse.
        let micros = |pulse: Option<f32>| pulse.map_or(0, |us| us.round() as u16);
        Command {
            sequence: 0,
            drive: match output.mode {
                Mode::Drive if self.arming.is_done() && output.throttle > 0.0 => Drive::Ahead,
                Mode::Drive => Drive::NotAhead,
                Mode::Disarmed | Mode::Failsafe | Mode::Brake => Drive::No,
            },
            steering: micros(servo),
            throttle: micros(motor),
            stopped_steering: steering.failsafe_us,
            stopped_throttle: throttle.failsafe_us,
            brake: throttle.brake.map_or(0, |brake| brake.us),
            brake_millis: throttle.brake.map_or(0, |brake| brake.ms),
        }
    }

    fn attempt(&mut self, now: Time, output: &Output) -> Result<(), Failure> {
        if self.port.is_none() {
            self.port = Some(Port::open(
                &self.settings.port,
                self.settings.baud,
                self.lock_policy,
            )?);
            self.parser = Parser::of_statuses();
            (self.sent, self.unanswered, self.fault) = (None, None, None);
        }
        self.receive()?;
        let silent = self.unanswered.and_then(|(first, commands)| {
            let millis = now.since(first).as_millis() as u64;
            let is_silent = commands >= MAX_UNANSWERED && now.since(first) >= SILENCE;
            is_silent.then_some(Failure::Silent { millis })
        });
        // Also send to a bridge that fails: it may receive, and only be unable to answer.
        self.send(now, output)?;
        match silent.or(self.fault) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Sends a command if it differs from the last one, or if that is old.
    fn send(&mut self, now: Time, output: &Output) -> Result<(), Failure> {
        let command = self.command(now, output);
        let is_due = self.sent.is_none_or(|(at, sent)| {
            let sequence = sent.sequence;
            sent != Command {
                sequence,
                ..command
            } || now.since(at) >= REFRESH_INTERVAL
        });
        let Some(port) = self.port.as_mut().filter(|_| is_due) else {
            return Ok(());
        };
        self.sequence = self.sequence.wrapping_add(1);
        let command = Command {
            sequence: self.sequence,
            ..command
        };
        port.send(&command.write())?;
        self.sent = Some((now, command));
        let (first, commands) = self.unanswered.unwrap_or((now, 0));
        self.unanswered = Some((first, commands.saturating_add(1)));
        Ok(())
    }

    /// Reads the answers that have arrived.
    fn receive(&mut self) -> io::Result<()> {
        let Some(mut port) = self.port.take() else {
            return Ok(());
        };
        let received = port.receive_waiting(|bytes| {
            for byte in bytes {
                if let Some(status) = self.parser.take(*byte).as_ref().and_then(Status::read) {
                    self.parser.clear();
                    self.judge(&status);
                }
            }
        });
        self.port = Some(port);
        received
    }

    /// Judges an answer. Over a slow line, while each tick sends another command, no answer is to the
    /// last one: the bridge's state is then judged by the answers to earlier ones, its pulses are not.
    fn judge(&mut self, status: &Status) {
        self.unanswered = None;
        let Some((_, sent)) = self.sent else {
            return;
        };
        let is_last = sent.sequence == status.sequence;
        let moved = |channel, written: u16, holds: u16| Failure::Position {
            channel,
            written: written.saturating_mul(4),
            holds: holds.saturating_mul(4),
        };
        let state_failed = matches!(
            self.fault,
            Some(Failure::Overridden | Failure::RemoteLost | Failure::Held)
        );
        self.fault = match status.state {
            State::Remote => Some(Failure::Overridden),
            State::RemoteLost => Some(Failure::RemoteLost),
            // A command that does not drive, sent since then, ends the hold.
            State::Holds if is_last || sent.drive != Drive::No => Some(Failure::Held),
            State::Obeys if is_last && status.throttle != sent.throttle => {
                Some(moved(THROTTLE, sent.throttle, status.throttle))
            }
            State::Obeys if is_last && status.steering != sent.steering => {
                Some(moved(STEERING, sent.steering, status.steering))
            }
            State::Obeys if is_last || state_failed => None,
            State::Obeys | State::Holds => self.fault,
        };
    }
}

impl Actuator for Bridge {
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
            // The pulses that the controller received meanwhile are unknown.
            self.arming.again();
        }
        self.attempts.ended(now, result, "")
    }
}

#[cfg(test)]
mod tests;
