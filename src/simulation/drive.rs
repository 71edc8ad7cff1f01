//! A simulated car with its pilot, put together in one place.

use std::cell::RefCell;
use std::rc::Rc;

use pilotage_guard::{ArmRequest, Domain, LinkError, StartError};
use pilotage_simulator::World;

use super::Simulation;
use crate::camera::Camera;
use crate::car::Car;
use crate::engines::Loaded;
use crate::pilot::{BuildError, Dropped, Parts, Pilot};

/// A simulated car, its guard and its pilot, the car not yet armed.
pub struct SimulatedDrive {
    /// The loop.
    pub pilot: Pilot,
    /// The world, to watch.
    pub world: Rc<RefCell<World>>,
    /// The camera, for people.
    pub camera: String,
    domain: Domain,
}

/// Why a simulated car and its pilot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The guard does not start.
    #[error(transparent)]
    Guard(#[from] StartError),
    /// The parts do not fit each other.
    #[error(transparent)]
    Pilot(#[from] BuildError),
}

impl SimulatedDrive {
    /// Lets the `loaded` engine drive `car` through `world`, which is one of its
    /// worlds ([`Car::world`]), from all frames but those `dropped`.
    ///
    /// # Errors
    /// When the guard does not start or engine and camera do not fit.
    pub fn new(
        car: &Car,
        world: World,
        loaded: Loaded,
        dropped: Dropped,
    ) -> Result<Self, DriveError> {
        Self::with_camera(car, world, loaded, dropped, |camera| camera)
    }

    /// As [`new`](Self::new), with what `camera` makes of the simulated one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_camera(
        car: &Car,
        world: World,
        loaded: Loaded,
        dropped: Dropped,
        camera: impl FnOnce(Box<dyn Camera>) -> Box<dyn Camera>,
    ) -> Result<Self, DriveError> {
        let (pace, latency) = (car.simulator.pace, car.simulator.latency);
        let simulation = Simulation::new(world, car.limits, pace, latency, dropped)?;
        let camera = camera(Box::new(simulation.camera));
        Ok(Self {
            world: simulation.world,
            camera: camera.describe(),
            domain: loaded.domain,
            pilot: Pilot::new(Parts {
                camera,
                preprocess: loaded.preprocess,
                engine: loaded.engine,
                decoder: loaded.decoder,
                mixer: car.mixer.clone(),
                link: Box::new(simulation.link),
                clock: Box::new(simulation.clock),
            })?,
        })
    }

    /// Asks the guard to let the engine drive.
    ///
    /// # Errors
    /// When it refuses.
    pub fn arm(&mut self) -> Result<(), LinkError> {
        let now = self.pilot.now();
        let request = ArmRequest {
            engine: self.domain,
        };
        self.pilot.link().arm(now, request)
    }
}
