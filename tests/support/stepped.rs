//! The pilot of an armed simulated car, which a test steps.

use std::rc::Rc;
use std::time::Duration;

use pilotage::car::Car;
use pilotage::engines;
use pilotage::pilot::{BuildError, Dropped, Parts, Pilot, StepError};
use pilotage::sensors::{Sensors, SimulatedSensors};
use pilotage::simulation::{Latency, Pace, Simulation};
use pilotage_guard::{ArmRequest, Mode, OperatorLink, StopReason};
use pilotage_simulator::{LidarSpec, World};
use pilotage_vehicle::{Clock, Fault};

/// A pilot that drives by the file `engine` with what `sensors` makes of the simulated car's sensors.
pub fn pilot(
    engine: &str,
    lidar: Option<LidarSpec>,
    sensors: impl FnOnce(SimulatedSensors) -> Option<Box<dyn Sensors>>,
) -> Result<Pilot, BuildError> {
    let car = Car::load_with(None, |settings| {
        settings.engine.file = Some(engine.to_owned());
    })
    .unwrap();
    let latency = Latency::Fixed(Duration::from_millis(10));
    let loaded = engines::load(&car).unwrap();
    let world = car.world().unwrap();
    let world = lidar.into_iter().fold(world, World::with_lidar);
    let made = Simulation::new(world, car.limits, Pace::Fast, latency, Dropped::default());
    let simulation = made.unwrap();
    let mut link = simulation.link.clone();
    let request = ArmRequest {
        engine: loaded.domain,
    };
    link.arm(simulation.clock.now(), request).unwrap();
    let sensors = sensors(SimulatedSensors::new(Rc::clone(&simulation.world)));
    Pilot::new(Parts::<dyn OperatorLink> {
        camera: Box::new(simulation.camera),
        preprocess: loaded.preprocess,
        engine: loaded.engine,
        decoder: loaded.decoder,
        rules: loaded.rules,
        sensors,
        commands: None,
        mixer: car.mixer.clone(),
        link: Box::new(simulation.link),
        clock: Box::new(simulation.clock),
    })
}

/// Steps `good` times. The next step fails, with the car stopped: returns its error.
pub fn stops_after(good: u32, pilot: &mut Pilot) -> StepError {
    for _ in 0..good {
        pilot.step().unwrap();
    }
    let error = pilot.step().unwrap_err();
    let status = pilot.link().status();
    let stopped = StopReason::Fault(Fault::Pilot);
    assert_eq!(status.state.stopped(), Some(stopped), "{error}");
    assert_eq!(status.output.mode, Mode::Failsafe, "{error}");
    assert_eq!(status.output.throttle, 0.0, "{error}");
    error
}
