use serde::{Deserialize, Serialize};

/// Where an engine was trained to drive, or what an actuator moves. An engine that was trained in
/// the simulator never arms a physical actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// The simulator.
    Simulated,
    /// A physical car.
    Physical,
}
