//! Terminals for tests: an interactive shell with job control on a pseudo-terminal, as a user at a
//! console or over ssh has it, and pipes whose reader can disconnect.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "no test uses all of it, and tests fail by panicking"
)]

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::processes::{children, comm};

/// The characters of the terminal's keys.
pub const INTERRUPT: u8 = 0x03;
pub const QUIT: u8 = 0x1C;
pub const SUSPEND: u8 = 0x1A;

/// Reads everything from a descriptor until either side closes it.
pub struct Drain {
    source: Arc<Mutex<Option<OwnedFd>>>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Drain {
    pub fn of(source: OwnedFd) -> Self {
        let flags = fcntl_getfl(&source).unwrap();
        fcntl_setfl(&source, flags | OFlags::NONBLOCK).unwrap();
        let drain = Self {
            source: Arc::new(Mutex::new(Some(source))),
            text: Arc::default(),
        };
        let (source, text) = (Arc::clone(&drain.source), Arc::clone(&drain.text));
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            loop {
                let read = match &*lock(&source) {
                    Some(source) => rustix::io::read(source, &mut bytes),
                    None => return,
                };
                match read {
                    // The end of a pipe, and of a pseudo-terminal.
                    Ok(0) | Err(rustix::io::Errno::IO) => return,
                    Ok(length) => lock(&text).extend(&bytes[..length]),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        drain
    }

    /// Closes this end: writers get EPIPE, a terminal hangs up.
    pub fn close(&self) {
        drop(lock(&self.source).take());
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.text)).replace('\r', "")
    }

    fn write(&self, bytes: &[u8]) {
        if let Some(source) = &*lock(&self.source) {
            rustix::io::write(source, bytes).unwrap();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An interactive bash with a terminal of its own. When this is dropped, it is killed with its
/// jobs.
pub struct Shell {
    shell: Child,
    terminal: Drain,
}

impl Shell {
    pub fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let name = Path::new(OsStr::from_bytes(name.as_bytes()));
        let open = || {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = File::options();
            let no_controlling = OFlags::NOCTTY.bits().cast_signed();
            options.read(true).write(true).custom_flags(no_controlling);
            Stdio::from(options.open(name).unwrap())
        };
        // util-linux, on every Debian: a new session with the terminal as its controlling terminal.
        let mut command = Command::new("setsid");
        command
            .args([
                "--ctty",
                "bash",
                "--norc",
                "--noprofile",
                "--noediting",
                "-i",
            ])
            .env("PS1", "$ ")
            .env("TERM", "dumb");
        command.stdin(open()).stdout(open()).stderr(open());
        let shell = command.spawn().unwrap();
        // The command holds the terminal's other end; while that is open, nothing hangs up.
        drop(command);
        let shell = Self {
            shell,
            terminal: Drain::of(terminal),
        };
        shell.enter("ulimit -c 0");
        shell
    }

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.terminal.write(format!("{line}\n").as_bytes());
    }

    /// Presses a key.
    pub fn press(&self, key: u8) {
        self.terminal.write(&[key]);
    }

    /// Closes the terminal's window.
    pub fn hang_up(&self) {
        self.terminal.close();
    }

    /// Sends a signal to the shell itself.
    pub fn kill(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.shell), signal);
    }

    /// All text that appeared on the terminal.
    pub fn text(&self) -> String {
        self.terminal.text()
    }

    /// Waits until the terminal shows `what`.
    pub fn wait_for(&self, what: &str, patience: Duration) {
        let began = Instant::now();
        while !self.text().contains(what) {
            let text = self.text();
            assert!(began.elapsed() < patience, "no {what:?} in {text:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the shell runs a program of this name; returns the leader of its job's group.
    pub fn job(&self, name: &str, patience: Duration) -> Pid {
        let began = Instant::now();
        loop {
            let found = children(Pid::from_child(&self.shell))
                .into_iter()
                .find(|&child| comm(child).as_deref() == Some(name));
            if let Some(job) = found {
                return job;
            }
            let text = self.text();
            assert!(began.elapsed() < patience, "no {name} runs: {text:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for job in children(Pid::from_child(&self.shell)) {
            let _ = kill_process_group(job, Signal::KILL);
            let _ = kill_process(job, Signal::KILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.terminal.close();
    }
}
