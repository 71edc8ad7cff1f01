//! `pilotage-guard` itself, over PWM pins that are files in a folder: whatever becomes of
//! it, the pins hold what they must.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test prints what it measured"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use pilotage_guard::{
    Domain, GuardedCar, Link, LinkError, Record, Refusal, SocketLink, State, StopReason, Stopped,
    monotonic,
};
use pilotage_vehicle::Command as Drive;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};

#[path = "../../../tests/pins/mod.rs"]
mod pins;

use pins::FAILSAFE;

const GUARD: &str = env!("CARGO_BIN_EXE_pilotage-guard");

const DISARMED: [u32; 2] = [0, 0];

/// A car in a folder, with failsafe and disarmed values that can be told apart.
struct Car {
    folder: tempfile::TempDir,
}

impl Car {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let motors = pins::lay(folder.path());
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \".\"\nrate = 50\n\
             [guard]\ndeadline_ms = 400\nfirst_command_ms = 5000\nsocket = {socket:?}\n\
             {motors}"
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    fn settings(&self) -> GuardedCar {
        GuardedCar::load(&self.file()).unwrap()
    }

    /// Steering's and throttle's pulses, nanoseconds.
    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    fn guard(&self, more: &[&str]) -> Running {
        let mut command = self.command(more);
        Running(command.spawn().unwrap())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(GUARD);
        command.arg("--car").arg(self.file()).args(more);
        command.stdin(Stdio::null());
        command
    }

    fn connect(&self) -> SocketLink {
        let socket = self.settings().socket;
        let mut link = None;
        wait_for(START, "the guard listens", || {
            link = SocketLink::connect(&socket).ok();
            link.is_some()
        });
        link.unwrap()
    }

    /// Drives ahead until the motors say so.
    fn drive(&self, link: &mut SocketLink) {
        let car = self.settings().identification();
        link.hello(Domain::Physical, &car).unwrap();
        self.arm(link);
    }

    /// Arms as an operator does, and drives as the pilot.
    fn arm(&self, link: &mut SocketLink) {
        self.connect().arm_pilot().unwrap();
        let mut sequence = 0;
        wait_for(START, "the car drives", || {
            sequence += 1;
            let command = Drive {
                steering: 0.5,
                throttle: 0.5,
                captured: monotonic(),
                sequence,
            };
            link.send_at(monotonic(), command).unwrap();
            self.pulses() == [1_700_000, 1_750_000]
        });
    }
}

struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn ended(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        wait("the guard ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program has started by then on a busy machine.
const START: Duration = Duration::from_secs(30);
/// What is to be prompt is done by then, whatever else the machine does.
const PROMPT: Duration = Duration::from_secs(2);

fn wait(what: &str, done: impl FnMut() -> bool) {
    wait_for(PROMPT, what, done);
}

fn wait_for(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_starts_disarmed_and_a_term_signal_leaves_it_so() {
    let car = Car::new();
    let pin = car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    // What a dead guard left behind.
    fs::write(pin, "1900000\n").unwrap();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Disarmed);
    assert_eq!(car.pulses(), DISARMED);
    car.drive(&mut link);
    guard.kill(Signal::TERM);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), DISARMED);
    assert!(!car.settings().socket.exists());
}

#[test]
fn it_takes_little_memory() {
    let car = Car::new();
    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let file = format!("/proc/{}/status", guard.pid().as_raw_nonzero());
    let status = fs::read_to_string(file).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.and_then(|most| most.trim().strip_suffix(" kB"));
    let kilobytes: u32 = most.unwrap().parse().unwrap();
    println!("at most {kilobytes} kB resident");
    assert!(kilobytes <= 5 * 1024, "{kilobytes} kB");
}

#[test]
fn a_killed_guard_is_followed_by_failsafe() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    guard.kill(Signal::KILL);
    guard.ended();
    assert_ne!(car.pulses(), FAILSAFE, "nobody has written it yet");
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
    // What is left of the dead one does not keep the next from starting.
    let _again = car.guard(&[]);
    let mut link = car.connect();
    link.refresh().unwrap();
    assert_eq!(link.status().state, State::Disarmed, "no restart arms");
    assert_eq!(car.pulses(), DISARMED);
}

#[test]
fn a_frozen_guard_that_nobody_watches_is_killed_at_its_deadline() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let deadline = car.settings().limits.spec().deadline;
    let frozen = Instant::now();
    guard.kill(Signal::STOP);
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
    let took = frozen.elapsed();
    println!("killed after {took:?}");
    assert!(took <= deadline + deadline / 2, "{took:?}");
}

#[test]
fn the_service_manager_is_told_the_deadline_and_that_it_lives() {
    let car = Car::new();
    let path = car.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut command = car.command(&[]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "1000000");
    let _guard = Running(command.spawn().unwrap());
    let hear = || {
        let mut said = [0; 64];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8(said[..length].to_vec()).unwrap()
    };
    let said = [hear(), hear(), hear(), hear()];
    assert_eq!(
        said,
        [
            "WATCHDOG_USEC=400000",
            "READY=1",
            "WATCHDOG=1",
            "WATCHDOG=1"
        ]
    );
}

#[test]
fn there_is_one_writer() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let second = car.command(&[]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let text = message(&second);
    assert!(text.contains("another guard holds it"), "{text}");
}

#[test]
fn failsafe_takes_over_from_a_guard_that_runs() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn failsafe_and_stop_need_no_car_toml() {
    let good = fs::read_to_string(Car::new().file()).unwrap();
    type Edit = fn(&str) -> String;
    let broken: [(&str, Edit); 5] = [
        ("half a key", |good| format!("{good}\nneutral_u")),
        ("empty", |_| String::new()),
        ("out of range", |good| {
            good.replace("rate = 50", "rate = -3")
        }),
        ("another socket", |good| {
            good.replace("guard.sock", "guard2.sock")
        }),
        ("other motors", |good| {
            good.replace("\"pwm\"", "\"dry-run\"")
        }),
    ];
    assert!(good.contains("rate = 50"));
    for (what, edit) in broken {
        let car = Car::new();
        let good = fs::read_to_string(car.file()).unwrap();
        let mut guard = car.guard(&[]);
        let mut link = car.connect();
        car.drive(&mut link);
        fs::write(car.file(), edit(&good)).unwrap();
        let Ok(Stopped::ByGuard { status, .. }) = stop(&car) else {
            panic!("{what}: the guard answers");
        };
        assert_eq!(status.state.stopped(), Some(StopReason::Person), "{what}");
        assert_eq!(car.pulses(), FAILSAFE, "{what}");

        fs::write(car.file(), &good).unwrap();
        car.arm(&mut link);
        fs::write(car.file(), edit(&good)).unwrap();
        guard.kill(Signal::KILL);
        guard.ended();
        let written = car.command(&["--failsafe"]).output().unwrap();
        assert!(written.status.success(), "{what}: {}", message(&written));
        assert_eq!(car.pulses(), FAILSAFE, "{what}");
        let _ = fs::remove_file(&Record::of(&car.file())[0].path);
    }
}

#[test]
fn a_stop_needs_no_socket_file() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    fs::remove_file(&car.settings().socket).unwrap();
    let stopped = stop(&car).unwrap();
    assert!(
        matches!(
            stopped,
            Stopped::WithoutGuard {
                killed: Some(_),
                ..
            }
        ),
        "{stopped:?}"
    );
    assert_eq!(car.pulses(), FAILSAFE);
    guard.ended();
}

#[test]
fn a_foreign_lock_on_the_pins_keeps_nobody_from_failsafe() {
    let car = Car::new();
    let pin = car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    let held = fs::File::open(pin).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    guard.kill(Signal::KILL);
    guard.ended();
    let written = car.command(&["--failsafe"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn a_file_that_is_not_a_socket_is_kept() {
    let car = Car::new();
    let precious = car.settings().socket;
    fs::write(&precious, "a season's recordings").unwrap();
    let refused = car.command(&[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let text = message(&refused);
    assert!(text.contains("does not replace"), "{text}");
    assert_eq!(
        fs::read_to_string(&precious).unwrap(),
        "a season's recordings"
    );
}

#[test]
fn each_signal_that_ends_a_process_leaves_the_car_stopped() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
    ] {
        let car = Car::new();
        let mut guard = car.guard(&[]);
        car.drive(&mut car.connect());
        guard.kill(signal);
        assert!(guard.ended().success(), "{signal:?}");
        assert_eq!(car.pulses(), DISARMED, "{signal:?}");
    }
    for signal in [Signal::TSTP, Signal::PIPE] {
        let car = Car::new();
        let guard = car.guard(&[]);
        let mut link = car.connect();
        car.drive(&mut link);
        guard.kill(signal);
        wait("its deadline holds", || car.pulses() == FAILSAFE);
        link.refresh().unwrap();
        assert_eq!(link.status().state.stopped(), Some(StopReason::Deadline));
    }
}

#[test]
fn a_trim_value_lasts_only_while_it_is_confirmed() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    let identification = car.settings().identification();
    link.hello_to_trim(&identification).unwrap();
    let point = pilotage_guard::Point::Neutral;
    link.trim(point, 1800).unwrap();
    assert_eq!(car.pulses()[1], 1_800_000, "the motor gets what is tried");
    for _ in 0..20 {
        link.trim(point, 1800).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(car.pulses()[1], 1_800_000, "while it is confirmed");
    wait("it ends", || car.pulses() == FAILSAFE);
    // A stop ends it for good, and the end of its connection at once.
    link.disarm(monotonic()).unwrap();
    link.trim(point, 1800).unwrap();
    let Ok(Stopped::ByGuard { .. }) = stop(&car) else {
        panic!("the guard answers");
    };
    assert_eq!(car.pulses(), FAILSAFE);
    let refused = Err(LinkError::Refused(Refusal::NotTrimming));
    assert_eq!(link.trim(point, 1800), refused);
    assert_eq!(car.pulses(), FAILSAFE);
    link.disarm(monotonic()).unwrap();
    link.trim(point, 1800).unwrap();
    drop(link);
    wait("it ends with its connection", || car.pulses() == FAILSAFE);
}

fn stop(car: &Car) -> Result<Stopped, pilotage_guard::StopError> {
    pilotage_guard::stop(&car.file(), |file| {
        let mut failsafe = Command::new(GUARD);
        failsafe.args(["--failsafe", "--car"]).arg(file);
        let done = failsafe.output().unwrap();
        assert!(done.status.success(), "{}", message(&done));
        Ok(())
    })
}

#[test]
fn the_pilot_that_started_it_is_its_life() {
    let car = Car::new();
    let (mut guard, mut link) = watched(&car);
    car.drive(&mut link);
    drop(link);
    assert!(guard.ended().success());
    assert_eq!(car.pulses(), FAILSAFE);
}

/// A guard that a pilot started, with its watcher, and the pilot's connection.
fn watched(car: &Car) -> (Running, SocketLink) {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let mut command = car.command(&["--pilot-on-stdin"]);
    command.stdin(Stdio::from(theirs));
    let watcher = Running(command.spawn().unwrap());
    drop(command);
    // Others may come and go.
    drop(car.connect());
    (watcher, SocketLink::over(ours))
}

#[test]
fn a_watcher_writes_failsafe_when_the_guard_dies_or_freezes() {
    for signal in [Signal::KILL, Signal::STOP, Signal::SEGV, Signal::ABORT] {
        let car = Car::new();
        let (mut watcher, mut link) = watched(&car);
        car.drive(&mut link);
        let guard = car.connect().process().unwrap();
        assert_ne!(guard, watcher.pid(), "two processes");
        kill_process(guard, signal).unwrap();
        if signal == Signal::SEGV {
            // Rust's handler takes the first to be a fault that will come again by itself.
            std::thread::sleep(Duration::from_millis(5));
            let _ = kill_process(guard, signal);
        }
        assert_eq!(watcher.ended().code(), Some(1), "{signal:?}");
        assert_eq!(car.pulses(), FAILSAFE, "{signal:?}");
    }
}

#[test]
fn a_guard_ends_in_order_when_its_watcher_dies() {
    let car = Car::new();
    let (watcher, mut link) = watched(&car);
    car.drive(&mut link);
    watcher.kill(Signal::KILL);
    wait("the guard ends", || car.pulses() == DISARMED);
    wait("its connection closes", || link.is_gone());
}

/// The process group and the session of `process`, both 0 where they are outside this PID
/// namespace (in a container): fields 5 and 6 of /proc/PID/stat (proc(5)).
fn group_and_session(process: &str) -> (u32, u32) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let mut fields = fields.split_whitespace().skip(2);
    let mut next = || fields.next().unwrap().parse().unwrap();
    (next(), next())
}

#[test]
fn a_guard_that_a_pilot_started_is_in_no_session_of_its_pilots() {
    let car = Car::new();
    let (watcher, link) = watched(&car);
    let guard = car.connect().process().unwrap();
    let (own_group, own_session) = group_and_session("self");
    for process in [watcher.pid(), guard] {
        let (group, session) = group_and_session(&process.as_raw_nonzero().to_string());
        assert_ne!(session, own_session);
        assert_ne!(group, own_group);
    }
    drop(link);
}

#[test]
fn a_stop_needs_no_guard_that_answers() {
    let car = Car::new();
    let nobody = stop(&car).unwrap();
    assert!(
        matches!(nobody, Stopped::WithoutGuard { killed: None, .. }),
        "{nobody:?}"
    );
    assert_eq!(car.pulses(), FAILSAFE);

    let guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let Ok(Stopped::ByGuard { status, .. }) = stop(&car) else {
        panic!("the guard answers");
    };
    assert_eq!(status.state.stopped(), Some(StopReason::Person));
    assert_eq!(status.failure, None);
    assert_eq!(car.pulses(), FAILSAFE);

    car.arm(&mut link);
    guard.kill(Signal::STOP);
    let stopped = stop(&car).unwrap();
    let Stopped::WithoutGuard { killed, .. } = stopped else {
        panic!("{stopped:?}");
    };
    assert_eq!(killed, Some(guard.pid().as_raw_nonzero().get()));
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn a_pilot_that_falls_silent_is_stopped_by_it() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    // No word more, the line still open.
    wait("the motors stand", || car.pulses() == FAILSAFE);
    link.refresh().unwrap();
    assert_eq!(link.status().state.stopped(), Some(StopReason::Deadline));
}

#[test]
fn a_pin_that_another_changes_stops_the_car() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    let identification = car.settings().identification();
    link.hello(Domain::Physical, &identification).unwrap();
    car.connect().arm_pilot().unwrap();
    let pin: &Path = &car.folder.path().join("pwmchip0/pwm1/duty_cycle");
    let mut sequence = 0;
    let mut changed = false;
    // Settings are read back each second.
    wait_for(2 * PROMPT, "the guard sees it", || {
        sequence += 1;
        let command = Drive {
            steering: 0.5,
            throttle: 0.5,
            captured: monotonic(),
            sequence,
        };
        link.send_at(monotonic(), command).unwrap();
        if !changed && car.pulses() == [1_700_000, 1_750_000] {
            fs::write(pin, "1999000\n").unwrap();
            changed = true;
        }
        let stopped = link.status().state.stopped();
        stopped == Some(StopReason::Fault(pilotage_guard::Fault::Actuator))
    });
    wait("the motors stand", || car.pulses() == FAILSAFE);
}

#[test]
fn what_cannot_be_is_said() {
    let car = Car::new();
    let unknown = Command::new(GUARD).arg("--arm").output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        message(&unknown).contains("--help"),
        "{}",
        message(&unknown)
    );
    let nobody = car.command(&["--allow", "nobody-of-that-name"]).output();
    let nobody = nobody.unwrap();
    assert!(
        message(&nobody).contains("/etc/passwd"),
        "{}",
        message(&nobody)
    );
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(
        car.file(),
        text.replace("failsafe_us = 1500", "failsafe_us = 1600"),
    )
    .unwrap();
    let moving = car.command(&[]).output().unwrap();
    assert_eq!(moving.status.code(), Some(2));
    let said = message(&moving);
    assert!(
        said.contains("`actuator.pwm.throttle.failsafe_us`"),
        "{said}"
    );
    assert_eq!(car.pulses(), DISARMED, "nothing was written");
    let missing = Command::new(GUARD).args(["--car", "/none.toml"]).output();
    assert!(message(&missing.unwrap()).contains("/none.toml"));
}

/// A copy of car.toml names the same motors: what is stopped is the car, not a file.
#[test]
fn a_stop_by_a_copy_of_the_file_stops_the_guard_of_these_motors() {
    let car = Car::new();
    let mut guard = car.guard(&[]);
    car.drive(&mut car.connect());
    let copy = car.folder.path().join("copy.toml");
    let text = fs::read_to_string(car.file()).unwrap();
    fs::write(&copy, text.replace("guard.sock", "copy.sock")).unwrap();
    let mut command = Command::new(GUARD);
    let written = command.args(["--failsafe", "--car"]).arg(&copy).output();
    assert!(written.unwrap().status.success());
    assert_eq!(guard.ended().signal(), Some(Signal::KILL.as_raw()));
    assert_eq!(car.pulses(), FAILSAFE);
}

#[test]
fn failsafe_for_a_dead_guard_leaves_the_next_one_alone() {
    let car = Car::new();
    let _guard = car.guard(&[]);
    let mut link = car.connect();
    car.drive(&mut link);
    let written = car.command(&["--failsafe", "--if-dead"]).output().unwrap();
    assert!(written.status.success(), "{}", message(&written));
    link.refresh().unwrap();
    assert!(matches!(link.status().state, State::Driving(_)));
}

#[test]
fn a_manager_that_does_not_read_holds_up_no_tick() {
    let car = Car::new();
    let path = car.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"x", &path).is_ok() {}
    let mut command = car.command(&[]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000");
    let mut guard = Running(command.spawn().unwrap());
    let mut link = car.connect();
    car.drive(&mut link);
    // Longer than its own timer would let a guard live that waits.
    std::thread::sleep(Duration::from_millis(900));
    assert!(guard.0.try_wait().unwrap().is_none(), "it runs");
    drop(manager);
}
