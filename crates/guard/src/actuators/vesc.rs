//! A VESC, the motor controller of F1TENTH cars, which drives the steering servo too.
//!
//! It also has a time-out of its own, set in VESC Tool: without commands it lets the motor
//! go, or brakes. That holds where this program cannot.

mod packet;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::bus_lock::Hold;
use super::failure::{Attempts, Failure};
use super::serial::Port;
use super::settings::VescSettings;
use crate::{Actuator, ActuatorError, Mode, Output};
use packet::{Packet, Parser};

const NAME: &str = "vesc";

/// All of it is sent again this often: a packet with a wrong checksum is dropped by the
/// VESC without an answer.
const REFRESH: Duration = Duration::from_millis(20);
/// It is asked for its firmware's version this often, since a line takes bytes though
/// nothing reads them.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// With so many questions one after the other unanswered it is taken for gone. A pause in
/// which it is not asked is no silence.
const QUESTIONS: u32 = 4;
/// Bytes that are read at once, and how often in one write: all that waits is to be read, so
/// that noise holds up no answer, but a line that never falls silent must not hold up a tick.
const READ: usize = 1024;
const READS: usize = 8;

/// A VESC on a serial line.
#[derive(Debug)]
pub struct Vesc {
    settings: VescSettings,
    hold: Hold,
    port: Option<Port>,
    parser: Parser,
    sent: Option<(Time, Output)>,
    asked: Option<Time>,
    /// Questions since the last answer: the first one, and how many.
    unanswered: Option<(Time, u32)>,
    attempts: Attempts,
}

impl Vesc {
    /// Opens the line; waits for another writer as `hold` has it. Nothing is sent yet.
    ///
    /// # Errors
    /// `WouldBlock` or `ResourceBusy` when another holds it; else the system's reason.
    pub fn open(settings: &VescSettings, hold: impl Into<Hold>) -> io::Result<Self> {
        let hold = hold.into();
        Ok(Self {
            port: Some(Port::open(&settings.port, settings.baud, hold)?),
            settings: settings.clone(),
            hold: hold.at_once(),
            parser: Parser::default(),
            sent: None,
            asked: None,
            unanswered: None,
            attempts: Attempts::new(settings.port.display().to_string().into()),
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
                let opened = Port::open(&self.settings.port, self.settings.baud, self.hold)?;
                (self.asked, self.sent, self.unanswered) = (None, None, None);
                self.parser = Parser::default();
                self.port.insert(opened)
            }
        };
        if answers(port, &mut self.parser)? {
            self.unanswered = None;
        }
        let ask = self.asked.is_none_or(|asked| now.since(asked) >= ASK_EVERY);
        let silent = self.unanswered.and_then(|(first, questions)| {
            // The last of them has its time for an answer, too.
            let all = questions > QUESTIONS || (questions == QUESTIONS && ask);
            all.then_some(first)
        });
        let due = self
            .sent
            .is_none_or(|(at, sent)| sent != *output || now.since(at) >= REFRESH);
        if ask || due {
            // A silent one is sent everything all the same: it may only be unable to answer.
            send(port, &self.settings, output, ask)?;
            self.sent = Some((now, *output));
        }
        if ask {
            self.asked = Some(now);
            let (first, questions) = self.unanswered.unwrap_or((now, 0));
            self.unanswered = Some((first, questions.saturating_add(1)));
        }
        match silent {
            Some(first) => Err(Failure::Silent {
                millis: now.since(first).as_millis() as u64,
            }),
            None => Ok(()),
        }
    }
}

/// Reads what waits; whether an answer is in it.
fn answers(port: &mut Port, parser: &mut Parser) -> io::Result<bool> {
    let mut answered = false;
    let mut bytes = [0; READ];
    for _ in 0..READS {
        let length = port.receive(&mut bytes)?;
        if length == 0 {
            break;
        }
        for byte in &bytes[..length] {
            answered |= parser.answers(*byte);
        }
    }
    Ok(answered)
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
        self.attempts.due(now)?;
        match self.attempt(now, output) {
            Ok(()) => {
                self.attempts.succeeded();
                Ok(())
            }
            Err(failure) => {
                let gone = match failure {
                    Failure::Silent { .. } => false,
                    Failure::Kind(kind) => kind != io::ErrorKind::TimedOut,
                    _ => true,
                };
                if gone {
                    self.port = None;
                }
                self.sent = None;
                Err(self.attempts.failed(now, failure, ""))
            }
        }
    }
}
