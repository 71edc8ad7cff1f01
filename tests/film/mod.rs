//! Cameras for tests: frames of 640x480 in `GREY`, written to a named pipe, and pictures in
//! a folder. But for `FREEZE` no two in a row are the same: that is a frozen picture.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test has a use for all of it; one that cannot go on fails"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Each frame differs from the one before.
pub const RUN: u8 = 0;
/// No frames come.
pub const STALL: u8 = 1;
/// The same frame comes again and again.
pub const FREEZE: u8 = 2;

/// Makes the folder `to` with some pictures in it.
pub fn pictures(to: &Path) {
    std::fs::create_dir(to).unwrap();
    for shade in 0..4_u8 {
        let picture =
            image::RgbImage::from_fn(640, 480, |x, y| image::Rgb([x as u8, y as u8, 60 * shade]));
        picture.save(to.join(format!("{shade}.png"))).unwrap();
    }
}

/// Writes a frame each `period` for as long as somebody reads, whoever that is.
pub fn film(pipe: &Path, period: Duration, what: &AtomicU8) {
    let mut frame = vec![0_u8; 640 * 480];
    let mut count = 0_u32;
    loop {
        // Waits for somebody to read.
        let Ok(mut camera) = File::options().write(true).open(pipe) else {
            return;
        };
        let mut next = Instant::now();
        loop {
            next += period;
            // A frame that is a little late makes no later one late; a camera that was away for
            // longer than a frame has missed it.
            if next + period < Instant::now() {
                next = Instant::now();
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            match what.load(Ordering::Relaxed) {
                STALL => continue,
                FREEZE => {}
                _ => {
                    count += 1;
                    for (index, pixel) in frame.iter_mut().enumerate() {
                        *pixel = (index as u32 / 640 + index as u32 % 64 + count) as u8;
                    }
                }
            }
            if camera.write_all(&frame).is_err() {
                break;
            }
        }
    }
}
