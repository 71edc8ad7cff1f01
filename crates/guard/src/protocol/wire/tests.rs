use pilotage_vehicle::MeasuredSpeed;
use proptest::prelude::*;

use super::codes::Code;
use super::*;
use crate::{Armed, Counters, Driving, FailureText, Mode, Motion, State, StopReason, Trimming};

/// All values that have a code.
fn all<T: Code>() -> Vec<T> {
    (0..=u8::MAX)
        .filter_map(|code| T::decode(code).ok())
        .collect()
}

fn any_of<T: Code + Clone + std::fmt::Debug + 'static>() -> impl Strategy<Value = T> {
    prop::sample::select(all::<T>())
}

fn requests() -> impl Strategy<Value = Request> {
    let command = (any::<[u64; 2]>(), -1.0_f32..1.0, -1.0_f32..1.0);
    let engine = prop::option::of(any_of::<Domain>());
    prop_oneof![
        (prop::option::of(any_of()), any::<u64>()).prop_map(|(engine, fingerprint)| {
            Request::Hello {
                engine,
                fingerprint,
            }
        }),
        command.prop_map(|([captured, sequence], steering, throttle)| {
            Request::Command(Command {
                steering,
                throttle,
                captured: Time::from_nanos(captured),
                sequence,
            })
        }),
        engine.prop_map(|engine| Request::Arm(engine.map(|engine| ArmRequest { engine }))),
        Just(Request::Disarm),
        Just(Request::Stop),
        any::<bool>().prop_map(Request::HoldStop),
        any::<bool>().prop_map(Request::Lease),
        any_of().prop_map(Request::Fault),
        Just(Request::Ask),
        Just(Request::Describe),
        (any_of(), any::<u16>()).prop_map(|(point, value)| Request::Trim { point, value }),
    ]
}

fn states() -> impl Strategy<Value = State> {
    let time = || any::<u64>().prop_map(Time::from_nanos);
    let motion =
        || (-1.0_f32..1.0, -1.0_f32..1.0).prop_map(|(value, target)| Motion { value, target });
    let driving = (time(), time(), time(), any::<u64>(), motion(), motion());
    prop_oneof![
        Just(State::Disarmed),
        (time(), time()).prop_map(|(armed, seen)| State::Armed(Armed { armed, seen })),
        driving.prop_map(|(armed, seen, accepted, sequence, steering, throttle)| {
            State::Driving(Driving {
                armed,
                seen,
                accepted,
                sequence,
                steering,
                throttle,
            })
        }),
        (time(), -1.0_f32..1.0).prop_map(|(confirmed, steering)| {
            State::Trimming(Trimming {
                confirmed,
                steering,
            })
        }),
        any_of::<StopReason>().prop_map(|reason| State::Stopped { reason }),
    ]
}

proptest! {
    #[test]
    fn requests_survive_a_round_trip(number: u64, request in requests()) {
        let numbered = Numbered { number, request };
        prop_assert_eq!(Numbered::read(&numbered.write()), Ok(numbered));
    }

    #[test]
    fn replies_survive_a_round_trip(
        answers: u64,
        refused in prop::option::of(any_of::<Refusal>()),
        state in states(),
        mode in any_of::<Mode>(),
        stop_held: bool,
        failure in prop::option::of("[a-z\u{e4}]{0,100}"),
        counts: [u64; Counters::NUMBERS],
        rejected: [u64; 4],
        speed in prop::option::of((any::<u64>(), -30.0_f32..30.0)),
    ) {
        let speed = speed.map(|(at, mps)| MeasuredSpeed { at: Time::from_nanos(at), mps });
        let reply = Reply {
            answers,
            refused,
            status: Status {
                state,
                stop_held,
                failure: failure.map(|text| FailureText::from(&text).unwrap()),
                output: Output { mode, steering: 0.25, throttle: -0.5 },
                counters: Counters::of_numbers(counts),
                speed,
            },
            rejected: Rejected {
                malformed: rejected[0],
                replayed: rejected[1],
                unauthorized: rejected[2],
                evicted: rejected[3],
            },
        };
        prop_assert_eq!(Reply::read(&reply.write()), Ok(reply));
        prop_assert_eq!(FromGuard::read(&reply.write()), Ok(FromGuard::Reply(reply)));
    }

    #[test]
    fn descriptions_survive_a_round_trip(answers: u64, text in "[ -~\n]{0,1000}") {
        let mut bytes = [0; LONGEST_ABOUT];
        let length = About::write(answers, &text, &mut bytes);
        let about = About { answers, text };
        prop_assert_eq!(FromGuard::read(&bytes[..length]), Ok(FromGuard::About(about)));
    }

    #[test]
    fn outputs_survive_a_round_trip(
        at: u64,
        mode in any_of::<Mode>(),
        steering in -1.0_f32..1.0,
        throttle in -1.0_f32..1.0,
    ) {
        let output = Output { mode, steering, throttle };
        let applied = Applied { at: Time::from_nanos(at), output };
        prop_assert_eq!(Applied::read(&applied.write()), Ok(applied));
    }

    #[test]
    fn a_damaged_request_is_rejected(
        request in requests(),
        place in 0..REQUEST_LEN,
        damage in 1_u8..,
        length in 0_usize..2 * REQUEST_LEN,
    ) {
        let mut bytes = Numbered { number: 1, request }.write();
        let whole = bytes;
        bytes[place] ^= damage;
        prop_assert!(Numbered::read(&bytes).is_err());
        let longer = [whole, whole].concat();
        prop_assume!(length != REQUEST_LEN);
        prop_assert_eq!(Numbered::read(&longer[..length]), Err(Malformed::Length(length)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
        // Magic, version and checksum are made valid, so that the rest is parsed.
        let mut bytes = bytes;
        for (magic, length) in [(*b"PLGR", REQUEST_LEN), (*b"PLGS", REPLY_LEN), (*b"PLGO", APPLIED_LEN)] {
            bytes.resize(length, 7);
            bytes[..4].copy_from_slice(&magic);
            bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
            let checksum = crc32fast::hash(&bytes[..length - 4]).to_le_bytes();
            bytes[length - 4..].copy_from_slice(&checksum);
            let _ = Numbered::read(&bytes);
            let _ = FromGuard::read(&bytes);
            let _ = Applied::read(&bytes);
        }
    }
}

/// Programs of two builds may run on one machine, so a code must never change its meaning.
#[test]
fn the_codes_are_fixed() {
    let faults = [
        Fault::Camera,
        Fault::FrozenPicture,
        Fault::Engine,
        Fault::Pilot,
        Fault::Gamepad,
        Fault::Actuator,
    ];
    assert_eq!(all::<Fault>(), faults);
    assert_eq!(faults.map(Code::code), [1, 2, 3, 4, 5, 6]);
    assert_eq!(all::<Refusal>(), Refusal::ALL);
    assert_eq!(
        [Domain::Simulated, Domain::Physical].map(Code::code),
        [1, 2]
    );
    let modes = [Mode::Disarmed, Mode::Failsafe, Mode::Drive, Mode::Brake];
    assert_eq!(all::<Mode>(), modes);
    assert_eq!(all::<Point>(), Point::ALL);
    assert_eq!(StopReason::Operator.code(), 4);
    assert_eq!(StopReason::Fault(Fault::Camera).code(), 17);
}

#[test]
fn the_bytes_of_a_request_are_fixed() {
    let request = Request::Command(Command {
        steering: 1.0,
        throttle: -0.5,
        captured: Time::from_nanos(0x0102),
        sequence: 3,
    });
    let bytes = Numbered { number: 7, request }.write();
    assert_eq!(bytes.len(), 56);
    assert_eq!(bytes[..8], *b"PLGR\x04\x00\x02\x00");
    assert_eq!(bytes[8..16], 7_u64.to_le_bytes());
    assert_eq!(bytes[16..24], 0x0102_u64.to_le_bytes());
    assert_eq!(bytes[24..32], 3_u64.to_le_bytes());
    assert_eq!(bytes[40..44], 1.0_f32.to_le_bytes());
    assert_eq!(bytes[44..48], (-0.5_f32).to_le_bytes());
}

#[test]
fn another_version_is_reported() {
    let mut bytes = Numbered {
        number: 1,
        request: Request::Ask,
    }
    .write();
    bytes[4] = 9;
    assert_eq!(Numbered::read(&bytes), Err(Malformed::Version(9)));
}
