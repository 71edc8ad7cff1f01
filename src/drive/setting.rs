//! Where a car drives: in the simulator, or as a physical or dry-running car.

use std::cell::RefCell;
use std::rc::Rc;

use pilotage_guard::{LinkError, State};
use pilotage_simulator::World;
use pilotage_tap::Simulated;

use super::ending::Ending;
use super::live::Progress;
use super::watch::say;
use crate::guarded::OwnGuard;

/// Points of the circuit on an observer's map.
const TRACK_POINTS: u32 = 300;

/// Where a car drives.
pub enum Setting {
    /// In the simulator, until the laps, the road or the time end.
    Simulated {
        /// The world, to observe.
        world: Rc<RefCell<World>>,
        /// Points to measure the position deviation against.
        reference: Option<Vec<[f64; 2]>>,
    },
    /// With a camera and motors, or as a dry run. A fault stops the car but does not end the drive.
    Physical {
        /// The guard, if the pilot started it. It ends after the driver's connection is closed.
        own_guard: Option<OwnGuard>,
    },
}

impl Setting {
    /// Whether this is the simulator.
    pub const fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated { .. })
    }

    /// How the drive has ended here, if it has. Only an operator at the gamepad can arm the
    /// simulated car again; without one (`by_hand`) a stop ends the drive.
    pub fn ending(&self, state: State, by_hand: bool) -> Option<Ending> {
        let Self::Simulated { world, .. } = self else {
            return None;
        };
        let outcome = world.borrow().outcome().map(Ending::World);
        let stopped = state.stopped().filter(|_| !by_hand);
        outcome.or(stopped.map(Ending::Stopped))
    }

    /// The progress for the status line.
    pub fn progress(&self, state: State, (steering, throttle): (f32, f32)) -> Progress {
        match self {
            Self::Simulated { world, .. } => {
                let world = world.borrow();
                Progress::Lap {
                    lap: world.lap_fraction() as f32,
                    speed: world.car().speed() as f32,
                    deviation: world.offset() as f32,
                }
            }
            Self::Physical { .. } => Progress::Command {
                state,
                steering,
                throttle,
            },
        }
    }

    /// The centre line of the simulated circuit, metres; empty for a physical car.
    pub fn track(&self) -> Vec<[f32; 2]> {
        let Self::Simulated { world, .. } = self else {
            return Vec::new();
        };
        let world = world.borrow();
        let circuit = world.circuit();
        let step = circuit.length() / f64::from(TRACK_POINTS);
        (0..TRACK_POINTS)
            .map(|index| circuit.point(f64::from(index) * step))
            .map(|point| point.map(|metres| metres as f32))
            .collect()
    }

    /// The state of the simulated car, for observers.
    pub fn observed(&self) -> Option<Simulated> {
        let Self::Simulated { world, .. } = self else {
            return None;
        };
        let world = world.borrow();
        let pose = world.pose();
        Some(Simulated {
            lap: world.lap_fraction() as f32,
            speed: world.car().speed() as f32,
            offset: world.offset() as f32,
            x: pose.x as f32,
            y: pose.y as f32,
            heading: pose.heading as f32,
        })
    }

    /// Reports that a physical car is disarmed, or why it is not.
    pub fn say_the_end(&self, disarmed: Result<(), LinkError>) {
        match (disarmed, self) {
            (Ok(()), _) => say("the car is disarmed"),
            // The guard goes on, with the other pilot.
            (Err(error @ LinkError::Replaced), _) => say(&error.to_string()),
            (Err(error), Self::Physical { own_guard: None }) => {
                say(&format!("{error}; its service writes failsafe"));
            }
            (Err(error), _) => say(&format!("{error}; failsafe is written to its motors")),
        }
    }
}
