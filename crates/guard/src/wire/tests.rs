use proptest::prelude::*;

use super::*;

fn requests() -> impl Strategy<Value = Request> {
    let domain = prop::sample::select(&DOMAINS[..]);
    let fault = prop::sample::select(&FAULTS[..]);
    let command = (any::<[u64; 3]>(), -1.0_f32..1.0, -1.0_f32..1.0);
    prop_oneof![
        domain.clone().prop_map(Request::Hello),
        command.prop_map(
            |([at, captured, sequence], steering, throttle)| Request::Command {
                at: Time::from_nanos(at),
                command: Command {
                    steering,
                    throttle,
                    captured: Time::from_nanos(captured),
                    sequence,
                },
            }
        ),
        prop::option::of(domain)
            .prop_map(|engine| Request::Arm(engine.map(|engine| ArmRequest { engine }))),
        Just(Request::Disarm),
        Just(Request::Stop),
        fault.prop_map(Request::Fault),
        Just(Request::Ask),
    ]
}

fn states() -> impl Strategy<Value = State> {
    let fault = prop::sample::select(&FAULTS[..]).prop_map(StopReason::Fault);
    let reason = prop_oneof![prop::sample::select(&REASONS[..]), fault];
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
        reason.prop_map(|reason| State::Stopped { reason }),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_as_they_were(number: u64, request in requests()) {
        let numbered = Numbered { number, request };
        prop_assert_eq!(Numbered::read(&numbered.write()), Ok(numbered));
    }

    #[test]
    fn replies_come_back_as_they_were(
        answers: u64,
        refused in prop::option::of(prop::sample::select(&Refusal::ALL[..])),
        state in states(),
        mode in prop::sample::select(&MODES[..]),
        counts: [u64; Counters::NUMBERS],
        noise: [u64; 3],
    ) {
        let reply = Reply {
            answers,
            refused,
            status: Status {
                state,
                output: Output { mode, steering: 0.25, throttle: -0.5 },
                counters: Counters::of_numbers(counts),
            },
            noise: Noise { malformed: noise[0], replayed: noise[1], strangers: noise[2] },
        };
        prop_assert_eq!(Reply::read(&reply.write()), Ok(reply));
    }

    #[test]
    fn outputs_come_back_as_they_were(
        at: u64,
        mode in prop::sample::select(&MODES[..]),
        steering in -1.0_f32..1.0,
        throttle in -1.0_f32..1.0,
    ) {
        let output = Output { mode, steering, throttle };
        let applied = Applied { at: Time::from_nanos(at), output };
        prop_assert_eq!(Applied::read(&applied.write()), Ok(applied));
    }

    #[test]
    fn a_damaged_request_is_none(
        request in requests(),
        place in 0..REQUEST,
        damage in 1_u8..,
        length in 0_usize..2 * REQUEST,
    ) {
        let mut bytes = Numbered { number: 1, request }.write();
        bytes[place] ^= damage;
        prop_assert!(Numbered::read(&bytes).is_err());
        let longer = [bytes, bytes].concat();
        prop_assume!(length != REQUEST);
        prop_assert_eq!(Numbered::read(&longer[..length]), Err(Malformed::Length(length)));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        // A checksum that fits is put there, so that what is behind it is reached.
        let mut bytes = bytes;
        for (magic, length) in [(REQUEST_MAGIC, REQUEST), (REPLY_MAGIC, REPLY), (APPLIED_MAGIC, APPLIED)] {
            bytes.resize(length, 7);
            bytes[..4].copy_from_slice(&magic);
            let checksum = crc32fast::hash(&bytes[..length - 4]).to_le_bytes();
            bytes[length - 4..].copy_from_slice(&checksum);
            let _ = Numbered::read(&bytes);
            let _ = Reply::read(&bytes);
            let _ = Applied::read(&bytes);
        }
    }
}
