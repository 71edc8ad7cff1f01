//! `rig`: what surrounds an installed Pilotage on the virtual car of `cargo xtask
//! virtual-car`. It runs in the guest: the model PCA9685 behind an I2C bus of the kernel's,
//! the simulated car that its pulses move, the camera on it, a gamepad, and the host's hand there.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for tests, which drives nothing"
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
use pilotage_guard::monotonic;
use pilotage_guard::notify::Manager;
use serde::Deserialize;

use crate::bus::Cable;
use crate::feeder::Feeder;
use crate::orders::Rig;
use crate::plant::{Plant, World};
use crate::state::Shared;

const PATIENCE: Duration = Duration::from_secs(30);

/// rig.toml, beside the program.
#[derive(Debug, Deserialize)]
struct Settings {
    /// The car that is driven.
    car: PathBuf,
    /// Of the chip.
    throttle_channel: usize,
    /// Of the chip.
    steering_channel: usize,
    /// Buses with nothing on them that come first, so that the chip's has a car's number.
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
    let first = std::process::id() == 1;
    let done = if first {
        boot::boot().map(|_| ())
    } else {
        run()
    };
    if let Err(error) = done {
        eprintln!("rig: {error:#}");
        if first {
            // The kernel would only say that its first program is gone.
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
    let nobody = Shared::new(settings.throttle_channel, settings.steering_channel);
    nobody.lock().acknowledges = false;
    // They stay plugged in: what a cable is for is to be pulled.
    let bare: anyhow::Result<Vec<_>> = (0..settings.bare_buses)
        .map(|_| Cable::plug(&nobody))
        .collect();
    bare.context("a bare bus")?;
    let (cable, bus) = Cable::plug(&shared)?;
    let plant = Plant::new(&settings.car, &settings.world, monotonic().as_nanos())?;
    let size = (settings.width, settings.height);
    let device = PathBuf::from("/dev/video0");
    await_node(&device)?;
    settle();
    let feeder = Feeder::start(device, plant, size, shared.clone())?;
    let line = line()?;
    eprintln!("rig: the chip is on {}", bus.display());
    manager.ready();
    let mut rig = Rig {
        shared,
        feeder,
        cable: Some(cable),
        pad: None,
    };
    rig.serve(line)
}

/// Waits until udev has given bus and camera their groups: what is there when a real computer
/// starts has them long before guard and pilot do.
fn settle() {
    let settled = Command::new("udevadm")
        .args(["settle", "--timeout=30"])
        .status();
    if !settled.as_ref().is_ok_and(ExitStatus::success) {
        eprintln!("rig: udev does not settle: {settled:?}");
    }
}

fn await_node(node: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while !node.exists() {
        if began.elapsed() > PATIENCE {
            bail!("there is no {}", node.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The virtual serial port to the host.
fn line() -> anyhow::Result<File> {
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
                let line = File::options().read(true).write(true).open(&node);
                return line.with_context(|| node.display().to_string());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("there is no serial port to the host")
}
