//! `rig`: emulates what surrounds an installed Pilotage on the virtual car of `cargo xtask
//! virtual-car`. It runs in the guest. It consists of the model PCA9685 behind an I2C bus of the
//! kernel, the simulated car that the chip's pulses move, its camera, a gamepad, and a server for
//! the host's orders.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test tool, which drives no car"
)]

mod adapter;
mod boot;
mod bus;
mod feeder;
mod orders;
mod pad;
mod plant;
mod state;
mod usbip;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_config::{LONGEST_FILE, Source};
use pilotage_guard::notify::Manager;
use pilotage_vehicle::monotonic;
use serde::Deserialize;

use crate::bus::Cable;
use crate::feeder::Feeder;
use crate::orders::Rig;
use crate::plant::{Plant, World};
use crate::state::Shared;

const PATIENCE: Duration = Duration::from_secs(30);

/// The format of rig.toml.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The car.toml of the car that is driven.
    car: PathBuf,
    /// The chip's channel.
    throttle_channel: usize,
    /// The chip's channel.
    steering_channel: usize,
    /// The number of empty buses that are attached first, so that the chip's bus has the same
    /// number as on a real car.
    #[serde(default)]
    bare_buses: usize,
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    #[serde(flatten)]
    world: World,
}

fn main() -> ExitCode {
    let is_init = std::process::id() == 1;
    let done = if is_init {
        boot::boot().map(|_| ())
    } else {
        run()
    };
    if let Err(error) = done {
        eprintln!("rig: {error:#}");
        if is_init {
            // Gives the console time to print the error: the kernel panics when init exits.
            std::thread::sleep(Duration::from_secs(1));
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("usage: rig FOLDER, which has rig.toml")?;
    let manager = Manager::from_environment();
    let file = folder.join("rig.toml");
    let text = pilotage_config::read(&file, LONGEST_FILE)?;
    let settings: Settings = Source::new(&file.display().to_string(), &text).parse()?;
    boot::load_modules(Path::new("/lib/modules/rig.txt"))?;
    let shared = Shared::new(settings.throttle_channel, settings.steering_channel);
    let no_chip = Shared::new(settings.throttle_channel, settings.steering_channel);
    no_chip.lock().acknowledges = false;
    // A cable is unplugged only by `pull`: dropping it leaves the bus attached.
    let empty_buses: anyhow::Result<Vec<_>> = (0..settings.bare_buses)
        .map(|_| Cable::plug(&no_chip))
        .collect();
    empty_buses.context("an empty bus")?;
    let (cable, bus) = Cable::plug(&shared)?;
    let plant = Plant::new(&settings.car, &settings.world, monotonic().as_nanos())?;
    let size = (settings.width, settings.height);
    let device = PathBuf::from("/dev/video0");
    wait_for_node(&device)?;
    wait_for_udev();
    let feeder = Feeder::start(device, plant, size, shared.clone())?;
    let port = open_port()?;
    eprintln!("rig: the chip is on {}", bus.display());
    manager.ready();
    let mut rig = Rig {
        shared,
        feeder,
        cable: Some(cable),
        pad: None,
    };
    rig.serve(port)
}

/// Waits until udev has set the groups of bus and camera. On a real computer, udev does so long
/// before guard and pilot start.
fn wait_for_udev() {
    let settled = Command::new("udevadm")
        .args(["settle", "--timeout=30"])
        .status();
    if !settled.as_ref().is_ok_and(ExitStatus::success) {
        eprintln!("rig: udev does not settle: {settled:?}");
    }
}

fn wait_for_node(node: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while !node.exists() {
        if began.elapsed() > PATIENCE {
            bail!("there is no {}", node.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Opens the virtual serial port to the host.
fn open_port() -> anyhow::Result<File> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let ports = fs::read_dir("/sys/class/virtio-ports")
            .into_iter()
            .flatten()
            .flatten();
        for port in ports {
            let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
            let node = Path::new("/dev").join(port.file_name());
            if name.trim() == "rig" && node.exists() {
                let file = File::options().read(true).write(true).open(&node);
                return file.with_context(|| node.display().to_string());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("there is no serial port to the host")
}
