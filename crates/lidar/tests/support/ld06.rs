//! A model of an LD06 at the other end of a pseudo-terminal. The test declares the module `pty`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_lidar::packet::{POINTS, encode};

use crate::pty;

/// A lidar at 10 turns a second. It sends until it is dropped.
pub struct Ld06 {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ld06 {
    /// Links `port` to a lidar that measures `distance` (mm) at each of its own angles (degrees), and whose
    /// packets, of which each has a number, are changed by `damage` on their way.
    pub fn plug(port: &Path, distance: fn(f64) -> u16, damage: fn(u32, &mut [u8])) -> Self {
        let mut end = pty::plug(port);
        let ends = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !theirs.load(Ordering::Relaxed) {
                for _ in 0..4 {
                    send(&mut end, number, distance, damage);
                    number += 1;
                }
                // Four packets of 12 of 4500 points a second.
                std::thread::sleep(Duration::from_micros(10_600));
            }
        });
        let thread = Some(thread);
        Self { ends, thread }
    }
}

impl Drop for Ld06 {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn send(end: &mut File, number: u32, distance: fn(f64) -> u16, damage: fn(u32, &mut [u8])) {
    let angle = |point: u32| ((number * 12 + point) % 450 * 80) as u16;
    let distances: [u16; POINTS] =
        std::array::from_fn(|point| distance(f64::from(angle(point as u32)) / 100.0));
    let time = (number * 8 / 3 % 30_000) as u16;
    let mut bytes = encode(3600, (angle(0), angle(11)), &distances, time);
    damage(number, &mut bytes);
    // Nobody may read.
    let _ = rustix::fs::fcntl_setfl(&*end, rustix::fs::OFlags::NONBLOCK);
    let _ = end.write_all(&bytes);
}
