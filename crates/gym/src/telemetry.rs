//! What a client is told with each picture.

use serde::Serialize;

/// A picture and the car's state. Keys and axes are those of Donkeycar's simulator (Unity: x to the
/// right, y up, z ahead; angles clockwise from above).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Telemetry {
    /// The picture, JPEG or PNG, in base64.
    pub image: String,
    /// The command's steering: -1 to 1, right positive.
    pub steering_angle: f64,
    /// The command's throttle.
    pub throttle: f64,
    /// The car's speed, m/s.
    pub speed: f64,
    /// What the car has hit: `none`, or `border` when it has left the road.
    pub hit: &'static str,
    /// Simulated seconds.
    pub time: f64,
    /// Distance from the middle of the road, metres, right positive.
    pub cte: f64,
    /// Position, metres.
    pub pos_x: f64,
    /// Always 0: the ground is flat.
    pub pos_y: f64,
    /// Position, metres.
    pub pos_z: f64,
    /// Velocity, m/s.
    pub vel_x: f64,
    /// Always 0.
    pub vel_y: f64,
    /// Velocity, m/s.
    pub vel_z: f64,
    /// Always 0.
    pub gyro_x: f64,
    /// Yaw rate, rad/s, clockwise.
    pub gyro_y: f64,
    /// Always 0.
    pub gyro_z: f64,
    /// Acceleration to the car's right, m/s2.
    pub accel_x: f64,
    /// Always 0: gravity is left out.
    pub accel_y: f64,
    /// Acceleration ahead, m/s2.
    pub accel_z: f64,
    /// Always 0.
    pub pitch: f64,
    /// Heading, degrees, clockwise.
    pub yaw: f64,
    /// Always 0.
    pub roll: f64,
    /// Which of the road's nodes is next; the road has none here.
    #[serde(rename = "activeNode")]
    pub active_node: u32,
    /// How many nodes there are.
    #[serde(rename = "totalNodes")]
    pub total_nodes: u32,
    /// The rays with an echo, if the client has added a lidar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lidar: Option<Vec<Echo>>,
}

/// An echo of the lidar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Echo {
    /// The ray's direction, degrees, 0 to 360, clockwise from straight ahead.
    pub rx: f64,
    /// Degrees above the horizon: 0.
    pub ry: f64,
    /// The distance, metres.
    pub d: f64,
}
