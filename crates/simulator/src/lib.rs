//! A camera and an actuator for a road that does not exist.
//!
//! A [`Circuit`] is a closed line with a road along it, a [`Car`] moves on it by
//! commands, a [`Renderer`] draws what the car's camera sees, and a [`World`] holds
//! all three. There is no loop and no thread here, and time moves only when
//! [`World::advance_to`] is called: the loop that drives this car is the one that
//! drives the real car.
//!
//! Lengths are metres, angles radians, x ahead and y to the left (ROS REP 103).
//! All arithmetic is in a fixed order and uses `libm`, so that the same inputs give
//! the same frames and the same motion on every machine.

mod camera;
mod car;
mod circuit;
mod looks;
mod metrics;
mod pose;
mod random;
mod renderer;
mod spline;
mod world;

pub use camera::CameraSpec;
pub use car::{Ackermann, Car, CarKind};
pub use circuit::{Circuit, CircuitError, Colours, CsvOptions, Nearest, RandomOptions, Walls};
pub use looks::{Looks, Surroundings};
pub use metrics::{LoopTiming, Metrics, reference_from_csv};
pub use pose::Pose;
pub use random::Random;
pub use renderer::Renderer;
pub use world::{Limits, Outcome, PathPoint, World};
