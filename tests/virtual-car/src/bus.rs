//! The USB cable: plugs the adapter into the kernel's virtual host controller, and out.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::adapter::Adapter;
use crate::state::Shared;
use crate::usbip;

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// A port that nothing is plugged into, as `status` has it (VDEV_ST_NULL).
const FREE: &str = "004";
/// A full-speed device, as the kernel numbers speeds.
const FULL_SPEED: u32 = 2;
/// Bus 1, device 2: any will do.
const DEVICE: u32 = 0x1_0002;
const PATIENCE: Duration = Duration::from_secs(30);
/// Above the guard's, which waits for it.
const PRIORITY: &str = "45";

/// A plugged cable.
#[derive(Debug)]
pub struct Cable {
    port: u32,
}

impl Cable {
    /// Plugs an adapter with the chip of `shared` in, and waits for its bus.
    ///
    /// # Errors
    /// When the kernel will not have it, or makes no bus of it.
    pub fn plug(shared: &Shared) -> anyhow::Result<(Self, PathBuf)> {
        let there = buses();
        let port = free_port()?;
        let (mut ours, kernels) = UnixStream::pair()?;
        let line = format!("{port} {} {DEVICE} {FULL_SPEED}", kernels.as_raw_fd());
        fs::write(Path::new(CONTROLLER).join("attach"), line)
            .context("vhci-hcd does not take the adapter")?;
        // The kernel has its own hold on the other end now.
        drop(kernels);
        let mut adapter = Adapter::new(shared.clone());
        std::thread::spawn(move || {
            hurry();
            loop {
                match usbip::serve(&mut ours, &mut adapter) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        eprintln!("rig: the line to vhci-hcd: {error}");
                        break;
                    }
                }
            }
        });
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(bus) = buses().into_iter().find(|bus| !there.contains(bus)) {
                return Ok((Self { port }, bus));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the kernel made no I2C bus of the adapter");
    }

    /// Pulls it out.
    ///
    /// # Errors
    /// When the kernel does not take that.
    pub fn pull(self) -> anyhow::Result<()> {
        fs::write(Path::new(CONTROLLER).join("detach"), self.port.to_string())
            .context("vhci-hcd does not let the adapter go")
    }
}

/// Puts this thread and vhci-hcd's before all other programs: a real adapter does not wait
/// for a processor. What the guard waits for would else stand behind the pilot and the
/// drawing of pictures.
fn hurry() {
    let mut threads = vec![rustix::thread::gettid().as_raw_nonzero().get()];
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    threads.extend(processes.filter_map(|process| {
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        name.starts_with("vhci_").then_some(pid)
    }));
    for thread in threads {
        let thread = thread.to_string();
        let done = Command::new("chrt")
            .args(["--fifo", "--pid", PRIORITY, &thread])
            .status();
        if !done.as_ref().is_ok_and(ExitStatus::success) {
            eprintln!("rig: thread {thread} gets no real-time priority: {done:?}");
        }
    }
}

/// The first port that is for full speed and free.
fn free_port() -> anyhow::Result<u32> {
    let status = fs::read_to_string(Path::new(CONTROLLER).join("status"))?;
    let free = status.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        (hub == "hs" && state == FREE).then(|| port.parse().ok())?
    });
    free.context("every port of vhci-hcd is taken")
}

/// The nodes of such adapters' buses, as far as udev has made them.
fn buses() -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/class/i2c-dev").into_iter().flatten();
    entries
        .flatten()
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("name")).ok()?;
            let node = Path::new("/dev").join(entry.file_name());
            (name.contains("i2c-tiny-usb") && node.exists()).then_some(node)
        })
        .collect()
}
