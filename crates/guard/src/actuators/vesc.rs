//! A VESC, the motor controller of F1TENTH cars, which drives the steering servo too.
//!
//! It also has a time-out of its own, set in VESC Tool: without commands it lets the motor
//! go, or brakes. That holds where this program cannot.

mod packet;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::retry::Retry;
use super::serial::Port;
use super::settings::VescSettings;
use crate::{Actuator, ActuatorError, Mode, Output};
use packet::{Packet, Parser};

const NAME: &str = "vesc";

/// All of it is sent again this often: a packet with a wrong checksum is dropped by the
/// VESC without a word.
const REFRESH: Duration = Duration::from_millis(20);
/// It is asked for its firmware's version this often, since a line takes bytes though
/// nobody reads them.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// After this long without an answer it is taken for gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// A VESC on a serial line.
#[derive(Debug)]
pub struct Vesc {
    settings: VescSettings,
    port: Option<Port>,
    parser: Parser,
    sent: Option<(Time, Output)>,
    asked: Option<Time>,
    /// When it last answered, or was opened.
    heard: Option<Time>,
    retry: Retry,
    last: Failure,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    System(i32),
    Kind(io::ErrorKind),
    Silent(u64),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        error
            .raw_os_error()
            .map_or(Self::Kind(error.kind()), Self::System)
    }
}

impl From<Failure> for ActuatorError {
    fn from(failure: Failure) -> Self {
        let actuator = NAME;
        let source = match failure {
            Failure::Silent(millis) => return Self::Silent { actuator, millis },
            Failure::System(code) => io::Error::from_raw_os_error(code),
            Failure::Kind(kind) => kind.into(),
        };
        Self::Write { actuator, source }
    }
}

impl Vesc {
    /// Opens the line; waits up to `patience` for another writer to let go of it. Nothing is
    /// sent yet.
    ///
    /// # Errors
    /// `WouldBlock` when another holds it; else what the system says.
    pub fn open(settings: &VescSettings, patience: Duration) -> io::Result<Self> {
        Ok(Self {
            port: Some(Port::open(&settings.port, settings.baud, patience)?),
            settings: settings.clone(),
            parser: Parser::default(),
            sent: None,
            asked: None,
            heard: None,
            retry: Retry::default(),
            last: Failure::Kind(io::ErrorKind::NotConnected),
        })
    }

    /// Takes other ends and centres.
    pub(crate) fn adjust(&mut self, settings: &VescSettings) {
        self.settings = settings.clone();
        self.sent = None;
    }

    /// The line.
    pub fn path(&self) -> &PathBuf {
        &self.settings.port
    }

    fn attempt(&mut self, now: Time, output: &Output) -> Result<(), Failure> {
        // A USB line that was unplugged comes back as a new one.
        let port = match &mut self.port {
            Some(port) => port,
            None => {
                let opened = Port::open(&self.settings.port, self.settings.baud, Duration::ZERO)?;
                (self.heard, self.asked, self.sent) = (None, None, None);
                self.parser = Parser::default();
                self.port.insert(opened)
            }
        };
        let heard = *self.heard.get_or_insert(now);
        let mut bytes = [0; 128];
        let length = port.receive(&mut bytes)?;
        let answered = bytes[..length]
            .iter()
            .filter(|byte| self.parser.answers(**byte))
            .count();
        if answered > 0 {
            self.heard = Some(now);
        } else if now.since(heard) >= PATIENCE {
            // It is told all the same: it may only be unable to answer. And asked, or it would
            // never be known to be back.
            send(port, &self.settings, output, true)?;
            return Err(Failure::Silent(now.since(heard).as_millis() as u64));
        }
        let ask = self.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY);
        let due = self
            .sent
            .is_none_or(|(at, sent)| sent != *output || now.since(at) >= REFRESH);
        if ask || due {
            send(port, &self.settings, output, ask)?;
            self.sent = Some((now, *output));
            if ask {
                self.asked = Some(now);
            }
        }
        Ok(())
    }
}

/// All that `output` means, in one write.
fn send(port: &mut Port, settings: &VescSettings, output: &Output, ask: bool) -> io::Result<()> {
    let mut packet = Packet::default();
    let servo = match output.mode {
        Mode::Drive => {
            packet.set_duty(output.throttle * settings.full_duty);
            let end = match output.steering < 0.0 {
                true => settings.right,
                false => settings.left,
            };
            settings.centre + (end - settings.centre) * output.steering.abs()
        }
        Mode::Failsafe => {
            packet.stop(settings.failsafe_brake_a);
            settings.failsafe
        }
        Mode::Disarmed => {
            packet.stop(settings.disarmed_brake_a);
            settings.disarmed
        }
    };
    packet.set_servo(servo);
    // Whatever it is doing, its own time-out starts anew only from here.
    packet.alive();
    if ask {
        packet.ask_version();
    }
    port.send(packet.bytes())
}

impl Actuator for Vesc {
    fn name(&self) -> &str {
        NAME
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        if !self.retry.due(now) {
            return Err(self.last.into());
        }
        match self.attempt(now, output) {
            Ok(()) => {
                if self.retry.succeeded() {
                    log::warn!("{NAME}: it answers again");
                }
                Ok(())
            }
            Err(failure) => {
                let gone = match failure {
                    Failure::Silent(_) => false,
                    Failure::Kind(kind) => kind != io::ErrorKind::TimedOut,
                    Failure::System(_) => true,
                };
                if gone {
                    self.port = None;
                }
                self.sent = None;
                self.last = failure;
                let error = ActuatorError::from(failure);
                if self.retry.failed(now) {
                    log::error!("{error}");
                }
                Err(error)
            }
        }
    }
}
