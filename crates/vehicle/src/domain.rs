use serde::{Deserialize, Serialize};

/// The kind of car that an engine was trained for, or that an actuator moves. An engine that was
/// trained in the simulator never arms a physical actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// The simulator's car. Also the domain of a dry-run actuator, which moves nothing.
    Simulated,
    /// A physical car.
    Physical,
}
