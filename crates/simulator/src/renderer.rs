//! Renders the camera's view: the ground row by row, walls over it, then light and noise.

mod coverage;
mod ground;
mod light;
mod strip;
mod texture;
mod view;
mod wall;

use std::ops::Range;
use std::sync::Arc;

use crate::circuit::CentreLine;
use crate::{Appearance, CameraSpec, Circuit, Pose};
use coverage::Coverage;
use ground::Ground;
use light::Light;
use strip::Strips;
use view::View;
use wall::Fence;

/// Renders frames of one circuit, with one appearance, for one camera.
///
/// The same circuit, looks, camera, pose and frame seed give identical frames on every machine.
pub struct Renderer {
    line: Arc<CentreLine>,
    half_road: f64,
    half_line: f64,
    camera: CameraSpec,
    strips: Strips,
    ground: Ground,
    fence: Option<Fence>,
    light: Light,
    road: Coverage,
    paint: Coverage,
}

impl Renderer {
    /// Makes a renderer. Colours that the circuit prescribes replace those of `looks`.
    pub fn new(circuit: &Circuit, looks: &Appearance, camera: &CameraSpec) -> Self {
        let looks = looks.clone().with_colours(circuit.colours());
        let half_road = 0.5 * circuit.road_width();
        let half_line = 0.5 * circuit.line_width();
        Self {
            line: Arc::clone(circuit.line()),
            half_road,
            half_line,
            camera: *camera,
            strips: Strips::new(circuit.line(), half_road.max(half_line)),
            ground: Ground::new(&looks, camera.width),
            fence: circuit
                .walls()
                .map(|walls| Fence::new(circuit, walls, &looks)),
            light: Light::new(&looks, camera),
            road: Coverage::new(),
            paint: Coverage::new(),
        }
    }

    /// The camera whose view is rendered.
    pub fn camera(&self) -> &CameraSpec {
        &self.camera
    }

    /// Renders a frame as RGB8, row by row from the top left. `rgb` has width * height * 3 bytes.
    /// Bytes beyond that are unchanged, and in a shorter buffer the rows that do not fit are
    /// omitted. `frame_seed` is the seed of the noise.
    pub fn render(&mut self, pose: Pose, frame_seed: u64, rgb: &mut [u8]) {
        self.render_rows(0..self.camera.height, pose, frame_seed, rgb);
    }

    /// Renders some rows of the frame that [`render`](Self::render) would render; `rgb` begins with
    /// the first of them.
    pub fn render_rows(&mut self, rows: Range<usize>, pose: Pose, frame_seed: u64, rgb: &mut [u8]) {
        let stride = self.camera.width * 3;
        let first = rows.start.min(self.camera.height);
        let count =
            (rows.end.min(self.camera.height) - first.min(rows.end)).min(rgb.len() / stride.max(1));
        if count == 0 || stride == 0 {
            return;
        }
        let view = View::new(&self.camera, pose);
        self.road.reset(self.camera.width, first, count);
        self.paint.reset(self.camera.width, first, count);
        self.strips.draw(
            &self.line,
            &view,
            &mut [
                (self.half_road, &mut self.road),
                (self.half_line, &mut self.paint),
            ],
        );
        for (index, row) in rgb.chunks_exact_mut(stride).take(count).enumerate() {
            self.ground
                .row(&view, first + index, index, &self.road, &self.paint, row);
        }
        if let Some(fence) = &mut self.fence {
            fence.draw(&view, self.camera.width, first, &mut rgb[..count * stride]);
        }
        for (index, row) in rgb.chunks_exact_mut(stride).take(count).enumerate() {
            self.light.row(first + index, frame_seed, row);
        }
    }
}

#[cfg(test)]
mod tests;
