//! Projects points of a picture to the ground.

use serde::{Deserialize, Serialize};

/// A camera without distortion above a plane: a pinhole, as calibrated or rectified pictures have it.
/// A fisheye lens is not modelled.
///
/// Positive pitch tilts it down. It looks straight ahead: its yaw and its roll are 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroundCamera {
    /// Width and height of the camera's frame, pixels, which are square.
    pub frame: [f32; 2],
    /// The part of the frame that is the network's input: its left and upper edge, its width and its
    /// height, pixels.
    pub crop: [f32; 4],
    /// The angle between the left and right edges of the whole frame, radians, below pi.
    pub horizontal_fov: f32,
    /// Height above the ground, metres.
    pub up: f32,
    /// Distance ahead of the rear axle, metres.
    pub forward: f32,
    /// Distance to the left of the car's middle, metres.
    pub left: f32,
    /// Radians.
    pub pitch: f32,
}

/// The projection from the network's input to the ground.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// The upper left corner of the input, and its size, on the plane at distance 1 of the camera.
    start: [f64; 2],
    size: [f64; 2],
    /// Of the pitch.
    sin: f64,
    cos: f64,
    position: [f64; 3],
}

impl GroundCamera {
    /// The projection of this camera.
    pub fn ground(&self) -> Ground {
        let [width, height] = self.frame.map(f64::from);
        let [x, y, crop_width, crop_height] = self.crop.map(f64::from);
        // The picture's half width is the focal length times the tangent of half its angle.
        let pixel = libm::tan(0.5 * f64::from(self.horizontal_fov)) / (0.5 * width);
        let (sin, cos) = libm::sincos(f64::from(self.pitch));
        Ground {
            start: [(x - 0.5 * width) * pixel, (y - 0.5 * height) * pixel],
            size: [crop_width * pixel, crop_height * pixel],
            sin,
            cos,
            position: [self.forward, self.left, self.up].map(f64::from),
        }
    }
}

impl GroundCamera {
    /// Whether the lower edge of the network's input shows the ground.
    pub fn sees_ground(&self) -> bool {
        self.ground().point(0.5, 1.0).is_some()
    }
}

impl Ground {
    /// The point on the ground, metres ahead of the rear axle and to the left, that is seen at a
    /// point of the network's input: fractions of its width and height, to the right and down.
    /// `None` at and above the horizon.
    pub fn point(&self, right: f64, down: f64) -> Option<[f64; 2]> {
        let right = self.start[0] + right * self.size[0];
        let down = self.start[1] + down * self.size[1];
        // The ray in the car's axes, for one unit along the optical axis.
        let (ahead, falls) = (self.cos - down * self.sin, self.sin + down * self.cos);
        let [forward, left, up] = self.position;
        let length = up / falls;
        let point = [forward + length * ahead, left - length * right];
        let on_ground = falls > 0.0 && point.iter().all(|x| x.is_finite());
        on_ground.then_some(point)
    }
}
