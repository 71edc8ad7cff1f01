//! `pilotage drive` in the foreground of a terminal: each key that sends a signal, the end of the
//! terminal, and signals to the whole process group. The guard must not depend on what happens to
//! the pilot's terminal.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

#[path = "support/physical.rs"]
mod physical;
#[path = "support/pins.rs"]
mod pins;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/tty.rs"]
mod tty;

use pins::FAILSAFE;
use processes::{children, comm, lives, processes_with, state};
use tty::{INTERRUPT, QUIT, SUSPEND, Shell};

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

const DEADLINE: Duration = Duration::from_millis(150);
/// Delays of a busy machine must not count as a guard's fault.
const SLACK: Duration = Duration::from_millis(100);
/// The limit for the end of a program that ends by itself.
const SOON: Duration = Duration::from_secs(2);
/// The start-up limit of a program in a debug build.
const START: Duration = Duration::from_secs(30);

/// Messages that only a guard that failed by itself may cause.
const ALARMS: [&str; 3] = ["died or froze", "the guard is gone", "panicked"];

/// A car with pins that are files, and a folder of pictures as its camera.
struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new() -> Self {
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

    fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    fn drive(&self) -> String {
        format!("{PILOTAGE} drive --car {}", self.file().display())
    }

    fn pulses(&self) -> [u32; 2] {
        loop {
            let pulses = pins::pulses(self.folder.path());
            // A file that is being written is empty for a moment.
            if !pulses.contains(&1) {
                return pulses;
            }
        }
    }

    fn moves(&self) -> bool {
        self.pulses()[1] > FAILSAFE[1]
    }

    /// Arms the car until it drives.
    fn arm(&self) {
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
    fn stops_and_stays_stopped(&self, what: &str, is_stopped: impl Fn([u32; 2]) -> bool) {
        let struck = Instant::now();
        while !is_stopped(self.pulses()) {
            let took = struck.elapsed();
            assert!(took < DEADLINE + SLACK, "{what}: {:?}", self.pulses());
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{what}: stopped after {:?}", struck.elapsed());
        self.stays(what);
    }

    fn stays(&self, what: &str) {
        let began = Instant::now();
        while began.elapsed() < DEADLINE * 2 {
            assert!(rests(self.pulses()), "{what}: {:?}", self.pulses());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all programs of this car have ended.
    fn all_end(&self, what: &str) {
        wait(what, || {
            !processes_with(&self.file()).into_iter().any(lives)
        });
    }
}

/// Whether each channel holds its failsafe or its disarmed value.
fn rests(pulses: [u32; 2]) -> bool {
    (0..2).all(|channel| [0, FAILSAFE[channel]].contains(&pulses[channel]))
}

fn fails_safe(pulses: [u32; 2]) -> bool {
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

fn wait(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a drive in a shell's foreground; returns the shell and the process.
fn at_a_terminal(car: &Car) -> (Shell, Pid) {
    let shell = Shell::open();
    shell.enter(&car.drive());
    let pilot = shell.job("pilotage", START);
    car.arm();
    // Let the car drive.
    std::thread::sleep(DEADLINE);
    (shell, pilot)
}

fn calm(text: &str) {
    for alarm in ALARMS {
        assert!(!text.contains(alarm), "{alarm:?} in:\n{text}");
    }
}

#[test]
fn ctrl_c_disarms_a_real_car_and_says_so_in_one_calm_line() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    let before = shell.text().len();
    shell.press(INTERRUPT);
    car.stops_and_stays_stopped("Ctrl-C", rests);
    car.all_end("Ctrl-C: pilot and guard end");
    shell.enter("echo \"status=$?\"");
    shell.wait_for("status=0", SOON);
    let text = shell.text()[before..].to_owned();
    calm(&text);
    assert_eq!(text.matches("the car is disarmed").count(), 1, "{text}");
    assert_eq!(text.matches("error").count(), 0, "{text}");
}

#[test]
fn ctrl_z_stops_a_real_car_that_stands_still_when_the_pilot_goes_on() {
    let car = Car::new();
    let (shell, pilot) = at_a_terminal(&car);
    shell.press(SUSPEND);
    car.stops_and_stays_stopped("Ctrl-Z", fails_safe);
    assert_eq!(state(pilot), Some('T'));
    shell.enter("fg");
    wait("it goes on", || state(pilot) != Some('T'));
    car.stays("Ctrl-Z, then `fg`");
    // It is the same drive, and can be armed again.
    car.arm();
    calm(&shell.text());
}

#[test]
fn ctrl_backslash_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.press(QUIT);
    car.stops_and_stays_stopped(r"Ctrl-\", fails_safe);
    car.all_end(r"Ctrl-\: pilot and guard end");
    calm(&shell.text());
}

#[test]
fn a_terminal_that_is_closed_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.hang_up();
    car.stops_and_stays_stopped("the terminal is closed", rests);
    car.all_end("the terminal is closed: pilot and guard end");
}

#[test]
fn a_shell_that_is_killed_stops_a_real_car() {
    let car = Car::new();
    let (shell, _) = at_a_terminal(&car);
    shell.kill(Signal::KILL);
    car.stops_and_stays_stopped("the shell is killed", rests);
    car.all_end("the shell is killed: pilot and guard end");
}

/// A process group that is killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn signals_to_the_whole_process_group_stop_a_real_car() {
    let ends = [
        (Signal::INT, true),
        (Signal::TERM, true),
        (Signal::HUP, true),
        (Signal::QUIT, false),
        (Signal::USR1, false),
        (Signal::USR2, false),
        (Signal::ALARM, false),
        (Signal::ABORT, false),
        (Signal::KILL, false),
        (Signal::STOP, false),
    ];
    for (signal, orderly) in ends {
        let car = Car::new();
        let mut drive = Command::new(PILOTAGE);
        drive.args(["drive", "--json", "--car"]).arg(car.file());
        drive.stdin(Stdio::null()).stdout(Stdio::null());
        let drive = drive.stderr(Stdio::null()).process_group(0);
        let mut pilot = Running(drive.spawn().unwrap());
        let group = Pid::from_child(&pilot.0);
        car.arm();
        kill_process_group(group, signal).unwrap();
        let what = format!("{signal:?} to the group");
        match orderly {
            true => car.stops_and_stays_stopped(&what, rests),
            false => car.stops_and_stays_stopped(&what, fails_safe),
        }
        kill_process_group(group, Signal::CONT).unwrap_or_default();
        car.stays(&what);
        let _ = kill_process_group(group, Signal::KILL);
        pilot.0.wait().unwrap();
        car.all_end(&what);
    }
}

#[test]
fn a_signal_to_the_guard_alone_stops_a_real_car() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::PIPE,
        Signal::ABORT,
        Signal::KILL,
    ] {
        let car = Car::new();
        let mut drive = Command::new(PILOTAGE);
        drive.args(["drive", "--json", "--car"]).arg(car.file());
        drive.stdin(Stdio::null()).stdout(Stdio::null());
        let drive = drive.stderr(Stdio::null()).process_group(0);
        let mut pilot = Running(drive.spawn().unwrap());
        let group = Pid::from_child(&pilot.0);
        car.arm();
        let socket = rustix::net::SocketAddrUnix::new(car.folder.path().join("guard.sock"));
        let connection = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        rustix::net::connect(&connection, &socket.unwrap()).unwrap();
        let guard = rustix::net::sockopt::socket_peercred(&connection)
            .unwrap()
            .pid;
        assert_ne!(guard, group);
        rustix::process::kill_process(guard, signal).unwrap();
        // A broken pipe is a client's, and must not make the guard stop the car or end.
        if signal == Signal::PIPE {
            std::thread::sleep(DEADLINE);
            let _ = kill_process_group(group, Signal::KILL);
        }
        car.stops_and_stays_stopped(&format!("{signal:?} to the guard"), rests);
        let _ = kill_process_group(group, Signal::KILL);
        pilot.0.wait().unwrap();
        car.all_end("the guard got a signal");
    }
}

/// Starts a drive of the simulated car on the wall clock, at a terminal; returns its pilot and its
/// guard.
fn simulated() -> (Shell, Pid, Pid) {
    let shell = Shell::open();
    shell.enter(&format!("{PILOTAGE} drive --pace real --time-limit 60"));
    let pilot = shell.job("pilotage", START);
    let began = Instant::now();
    let guard = loop {
        let child = children(pilot).into_iter().next();
        if let Some(guard) = child.filter(|&child| is_ours(child)) {
            break guard;
        }
        assert!(began.elapsed() < START, "no guard: {}", shell.text());
        std::thread::sleep(Duration::from_millis(5));
    };
    // Let it take some frames.
    std::thread::sleep(Duration::from_millis(700));
    (shell, pilot, guard)
}

fn is_ours(process: Pid) -> bool {
    comm(process).is_some_and(|name| name.starts_with("pilotage"))
}

#[test]
fn ctrl_c_ends_a_simulated_drive_in_one_calm_line() {
    let (shell, pilot, guard) = simulated();
    let before = shell.text().len();
    shell.press(INTERRUPT);
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    shell.enter("echo \"status=$?\"");
    // The laps are not complete: status 1, or the shell's status for a signal.
    shell.wait_for("status=1", SOON);
    let text = shell.text()[before..].to_owned();
    calm(&text);
    assert_eq!(text.matches("the car is disarmed").count(), 1, "{text}");
}

#[test]
fn ctrl_backslash_ends_a_simulated_drive_and_its_guard() {
    let (shell, pilot, guard) = simulated();
    shell.press(QUIT);
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    calm(&shell.text());
}

#[test]
fn a_terminal_that_is_closed_ends_a_simulated_drive_and_its_guard() {
    let (shell, pilot, guard) = simulated();
    shell.hang_up();
    wait("the pilot ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
}

#[test]
fn ctrl_z_stops_the_simulated_car_as_it_stops_a_real_one() {
    let (shell, pilot, guard) = simulated();
    shell.press(SUSPEND);
    wait("the pilot is stopped", || state(pilot) == Some('T'));
    // The guard has a session of its own, so that it survives to stop the car.
    assert_ne!(
        state(guard),
        Some('T'),
        "the guard was stopped with its pilot"
    );
    std::thread::sleep(SOON);
    let before = shell.text().len();
    shell.enter("fg");
    wait("the drive ends", || !lives(pilot));
    wait("its guard ends", || !lives(guard));
    let text = shell.text()[before..].to_owned();
    assert!(text.contains("the guard stopped the car"), "{text}");
    calm(&text);
}

#[test]
fn timeout_ends_a_drive_without_an_alarm() {
    let ended = |words: &[&str]| {
        let mut timeout = Command::new("timeout");
        timeout.arg("2").arg(PILOTAGE).args(words);
        timeout.stdin(Stdio::null()).stdout(Stdio::null());
        let ended = timeout.output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        // The exit status of timeout itself.
        assert_eq!(ended.status.code(), Some(124), "{text}");
        assert_eq!(ended.status.signal(), None);
        calm(&text);
        assert!(text.contains("the car is disarmed"), "{text}");
    };
    ended(&["drive", "--pace", "real", "--time-limit", "60"]);
    let car = Car::new();
    ended(&["drive", "--car", car.file().to_str().unwrap()]);
    car.all_end("pilot and guard end");
    assert!(rests(car.pulses()), "{:?}", car.pulses());
}

/// A car that is driven by a program in the background, and that is disarmed.
fn ready_to_be_armed() -> (Car, Running) {
    let car = Car::new();
    let mut drive = Command::new(PILOTAGE);
    drive.args(["drive", "--json", "--car"]).arg(car.file());
    drive.stdin(Stdio::null()).stdout(Stdio::null());
    let drive = drive.stderr(Stdio::null()).process_group(0);
    let pilot = Running(drive.spawn().unwrap());
    car.arm();
    let mut disarm = Command::new(PILOTAGE);
    let disarm = disarm.args(["disarm", "--car"]).arg(car.file());
    assert!(disarm.status().unwrap().success());
    assert!(rests(car.pulses()));
    (car, pilot)
}

/// Starts `pilotage arm --while-held` in a shell, and holds the space bar until the car drives.
fn held_until_it_drives(car: &Car) -> Shell {
    let shell = Shell::open();
    shell.enter(&format!(
        "{PILOTAGE} arm --while-held --car {}; echo \"status=$?\"",
        car.file().display()
    ));
    shell.wait_for("hold a key down", START);
    assert!(rests(car.pulses()), "nothing is armed without a key");
    let began = Instant::now();
    while !car.moves() {
        assert!(
            began.elapsed() < START,
            "it does not drive: {}",
            shell.text()
        );
        shell.press(b' ');
        std::thread::sleep(Duration::from_millis(30));
    }
    shell
}

#[test]
fn a_car_that_is_armed_while_a_key_is_held_stops_when_it_is_released() {
    let (car, _pilot) = ready_to_be_armed();
    let shell = held_until_it_drives(&car);
    // It drives on for as long as the key repeats.
    for _ in 0..50 {
        shell.press(b' ');
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(car.moves(), "{}", shell.text());
    // The same from here as a connection that is lost: no more keys arrive.
    wait("released, it stops", || fails_safe(car.pulses()));
    shell.wait_for("released: stopped", SOON);
    shell.wait_for("status=0", SOON);
    car.stays("released");
}

#[test]
fn a_car_that_is_armed_while_a_key_is_held_stops_when_the_program_dies() {
    let (car, _pilot) = ready_to_be_armed();
    for signal in [Signal::KILL, Signal::STOP, Signal::INT] {
        let shell = held_until_it_drives(&car);
        let arm = shell.job("pilotage", SOON);
        rustix::process::kill_process(arm, signal).unwrap();
        wait("it stops", || fails_safe(car.pulses()));
        car.stays("the program that armed it died");
    }
    let shell = held_until_it_drives(&car);
    shell.hang_up();
    wait("the terminal is closed", || fails_safe(car.pulses()));
}
