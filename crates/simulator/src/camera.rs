/// How the camera looks and where it sits on the car.
///
/// A pinhole without distortion; the optical axis meets the picture in its centre.
/// Angles are radians and follow ROS REP 103: a positive yaw turns the camera left,
/// a positive pitch down, a positive roll clockwise as the camera itself sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraSpec {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// The angle between the left and right edges of the picture.
    pub horizontal_fov: f64,
    /// Ahead of the car's centre, metres.
    pub forward: f64,
    /// To the left of the car's centre, metres.
    pub left: f64,
    /// Above the ground, metres.
    pub up: f64,
    /// Downwards.
    pub pitch: f64,
    /// To the left.
    pub yaw: f64,
    /// Clockwise about the axis of view.
    pub roll: f64,
    /// Frames a second.
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
