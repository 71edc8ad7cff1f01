//! The car: its files, its camera, its gamepad, its pilot and the values of its pins.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, inotify, mknodat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::fault::Seat;
use crate::film::{RUN, film};
use crate::judge::{Pulses, Sample, moves};
use crate::observed::{self, Observers};
use crate::processes::{children, comm, lives};
use crate::tty::{Drain, Shell};
use crate::{DEADLINE, FROZEN, PERIOD, PILOTAGE, RATE, load, physical, pins};

const KEY: u16 = 1;
const ABS: u16 = 3;
pub const STOP_BUTTON: u16 = 0x131;
pub const ARM_BUTTON: u16 = 0x13b;

/// A substitute for a gamepad: a pipe with the kernel's event records.
pub struct Pad(File);

impl Pad {
    fn send(&mut self, events: &[(u16, u16, i32)]) {
        let mut bytes = Vec::new();
        for (kind, code, value) in events.iter().chain([&(0, 0, 0)]) {
            bytes.extend([0; 16]);
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        self.0.write_all(&bytes).unwrap();
    }

    /// The first report, by which the gamepad is found: all axes at rest.
    fn plug_in(&mut self) {
        self.send(&[(ABS, 0, 0), (ABS, 4, 0)]);
    }

    pub fn hold(&mut self, button: u16) {
        self.send(&[(KEY, button, 1)]);
    }

    pub fn release(&mut self, button: u16) {
        self.send(&[(KEY, button, 0)]);
    }

    pub fn press(&mut self, button: u16) {
        self.hold(button);
        std::thread::sleep(Duration::from_millis(30));
        self.release(button);
    }
}

pub struct Car {
    folder: tempfile::TempDir,
    camera: Arc<AtomicU8>,
    watch: OwnedFd,
    pub pad: Pad,
    pub text: String,
    observers: Option<Observers>,
}

impl Car {
    pub fn new() -> Self {
        // In memory if possible, so that pauses of a disk are not measured.
        let shared = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        physical::write_engine(&folder.path().join("physical.engine"));
        let pipe = folder.path().join("camera.pipe");
        let pad = folder.path().join("pad");
        for pipe in [&pipe, &pad] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        let motors = pins::lay(folder.path());
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"pipe\"\ncommand = [\"cat\", {pipe:?}]\nformat = \"GREY\"\n\
             width = 640\nheight = 480\nrate = {RATE}\ntimeout_ms = 40\n\
             frozen_frames = {FROZEN}\n\
             [engine]\nfile = \"physical.engine\"\n\
             [gamepad]\ndevice = {pad:?}\n\
             [guard]\ndeadline_ms = {}\nfirst_command_ms = 5000\nsocket = {socket:?}\n\
             [guard.throttle]\nmax = 0.2\nmin = 0.0\n\
             {motors}",
            DEADLINE.as_millis(),
        );
        fs::write(folder.path().join("car.toml"), &text).unwrap();
        let camera = Arc::new(AtomicU8::new(RUN));
        {
            let camera = Arc::clone(&camera);
            std::thread::spawn(move || {
                // A camera does not wait for the processes of the computer that reads it.
                load::real_time();
                film(&pipe, PERIOD, &camera);
            });
        }
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        for channel in 0..2 {
            let file = format!("pwmchip0/pwm{channel}/duty_cycle");
            let file = folder.path().join(file);
            inotify::add_watch(&watch, file, inotify::WatchFlags::MODIFY).unwrap();
        }
        // Both ends, so that opening does not block, and the pipe never ends.
        let both = OpenOptions::new().read(true).write(true).open(pad);
        Self {
            folder,
            camera,
            watch,
            pad: Pad(both.unwrap()),
            text,
            observers: observed::asked().then(Observers::start),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("car.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder().join("guard.sock")
    }

    pub fn film(&self, what: u8) {
        self.camera.store(what, Ordering::Relaxed);
    }

    pub fn pulses(&self) -> Pulses {
        loop {
            let pulses = pins::pulses(self.folder());
            // A file that is being written is empty for a moment.
            if !pulses.contains(&1) {
                return pulses;
            }
            std::thread::yield_now();
        }
    }

    /// Records the pins until they are as `wanted`, at most for `patience`. Each change becomes a
    /// sample with the time since `since`.
    pub fn follow(
        &self,
        trace: &mut Vec<Sample>,
        since: Instant,
        patience: Duration,
        wanted: impl Fn(Pulses) -> bool,
    ) -> bool {
        let until = Instant::now() + patience;
        loop {
            let pulses = self.pulses();
            if trace.last().is_none_or(|last| last.pulses != pulses) {
                let at = since.elapsed();
                trace.push(Sample { at, pulses });
            }
            if wanted(pulses) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
            let soon = Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            let _ = poll(&mut fds, Some(&soon));
            let _ = rustix::io::read(&self.watch, &mut [0_u8; 4096]);
        }
    }

    /// A command of the program for this car.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PILOTAGE);
        command.args(arguments).arg("--car").arg(self.file());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, word: &str) -> Output {
        self.command(&[word]).output().unwrap()
    }

    /// A connection to the guard without any requests; `None` if the guard accepts none.
    pub fn connection(&self) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.unwrap();
        let address = SocketAddrUnix::new(self.socket()).unwrap();
        let connected = rustix::net::connect(&socket, &address);
        connected.is_ok().then_some(socket)
    }

    /// The process that listens at the guard's socket.
    pub fn guard(&self) -> Option<Pid> {
        let peer = rustix::net::sockopt::socket_peercred(self.connection()?);
        Some(peer.ok()?.pid)
    }

    pub fn pilot(&mut self, seat: Seat) -> Pilot {
        let pilot = match seat {
            Seat::Service => Pilot::service(self),
            Seat::Terminal => Pilot::terminal(self),
        };
        self.pad.plug_in();
        // The stop button is pressed once before the car is armed, to show that it works.
        self.pad.press(STOP_BUTTON);
        pilot
    }

    /// Lets the observers watch the drive of `pilot`, if they are asked for.
    pub fn observe(&mut self, pilot: &Pilot) {
        let Some(observers) = &mut self.observers else {
            return;
        };
        let began = Instant::now();
        loop {
            let printed = pilot.log();
            if let Some(url) = observed::address(&printed) {
                return observers.watch(Path::new(PILOTAGE), url, self.folder.path());
            }
            let late = began.elapsed() > Duration::from_secs(30);
            assert!(!late && pilot.lives(), "no page:\n{printed}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The arguments with which a pilot is observed.
    fn observed(&self) -> Vec<String> {
        match self.observers {
            Some(_) => observed::arguments(self.folder.path()),
            None => Vec::new(),
        }
    }

    /// Requests arming repeatedly until the car drives.
    pub fn arm(&self, pilot: &Pilot) {
        let began = Instant::now();
        let mut answer = None;
        let before = self.pulses();
        assert!(!moves(before), "it moves before it is armed: {before:?}");
        loop {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "never drove: {answer:?}\n{}",
                pilot.log()
            );
            answer = Some(self.run("arm"));
            let soon = Duration::from_millis(50);
            if self.follow(&mut Vec::new(), began, soon, moves) {
                return;
            }
        }
    }
}

/// `pilotage drive`.
pub struct Pilot {
    pub process: Pid,
    pub seat: Seat,
    kind: Kind,
}

enum Kind {
    Service(Child, Drain),
    Terminal(Shell),
}

impl Pilot {
    fn service(car: &Car) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = car.command(&["drive", "--json"]);
        command.args(car.observed());
        command.stdout(Stdio::null()).stderr(writer);
        let child = command.process_group(0).spawn().unwrap();
        Self {
            process: Pid::from_child(&child),
            seat: Seat::Service,
            kind: Kind::Service(child, Drain::of(reader.into())),
        }
    }

    fn terminal(car: &Car) -> Self {
        let shell = Shell::open();
        let more = car.observed().join(" ");
        shell.enter(&format!(
            "{PILOTAGE} drive --car {} {more}",
            car.file().display()
        ));
        Self {
            process: shell.job("pilotage", Duration::from_secs(30)),
            seat: Seat::Terminal,
            kind: Kind::Terminal(shell),
        }
    }

    pub fn kill(&self, signal: Signal) {
        let _ = kill_process(self.process, signal);
    }

    pub fn kill_group(&self, signal: Signal) {
        let _ = kill_process_group(self.process, signal);
    }

    pub fn lives(&self) -> bool {
        lives(self.process)
    }

    /// The shell in whose foreground the pilot runs.
    pub fn shell(&self) -> &Shell {
        match &self.kind {
            Kind::Terminal(shell) => shell,
            Kind::Service(..) => panic!("it runs in no terminal"),
        }
    }

    /// Closes the reader of its standard error.
    pub fn close_stderr(&self) {
        if let Kind::Service(_, stderr) = &self.kind {
            stderr.close();
        }
    }

    /// The camera's command, a child of the pilot.
    pub fn camera(&self) -> Option<Pid> {
        let mut children = children(self.process).into_iter();
        children.find(|&child| comm(child).as_deref() == Some("cat"))
    }

    /// The last lines that it printed.
    pub fn log(&self) -> String {
        let all = match &self.kind {
            Kind::Service(_, stderr) => stderr.text(),
            Kind::Terminal(shell) => shell.text(),
        };
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.kill_group(Signal::KILL);
        self.kill(Signal::KILL);
        if let Kind::Service(child, _) = &mut self.kind {
            let _ = child.wait();
        }
    }
}
