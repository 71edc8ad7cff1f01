//! Renders circuits from above: `maps FOLDER NAME or SEED..`.

use std::error::Error;
use std::path::Path;

use pilotage_simulator::{Appearance, CameraSpec, Circuit, Pose, Renderer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder to write to")?;
    for which in arguments {
        let circuit = match which.parse() {
            Ok(seed) => Circuit::random(seed),
            Err(_) => Circuit::shipped(&which).ok_or("no such circuit")?,
        };
        let points: Vec<[f64; 2]> = (0..500)
            .map(|i| circuit.point(circuit.length() * f64::from(i) / 500.0))
            .collect();
        let bounds = |k: usize| {
            points.iter().fold((f64::MAX, f64::MIN), |(low, high), p| {
                (low.min(p[k]), high.max(p[k]))
            })
        };
        let ((x0, x1), (y0, y1)) = (bounds(0), bounds(1));
        let camera = CameraSpec {
            forward: 0.0,
            // With this field of view, the height is half the visible width.
            up: 0.55 * (x1 - x0).max((y1 - y0) * 4.0 / 3.0),
            pitch: std::f64::consts::FRAC_PI_2,
            ..CameraSpec::default()
        };
        let pose = Pose {
            x: 0.5 * (x0 + x1),
            y: 0.5 * (y0 + y1),
            heading: std::f64::consts::FRAC_PI_2,
        };
        let mut frame = vec![0_u8; camera.frame_bytes()];
        let looks = Appearance {
            line: [255, 220, 220],
            ..Appearance::default().plain()
        };
        Renderer::new(&circuit.with_walls(None), &looks, &camera).render(pose, 0, &mut frame);
        image::save_buffer(
            Path::new(&folder).join(format!("map-{which}.png")),
            &frame,
            camera.width as u32,
            camera.height as u32,
            image::ColorType::Rgb8,
        )?;
    }
    Ok(())
}
