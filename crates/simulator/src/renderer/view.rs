//! The camera's projection for one frame.

use crate::{CameraSpec, Pose};

/// The near plane: nothing nearer than this along the optical axis is drawn, metres.
pub const NEAR: f64 = 0.02;

/// The camera's pose and projection in the world, with z up.
pub struct View {
    pub position: [f64; 3],
    forward: [f64; 3],
    right: [f64; 3],
    down: [f64; 3],
    pub focal: f64,
    pub centre: [f64; 2],
}

/// A point in the camera's axes: right, down, ahead; metres.
pub type Seen = [f64; 3];

impl View {
    pub fn new(spec: &CameraSpec, pose: Pose) -> Self {
        let [x, y] = pose.ahead(spec.forward, spec.left);
        let (sy, cy) = libm::sincos(pose.heading + spec.yaw);
        let (sp, cp) = libm::sincos(spec.pitch);
        let (sr, cr) = libm::sincos(spec.roll);
        // Columns of Rz(yaw) Ry(pitch) Rx(roll): ahead, left, up.
        let forward = [cy * cp, sy * cp, -sp];
        let left = [cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, cp * sr];
        let up = [cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr];
        let half = 0.5 * spec.width as f64;
        Self {
            position: [x, y, spec.up],
            forward,
            right: left.map(|c| -c),
            down: up.map(|c| -c),
            // The view of a pinhole camera is narrower than 180 degrees.
            focal: half / libm::tan(0.5 * spec.horizontal_fov.clamp(0.01, 3.1)),
            centre: [half, 0.5 * spec.height as f64],
        }
    }

    /// The point (x, y) at height z, in the camera's axes.
    pub fn see(&self, x: f64, y: f64, z: f64) -> Seen {
        let d = [
            x - self.position[0],
            y - self.position[1],
            z - self.position[2],
        ];
        [dot(d, self.right), dot(d, self.down), dot(d, self.forward)]
    }

    /// Projects a point ahead of the camera to the picture, in pixels.
    pub fn project(&self, [right, down, ahead]: Seen) -> [f64; 2] {
        let scale = self.focal / ahead;
        [
            self.centre[0] + right * scale,
            self.centre[1] + down * scale,
        ]
    }

    /// Whether a sphere around `seen` is completely out of sight: behind the camera, or beyond the
    /// left or right edge of the picture.
    pub fn out_of_sight(&self, seen: Seen, radius: f64) -> bool {
        let [right, _, ahead] = seen;
        let side = libm::sqrt(self.focal * self.focal + self.centre[0] * self.centre[0]);
        let inwards = |right: f64| (self.focal * right + self.centre[0] * ahead) / side;
        ahead < NEAR - radius || inwards(right) < -radius || inwards(-right) < -radius
    }

    /// The rays of a row as `start + column * step`, in the world's axes. Columns and rows are in
    /// pixels; the middle of a pixel is at one half.
    pub fn row_rays(&self, row: f64) -> ([f64; 3], [f64; 3]) {
        let axis = |k: usize| {
            self.focal * self.forward[k] - self.centre[0] * self.right[k]
                + (row - self.centre[1]) * self.down[k]
        };
        ([axis(0), axis(1), axis(2)], self.right)
    }

    /// How much a ray's downward slope changes over one pixel across the horizon.
    pub fn horizon_slope(&self) -> f64 {
        libm::sqrt(self.right[2] * self.right[2] + self.down[2] * self.down[2]).max(1e-9)
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
