//! Rule 1 of the design, with the real loop: whatever fails, the car stops.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pilotage::car::Car;
use pilotage::engines;
use pilotage::pilot::{Dropped, Pilot, StepError};
use pilotage::simulation::{Latency, Pace, SimulatedDrive};
use pilotage_camera::{Camera, CameraError};
use pilotage_engine::{Engine, EngineError, Port, TensorMut, TensorRef, Timing};
use pilotage_guard::{LinkError, Mode, Refusal, StopReason};
use pilotage_simulator::World;
use pilotage_vehicle::Fault;
use pilotage_vision::{Frame, PixelFormat};

/// The compiled-in engine, until it has answered `good` times; then it fails with `failure`.
struct Failing {
    engine: Box<dyn Engine>,
    good: u32,
    failure: Failure,
}

#[derive(Clone, Copy)]
enum Failure {
    Nan,
    Infinite,
    Error,
}

impl Engine for Failing {
    fn describe(&self) -> String {
        "stand-in that fails".to_owned()
    }

    fn inputs(&self) -> &[Port] {
        self.engine.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.engine.outputs()
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        self.engine.prepare()
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        let timing = self.engine.infer(inputs, outputs)?;
        self.good = self.good.saturating_sub(1);
        let value = match self.failure {
            _ if self.good > 0 => return Ok(timing),
            Failure::Nan => f32::NAN,
            Failure::Infinite => f32::INFINITY,
            Failure::Error => {
                return Err(EngineError::PortCount {
                    side: "inputs",
                    expected: 1,
                    found: 0,
                });
            }
        };
        for output in outputs {
            if let TensorMut::F32(values) = output {
                values.fill(value);
            }
        }
        Ok(timing)
    }
}

/// The simulated camera, until it has given `good` frames; then it is unplugged.
struct Unplugged {
    camera: Box<dyn Camera>,
    good: u32,
}

impl Camera for Unplugged {
    fn describe(&self) -> String {
        "stand-in that is unplugged".to_owned()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        self.camera.format()
    }

    fn frame_period(&self) -> Duration {
        self.camera.frame_period()
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        if self.good == 0 {
            return Err(CameraError::Simulation(LinkError::QueueFull.into()));
        }
        self.good -= 1;
        self.camera.next(frame)
    }
}

type Wrap<T> = fn(Box<T>) -> Box<T>;

fn armed(
    dropped: Dropped,
    latency: Duration,
    engine: Wrap<dyn Engine>,
    camera: Wrap<dyn Camera>,
) -> (Pilot, Rc<RefCell<World>>) {
    let mut car = Car::load_with(None, |settings| settings.simulator.pace = Pace::Fast).unwrap();
    // A car.toml with a latency that the guard never accepts would be refused.
    car.simulator.latency = Latency::Fixed(latency);
    let mut loaded = engines::load(&car).unwrap();
    loaded.engine = engine(loaded.engine);
    let world = car.world().unwrap();
    let mut drive = SimulatedDrive::with_camera(&car, world, loaded, dropped, camera).unwrap();
    drive.arm().unwrap();
    (drive.pilot, drive.world)
}

const PROMPT: Duration = Duration::from_millis(10);

/// Drives for at most 100 steps, until the guard stops the car; returns the reason.
fn stops(pilot: &mut Pilot) -> Option<StopReason> {
    (0..100).find_map(|_| {
        let _ = pilot.step();
        pilot.link().status().state.stopped()
    })
}

#[test]
fn an_engine_that_returns_nan_stops_the_car_at_the_deadline() {
    for failure in [
        |e| failing(e, Failure::Nan),
        |e| failing(e, Failure::Infinite),
    ] {
        let (mut pilot, world) = armed(Dropped::default(), PROMPT, failure, |c| c);
        for _ in 0..19 {
            pilot.step().unwrap();
        }
        assert!(world.borrow().car().speed() > 3.0, "it drove until then");
        assert_eq!(stops(&mut pilot), Some(StopReason::Deadline));
        let status = pilot.link().status();
        assert_eq!(status.output.mode, Mode::Failsafe);
        assert_eq!(status.output.throttle, 0.0);
        assert!(status.counters.refused(Refusal::NotFinite) > 0);
    }
}

fn failing(engine: Box<dyn Engine>, failure: Failure) -> Box<dyn Engine> {
    Box::new(Failing {
        engine,
        good: 20,
        failure,
    })
}

#[test]
fn an_engine_error_stops_the_car_at_once_and_the_stop_holds() {
    let engine = |e| failing(e, Failure::Error);
    let (mut pilot, world) = armed(Dropped::default(), PROMPT, engine, |c| c);
    for _ in 0..19 {
        pilot.step().unwrap();
    }
    assert!(matches!(pilot.step(), Err(StepError::Engine(_))));
    let stopped = StopReason::Fault(Fault::Engine);
    assert_eq!(pilot.link().status().state.stopped(), Some(stopped));
    for _ in 0..20 {
        let _ = pilot.step();
    }
    assert_eq!(pilot.link().status().state.stopped(), Some(stopped));
    assert_eq!(world.borrow().car().speed(), 0.0);
}

#[test]
fn a_camera_that_is_gone_stops_the_car() {
    let camera = |camera| -> Box<dyn Camera> { Box::new(Unplugged { camera, good: 20 }) };
    let (mut pilot, _) = armed(Dropped::default(), PROMPT, |e| e, camera);
    assert_eq!(stops(&mut pilot), Some(StopReason::Fault(Fault::Camera)));
    assert_eq!(pilot.link().status().output.mode, Mode::Failsafe);
}

#[test]
fn too_many_lost_frames_stop_the_car() {
    let (mut pilot, _) = armed(Dropped::new(0.9, 1), PROMPT, |e| e, |c| c);
    assert_eq!(stops(&mut pilot), Some(StopReason::Deadline));
}

#[test]
fn commands_that_come_too_late_never_move_the_car() {
    let late = Duration::from_millis(400);
    let (mut pilot, world) = armed(Dropped::default(), late, |e| e, |c| c);
    assert_eq!(stops(&mut pilot), Some(StopReason::NoFirstCommand));
    assert!(pilot.link().status().counters.refused(Refusal::TooOld) > 0);
    assert_eq!(world.borrow().distance(), 0.0);
}
