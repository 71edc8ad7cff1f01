//! The camera: writes the plant's frames to a v4l2loopback device, at their rate.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pilotage_vehicle::monotonic;
use v4l::format::{Format, FourCC};
use v4l::video::Output;
use v4l::video::output::Parameters;

use crate::plant::{Place, Plant};
use crate::state::{Picture, Shared};

/// A request to the plant's thread.
enum Request {
    Place(Sender<(Place, f64)>),
    Restart,
}

/// A handle of the thread that runs the plant and the camera.
pub struct Feeder {
    requests: Sender<Request>,
}

impl Feeder {
    /// Starts the thread. The first frame is in the device when this returns.
    ///
    /// # Errors
    /// When the device does not accept the frames.
    pub fn start(
        device: PathBuf,
        mut plant: Plant,
        size: (u32, u32),
        shared: Shared,
    ) -> anyhow::Result<Self> {
        let mut yuyv = Vec::new();
        plant.see(0, &mut yuyv);
        let mut camera = Some(open(&device, size, plant.rate)?);
        if let Some(camera) = &mut camera {
            camera
                .write_all(&yuyv)
                .context("the camera takes no frame")?;
        }
        let (requests, received) = channel();
        std::thread::spawn(move || feed(&device, plant, size, &shared, camera, yuyv, &received));
        Ok(Self { requests })
    }

    /// The position of the car, and the length of its circuit.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn place(&self) -> anyhow::Result<(Place, f64)> {
        let (answer, reply) = channel();
        self.requests
            .send(Request::Place(answer))
            .ok()
            .context("the plant is dead")?;
        reply.recv().context("the plant is dead")
    }

    /// Puts the car back to the start.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.requests
            .send(Request::Restart)
            .ok()
            .context("the plant is dead")
    }
}

fn open(device: &Path, (width, height): (u32, u32), rate: f64) -> anyhow::Result<v4l::Device> {
    let camera = v4l::Device::with_path(device).with_context(|| device.display().to_string())?;
    let wanted = Format::new(width, height, FourCC::new(b"YUYV"));
    let given = Output::set_format(&camera, &wanted).context("the camera's format")?;
    ensure!(
        (given.width, given.height, given.size) == (width, height, width * height * 2),
        "v4l2loopback makes {given} of it"
    );
    // The interval is given as ten seconds for a whole number of frames, because the rate may be
    // below one frame per second.
    let interval = v4l::Fraction::new(10, (rate * 10.0).round() as u32);
    Output::set_params(&camera, &Parameters::new(interval)).context("the camera's rate")?;
    Ok(camera)
}

fn feed(
    device: &Path,
    mut plant: Plant,
    size: (u32, u32),
    shared: &Shared,
    mut camera: Option<v4l::Device>,
    mut yuyv: Vec<u8>,
    received: &Receiver<Request>,
) {
    let period = Duration::from_secs_f64(1.0 / plant.rate);
    let black: Vec<u8> = [16, 128].repeat(yuyv.len() / 2);
    let mut due = Instant::now();
    let mut number: u64 = 0;
    loop {
        due += period;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            match received.recv_timeout(left) {
                Ok(Request::Place(answer)) => {
                    live(&mut plant, shared);
                    // The requester may have stopped waiting.
                    let _ = answer.send((plant.place(), plant.length()));
                }
                Ok(Request::Restart) => plant.restart(monotonic().as_nanos()),
                Err(_) => break,
            }
        }
        if due.elapsed() > period {
            // The machine stalled for longer than a frame: continue from now.
            due = Instant::now();
        }
        let began = monotonic();
        let picture = live(&mut plant, shared);
        number += 1;
        if picture == Picture::Gone {
            camera = None;
            continue;
        }
        if picture == Picture::Live {
            plant.see(number, &mut yuyv);
        }
        if camera.is_none() {
            camera = open(device, size, plant.rate)
                .inspect_err(|error| eprintln!("rig: {error:#}"))
                .ok();
        }
        let frame = match picture {
            Picture::Black => &black,
            _ => &yuyv,
        };
        if let Some(camera) = &mut camera {
            match camera.write_all(frame) {
                Ok(()) => {
                    let mut state = shared.lock();
                    state.frames += 1;
                    state.drawing = monotonic().since(began).as_nanos() as u64;
                }
                Err(error) => eprintln!("rig: the camera takes no frame: {error}"),
            }
        }
    }
}

fn live(plant: &mut Plant, shared: &Shared) -> Picture {
    let state = shared.lock();
    plant.live(&state.pulses, monotonic().as_nanos());
    state.picture
}
