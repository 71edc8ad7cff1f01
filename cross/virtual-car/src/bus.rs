//! The USB cable: attaches the adapter to the kernel's virtual host controller, and detaches it.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::adapter::Adapter;
use crate::state::Shared;
use crate::usbip;

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// The state of a free port in the controller's `status` (VDEV_ST_NULL).
const FREE: &str = "004";
/// Full speed, in the kernel's numbering of speeds.
const FULL_SPEED: u32 = 2;
/// Bus 1, device 2; the value is arbitrary.
const DEVICE: u32 = 0x1_0002;
const PATIENCE: Duration = Duration::from_secs(30);
/// A real-time priority above the guard's, because the guard waits for the adapter.
const PRIORITY: &str = "45";

/// A cable that is plugged in.
#[derive(Debug)]
pub struct Cable {
    port: u32,
}

impl Cable {
    /// Attaches an adapter with the chip of `shared`, and waits until its bus exists.
    ///
    /// # Errors
    /// When the kernel rejects the adapter, or makes no bus for it.
    pub fn plug(shared: &Shared) -> anyhow::Result<(Self, PathBuf)> {
        let existing = buses();
        let port = free_port()?;
        let (mut own_end, kernel_end) = UnixStream::pair()?;
        let line = format!("{port} {} {DEVICE} {FULL_SPEED}", kernel_end.as_raw_fd());
        fs::write(Path::new(CONTROLLER).join("attach"), line)
            .context("vhci-hcd does not take the adapter")?;
        // The kernel has its own reference to the other end now.
        drop(kernel_end);
        let mut adapter = Adapter::new(shared.clone());
        std::thread::spawn(move || {
            set_real_time_priority();
            loop {
                match usbip::serve(&mut own_end, &mut adapter) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        eprintln!("rig: the connection to vhci-hcd: {error}");
                        break;
                    }
                }
            }
        });
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(bus) = buses().into_iter().find(|bus| !existing.contains(bus)) {
                return Ok((Self { port }, bus.node));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the kernel made no I2C bus of the adapter");
    }

    /// Detaches the adapter.
    ///
    /// # Errors
    /// When the kernel rejects the request.
    pub fn pull(self) -> anyhow::Result<()> {
        fs::write(Path::new(CONTROLLER).join("detach"), self.port.to_string())
            .context("vhci-hcd does not let the adapter go")
    }
}

/// Gives this thread and vhci-hcd's threads real-time priority over all other programs: a real
/// adapter does not wait for a processor. Otherwise the guard's transfers would wait for the pilot
/// and the renderer.
fn set_real_time_priority() {
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

/// The first free full-speed port.
fn free_port() -> anyhow::Result<u32> {
    let status = fs::read_to_string(Path::new(CONTROLLER).join("status"))?;
    let free = status.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        (hub == "hs" && state == FREE).then(|| port.parse().ok())?
    });
    free.context("every port of vhci-hcd is taken")
}

/// A bus of an i2c-tiny-usb adapter.
#[derive(Debug, PartialEq, Eq)]
struct Bus {
    node: PathBuf,
    /// The inode in sysfs. The bus of an adapter that is plugged in again often gets the name of
    /// the bus before it, and never its inode.
    inode: u64,
}

/// The buses for which udev has made a device node.
fn buses() -> Vec<Bus> {
    let entries = fs::read_dir("/sys/class/i2c-dev").into_iter().flatten();
    entries
        .flatten()
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("name")).ok()?;
            let inode = fs::metadata(entry.path()).ok()?.ino();
            let node = Path::new("/dev").join(entry.file_name());
            let is_ready = name.contains("i2c-tiny-usb") && node.exists();
            is_ready.then_some(Bus { node, inode })
        })
        .collect()
}
