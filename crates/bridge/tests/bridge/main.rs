//! The protocol, and what a bridge does, as docs/bridge.md describes them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod property;

use pilotage_bridge::{
    Bridge, COMMAND, Command, DEAD_MAN, Drive, Input, LONGEST_BRAKE, Outputs, Parser,
    REMOTE_TIMEOUT, STATUS, State, Status, crc16,
};

const STOPPED: Outputs = Outputs {
    steering: 1510,
    throttle: 1500,
};
const BRAKE: u16 = 1200;
const BRAKE_MICROS: u64 = 300_000;
/// A radio transmitter's pulses.
const REMOTE: Outputs = Outputs {
    steering: 1111,
    throttle: 1777,
};
const DRIVEN: Outputs = Outputs {
    steering: 1900,
    throttle: 1650,
};

fn command(sequence: u8, drive: Drive) -> Command {
    let now = match drive {
        Drive::No => STOPPED,
        Drive::NotAhead | Drive::Ahead => DRIVEN,
    };
    Command {
        sequence,
        drive,
        steering: now.steering,
        throttle: now.throttle,
        stopped_steering: STOPPED.steering,
        stopped_throttle: STOPPED.throttle,
        brake: BRAKE,
        brake_millis: (BRAKE_MICROS / 1000) as u16,
    }
}

/// A bridge with its clock, and a computer that numbers its commands.
struct Bench {
    bridge: Bridge,
    now: u64,
    sequence: u8,
}

impl Bench {
    fn new() -> Self {
        Self {
            bridge: Bridge::new(),
            now: 5_000_000,
            sequence: 0,
        }
    }

    /// Sends the bytes of a command. Returns the answer.
    fn give(&mut self, bytes: &[u8]) -> Option<Status> {
        let answers = bytes
            .iter()
            .filter_map(|byte| self.bridge.receive(self.now, *byte));
        let answers: Vec<_> = answers.collect();
        assert!(answers.len() <= 1);
        answers.first().map(|bytes| Status::read(bytes).unwrap())
    }

    fn send(&mut self, drive: Drive) -> State {
        self.sequence = self.sequence.wrapping_add(1);
        let status = self.give(&command(self.sequence, drive).write()).unwrap();
        assert_eq!(status.sequence, self.sequence);
        let outputs = self.bridge.outputs(self.now);
        assert_eq!(
            (status.steering, status.throttle),
            (outputs.steering, outputs.throttle)
        );
        status.state
    }

    /// Lets time pass, and looks at the outputs every millisecond, as the firmware does more often.
    fn pass(&mut self, micros: u64) -> Outputs {
        let end = self.now + micros;
        while self.now < end {
            self.now = (self.now + 1000).min(end);
            self.bridge.outputs(self.now);
        }
        self.bridge.outputs(self.now)
    }

    /// Pulses of a receiver, whose switch is at `switch`.
    fn receiver(&mut self, switch: u16) {
        self.bridge
            .pulse(self.now, Input::Steering, REMOTE.steering);
        self.bridge
            .pulse(self.now, Input::Throttle, REMOTE.throttle);
        self.bridge.pulse(self.now, Input::Switch, switch);
    }

    fn driving() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.send(Drive::No), State::Obeys);
        assert_eq!(bench.send(Drive::Ahead), State::Obeys);
        assert_eq!(bench.pass(1000), DRIVEN);
        bench
    }
}

/// Of the example in docs/bridge.md.
#[test]
fn the_bytes_are_those_of_the_page() {
    let command = Command {
        sequence: 7,
        drive: Drive::Ahead,
        steering: 1500,
        throttle: 1600,
        stopped_steering: 1500,
        stopped_throttle: 1500,
        brake: 1200,
        brake_millis: 400,
    };
    let status = Status {
        sequence: 7,
        state: State::Obeys,
        steering: 1500,
        throttle: 1600,
        dropped: 0,
    };
    let hex = |bytes: &[u8]| {
        let bytes = bytes.iter().map(|byte| format!("{byte:02x}"));
        bytes.collect::<Vec<_>>().join(" ")
    };
    let page = include_str!("../../../../docs/bridge.md");
    for bytes in [hex(&command.write()), hex(&status.write())] {
        assert!(page.contains(&bytes), "docs/bridge.md has no `{bytes}`");
    }
}

/// CRC-16/XMODEM by its definition: the remainder of the message by x^16 + x^12 + x^5 + 1; and its
/// check value.
#[test]
fn the_checksum_is_crc_16_xmodem() {
    assert_eq!(crc16(b"123456789"), 0x31C3);
    let message = command(9, Drive::Ahead).write();
    let bits = message[1..COMMAND - 2]
        .iter()
        .chain(&[0, 0])
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(*byte) >> bit & 1));
    let remainder = bits.fold(0_u32, |rest, bit| {
        let rest = rest << 1 | bit;
        if rest & 0x1_0000 == 0 {
            rest
        } else {
            rest ^ 0x1_1021
        }
    });
    assert_eq!(message[COMMAND - 2..], (remainder as u16).to_le_bytes());
}

#[test]
fn nothing_is_put_out_before_the_first_command() {
    let mut bench = Bench::new();
    assert_eq!(bench.pass(1_000_000), Outputs::default());
}

/// A bridge that was reset while the car drove does not drive on.
#[test]
fn the_first_commands_that_drive_do_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(Drive::Ahead), State::Holds);
    assert_eq!(bench.pass(1000), STOPPED);
    assert_eq!(bench.send(Drive::No), State::Obeys);
    assert_eq!(bench.send(Drive::Ahead), State::Obeys);
    assert_eq!(bench.pass(1000), DRIVEN);
}

#[test]
fn silence_brakes_and_then_stops_until_the_computer_stops_too() {
    let mut bench = Bench::driving();
    assert_eq!(bench.pass(DEAD_MAN - 2000), DRIVEN);
    let braking = Outputs {
        throttle: BRAKE,
        ..STOPPED
    };
    assert_eq!(bench.pass(1000), braking, "at the dead-man");
    assert_eq!(bench.pass(BRAKE_MICROS - 1000), braking);
    assert_eq!(bench.pass(1000), STOPPED, "no longer than the brake");
    assert_eq!(bench.pass(10_000_000), STOPPED);
    assert_eq!(bench.send(Drive::Ahead), State::Holds);
    assert_eq!(bench.pass(1000), STOPPED);
    assert_eq!(bench.send(Drive::No), State::Obeys);
    assert_eq!(bench.send(Drive::Ahead), State::Obeys);
    assert_eq!(bench.pass(1000), DRIVEN);
}

#[test]
fn a_car_that_does_not_drive_ahead_and_one_without_a_brake_are_not_braked() {
    let mut bench = Bench::driving();
    assert_eq!(bench.send(Drive::NotAhead), State::Obeys);
    assert_eq!(bench.pass(DEAD_MAN), STOPPED);
    let mut bench = Bench::driving();
    bench.sequence += 1;
    let command = Command {
        brake: 0,
        ..command(bench.sequence, Drive::Ahead)
    };
    bench.give(&command.write()).unwrap();
    assert_eq!(bench.pass(DEAD_MAN), STOPPED);
    // Nor one that was stopped and whose computer is silent then.
    let mut bench = Bench::driving();
    assert_eq!(bench.send(Drive::No), State::Obeys);
    assert_eq!(bench.pass(DEAD_MAN), STOPPED);
}

/// A hung computer's last bytes may be sent for ever.
#[test]
fn a_repeated_command_is_not_a_new_one() {
    let mut bench = Bench::driving();
    let bytes = command(bench.sequence, Drive::Ahead).write();
    for _ in 0..DEAD_MAN / 5000 {
        bench.pass(5000);
        assert_eq!(bench.give(&bytes), None);
    }
    assert_ne!(bench.pass(0), DRIVEN);
}

/// A new process on the computer may begin with the number of the dead one's last command.
#[test]
fn another_command_with_the_last_ones_number_is_a_new_one() {
    let mut bench = Bench::driving();
    let bytes = command(bench.sequence, Drive::No).write();
    let status = bench.give(&bytes).unwrap();
    assert_eq!(
        (status.sequence, status.state),
        (bench.sequence, State::Obeys)
    );
    assert_eq!(bench.pass(1000), STOPPED);
}

/// A command that comes while the bridge brakes may have no brake: the car is stopped then, and its
/// pulse is not 0.
#[test]
fn a_command_without_a_brake_ends_the_brake() {
    let mut bench = Bench::driving();
    assert_eq!(bench.pass(DEAD_MAN).throttle, BRAKE);
    bench.sequence += 1;
    let command = Command {
        brake: 0,
        brake_millis: 0,
        ..command(bench.sequence, Drive::Ahead)
    };
    let status = bench.give(&command.write()).unwrap();
    assert_eq!(status.state, State::Holds);
    assert_eq!(status.throttle, STOPPED.throttle);
    assert_eq!(bench.pass(1000), STOPPED);
}

#[test]
fn a_late_command_does_not_revive_the_car() {
    let mut bench = Bench::driving();
    // The outputs were not looked at meanwhile.
    bench.now += DEAD_MAN;
    assert_eq!(bench.send(Drive::Ahead), State::Holds);
}

#[test]
fn the_transmitter_takes_over_and_gives_back_a_stopped_car() {
    let mut bench = Bench::driving();
    bench.receiver(1200);
    assert_eq!(bench.send(Drive::Ahead), State::Obeys, "the switch is off");
    bench.receiver(1500);
    assert_eq!(bench.send(Drive::Ahead), State::Obeys, "nor on in between");
    bench.receiver(1800);
    assert_eq!(bench.pass(1000), REMOTE);
    assert_eq!(bench.send(Drive::Ahead), State::Remote);
    // Stopping the computer's drive changes nothing for the transmitter.
    assert_eq!(bench.send(Drive::No), State::Remote);
    bench.receiver(1500);
    assert_eq!(bench.pass(1000), REMOTE);
    bench.receiver(1200);
    assert_eq!(bench.send(Drive::Ahead), State::Holds);
    assert_eq!(bench.pass(1000), STOPPED);
    assert_eq!(bench.send(Drive::No), State::Obeys);
    assert_eq!(bench.send(Drive::Ahead), State::Obeys);
}

/// The transmitter's driver decides on the brake from then on.
#[test]
fn a_car_that_the_transmitter_took_over_is_not_braked_afterwards() {
    let mut bench = Bench::driving();
    bench.pass(DEAD_MAN);
    assert_eq!(bench.bridge.outputs(bench.now).throttle, BRAKE);
    bench.receiver(1800);
    assert_eq!(bench.pass(1000), REMOTE);
    bench.receiver(1200);
    assert_eq!(bench.pass(1000), STOPPED);
}

/// Also without a computer, which is what it is for.
#[test]
fn the_transmitter_drives_without_a_computer() {
    let mut bench = Bench::new();
    bench.receiver(1800);
    assert_eq!(bench.pass(1000), REMOTE);
    assert_eq!(bench.pass(REMOTE_TIMEOUT), Outputs::default());
    let mut bench = Bench::driving();
    bench.receiver(1800);
    bench.pass(REMOTE_TIMEOUT / 2);
    bench.receiver(1800);
    assert_eq!(bench.pass(REMOTE_TIMEOUT - 1000), REMOTE);
}

#[test]
fn a_lost_transmitter_stops_the_car() {
    for switch in [1200, 1800] {
        let mut bench = Bench::driving();
        bench.receiver(switch);
        bench.pass(REMOTE_TIMEOUT - 1000);
        bench.send(Drive::Ahead);
        assert_ne!(bench.pass(0), STOPPED);
        bench.pass(1000);
        assert_eq!(bench.send(Drive::Ahead), State::RemoteLost);
        assert_eq!(bench.pass(BRAKE_MICROS), STOPPED);
        assert_eq!(bench.send(Drive::No), State::RemoteLost);
        // It is back; the computer drives again only after a command that does not drive.
        bench.receiver(1200);
        assert_eq!(bench.send(Drive::Ahead), State::Holds);
        assert_eq!(bench.send(Drive::No), State::Obeys);
    }
}

/// While the transmitter drives, its steering or throttle may be lost alone.
#[test]
fn a_lost_channel_stops_a_car_that_the_transmitter_drives() {
    for lost in [Input::Steering, Input::Throttle] {
        let mut bench = Bench::driving();
        bench.receiver(1800);
        for _ in 0..5 {
            bench.pass(REMOTE_TIMEOUT / 4);
            for (input, us) in [
                (Input::Steering, REMOTE.steering),
                (Input::Throttle, REMOTE.throttle),
                (Input::Switch, 1800),
            ] {
                if input != lost {
                    bench.bridge.pulse(bench.now, input, us);
                }
            }
        }
        assert_eq!(bench.pass(0), STOPPED);
    }
}

#[test]
fn noise_on_the_receivers_wires_is_no_receiver() {
    let mut bench = Bench::driving();
    for us in [0, 1, 799, 2201, u16::MAX] {
        bench.bridge.pulse(bench.now, Input::Switch, us);
    }
    assert_eq!(bench.send(Drive::Ahead), State::Obeys);
}

#[test]
fn commands_with_values_that_are_not_allowed_are_dropped_and_counted() {
    let good = command(1, Drive::Ahead);
    for bad in [
        Command {
            steering: 399,
            ..good
        },
        Command {
            throttle: 2601,
            ..good
        },
        Command {
            stopped_steering: 1,
            ..good
        },
        Command {
            stopped_throttle: u16::MAX,
            ..good
        },
        Command {
            brake: 2601,
            ..good
        },
        Command {
            brake_millis: LONGEST_BRAKE + 1,
            ..good
        },
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.give(&bad.write()), None);
        let status = bench.give(&command(2, Drive::No).write()).unwrap();
        assert_eq!(status.dropped, 1);
    }
    // No pulse is one of the pulses, and the longest brake is allowed.
    let mut bench = Bench::new();
    let silent = Command {
        steering: 0,
        throttle: 0,
        stopped_steering: 0,
        stopped_throttle: 0,
        brake_millis: LONGEST_BRAKE,
        ..good
    };
    assert!(bench.give(&silent.write()).is_some());
}
