/// The camera's optics and its position on the car.
///
/// A pinhole camera without distortion, whose optical axis meets the picture in its centre. Angles
/// are in radians and follow ROS REP 103: positive yaw turns the camera left, positive pitch turns
/// it down, and positive roll turns it clockwise as seen by the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraSpec {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// The angle between the left and right edges of the picture.
    pub horizontal_fov: f64,
    /// Distance ahead of the car's centre, metres.
    pub forward: f64,
    /// Distance to the left of the car's centre, metres.
    pub left: f64,
    /// Height above the ground, metres.
    pub up: f64,
    /// Pitch, positive down.
    pub pitch: f64,
    /// Yaw, positive left.
    pub yaw: f64,
    /// Roll, positive clockwise about the optical axis.
    pub roll: f64,
    /// Frames per second.
    pub rate_hz: f64,
}

impl Default for CameraSpec {
    fn default() -> Self {
        Self {
            width: 640,
            height: 480,
            horizontal_fov: 1.57,
            forward: 0.45,
            left: 0.0,
            up: 0.10,
            pitch: 0.0,
            yaw: 0.0,
            roll: 0.0,
            rate_hz: 20.0,
        }
    }
}

impl CameraSpec {
    /// Bytes of one RGB picture.
    pub fn frame_bytes(&self) -> usize {
        self.width * self.height * 3
    }
}
