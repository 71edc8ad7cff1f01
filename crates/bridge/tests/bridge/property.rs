//! Rules that hold for any commands, any noise and any events.

use proptest::prelude::*;

use super::*;

fn commands() -> impl Strategy<Value = Command> {
    let us = || prop_oneof![Just(0u16), 400u16..=2600];
    let drive = prop_oneof![Just(Drive::No), Just(Drive::NotAhead), Just(Drive::Ahead)];
    (
        any::<u8>(),
        drive,
        [us(), us(), us(), us(), us()],
        0..=LONGEST_BRAKE,
    )
        .prop_map(|(sequence, drive, us, brake_millis)| Command {
            sequence,
            drive,
            steering: us[0],
            throttle: us[1],
            stopped_steering: us[2],
            stopped_throttle: us[3],
            brake: us[4],
            brake_millis,
        })
}

fn statuses() -> impl Strategy<Value = Status> {
    let state = prop_oneof![
        Just(State::Obeys),
        Just(State::Holds),
        Just(State::Remote),
        Just(State::RemoteLost)
    ];
    (any::<u8>(), state, any::<[u16; 3]>()).prop_map(|(sequence, state, numbers)| Status {
        sequence,
        state,
        steering: numbers[0],
        throttle: numbers[1],
        dropped: numbers[2],
    })
}

/// What may happen to a bridge.
#[derive(Debug, Clone)]
enum Event {
    Command(Drive),
    /// The last command once more.
    Repeat,
    Noise(Vec<u8>),
    Receiver(u16),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let drive = prop_oneof![
        3 => Just(Drive::Ahead),
        1 => Just(Drive::NotAhead),
        2 => Just(Drive::No),
    ];
    let event = prop_oneof![
        8 => drive.prop_map(Event::Command),
        1 => Just(Event::Repeat),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Event::Noise),
        2 => (1000u16..2000).prop_map(Event::Receiver),
        6 => (0u64..60_000).prop_map(Event::Pass),
        1 => (0u64..400_000).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..80)
}

proptest! {
    #[test]
    fn frames_survive_a_round_trip(command in commands(), status in statuses()) {
        prop_assert_eq!(Command::read(&command.write()), Some(command));
        prop_assert_eq!(Status::read(&status.write()), Some(status));
    }

    #[test]
    fn a_changed_byte_is_found(command in commands(), at in 0..COMMAND, change in 1u8..) {
        let mut bytes = command.write();
        bytes[at] ^= change;
        prop_assert_eq!(Command::read(&bytes), None);
    }

    /// Noise before a frame delays nothing, whatever it looks like.
    #[test]
    fn a_frame_is_found_behind_any_noise(
        noise in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xA5), Just(0x81)], 0..100),
        status in statuses(),
    ) {
        let mut parser: Parser<STATUS> = Parser::of_statuses();
        let bytes = noise.into_iter().chain(status.write());
        let last = bytes.map(|byte| parser.take(byte)).last().flatten();
        prop_assert_eq!(last.as_ref().and_then(Status::read), Some(status));
    }

    /// A record of its own, from the events alone, shows when the computer may drive.
    #[test]
    fn the_computer_drives_only_while_it_lives_and_after_it_has_stopped(events in events()) {
        let mut bench = Bench::new();
        // When the last new command came, whether it drives, and whether one that does not drive
        // has come since the last silence or the last time with the receiver.
        let (mut came, mut last, mut drives, mut allowed) = (None, Drive::No, false, false);
        let (mut switched, mut taken) = (None::<u64>, false);
        for event in events {
            match event {
                Event::Command(drive) => {
                    bench.sequence = bench.sequence.wrapping_add(1);
                    let _ = bench.give(&command(bench.sequence, drive).write());
                    (last, drives) = (drive, drive != Drive::No);
                    let radio = taken || switched.is_some_and(|at| bench.now - at >= REMOTE_TIMEOUT);
                    let silent = came.is_some_and(|at| bench.now - at >= DEAD_MAN);
                    allowed = (allowed && !silent && !radio) || (!drives && !radio);
                    came = Some(bench.now);
                }
                Event::Repeat if came.is_none() => {}
                Event::Repeat => {
                    let _ = bench.give(&command(bench.sequence, last).write());
                }
                // 18 bytes of noise are a command with a probability of 2^-32.
                Event::Noise(bytes) => {
                    let _ = bench.give(&bytes);
                }
                Event::Receiver(us) => {
                    bench.receiver(us);
                    switched = Some(bench.now);
                    taken = match us {
                        1650.. => true,
                        ..=1350 => false,
                        _ => taken,
                    };
                    allowed &= !taken;
                }
                Event::Pass(micros) => {
                    bench.pass(micros);
                }
            }
            let lost = switched.is_some_and(|at| bench.now - at >= REMOTE_TIMEOUT);
            let silent = came.is_none_or(|at| bench.now - at >= DEAD_MAN);
            allowed &= !lost && !silent;
            let outputs = bench.bridge.outputs(bench.now);
            let expected = allowed && drives && !taken;
            prop_assert_eq!(outputs == DRIVEN, expected, "{:?}", outputs);
            let remote = taken && !lost;
            prop_assert_eq!(outputs == REMOTE, remote, "{:?}", outputs);
            // Else the car is stopped, braked, or has never had a command.
            if !expected && !remote {
                let still = [STOPPED, Outputs { throttle: BRAKE, ..STOPPED }, Outputs::default()];
                prop_assert!(still.contains(&outputs), "{:?}", outputs);
            }
        }
    }

    /// From the outputs alone: the brake follows the computer's drive ahead, and ends in time.
    #[test]
    fn the_brake_follows_driving_ahead_and_ends_in_time(events in events()) {
        let mut bench = Bench::new();
        let (mut last, mut began) = (Outputs::default(), None);
        for event in events {
            match event {
                Event::Command(drive) => {
                    bench.sequence = bench.sequence.wrapping_add(1);
                    let _ = bench.give(&command(bench.sequence, drive).write());
                }
                Event::Receiver(us) => bench.receiver(us),
                Event::Repeat | Event::Noise(_) => {}
                Event::Pass(micros) => bench.now += micros,
            }
            let outputs = bench.bridge.outputs(bench.now);
            if outputs.throttle == BRAKE {
                prop_assert!(began.is_some() || last == DRIVEN, "after {:?}", last);
                let start = *began.get_or_insert(bench.now);
                prop_assert!(bench.now - start < BRAKE_MICROS);
            } else {
                began = None;
            }
            last = outputs;
        }
    }
}
