//! The simulator: a camera, an actuator and sensors on a simulated road.
//!
//! A [`Circuit`] is a closed line with a road along it. A [`Car`] moves on it by commands. A
//! [`Renderer`] draws the view of the car's camera. A [`World`] holds all three, and a lidar if one is
//! added. The crate has no loop and no thread, and time advances only when [`World::advance_to`] is
//! called: the same loop drives this car and the physical car.
//!
//! Lengths are in metres and angles in radians, with x ahead and y to the left (ROS REP 103). All
//! arithmetic has a fixed order and uses `libm`, so that the same inputs give the same frames and
//! the same motion on every machine.

mod appearance;
mod camera;
mod car;
mod circuit;
mod lag;
mod lidar;
mod metrics;
mod pose;
mod random;
mod renderer;
mod sensors;
mod single_track;
mod spline;
mod world;

pub use appearance::{Appearance, Surroundings};
pub use camera::CameraSpec;
pub use car::{Ackermann, Car, CarKind};
pub use circuit::{
    Circuit, CircuitError, Colours, Crossing, CsvOptions, Nearest, RandomOptions, Walls,
};
pub use lidar::LidarSpec;
pub use metrics::{
    LoopTiming, Metrics, SPEED_MIN_AND_SPAN, YAW_RATE_MIN_AND_SPAN, reference_from_csv,
};
pub use pose::Pose;
pub use random::Random;
pub use renderer::Renderer;
pub use sensors::SensorSpec;
pub use single_track::{
    Brakes, CarLimits, Motor, Preset, SingleTrack, Steering, TyreCar, TyreUse, random_friction,
};
pub use world::{Limits, Outcome, PathPoint, World};
