//! A simulated car with its pilot, put together in one place.

use std::cell::RefCell;
use std::rc::Rc;

use pilotage_guard::{ArmRequest, Domain, Link, LinkError, SocketLink, StartError};
use pilotage_simulator::World;
use pilotage_vehicle::Clock;

use super::{BesideCamera, Simulation};
use crate::camera::{Camera, Monotonic};
use crate::car::Car;
use crate::engines::Loaded;
use crate::guarded::{Guarded, GuardedError};
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

/// What is around an engine that drives a simulated car.
struct Around {
    world: Rc<RefCell<World>>,
    camera: Box<dyn Camera>,
    link: Box<dyn Link>,
    clock: Box<dyn Clock>,
}

/// Why a simulated car and its pilot could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The guard does not start.
    #[error(transparent)]
    Guard(#[from] StartError),
    /// The guard's process does not start.
    #[error(transparent)]
    Guarded(#[from] GuardedError),
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
        let around = Around {
            world: simulation.world,
            camera: camera(Box::new(simulation.camera)),
            link: Box::new(simulation.link),
            clock: Box::new(simulation.clock),
        };
        Self::joined(car, loaded, around)
    }

    /// Lets the `loaded` engine drive at the wall clock's pace, the guard in the process
    /// that `guarded` and `link` are of.
    ///
    /// # Errors
    /// When engine and camera do not fit.
    pub fn beside(
        car: &Car,
        world: World,
        loaded: Loaded,
        dropped: Dropped,
        (guarded, link): (Guarded, SocketLink),
    ) -> Result<Self, DriveError> {
        let mut world = world;
        // The first frame makes the renderer's room.
        let bytes = world.camera().frame_bytes();
        world.render(&mut vec![0; bytes]);
        let world = Rc::new(RefCell::new(world));
        let camera = BesideCamera::new(Rc::clone(&world), guarded, dropped);
        let around = Around {
            world,
            camera: Box::new(camera),
            link: Box::new(link),
            clock: Box::new(Monotonic),
        };
        Self::joined(car, loaded, around)
    }

    fn joined(car: &Car, loaded: Loaded, around: Around) -> Result<Self, DriveError> {
        Ok(Self {
            world: around.world,
            camera: around.camera.describe(),
            domain: loaded.domain,
            pilot: Pilot::new(Parts {
                camera: around.camera,
                preprocess: loaded.preprocess,
                engine: loaded.engine,
                decoder: loaded.decoder,
                mixer: car.mixer.clone(),
                link: around.link,
                clock: around.clock,
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
