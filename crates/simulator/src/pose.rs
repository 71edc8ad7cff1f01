/// Position and heading of a car in the plane.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pose {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Radians, from the x axis towards the y axis.
    pub heading: f64,
}

impl Pose {
    /// The point `forward` metres ahead and `left` metres to the left.
    pub fn ahead(self, forward: f64, left: f64) -> [f64; 2] {
        let (sin, cos) = libm::sincos(self.heading);
        [
            self.x + forward * cos - left * sin,
            self.y + forward * sin + left * cos,
        ]
    }
}

/// `angle` wrapped to -pi..=pi.
pub fn wrap_angle(angle: f64) -> f64 {
    libm::remainder(angle, std::f64::consts::TAU)
}
