//! Why a client is not served.

use image::ImageError;
use pilotage_vehicle::MixerError;

/// Why a client is not served any longer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such circuit.
    #[error("the client asks for the scene `{name}`, which is none of: {}", known.join(", "))]
    Scene {
        /// The client's name for it.
        name: String,
        /// The scenes.
        known: Vec<String>,
    },
    /// A camera or a lidar that there is not.
    #[error("the client asks for {what}, which must be {allowed}")]
    Device {
        /// The key of cam_config or lidar_config, and its value.
        what: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// A picture cannot be encoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The options' car cannot drive.
    #[error(transparent)]
    Car(#[from] MixerError),
}
