//! Cameras for tests: frames of 640x480 in `GREY`, written to a named pipe, and pictures in a
//! folder. Except with `FREEZE`, no two frames in a row are identical, which would be a frozen
//! picture.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test uses all of it, and tests fail by panicking"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Each frame differs from the previous one.
pub const RUN: u8 = 0;
/// No frames are written.
pub const STALL: u8 = 1;
/// The same frame is written again and again.
pub const FREEZE: u8 = 2;

/// Each frame is black but for a pixel that changes.
pub const BLACK: u8 = 3;

/// Creates the folder `to` with some pictures.
pub fn pictures(to: &Path) {
    std::fs::create_dir(to).unwrap();
    for shade in 0..4_u8 {
        let picture =
            image::RgbImage::from_fn(640, 480, |x, y| image::Rgb([x as u8, y as u8, 60 * shade]));
        picture.save(to.join(format!("{shade}.png"))).unwrap();
    }
}

/// Writes a frame each `period` while the pipe has a reader, and waits for the next reader.
pub fn film(pipe: &Path, period: Duration, what: &AtomicU8) {
    let mut frame = vec![0_u8; 640 * 480];
    let mut count = 0_u32;
    loop {
        // Blocks until there is a reader.
        let Ok(mut camera) = File::options().write(true).open(pipe) else {
            return;
        };
        let mut next = Instant::now();
        loop {
            next += period;
            // A frame that is a little late does not delay later ones. After a gap of more than a
            // frame, the missed frames are skipped.
            if next + period < Instant::now() {
                next = Instant::now();
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            match what.load(Ordering::Relaxed) {
                STALL => continue,
                FREEZE => {}
                BLACK => {
                    count += 1;
                    frame.fill(0);
                    frame[0] = count as u8;
                }
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
