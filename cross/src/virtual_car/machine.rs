//! The emulated computer. This module starts it, sends orders to its rig over a virtual serial
//! port, and makes sure that it ends when this program ends.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::packages::Packages;

/// The longest time that a boot takes, emulated on a busy machine.
const BOOT: Duration = Duration::from_secs(300);
/// The time limit for an order that runs no program in the guest.
const PROMPT: Duration = Duration::from_secs(30);

/// A running guest.
pub struct Machine {
    emulator: Child,
    folder: PathBuf,
    console: PathBuf,
    connection: Option<BufReader<UnixStream>>,
    /// The number of the last order.
    number: u64,
}

/// The parts that a guest is started with.
pub struct Parts<'a> {
    pub packages: &'a Packages,
    pub initrd: &'a Path,
    pub disk: &'a Path,
    /// The file that logs all writes to the disk: see [`power`](super::power).
    pub log: Option<&'a Path>,
    pub payload: &'a Path,
    /// The file for the console's output.
    pub console: &'a Path,
}

impl Machine {
    /// Starts a guest, and waits until its rig answers.
    ///
    /// # Errors
    /// When the guest does not come up in time. The message contains the end of its console.
    pub fn boot(parts: &Parts<'_>) -> Result<Self> {
        // The path of a socket is limited in length, and target/ may be anywhere.
        let folder = std::env::temp_dir().join(format!("pilotage-car-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let socket = folder.join("rig");
        // A socket that an earlier run left would be taken for the new one.
        let _ = fs::remove_file(&socket);
        let drive = |file: &Path, id: &str, more: &str| {
            format!("file={},if=none,id={id},format=raw{more}", file.display())
        };
        // The emulator is killed however this program ends, also by SIGKILL.
        let emulator = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&parts.packages.emulator)
            .env("LD_LIBRARY_PATH", &parts.packages.libraries)
            .args([
                "-accel",
                "tcg,thread=multi",
                "-machine",
                "virt",
                "-cpu",
                "cortex-a57",
            ])
            .args([
                "-smp",
                "2",
                "-m",
                "1024",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(&parts.packages.kernel)
            .arg("-initrd")
            .arg(parts.initrd)
            .args([
                "-append",
                "console=ttyAMA0 loglevel=5 panic=-1 net.ifnames=0",
            ])
            .arg("-serial")
            .arg(format!("file:{}", parts.console.display()))
            .args(["-device", "virtio-serial-pci", "-chardev"])
            .arg(format!(
                "socket,id=rig,path={},server=on,wait=off",
                socket.display()
            ))
            .args(["-device", "virtserialport,chardev=rig,name=rig"])
            .args(system(parts)?)
            .args(["-device", "virtio-blk-pci,drive=system"])
            .args(["-drive", &drive(parts.payload, "payload", ",readonly=on")])
            .args(["-device", "virtio-blk-pci,drive=payload"])
            .args(["-device", "i6300esb", "-action", "watchdog=reset"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("the emulator does not start")?;
        let mut machine = Self {
            emulator,
            folder,
            console: parts.console.to_owned(),
            connection: None,
            number: 0,
        };
        machine.connect(&socket)?;
        Ok(machine)
    }

    fn connect(&mut self, socket: &Path) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < BOOT {
            self.ensure_running("while it started")?;
            if self.connection.is_none() {
                self.connection = UnixStream::connect(socket).ok().map(BufReader::new);
            }
            // Orders that are sent before the rig listens are lost, so they are repeated until it
            // answers.
            if self.connection.is_some()
                && self
                    .ask(json!({ "do": "now" }), Duration::from_secs(2))
                    .is_ok()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!(
            "the guest did not come up in {} s:\n{}",
            BOOT.as_secs(),
            self.console_end()
        );
    }

    /// Fails if the emulator has exited.
    fn ensure_running(&mut self, when: &str) -> Result<()> {
        match self.emulator.try_wait()? {
            Some(status) => bail!(
                "the emulator ended ({status}) {when}:\n{}",
                self.console_end()
            ),
            None => Ok(()),
        }
    }

    /// The last lines of the guest's console.
    pub fn console_end(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(25);
        lines[from..].join("\n")
    }

    /// Sends the rig an order that runs no program.
    ///
    /// # Errors
    /// When the order fails, or no answer comes.
    pub fn order(&mut self, order: Value) -> Result<Value> {
        self.ask(order, PROMPT)
    }

    /// Sends the rig an order, and returns its answer.
    ///
    /// # Errors
    /// When the order fails, or no answer comes within `patience`.
    pub fn ask(&mut self, mut order: Value, patience: Duration) -> Result<Value> {
        self.number += 1;
        order["n"] = self.number.into();
        let number = order["n"].clone();
        let connection = self
            .connection
            .as_mut()
            .context("the guest has no connection")?;
        connection.get_ref().set_write_timeout(Some(patience))?;
        connection
            .get_mut()
            .write_all(format!("{order}\n").as_bytes())?;
        let began = Instant::now();
        let mut text = Vec::new();
        loop {
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                bail!(
                    "the guest did not answer `{order}` in {} s",
                    patience.as_secs()
                );
            }
            connection.get_ref().set_read_timeout(Some(left))?;
            match connection.read_until(b'\n', &mut text) {
                Ok(0) => bail!("the guest's connection has ended"),
                Ok(_) if text.ends_with(b"\n") => {}
                Ok(_) => continue,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let answer: Value = serde_json::from_slice(&text).unwrap_or_default();
            text.clear();
            // An answer to an earlier order that has timed out.
            if answer["n"] != number {
                continue;
            }
            return match answer["error"].as_str() {
                Some(error) => bail!("the guest: {error}"),
                None => Ok(answer),
            };
        }
    }

    /// Waits until the guest has shut down or was reset; false if it has not within `patience`.
    ///
    /// # Errors
    /// When the state of the emulator's process cannot be read.
    pub fn ends_within(&mut self, patience: Duration) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if self.emulator.try_wait()?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }

    /// Cuts the power of the guest.
    pub fn cut(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        // The emulator may have exited already.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
    }
}

/// The emulator's arguments for the system's disk.
fn system(parts: &Parts<'_>) -> Result<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let disk = parts.disk.display();
    let Some(log) = parts.log else {
        let disk = format!("file={disk},if=none,id=system,format=raw");
        return Ok(words(&["-drive", &disk]));
    };
    // Entries of an old log would be taken for entries of this one.
    fs::File::create(log).with_context(|| log.display().to_string())?;
    Ok(words(&[
        "-blockdev",
        &format!("driver=file,node-name=disk,filename={disk}"),
        "-blockdev",
        &format!("driver=file,node-name=log,filename={}", log.display()),
        "-blockdev",
        "driver=blklogwrites,node-name=system,file=disk,log=log,log-sector-size=512",
    ]))
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
