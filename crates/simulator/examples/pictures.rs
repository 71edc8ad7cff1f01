//! Writes frames of a circuit as PNG files: `pictures FOLDER [CIRCUIT or SEED] [LOOKS SEED]`.

use std::error::Error;
use std::path::Path;

use pilotage_simulator::{Appearance, CameraSpec, Circuit, Renderer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("name a folder to write to")?;
    let which = arguments.next().unwrap_or_else(|| "simple".to_owned());
    let circuit = match which.parse() {
        Ok(seed) => Circuit::random(seed),
        Err(_) => Circuit::shipped(&which).ok_or("no such circuit")?,
    };
    let looks = match arguments.next() {
        Some(seed) => Appearance::random(seed.parse()?),
        None => Appearance::default(),
    };
    let camera = CameraSpec::default();
    let mut renderer = Renderer::new(&circuit, &looks, &camera);
    let mut frame = vec![0_u8; camera.frame_bytes()];
    for i in 0..6_u32 {
        let s = circuit.length() * f64::from(i) / 6.0;
        renderer.render(circuit.pose(s, 0.1, 0.0), u64::from(i), &mut frame);
        let path = Path::new(&folder).join(format!("{which}-{i}.png"));
        image::save_buffer(
            path,
            &frame,
            camera.width as u32,
            camera.height as u32,
            image::ColorType::Rgb8,
        )?;
    }
    Ok(())
}
