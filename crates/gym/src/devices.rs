//! The camera and the lidar that a client asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use pilotage_simulator::{CameraSpec, LidarSpec};

use crate::error::SessionError;
use crate::message::{CameraRequest, Encoding, LidarRequest};

/// The quality of JPEG pictures.
const QUALITY: u8 = 90;

/// The camera of a client that asks for none: pictures of 160x120.
pub fn usual_camera(rate: u32) -> CameraSpec {
    CameraSpec {
        width: 160,
        height: 120,
        rate_hz: f64::from(rate),
        ..CameraSpec::default()
    }
}

fn wrong(what: String, allowed: &'static str) -> SessionError {
    SessionError::Device { what, allowed }
}

/// The optics and the place of the camera; 0 stands for the usual value.
pub fn camera(request: &CameraRequest, usual: CameraSpec) -> Result<CameraSpec, SessionError> {
    let side = |key: &str, value: f64, usual: usize| match value {
        0.0 => Ok(usual),
        value if (16.0..=1920.0).contains(&value) => Ok(value as usize),
        value => Err(wrong(format!("{key} {value}"), "16 to 1920 pixels, or 0")),
    };
    let width = side("img_w", request.img_w, usual.width)?;
    let height = side("img_h", request.img_h, usual.height)?;
    let horizontal_fov = match request.fov {
        0.0 => usual.horizontal_fov,
        fov if (10.0..=150.0).contains(&fov) => {
            let half = (0.5 * fov.to_radians()).tan() * width as f64 / height as f64;
            2.0 * half.atan()
        }
        fov => return Err(wrong(format!("fov {fov}"), "10 to 150 degrees, or 0")),
    };
    let up = usual.up + request.offset_y;
    if !(0.02..=100.0).contains(&up) {
        let allowed = "such that the camera is 2 cm to 100 m above the ground (0 is 10 cm)";
        return Err(wrong(format!("offset_y {}", request.offset_y), allowed));
    }
    if request.fish_eye_x != 0.0 || request.fish_eye_y != 0.0 {
        pilotage_console::say("a client asks for a fish-eye lens: this camera has none");
    }
    Ok(CameraSpec {
        width,
        height,
        horizontal_fov,
        forward: usual.forward + request.offset_z,
        left: -request.offset_x,
        up,
        pitch: request.rot_x.to_radians(),
        yaw: -request.rot_y.to_radians(),
        roll: -request.rot_z.to_radians(),
        ..usual
    })
}

/// How pictures become text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoder {
    is_png: bool,
    is_grey: bool,
}

/// The encoder that a client asks for.
pub fn encoder(request: &CameraRequest) -> Result<Encoder, SessionError> {
    let is_grey = match request.img_d {
        0.0 | 3.0 => false,
        1.0 => true,
        depth => return Err(wrong(format!("img_d {depth}"), "1, 3 or 0")),
    };
    let name = match &request.img_enc {
        None => "0".to_owned(),
        Some(Encoding::Name(name)) => name.to_ascii_uppercase(),
        Some(Encoding::Number(number)) => number.to_string(),
    };
    let is_png = match name.as_str() {
        "JPG" | "0" => false,
        "PNG" => true,
        _ => return Err(wrong(format!("img_enc {name}"), "JPG, PNG or 0")),
    };
    Ok(Encoder { is_png, is_grey })
}

impl Encoder {
    /// A picture of `camera` as a file, in base64.
    pub fn encode(self, rgb: &[u8], camera: &CameraSpec) -> Result<String, ImageError> {
        let (width, height) = (camera.width as u32, camera.height as u32);
        let grey: Vec<u8>;
        let (pixels, colour) = match self.is_grey {
            false => (rgb, ExtendedColorType::Rgb8),
            true => {
                grey = rgb.as_chunks().0.iter().map(luma).collect();
                (grey.as_slice(), ExtendedColorType::L8)
            }
        };
        let mut file = Vec::new();
        match self.is_png {
            true => PngEncoder::new(&mut file).write_image(pixels, width, height, colour)?,
            false => JpegEncoder::new_with_quality(&mut file, QUALITY)
                .write_image(pixels, width, height, colour)?,
        }
        Ok(STANDARD.encode(file))
    }
}

/// ITU-R BT.601's luma of a pixel.
fn luma(rgb: &[u8; 3]) -> u8 {
    let [red, green, blue] = rgb.map(u32::from);
    ((299 * red + 587 * green + 114 * blue) / 1000) as u8
}

/// A level lidar that sees all around.
pub fn lidar(request: &LidarRequest) -> Result<LidarSpec, SessionError> {
    let LidarRequest {
        deg_per_sweep_inc: step,
        num_sweeps_levels: levels,
        max_range: range,
    } = *request;
    if !(0.1..=90.0).contains(&step) {
        return Err(wrong(format!("degPerSweepInc {step}"), "0.1 to 90 degrees"));
    }
    if levels != 1.0 {
        let allowed = "1: the rays are level";
        return Err(wrong(format!("numSweepsLevels {levels}"), allowed));
    }
    if range <= 0.0 {
        return Err(wrong(format!("maxRange {range}"), "above 0 metres"));
    }
    Ok(LidarSpec {
        rays: (360.0 / step).round() as u32,
        field: 360.0,
        range: range.min(65.0),
        ..LidarSpec::default()
    })
}
