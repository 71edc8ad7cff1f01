//! Measures the conversion of a 640x480 frame to the INT8 input of 200x66 with each instruction
//! set: `cargo run --release -p pilotage-vision --example vision_speed`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

use std::time::Instant;

use pilotage_engine::InstructionSet;
use pilotage_vision::{Crop, Frame, Layout, PixelFormat, Preprocess, Vision, VisionError};

fn main() -> Result<(), VisionError> {
    let mut preprocess = Preprocess::new(200, 66);
    preprocess.crop = Some(Crop {
        x: 0,
        y: 240,
        width: 640,
        height: 240,
    });
    preprocess.layout = Layout::Nhwc;
    for format in [
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Grey8,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
    ] {
        for set in InstructionSet::ALL
            .into_iter()
            .filter(|set| set.is_available())
        {
            let mut vision = Vision::with_instruction_set(&preprocess, 640, 480, format, set)?;
            let (median, p99) = time(&mut vision, format)?;
            println!("{format:?} by {set}: median {median:.1} us, p99 {p99:.1} us");
        }
    }
    Ok(())
}

/// The median and the 99th percentile, in microseconds.
fn time(vision: &mut Vision, format: PixelFormat) -> Result<(f64, f64), VisionError> {
    let mut frame = Frame::new(format, 640, 480)?;
    for (i, byte) in frame.data_mut().iter_mut().enumerate() {
        *byte = ((i * 7919) >> 3) as u8;
    }
    let mut input = vec![0; vision.output_len()];
    let mut micros = Vec::with_capacity(2_000);
    for _ in 0..2_000 {
        let start = Instant::now();
        vision.run_i8(std::hint::black_box(frame.view()), &mut input)?;
        std::hint::black_box(&input);
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Ok((micros[1_000], micros[1_980]))
}
