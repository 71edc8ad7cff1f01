//! Assembles a simulated car with its pilot.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use pilotage_camera::Camera;
use pilotage_guard::{ArmRequest, LinkError, OperatorLink, SocketLink, StartError};
use pilotage_simulator::World;
use pilotage_vehicle::{Clock, Domain, Monotonic};

use super::{OutOfProcessCamera, SimulatedClock, Simulation};
use crate::car::Car;
use crate::engines::Loaded;
use crate::guarded::GuardProcess;
use crate::high_level::Commands;
use crate::pilot::{BuildError, Dropped, Parts, Pilot};
use crate::sensors::SimulatedSensors;

/// A simulated car, its guard and its pilot; the car is not armed yet.
pub struct SimulatedDrive {
    /// The loop.
    pub pilot: Pilot,
    /// The world, to observe.
    pub world: Rc<RefCell<World>>,
    /// The camera's description.
    pub camera: String,
    /// The clock, if time is simulated.
    pub clock: Option<SimulatedClock>,
    /// The high-level commands, if the engine gets one.
    pub commands: Option<Arc<Commands>>,
    domain: Domain,
}

/// Everything but the engine that a simulated drive needs.
struct Environment {
    world: Rc<RefCell<World>>,
    camera: Box<dyn Camera>,
    link: Box<dyn OperatorLink>,
    clock: Box<dyn Clock>,
}

/// Why a simulated car and its pilot cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The guard does not start.
    #[error(transparent)]
    Guard(#[from] StartError),
    /// The parts do not fit together.
    #[error(transparent)]
    Pilot(#[from] BuildError),
}

impl SimulatedDrive {
    /// Lets the `loaded` engine drive `car` through `world`, which must be one of the car's worlds
    /// ([`Car::world`]), with all frames except those `dropped`.
    ///
    /// # Errors
    /// Fails if the guard does not start, or if engine and camera do not fit.
    pub fn new(
        car: &Car,
        world: World,
        loaded: Loaded,
        dropped: Dropped,
    ) -> Result<Self, DriveError> {
        Self::with_camera(car, world, loaded, dropped, |camera| camera)
    }

    /// As [`new`](Self::new), with `camera` wrapping the simulated camera.
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
        let environment = Environment {
            world: simulation.world,
            camera: camera(Box::new(simulation.camera)),
            link: Box::new(simulation.link),
            clock: Box::new(simulation.clock.clone()),
        };
        let mut drive = Self::joined(car, loaded, environment)?;
        drive.clock = Some(simulation.clock);
        Ok(drive)
    }

    /// Lets the `loaded` engine drive at the pace of the wall clock. The guard runs in the process
    /// of `guarded`, which `link` connects to.
    ///
    /// # Errors
    /// Fails if engine and camera do not fit.
    pub fn beside(
        car: &Car,
        world: World,
        loaded: Loaded,
        dropped: Dropped,
        (guarded, link): (GuardProcess, SocketLink),
    ) -> Result<Self, DriveError> {
        let (world, camera) = OutOfProcessCamera::film(world, guarded, dropped);
        let environment = Environment {
            world,
            camera: Box::new(camera),
            link: Box::new(link),
            clock: Box::new(Monotonic),
        };
        Self::joined(car, loaded, environment)
    }

    fn joined(car: &Car, loaded: Loaded, environment: Environment) -> Result<Self, DriveError> {
        let commands = loaded
            .rules
            .command
            .as_ref()
            .map(Commands::of)
            .map(Arc::new);
        if loaded.rules.scan.is_some() && environment.world.borrow().lidar().is_none() {
            let mut world = environment.world.borrow_mut();
            world.add_lidar(car.simulator.lidar);
        }
        let sensors = SimulatedSensors::new(Rc::clone(&environment.world));
        Ok(Self {
            world: environment.world,
            commands: commands.clone(),
            camera: environment.camera.describe(),
            clock: None,
            domain: loaded.domain,
            pilot: Pilot::new(Parts {
                camera: environment.camera,
                preprocess: loaded.preprocess,
                engine: loaded.engine,
                decoder: loaded.decoder,
                rules: loaded.rules,
                sensors: Some(Box::new(sensors)),
                commands,
                mixer: car.mixer.clone(),
                link: environment.link,
                clock: environment.clock,
            })?,
        })
    }

    /// Asks the guard to let the engine drive.
    ///
    /// # Errors
    /// Fails if the guard refuses.
    pub fn arm(&mut self) -> Result<(), LinkError> {
        let now = self.pilot.now();
        let request = ArmRequest {
            engine: self.domain,
        };
        self.pilot.link().arm(now, request)
    }
}
