//! A camera for tests: frames of 640x480 in `GREY`, written to a named pipe.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Each frame differs from the one before.
pub const RUN: u8 = 0;
/// No frames come.
#[allow(dead_code, reason = "not every test that films has them")]
pub const STALL: u8 = 1;
/// The same frame comes again and again.
#[allow(dead_code, reason = "not every test that films has them")]
pub const FREEZE: u8 = 2;

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
            next = (next + period).max(Instant::now());
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
