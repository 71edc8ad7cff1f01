//! Properties of the reader of messages.
#![allow(clippy::expect_used, reason = "a test may panic")]

use pilotage_gym::{Reader, Request};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_are_messages_or_an_error(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let (mut reader, mut requests) = (Reader::default(), Vec::new());
        for part in parts {
            if reader.read(&part, &mut requests).is_err() {
                break;
            }
        }
    }

    #[test]
    fn messages_are_read_wherever_the_stream_is_cut(cuts in prop::collection::vec(1_usize..40, 1..30)) {
        let text = r#"{"msg_type": "reset_car"}{"msg_type": "control", "steering": "-0.25", "throttle": 0.5}
            {"msg_type": "racer_info", "bio": "{ \" }"}{"msg_type": "quit_app"}"#;
        let (mut reader, mut requests) = (Reader::default(), Vec::new());
        let (mut left, mut cuts) = (text.as_bytes(), cuts.into_iter().cycle());
        while !left.is_empty() {
            let cut = cuts.next().expect("a cycle").min(left.len());
            let (part, rest) = left.split_at(cut);
            reader.read(part, &mut requests).expect("messages");
            left = rest;
        }
        prop_assert_eq!(requests.len(), 4);
        prop_assert_eq!(&requests[0], &Request::ResetCar);
        let Request::Control(control) = &requests[1] else {
            return Err(TestCaseError::fail("no command"));
        };
        prop_assert_eq!((control.steering, control.throttle, control.brake), (-0.25, 0.5, 0.0));
        prop_assert_eq!(&requests[2..], &[Request::Other, Request::QuitApp]);
    }
}
