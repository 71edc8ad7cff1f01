//! The guest's init program: loads the kernel's drivers for the disk, then starts the system on the
//! disk.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_move};

const DISK: &str = "/dev/vda";
const ROOT: &str = "/system";
const PATIENCE: Duration = Duration::from_secs(60);

/// Loads the modules in the file `list`: one path per line, followed by the module's options.
///
/// # Errors
/// When the kernel rejects a module.
pub fn load_modules(list: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(list).with_context(|| list.display().to_string())?;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (path, options) = line.split_once(' ').unwrap_or((line, ""));
        let module = File::open(path).with_context(|| path.to_owned())?;
        let loaded = rustix::system::finit_module(&module, &CString::new(options)?, 0);
        match loaded {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| path.to_owned()),
        }
    }
    Ok(())
}

/// Switches to the disk's root file system and executes systemd. Returns only on failure.
///
/// # Errors
/// When the disk cannot be mounted or systemd cannot be started.
pub fn boot() -> anyhow::Result<std::convert::Infallible> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    fs::create_dir_all("/dev")?;
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::NOSUID, None)?;
    fs::create_dir_all("/sys")?;
    mount("sysfs", "/sys", "sysfs", quiet, None)?;
    load_modules(Path::new("/modules.txt"))?;
    let began = Instant::now();
    while !Path::new(DISK).exists() {
        if began.elapsed() > PATIENCE {
            bail!("there is no {DISK}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::create_dir_all(ROOT)?;
    mount(DISK, ROOT, "ext4", MountFlags::NOATIME, None).context("the disk's system")?;
    for folder in ["/dev", "/sys"] {
        mount_move(folder, format!("{ROOT}{folder}"))?;
    }
    rustix::process::chdir(ROOT)?;
    mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Err(Command::new("/lib/systemd/systemd").exec()).context("systemd")
}
