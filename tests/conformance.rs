//! What every camera and every actuator must do, and that the simulated ones do it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pilotage::camera::{Camera, CameraError};
use pilotage::car::Car;
use pilotage::pilot::Dropped;
use pilotage::simulation::{Latency, Pace, SimulatedActuator, Simulation};
use pilotage_guard::conformance;
use pilotage_vehicle::Time;
use pilotage_vision::{Frame, PixelFormat};

/// The suite for cameras: each new one runs it.
fn camera(camera: &mut dyn Camera) {
    assert!(!camera.describe().is_empty());
    assert!(camera.frame_period() > Duration::ZERO);
    let (format, width, height) = camera.format();

    let mut wrong = Frame::new(PixelFormat::Grey8, width / 2 + 1, height).unwrap();
    assert!(
        matches!(camera.next(&mut wrong), Err(CameraError::FrameSize { .. })),
        "a frame of another size is refused, and not filled in part"
    );

    let mut frame = Frame::new(format, width, height).unwrap();
    let mut before: Option<(u64, Time)> = None;
    for _ in 0..10 {
        frame.data_mut().fill(0xA5);
        camera.next(&mut frame).unwrap();
        assert_eq!((frame.format(), frame.width()), (format, width));
        let untouched = frame.data().iter().filter(|&&byte| byte == 0xA5).count();
        assert!(untouched < frame.data().len() / 2, "the frame is filled");
        if let Some((sequence, captured)) = before {
            assert!(frame.sequence > sequence, "numbers rise");
            assert!(frame.captured > captured, "and so does time");
            let periods = u32::try_from(frame.sequence - sequence).unwrap();
            let passed = frame.captured.since(captured);
            let due = camera.frame_period() * periods;
            assert!(
                passed * 2 > due && passed < due * 2,
                "{periods} frames took {passed:?}, where {due:?} are due"
            );
        }
        before = Some((frame.sequence, frame.captured));
    }
}

fn simulation(latency: Latency, drops: Dropped) -> Simulation {
    let car = Car::load_with(None, |_| ()).unwrap();
    Simulation::new(car.world().unwrap(), car.limits, Pace::Fast, latency, drops).unwrap()
}

#[test]
fn the_simulated_camera_is_a_camera() {
    let prompt = Latency::Fixed(Duration::from_millis(10));
    camera(&mut simulation(prompt, Dropped::default()).camera);
    camera(&mut simulation(prompt, Dropped::new(0.5, 3)).camera);
    camera(&mut simulation(Latency::Measured, Dropped::default()).camera);
}

#[test]
fn the_simulated_motors_are_an_actuator() {
    let car = Car::load_with(None, |_| ()).unwrap();
    let world = Rc::new(RefCell::new(car.world().unwrap()));
    let mut motors = SimulatedActuator::new(world);
    conformance::actuator(&mut motors, 0.0, |motors| motors.in_force());
}
