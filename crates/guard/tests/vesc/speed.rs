//! The speed that a VESC measures.

use std::time::Duration;

use pilotage_guard::{Actuator, Mode};

use super::model::Message;
use super::outputs::{FAILSAFE, at, output};
use super::plugged;

#[test]
fn the_speed_is_requested_in_time_and_has_the_cars_direction() {
    for (full_erpm, direction) in [(23_250.0, 1.0), (-23_250.0, -1.0)] {
        let (_folder, mut model, mut vesc) = plugged(|settings| {
            settings.full_duty = None;
            settings.full_erpm = Some(full_erpm);
            settings.erpm_per_mps = Some(4614.0);
        });
        let mut asked = 0;
        for millis in (0..1000).step_by(5) {
            vesc.write(
                at(millis),
                &output(Mode::Drive, 0.0, millis as f32 / 1000.0),
            )
            .unwrap();
            for received in model.received() {
                match received {
                    Message::Version => model.answer(),
                    Message::AskErpm => {
                        asked += 1;
                        model.answer_erpm(9228);
                    }
                    _ => {}
                }
            }
            let speed = vesc.speed();
            assert_eq!(speed.is_some(), millis > 0, "at {millis} ms");
            if let Some(speed) = speed {
                assert!((speed.mps - 2.0 * direction).abs() < 1e-5, "{speed:?}");
                assert!(at(millis).since(speed.at) <= Duration::from_millis(20));
            }
        }
        assert_eq!(asked, 50);
    }
}

#[test]
fn an_answer_that_waited_is_as_old_as_its_request() {
    let (_folder, mut model, mut vesc) = plugged(|settings| {
        settings.erpm_per_mps = Some(4614.0);
    });
    vesc.write(at(100), &FAILSAFE).unwrap();
    assert!(model.received().contains(&Message::AskErpm));
    model.answer_erpm(9228);
    // The guard was late.
    vesc.write(at(400), &FAILSAFE).unwrap();
    assert_eq!(vesc.speed().map(|speed| speed.at), Some(at(100)));
}

#[test]
fn no_speed_is_requested_without_its_unit() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    for millis in (0..200).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        assert!(!model.received().contains(&Message::AskErpm));
        // An answer without a request has no unit.
        model.answer_erpm(9228);
    }
    assert_eq!(vesc.speed(), None);
}
