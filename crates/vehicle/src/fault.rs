/// A fault that a component of the car reports. Each fault stops the car.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// No frames, or broken ones.
    #[error("the camera failed")]
    Camera,
    /// The camera delivers the same picture repeatedly.
    #[error("the camera's picture is frozen")]
    FrozenPicture,
    /// An engine error.
    #[error("the engine failed")]
    Engine,
    /// The pilot has disconnected, or reports that it cannot continue.
    #[error("the pilot is gone")]
    Pilot,
    /// The gamepad that was driving is disconnected.
    #[error("the gamepad is gone")]
    Gamepad,
    /// A write to the actuator failed.
    #[error("the actuator did not take a write")]
    Actuator,
}
