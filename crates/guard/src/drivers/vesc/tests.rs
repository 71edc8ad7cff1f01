use std::fs::File;
use std::io::Read;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::*;
use crate::drivers::pty;
use crate::{Mode, Output};

/// The number of a COMM_SET_SERVO_POS packet, whose payload is two bytes.
const SET_SERVO: u8 = 12;

/// The servo position in the last packet for it, in thousandths.
fn servo(end: &mut File) -> u16 {
    let mut bytes = [0; 256];
    let length = end.read(&mut bytes).unwrap();
    let packet = bytes[..length]
        .windows(5)
        .rfind(|bytes| bytes[..3] == [2, 3, SET_SERVO])
        .unwrap();
    u16::from_be_bytes([packet[3], packet[4]])
}

#[test]
fn adjusted_ends_are_sent_with_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut end = pty::plug(&port);
    let mut settings = VescSettings {
        port,
        baud: 115_200,
        full_duty: Some(0.5),
        full_erpm: None,
        erpm_per_mps: None,
        failsafe_brake_a: 5.0,
        disarmed_brake_a: 0.0,
        left: 0.1,
        centre: 0.5,
        right: 0.8,
        failsafe: 0.5,
        disarmed: 0.5,
    };
    let mut vesc = Vesc::open(&settings, Duration::ZERO).unwrap();
    let output = Output {
        mode: Mode::Drive,
        steering: 1.0,
        throttle: 0.0,
    };
    vesc.write(Time::from_nanos(1), &output).unwrap();
    assert_eq!(servo(&mut end), 100);
    settings.left = 0.2;
    vesc.adjust(&settings);
    vesc.write(Time::from_nanos(2), &output).unwrap();
    assert_eq!(servo(&mut end), 200);
}
