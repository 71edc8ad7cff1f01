//! Pololu's Maestro, a servo controller on a USB port, for a steering servo and a speed controller.
//!
//! The board keeps putting out its last pulses when the guard or the computer dies, unless its
//! serial time-out is set ("Timeout" in the Serial Settings of Maestro Control Center): without a
//! valid command for that long it raises an error, and an error puts each channel at its "On
//! startup or error" position. Any error does that, so the driver reads the error register, and
//! treats an error as a failure. Sources: Pololu Maestro Servo Controller User's Guide,
//! <https://www.pololu.com/docs/0J40>, sections "Channel Settings", "Errors", "Serial Settings" and
//! "Serial Servo Commands".

mod check;
mod commands;

use std::io;

use pilotage_vehicle::Time;

use super::device_lock::LockPolicy;
use super::failure::{Attempts, Failure};
use super::pulses::Arming;
use super::serial::Port;
use super::settings::MaestroSettings;
use crate::{Actuator, ActuatorError, Output};
use check::Check;
use commands::{Commands, MOST_TARGET};

const NAME: &str = "maestro";
/// The board's USB port has no line whose speed this would set (User's Guide, "USB Dual Port").
const BAUD: u32 = 115_200;

/// The channels of the largest board, the Mini Maestro 24. How many a board has cannot be read; one
/// without the channel raises an error, and the car is not driven.
pub(crate) const CHANNELS: u8 = 24;

/// A channel, and its pulse in quarters of a microsecond; 0 is no pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Channel {
    number: u8,
    target: u16,
}

/// The speed controller's channel and the servo's, in the order in which they are written: the
/// motor first, because it is the dangerous one.
type Targets = [Channel; 2];

/// A Maestro on a serial port.
#[derive(Debug)]
pub struct Maestro {
    settings: MaestroSettings,
    arming: Arming,
    lock_policy: LockPolicy,
    port: Option<Port>,
    /// The targets in force; `None` if the board has to be set up.
    sent: Option<Targets>,
    check: Check,
    /// What the last check found, until a later one finds the board as it should be.
    fault: Option<Failure>,
    attempts: Attempts,
}

impl Maestro {
    /// Opens the port, and waits for another writer as `lock_policy` specifies. Nothing is sent yet.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another process holds it; otherwise the system's error.
    pub fn open(
        settings: &MaestroSettings,
        lock_policy: impl Into<LockPolicy>,
    ) -> io::Result<Self> {
        let lock_policy = lock_policy.into();
        Ok(Self {
            port: Some(Port::open(&settings.port, BAUD, lock_policy)?),
            settings: settings.clone(),
            arming: settings.throttle.arming(),
            lock_policy: lock_policy.without_waiting(),
            sent: None,
            check: Check::default(),
            fault: None,
            attempts: Attempts::new(settings.port.display().to_string().into()),
        })
    }

    /// Sets other pulses, which are sent with the next write.
    pub fn adjust(&mut self, settings: &MaestroSettings) {
        self.settings = settings.clone();
    }

    fn targets(&mut self, now: Time, output: &Output) -> Targets {
        let (steering, throttle) = (&self.settings.steering, &self.settings.throttle);
        let motor = self.arming.throttle(now, output, &throttle.pulses());
        let servo = steering.pulses().micros(output.mode, output.steering);
        [(throttle.channel, motor), (steering.channel, servo)].map(|(number, micros)| Channel {
            number,
            // The conversion saturates, and NaN becomes 0.
            target: micros
                .map_or(0, |micros| (micros * 4.0).round() as u16)
                .min(MOST_TARGET),
        })
    }

    fn attempt(&mut self, now: Time, output: &Output) -> Result<(), Failure> {
        // After the board was unplugged, its port has to be opened again.
        let port = match &mut self.port {
            Some(port) => port,
            None => {
                let opened = Port::open(&self.settings.port, BAUD, self.lock_policy)?;
                (self.check, self.fault, self.sent) = (Check::default(), None, None);
                self.port.insert(opened)
            }
        };
        self.check.receive(port)?;
        let due = self.check.is_due(now);
        if due && let Some(found) = self.check.verdict(now) {
            self.fault = found.err();
        }
        if self.fault.is_some() {
            // Set up a board that was reset, or that another program has changed. Also send to a
            // silent one: it may receive, and only be unable to answer.
            self.sent = None;
            self.arming.again();
        }
        self.send(now, output, due)?;
        self.fault.map_or(Ok(()), Err)
    }

    /// Sends what `output` changes, and a request if one is `due`, in one write.
    fn send(&mut self, now: Time, output: &Output, due: bool) -> Result<(), Failure> {
        let targets = self.targets(now, output);
        let mut commands = Commands::default();
        let set_up = self.sent.is_none();
        if set_up {
            // First of all: it may interrupt a command that an earlier program left unfinished, and
            // the error that this raises moves the channels before they are set.
            commands.get_errors();
        }
        for (index, channel) in targets.iter().enumerate() {
            if set_up {
                commands.remove_limits(channel.number);
            }
            if self.sent.is_none_or(|sent| sent[index] != *channel) {
                commands.set_target(channel.number, channel.target);
            }
        }
        // Unchanged targets are not sent again: what another program or a reset does to a channel
        // would be corrected before it is read.
        if set_up || due {
            self.check.ask(now, &mut commands, targets, set_up);
        }
        if let Some(port) = &mut self.port
            && !commands.bytes().is_empty()
        {
            port.send(commands.bytes())?;
        }
        self.sent = Some(targets);
        Ok(())
    }
}

impl Actuator for Maestro {
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
            // The pulses may have stopped.
            self.sent = None;
            self.arming.again();
        }
        let note = match result {
            Err(Failure::Silent { .. }) => {
                "; a Maestro answers only in the serial mode USB Dual Port or USB Chained, without \
                 CRC, at its Command Port (docs/car.md)"
            }
            _ => "",
        };
        self.attempts.ended(now, result, note)
    }
}
