//! How long the pass takes on this machine:
//! `cargo run --release -p pilotage-vision --example speed`.

use std::time::Instant;

use pilotage_vision::{Crop, Frame, PixelFormat, Preprocess, Vision, VisionError};

fn main() -> Result<(), VisionError> {
    let mut preprocess = Preprocess::new(200, 66);
    preprocess.crop = Some(Crop {
        x: 0,
        y: 240,
        width: 640,
        height: 240,
    });
    let mut vision = Vision::new(&preprocess, 640, 480, PixelFormat::Rgb8)?;
    let mut frame = Frame::new(PixelFormat::Rgb8, 640, 480)?;
    for (i, byte) in frame.data_mut().iter_mut().enumerate() {
        *byte = ((i * 7919) >> 3) as u8;
    }
    let mut input = vec![0.0; vision.output_len()];
    let mut micros = Vec::with_capacity(2_000);
    for _ in 0..2_000 {
        let start = Instant::now();
        vision.run(std::hint::black_box(frame.view()), &mut input)?;
        std::hint::black_box(&input);
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    println!(
        "640x480 rows 240..480 to 200x66, f32 NCHW: median {:.0} us, p99 {:.0} us",
        micros[1_000], micros[1_980]
    );
    Ok(())
}
