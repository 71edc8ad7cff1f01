//! A physical car with pins that are files, and its programs.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::pins::{self, FAILSAFE};
use crate::processes::{lives, processes_with};
use crate::{DEADLINE, PILOTAGE, SLACK, START, physical, wait};

/// A car with pins that are files, and a folder of pictures as its camera.
pub struct Car {
    pub folder: tempfile::TempDir,
}

impl Car {
    pub fn new() -> Self {
        guard_program();
        let folder = tempfile::tempdir().unwrap();
        physical::write_engine(&folder.path().join("physical.engine"));
        let pictures = folder.path().join("pictures");
        fs::create_dir(&pictures).unwrap();
        for shade in 0..4_u8 {
            let of = |x, y| image::Rgb([x as u8, y as u8, 60 * shade]);
            let picture = image::RgbImage::from_fn(640, 480, of);
            picture.save(pictures.join(format!("{shade}.png"))).unwrap();
        }
        let motors = pins::lay(folder.path());
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 30\n\
             [engine]\nfile = \"physical.engine\"\n\
             [guard]\ndeadline_ms = {}\nfirst_command_ms = 5000\nsocket = {socket:?}\n\
             [guard.throttle]\nmax = 0.2\nmin = 0.0\n{motors}",
            DEADLINE.as_millis(),
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    pub fn drive(&self) -> String {
        format!("{PILOTAGE} drive --car {}", self.file().display())
    }

    pub fn pulses(&self) -> [u32; 2] {
        loop {
            let pulses = pins::pulses(self.folder.path());
            // A file that is being written is empty for a moment.
            if !pulses.contains(&1) {
                return pulses;
            }
        }
    }

    pub fn moves(&self) -> bool {
        self.pulses()[1] > FAILSAFE[1]
    }

    /// Arms the car until it drives.
    pub fn arm(&self) {
        let began = Instant::now();
        let mut answer = None;
        while !self.moves() {
            assert!(began.elapsed() < START, "it does not drive: {answer:?}");
            let mut arm = Command::new(PILOTAGE);
            let arm = arm.args(["arm", "--car"]).arg(self.file()).output();
            answer = Some(arm.unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks that the car stops within its deadline, and stays stopped for two more.
    pub fn stops_and_stays_stopped(&self, what: &str, is_stopped: impl Fn([u32; 2]) -> bool) {
        let struck = Instant::now();
        while !is_stopped(self.pulses()) {
            let took = struck.elapsed();
            assert!(took < DEADLINE + SLACK, "{what}: {:?}", self.pulses());
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{what}: stopped after {:?}", struck.elapsed());
        self.stays(what);
    }

    pub fn stays(&self, what: &str) {
        let began = Instant::now();
        while began.elapsed() < DEADLINE * 2 {
            assert!(rests(self.pulses()), "{what}: {:?}", self.pulses());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all programs of this car have ended.
    pub fn all_end(&self, what: &str) {
        wait(what, || {
            !processes_with(&self.file()).into_iter().any(lives)
        });
    }
}

/// Whether each channel holds its failsafe or its disarmed value.
pub fn rests(pulses: [u32; 2]) -> bool {
    (0..2).all(|channel| [0, FAILSAFE[channel]].contains(&pulses[channel]))
}

pub fn fails_safe(pulses: [u32; 2]) -> bool {
    pulses == FAILSAFE
}

fn guard_program() {
    let guard = Path::new(PILOTAGE).with_file_name("pilotage-guard");
    assert!(
        guard.is_file(),
        "{} is missing: `cargo build -p pilotage-guard` builds it (with --release beside a \
         release build)",
        guard.display()
    );
}

/// A process group that is killed when a test fails.
pub struct Running(pub Child);

impl Running {
    /// Starts a drive in the background, in a process group of its own.
    pub fn drive(car: &Car) -> Self {
        let mut drive = Command::new(PILOTAGE);
        drive.args(["drive", "--json", "--car"]).arg(car.file());
        drive.stdin(Stdio::null()).stdout(Stdio::null());
        let drive = drive.stderr(Stdio::null()).process_group(0);
        Self(drive.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
