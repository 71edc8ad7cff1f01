//! A model VESC.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use rustix::fs::OFlags;

use super::pty;

/// A message to the VESC, decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Message {
    Version,
    AskErpm,
    Duty(i32),
    Current(i32),
    Brake(i32),
    Erpm(i32),
    Servo(i16),
    Alive,
    Other(u8),
}

/// A model VESC at the other end of the port.
pub struct Model {
    pub end: File,
    left: Vec<u8>,
}

impl Model {
    /// Plugs in a VESC, and links `port` to it.
    pub fn plug(port: &Path) -> Self {
        let end = pty::plug(port);
        rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK).unwrap();
        Self {
            end,
            left: Vec::new(),
        }
    }

    /// All messages since the last call. Asserts that they are complete packets.
    pub fn received(&mut self) -> Vec<Message> {
        let mut bytes = [0; 4096];
        loop {
            match self.end.read(&mut bytes) {
                Ok(length) => self.left.extend(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The port is closed at the other end.
                Err(_) => break,
            }
        }
        let mut messages = Vec::new();
        while let [2, length, rest @ ..] = self.left.as_slice() {
            let length = usize::from(*length);
            let (payload, tail) = rest.split_at(length);
            assert_eq!(u16::from_be_bytes([tail[0], tail[1]]), remainder(payload));
            assert_eq!(tail[2], 3);
            let number = || i32::from_be_bytes(payload[1..].try_into().unwrap());
            messages.push(match payload[0] {
                0 => Message::Version,
                5 => Message::Duty(number()),
                6 => Message::Current(number()),
                7 => Message::Brake(number()),
                8 => Message::Erpm(number()),
                12 => Message::Servo(i16::from_be_bytes(payload[1..].try_into().unwrap())),
                30 => Message::Alive,
                50 => {
                    assert_eq!(payload[1..], [0, 0, 0, 0x80]);
                    Message::AskErpm
                }
                other => Message::Other(other),
            });
            self.left.drain(..length + 5);
        }
        assert!(
            self.left.is_empty(),
            "no incomplete packets: {:?}",
            self.left
        );
        messages
    }

    pub fn answer(&mut self) {
        self.send(&[0, 6, 2, b'V', 0]);
    }

    pub fn answer_erpm(&mut self, erpm: i32) {
        let mut payload = vec![50, 0, 0, 0, 0x80];
        payload.extend(erpm.to_be_bytes());
        self.send(&payload);
    }

    fn send(&mut self, payload: &[u8]) {
        let [high, low] = remainder(payload).to_be_bytes();
        self.end.write_all(&[2, payload.len() as u8]).unwrap();
        self.end.write_all(payload).unwrap();
        self.end.write_all(&[high, low, 3]).unwrap();
    }
}

/// CRC-16/XMODEM by its definition: the remainder of the message by x^16 + x^12 + x^5 + 1.
fn remainder(payload: &[u8]) -> u16 {
    let bits = payload
        .iter()
        .chain(&[0, 0])
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(*byte) >> bit & 1));
    let rest = bits.fold(0_u32, |rest, bit| {
        let rest = rest << 1 | bit;
        if rest & 0x1_0000 == 0 {
            rest
        } else {
            rest ^ 0x1_1021
        }
    });
    rest as u16
}
