//! The tyre: a brush model with combined slip.

/// Below this rolling speed slip is computed for this speed, m/s. A slow tyre is then a damper: its
/// force goes to zero with the speed at which it slides, and a slow car follows its wheels as in the
/// kinematic model.
pub const LOW_SPEED: f64 = 0.5;

/// The tyres of an axle in one instant.
#[derive(Debug, Clone, Copy)]
pub struct Brush {
    /// The radius of the friction circle, N.
    pub grip: f64,
    /// Longitudinal and cornering stiffness, N.
    pub stiffness: [f64; 2],
}

/// How an axle's tyres answer slip in one instant.
#[derive(Debug, Clone, Copy)]
pub struct Response {
    /// Force for each m/s of longitudinal and lateral slip, N s/m.
    pub damping: [f64; 2],
    /// Whether the whole contact slides.
    pub slides: bool,
}

impl Brush {
    /// The response at the rolling speed `rolling`, with the contact moving over the ground at
    /// `slip` (m/s, along and across the wheel).
    ///
    /// The force grows as 1 - (1 - g)^3 of the grip with the slip g, until at g = 1 the whole
    /// contact slides (H. B. Pacejka, Tire and Vehicle Dynamics, 3rd ed., 3.2, with a parabolic
    /// pressure; E. Fiala 1954). Slip has the rolling speed in its denominator, and combines
    /// directions by the length of the vector of forces that the linear tyre would have; the force
    /// is against that vector. So no force leaves the friction circle, by construction.
    pub fn response(&self, rolling: f64, slip: [f64; 2]) -> Response {
        let speed = rolling.abs().max(LOW_SPEED);
        let linear = [0, 1].map(|axis| self.stiffness[axis] / speed);
        let demand = libm::hypot(linear[0] * slip[0], linear[1] * slip[1]);
        if self.grip <= 0.0 {
            return Response {
                damping: [0.0; 2],
                slides: demand > 0.0,
            };
        }
        let g = demand / (3.0 * self.grip);
        // The force divided by that of the linear tyre.
        let share = if g < 1.0 {
            1.0 - g + g * g / 3.0
        } else {
            self.grip / demand
        };
        Response {
            damping: linear.map(|damping| damping * share),
            slides: g >= 1.0,
        }
    }

    /// `force` if it is within the friction circle, else the part that is; and the share of the
    /// circle's radius that it takes.
    pub fn within(&self, force: [f64; 2]) -> ([f64; 2], f64) {
        let size = libm::hypot(force[0], force[1]);
        if size <= 0.0 {
            return ([0.0; 2], 0.0);
        }
        if size >= self.grip {
            return (force.map(|part| part * self.grip / size), 1.0);
        }
        (force, size / self.grip)
    }
}
