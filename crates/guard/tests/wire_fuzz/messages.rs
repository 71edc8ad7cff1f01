//! What the clients send: good, odd, damaged and random messages of the pilot and of others.

use std::time::Duration;

use pilotage_guard::wire::{Numbered, Request};
use pilotage_vehicle::{Command, Fault, Time};

use crate::world::{Connection, OTHERS, World, bytes, hello};

/// Bytes of the longest garbage message.
const LONGEST: u64 = 600;

/// The pilot steers only to the left. Other clients, whose commands must be dropped, steer to the
/// right.
const PILOT_STEERING: std::ops::RangeInclusive<f32> = 0.0..=1.0;

impl World {
    /// Sends the pilot's next command, which is good unless its capture time is `ahead`.
    fn drive(&mut self, ahead: Duration) {
        self.sequence += 1;
        let steering = self.random.below(1000) as f32 / 1000.0;
        let throttle = self.random.below(1000) as f32 / 1000.0;
        let good = Command {
            steering,
            throttle,
            captured: self.now + ahead,
            sequence: self.sequence,
        };
        let mut pilot = self.pilot.take();
        if let Some(connection) = &mut pilot {
            connection.number += 1;
            let message = bytes(connection.number, Request::Command(good));
            self.send(&mut pilot, &message);
        }
        self.pilot = pilot;
    }

    /// A command with arbitrary fields. Only clients other than the pilot steer to the right.
    fn odd(&mut self, number: u64, from_pilot: bool) -> (u64, Request) {
        let now = self.now.as_nanos();
        let captured = match self.random.share(50) {
            true => now.saturating_sub(self.random.below(200_000_000)),
            false => self.random.extreme(now),
        };
        // The pilot's sequence number must stay low enough to increase again.
        let sequence = match from_pilot {
            true => self.random.below(self.sequence + 2),
            false => self.random.extreme(self.sequence),
        };
        let mut steering = self.random.float();
        if from_pilot && !PILOT_STEERING.contains(&steering) && steering >= -1.0 {
            steering = 0.5;
        }
        if !from_pilot {
            steering = self.random.of(&[-1.0, -0.5, steering]);
        }
        let odd = Command {
            steering,
            throttle: self.random.float(),
            captured: Time::from_nanos(captured),
            sequence,
        };
        let number = match self.random.share(80) || from_pilot {
            true => number,
            false => self.random.extreme(number),
        };
        (number, Request::Command(odd))
    }

    /// A request with some bytes changed, and with a correct checksum in half of the cases.
    fn mutated(&mut self, number: u64, from_pilot: bool) -> Vec<u8> {
        let request = match self.random.below(4) {
            0 => hello(),
            1 => Request::Ask,
            _ => self.odd(number, from_pilot).1,
        };
        let mut message = bytes(number, request);
        for _ in 0..1 + self.random.below(3) {
            let at = self.random.below(message.len() as u64) as usize;
            message[at] = self.random.next() as u8;
        }
        let end = message.len() - 4;
        if self.random.share(50) {
            let checksum = crc32fast::hash(&message[..end]);
            message[end..].copy_from_slice(&checksum.to_le_bytes());
        }
        message
    }

    fn garbage(&mut self) -> Vec<u8> {
        let length = self.random.below(LONGEST);
        (0..length).map(|_| self.random.next() as u8).collect()
    }

    /// Whether a random message happens to be a valid request that would invalidate the state that
    /// the test tracks.
    fn is_real(message: &[u8], from_pilot: bool) -> bool {
        match Numbered::read(message) {
            Err(_) => false,
            Ok(Numbered { request, .. }) => match request {
                Request::Command(_) if !from_pilot => false,
                Request::Command(_) => !steering(&request).is_some_and(|it| it >= 0.0),
                Request::Ask => false,
                _ => true,
            },
        }
    }

    /// Sends the pilot's next message.
    pub(crate) fn pilot_sends(&mut self) {
        if self.random.share(85) {
            return self.drive(Duration::ZERO);
        }
        if self.random.share(10) {
            // Good except for its capture time. If the guard kept it for later, it would move a car
            // whose pilot sends nothing.
            let ahead = self.random.below(200);
            return self.drive(Duration::from_millis(ahead));
        }
        let Some(number) = self.pilot.as_ref().map(|pilot| pilot.number + 1) else {
            return;
        };
        let message = match self.random.below(4) {
            0 => self.garbage(),
            1 => self.mutated(number, true),
            _ => {
                let (number, odd) = self.odd(number, true);
                bytes(number, odd)
            }
        };
        if Self::is_real(&message, true) || message.is_empty() {
            return;
        }
        let read = Numbered::read(&message).ok().map(|read| read.number);
        // The pilot's numbers must be able to increase.
        if read.is_some_and(|read| read > number + 1000) {
            return;
        }
        let mut pilot = self.pilot.take();
        if let (Some(pilot), Some(read)) = (&mut pilot, read) {
            pilot.number = pilot.number.max(read);
        }
        self.send(&mut pilot, &message);
        self.pilot = pilot;
    }

    /// Sends a message of a client that is not the pilot.
    pub(crate) fn other_sends(&mut self) {
        let index = self.random.below(OTHERS as u64) as usize;
        let mut other = self.others[index].take();
        if other.is_none() {
            other = self.connect();
        }
        let number = other.as_ref().map_or(1, |other| other.number + 1);
        match self.random.below(100) {
            // Disconnect, by closing or by an empty message.
            0..4 => other = None,
            4..6 => self.send(&mut other, &[]),
            // There is a pilot, so this client must be refused.
            6..10 if self.pilot.is_some() => {
                let refused = self.request_refused(&mut other, hello());
                assert_ne!(refused, Some(false), "two pilots");
            }
            10..12 => {
                let stop = self.random.of(&[
                    Request::Stop,
                    Request::Disarm,
                    Request::Fault(Fault::Camera),
                ]);
                if self.request_refused(&mut other, stop) == Some(false) {
                    self.assert_stopped("stopped by an operator");
                }
            }
            12..40 => {
                let message = self.mutated(number, false);
                if !Self::is_real(&message, false) {
                    record_number(&mut other, &message);
                    self.send(&mut other, &message);
                }
            }
            40..60 => {
                let message = self.garbage();
                self.send(&mut other, &message);
            }
            _ => {
                let (number, odd) = self.odd(number, false);
                let message = bytes(number, odd);
                record_number(&mut other, &message);
                self.send(&mut other, &message);
            }
        }
        self.others[index] = other;
    }
}

/// The steering of a request, if it is a command.
fn steering(of: &Request) -> Option<f32> {
    match of {
        Request::Command(command) => Some(command.steering),
        _ => None,
    }
}

/// Records the number of a message, which the guard counts for every valid request. A number that
/// is too high for another to follow is used only until the next connection.
fn record_number(connection: &mut Option<Connection>, message: &[u8]) {
    if let (Some(connection), Ok(read)) = (connection, Numbered::read(message)) {
        connection.number = connection.number.max(read.number.min(u64::MAX - 1_000_000));
    }
}
