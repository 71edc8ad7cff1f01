//! The messages, as gym-donkeycar's `donkey_sim.py` sends and reads them.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};

use crate::telemetry::Telemetry;

/// What a client sends. Numbers may be texts: the client sends most of them so.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "msg_type", rename_all = "snake_case")]
pub enum Request {
    /// Which version of the protocol?
    GetProtocolVersion,
    /// Which scenes are there?
    GetSceneNames,
    /// Drive here.
    LoadScene {
        /// The name of a circuit.
        scene_name: String,
    },
    /// Leave the scene.
    ExitScene,
    /// End the connection.
    QuitApp,
    /// Back to the start.
    ResetCar,
    /// Steer and drive, until the next of these.
    Control(Control),
    /// Another camera.
    CamConfig(CameraRequest),
    /// Add a lidar.
    LidarConfig(LidarRequest),
    /// Any other message, such as the car's body and name, which change nothing here.
    #[serde(other)]
    Other,
}

/// A command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Control {
    /// -1 to 1, right positive.
    #[serde(deserialize_with = "number")]
    pub steering: f64,
    /// -1 to 1, ahead positive.
    #[serde(deserialize_with = "number")]
    pub throttle: f64,
    /// 0 to 1.
    #[serde(default, deserialize_with = "number")]
    pub brake: f64,
}

/// A camera; 0 stands for the usual value.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CameraRequest {
    /// Pixels.
    #[serde(deserialize_with = "number")]
    pub img_w: f64,
    /// Pixels.
    #[serde(deserialize_with = "number")]
    pub img_h: f64,
    /// Channels: 3, or 1 for grey.
    #[serde(deserialize_with = "number")]
    pub img_d: f64,
    /// JPG or PNG; the client sends 0 for its usual one.
    pub img_enc: Option<Encoding>,
    /// The angle between the upper and lower edges of the picture, degrees.
    #[serde(deserialize_with = "number")]
    pub fov: f64,
    /// Distortion, which this camera does not have.
    #[serde(deserialize_with = "number")]
    pub fish_eye_x: f64,
    /// Distortion, which this camera does not have.
    #[serde(deserialize_with = "number")]
    pub fish_eye_y: f64,
    /// Metres to the right of the usual place.
    #[serde(deserialize_with = "number")]
    pub offset_x: f64,
    /// Metres above the usual place.
    #[serde(deserialize_with = "number")]
    pub offset_y: f64,
    /// Metres ahead of the usual place.
    #[serde(deserialize_with = "number")]
    pub offset_z: f64,
    /// Pitch, degrees, positive down.
    #[serde(deserialize_with = "number")]
    pub rot_x: f64,
    /// Yaw, degrees, positive right.
    #[serde(deserialize_with = "number")]
    pub rot_y: f64,
    /// Roll, degrees, positive to the left.
    #[serde(deserialize_with = "number")]
    pub rot_z: f64,
}

/// How pictures are sent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Encoding {
    /// By a name.
    Name(String),
    /// 0, which stands for the usual one.
    Number(f64),
}

/// A lidar whose rays go around once, and are level.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LidarRequest {
    /// Degrees from a ray to the next.
    #[serde(deserialize_with = "number")]
    pub deg_per_sweep_inc: f64,
    /// The number of sweeps, each at another angle to the ground.
    #[serde(deserialize_with = "number")]
    pub num_sweeps_levels: f64,
    /// The largest distance with an echo, metres.
    #[serde(deserialize_with = "number")]
    pub max_range: f64,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "msg_type", rename_all = "snake_case")]
pub enum Reply {
    /// The version of the protocol.
    ProtocolVersion {
        /// As a text.
        version: &'static str,
    },
    /// A scene may be chosen.
    SceneSelectionReady,
    /// The scenes.
    SceneNames {
        /// Their names.
        scene_names: Vec<String>,
    },
    /// The car is there, and may be configured and driven.
    CarLoaded,
    /// The car begins a lap.
    CollisionWithStartingLine {
        /// Seconds.
        #[serde(rename = "timeStamp")]
        time_stamp: f64,
        /// Which of the scene's lines: there is one.
        starting_line_index: u32,
    },
    /// A picture, and the car's state.
    Telemetry(Box<Telemetry>),
}

/// A finite number, or a text with one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Number(f64),
        Text(String),
    }
    let (value, text) = match Lenient::deserialize(deserializer)? {
        Lenient::Number(value) => (value, value.to_string()),
        Lenient::Text(text) => (text.trim().parse().unwrap_or(f64::NAN), text),
    };
    match value.is_finite() {
        true => Ok(value),
        false => Err(D::Error::invalid_value(
            Unexpected::Str(&text),
            &"a finite number",
        )),
    }
}
