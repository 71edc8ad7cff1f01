//! Faults at random moments, by the hundred: the real programs, `pilotage drive` with a
//! camera that writes frames to a pipe and a guard over PWM pins that are files. Each time
//! the car drives first, and must stand within its deadline.
//!
//! `cargo xtask faults` runs it for 10,000; PILOTAGE_FAULTS says how many.

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

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilotage_guard::SocketLink;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, inotify, mknodat};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

mod film;
mod pins;

use film::{FREEZE, RUN, STALL, film};
use pins::FAILSAFE;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

/// Frames a second.
const RATE: u32 = 60;
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / RATE as u64);
const DEADLINE: Duration = Duration::from_millis(60);
/// What a stop may take beyond its deadline, the timer's jitter not counted.
const SLACK: Duration = Duration::from_millis(5);
/// What `pilotage stop` may take, its own start included; a debug build is no measure.
const STOP: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
/// Identical frames that are a frozen picture.
const FROZEN: u32 = 10;
/// A car that does not stand by then does not stand.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happens to the car.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    PilotKilled,
    PilotCrashes,
    PilotFreezes,
    PilotFreezesInAFlood,
    CameraStalls,
    CameraEnds,
    PictureFreezes,
    GuardKilled,
    GuardFreezes,
    PersonStops,
    PersonStopsAFrozenGuard,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::PilotKilled,
        Self::PilotCrashes,
        Self::PilotFreezes,
        Self::PilotFreezesInAFlood,
        Self::CameraStalls,
        Self::CameraEnds,
        Self::PictureFreezes,
        Self::GuardKilled,
        Self::GuardFreezes,
        Self::PersonStops,
        Self::PersonStopsAFrozenGuard,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::PilotKilled => "pilot: SIGKILL",
            Self::PilotCrashes => "pilot: SIGSEGV",
            Self::PilotFreezes => "pilot: SIGSTOP",
            Self::PilotFreezesInAFlood => "pilot: SIGSTOP, its guard flooded",
            Self::CameraStalls => "camera: no more frames",
            Self::CameraEnds => "camera: its command dies",
            Self::PictureFreezes => "camera: the same frame again and again",
            Self::GuardKilled => "guard: SIGKILL",
            Self::GuardFreezes => "guard: SIGSTOP",
            Self::PersonStops => "`pilotage stop`, from its start",
            Self::PersonStopsAFrozenGuard => "`pilotage stop`, the guard frozen",
        }
    }

    /// From the fault to failsafe at the most, jitter not counted.
    fn limit(self) -> Duration {
        match self {
            // One frame more may have been on its way.
            Self::PictureFreezes => PERIOD * (FROZEN + 1) + DEADLINE + SLACK,
            Self::GuardKilled | Self::GuardFreezes => DEADLINE * 2 + SLACK,
            Self::PersonStops | Self::PersonStopsAFrozenGuard => STOP,
            _ => DEADLINE + SLACK,
        }
    }

    /// Whether the pilot's process is gone with it.
    fn ends_the_pilot(self) -> bool {
        matches!(
            self,
            Self::PilotKilled
                | Self::PilotCrashes
                | Self::GuardKilled
                | Self::GuardFreezes
                | Self::PersonStopsAFrozenGuard
        )
    }
}

/// The car: its files, its camera, its jitter.
struct Car {
    folder: tempfile::TempDir,
    camera: Arc<AtomicU8>,
    /// The longest that a sleep on any processor has overslept since it was last asked, ns.
    overslept: Arc<AtomicU64>,
    watch: OwnedFd,
}

impl Car {
    fn new() -> Self {
        // In memory where that can be, so that no disk's pauses are measured.
        let shared = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        compile(folder.path());
        let pipe = folder.path().join("camera.pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let motors = pins::lay(folder.path());
        let socket = folder.path().join("guard.sock");
        let text = format!(
            "[camera]\nkind = \"pipe\"\ncommand = [\"cat\", {pipe:?}]\nformat = \"GREY\"\n\
             width = 640\nheight = 480\nrate = {RATE}\ntimeout_ms = 40\n\
             frozen_frames = {FROZEN}\n\
             [engine]\nfile = \"physical.engine\"\n\
             [guard]\ndeadline_ms = {}\nfirst_command_ms = 5000\nsocket = {socket:?}\n\
             [guard.throttle]\nmax = 0.2\nmin = 0.0\n\
             {motors}",
            DEADLINE.as_millis(),
        );
        fs::write(folder.path().join("car.toml"), text).unwrap();
        let camera = Arc::new(AtomicU8::new(RUN));
        {
            let camera = Arc::clone(&camera);
            std::thread::spawn(move || film(&pipe, PERIOD, &camera));
        }
        let overslept = Arc::new(AtomicU64::new(0));
        // A host may take any one of them away for a while.
        let ours = sched_getaffinity(None).unwrap();
        for processor in (0..CpuSet::MAX_CPU).filter(|&processor| ours.is_set(processor)) {
            let overslept = Arc::clone(&overslept);
            std::thread::spawn(move || oversleep(processor, &overslept));
        }
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        for channel in 0..2 {
            let file = format!("pwmchip0/pwm{channel}/duty_cycle");
            let file = folder.path().join(file);
            inotify::add_watch(&watch, file, inotify::WatchFlags::MODIFY).unwrap();
        }
        Self {
            folder,
            camera,
            overslept,
            watch,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("car.toml")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("guard.sock")
    }

    fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.folder.path())
    }

    /// Waits until the pulses are as wanted; when that was.
    fn pulses_until(
        &self,
        patience: Duration,
        wanted: impl Fn([u32; 2]) -> bool,
    ) -> Option<Instant> {
        let until = Instant::now() + patience;
        loop {
            if wanted(self.pulses()) {
                return Some(Instant::now());
            }
            if Instant::now() >= until {
                return None;
            }
            let mut lines = [PollFd::new(&self.watch, PollFlags::IN)];
            let soon = Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            let _ = poll(&mut lines, Some(&soon));
            let _ = rustix::io::read(&self.watch, &mut [0_u8; 4096]);
        }
    }

    fn pilot(&self) -> Pilot {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("pilot.log"));
        let mut command = Command::new(PILOTAGE);
        command.args(["drive", "--json", "--car"]).arg(self.file());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Pilot(command.stderr(log.unwrap()).spawn().unwrap())
    }

    /// Arms the car, as often as it takes, until it drives.
    fn arm(&self, link: &mut Option<SocketLink>) {
        let began = Instant::now();
        loop {
            let lost = link.as_ref().is_none_or(SocketLink::is_gone);
            if lost {
                *link = SocketLink::connect(&self.socket()).ok();
            }
            if let Some(link) = link {
                let _ = link.arm_pilot();
            }
            let drives = |pulses: [u32; 2]| pulses[1] > FAILSAFE[1];
            if self
                .pulses_until(Duration::from_millis(50), drives)
                .is_some()
            {
                return;
            }
            let log = fs::read_to_string(self.folder.path().join("pilot.log"));
            let log = log.unwrap_or_default();
            let tail = &log[log.len().saturating_sub(2000)..];
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "never drove:\n{tail}"
            );
        }
    }
}

struct Pilot(Child);

impl Pilot {
    fn kill(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shipped network as if somebody had trained it on a real car: a stand-in for that.
fn compile(folder: &Path) {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines");
    fs::copy(engines.join("pilotnet.onnx"), folder.join("physical.onnx")).unwrap();
    let recipe = fs::read_to_string(engines.join("pilotnet.toml")).unwrap();
    let recipe = recipe.replace("pilotnet.onnx", "physical.onnx");
    let recipe = recipe.replace("domain = \"simulated\"", "domain = \"physical\"");
    let frames = format!("frames = {:?}", engines.join("frames"));
    let recipe = recipe.replace("frames = \"frames\"", &frames);
    fs::write(folder.join("physical.toml"), recipe).unwrap();
    let mut compile = Command::new(PILOTAGE);
    compile
        .arg("compile")
        .arg("physical.toml")
        .current_dir(folder);
    let compiled = compile.output().unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
}

fn oversleep(processor: usize, most: &AtomicU64) {
    let mut on = CpuSet::new();
    on.set(processor);
    sched_setaffinity(None, &on).unwrap();
    let nap = Duration::from_millis(2);
    loop {
        let began = Instant::now();
        std::thread::sleep(nap);
        let over = began.elapsed().saturating_sub(nap).as_nanos() as u64;
        most.fetch_max(over, Ordering::Relaxed);
    }
}

/// Garbage on the guard's socket, as fast as it goes, until told to end.
fn flood(socket: &Path, end: &AtomicBool) {
    let address = SocketAddrUnix::new(socket).unwrap();
    while !end.load(Ordering::Relaxed) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let line =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let line = line.unwrap();
        if rustix::net::connect(&line, &address).is_err() {
            std::thread::yield_now();
            continue;
        }
        for _ in 0..200 {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::send(&line, &[0x5A; 52], flags);
        }
    }
}

/// The camera's command, a child of the pilot.
fn command_of(pilot: &Pilot) -> Option<Pid> {
    let pilot = pilot.0.id();
    let tasks = fs::read_dir(format!("/proc/{pilot}/task")).ok()?;
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let all = children.collect::<Vec<_>>().join(" ");
    all.split_whitespace().find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "cat").then(|| Pid::from_raw(child.parse().ok()?))?
    })
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

struct Outcome {
    fault: Fault,
    took: Duration,
    /// How much longer than asked a sleep took meanwhile.
    jitter: Duration,
    /// By `pilotage stop`, which it did not answer in time; its pilot ends with it.
    guard_killed: bool,
    missed: bool,
}

/// One fault, from the moment it strikes to the moment the motors stand.
fn strike(car: &Car, pilot: &Pilot, link: &SocketLink, fault: Fault) -> Outcome {
    let guard = link.process().unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let mut flooding = None;
    if fault == Fault::PilotFreezesInAFlood {
        let (socket, end) = (car.socket(), Arc::clone(&end));
        flooding = Some(std::thread::spawn(move || flood(&socket, &end)));
        std::thread::sleep(PERIOD);
    }
    let camera = (fault == Fault::CameraEnds).then(|| command_of(pilot).unwrap());
    car.overslept.store(0, Ordering::Relaxed);
    let mut stop = Command::new(PILOTAGE);
    stop.args(["stop", "--car"]).arg(car.file());
    stop.stdout(Stdio::piped()).stderr(Stdio::piped());
    if fault == Fault::PersonStopsAFrozenGuard {
        kill_process(guard, Signal::STOP).unwrap();
    }
    let mut person = None;
    let mut struck = Instant::now();
    match fault {
        Fault::PilotKilled => pilot.kill(Signal::KILL),
        Fault::PilotCrashes => {
            // Rust's handler takes one to be a fault that will come again by itself.
            for _ in 0..20 {
                struck = Instant::now();
                pilot.kill(Signal::SEGV);
                std::thread::sleep(Duration::from_millis(1));
                if car.pulses() == FAILSAFE {
                    break;
                }
            }
        }
        Fault::PilotFreezes | Fault::PilotFreezesInAFlood => pilot.kill(Signal::STOP),
        Fault::CameraStalls => car.camera.store(STALL, Ordering::Relaxed),
        Fault::CameraEnds => {
            if let Some(command) = camera {
                let _ = kill_process(command, Signal::KILL);
            }
        }
        Fault::PictureFreezes => car.camera.store(FREEZE, Ordering::Relaxed),
        Fault::GuardKilled => kill_process(guard, Signal::KILL).unwrap(),
        Fault::GuardFreezes => kill_process(guard, Signal::STOP).unwrap(),
        Fault::PersonStops | Fault::PersonStopsAFrozenGuard => {
            person = Some(stop.spawn().unwrap());
        }
    }
    let stood = car.pulses_until(PATIENCE, |pulses| pulses == FAILSAFE);
    let took = stood.map_or(PATIENCE, |stood| stood - struck);
    let jitter = Duration::from_nanos(car.overslept.load(Ordering::Relaxed));
    end.store(true, Ordering::Relaxed);
    if let Some(flooding) = flooding {
        flooding.join().unwrap();
    }
    let mut guard_killed = false;
    if let Some(person) = person {
        let said = person.wait_with_output().unwrap();
        let answered = String::from_utf8_lossy(&said.stdout).starts_with("stopped");
        guard_killed = !answered;
    }
    car.camera.store(RUN, Ordering::Relaxed);
    pilot.kill(Signal::CONT);
    Outcome {
        fault,
        took,
        jitter,
        guard_killed,
        missed: took > fault.limit() + jitter,
    }
}

#[test]
fn whatever_fails_and_whenever_the_car_stands_in_time() {
    let count = std::env::var("PILOTAGE_FAULTS").ok();
    let count: u64 = count.map_or(300, |count| count.parse().unwrap());
    let car = Car::new();
    let mut random = Random(0x5EED_0001);
    let mut pilot = car.pilot();
    let mut link = None;
    let mut outcomes = Vec::new();
    for number in 0..count {
        car.arm(&mut link);
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        let fault = Fault::ALL[random.below(Fault::ALL.len() as u64) as usize];
        let outcome = strike(&car, &pilot, link.as_ref().unwrap(), fault);
        if outcome.missed {
            println!(
                "missed: {} took {:?}, jitter {:?}",
                fault.name(),
                outcome.took,
                outcome.jitter
            );
        }
        let guard_killed = outcome.guard_killed;
        outcomes.push(outcome);
        if guard_killed || fault.ends_the_pilot() {
            drop(pilot);
            // Its guard ends with it, or is dead.
            link = None;
            let gone = || SocketLink::connect(&car.socket()).is_err();
            let began = Instant::now();
            while !gone() {
                assert!(began.elapsed() < Duration::from_secs(10), "the guard stays");
                std::thread::sleep(Duration::from_millis(1));
            }
            pilot = car.pilot();
        }
        if number % 1000 == 999 {
            println!("{} faults", number + 1);
        }
    }
    report(&outcomes);
    let missed = outcomes.iter().filter(|outcome| outcome.missed).count();
    assert_eq!(missed, 0, "of {count}");
}

fn report(outcomes: &[Outcome]) {
    println!("| fault | times | median ms | 99 % ms | longest ms | at most ms | missed |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for fault in Fault::ALL {
        let of = || outcomes.iter().filter(|outcome| outcome.fault == fault);
        let mut times: Vec<f64> = of()
            .map(|outcome| outcome.took.as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        let Some(last) = times.len().checked_sub(1) else {
            continue;
        };
        let at = |share: f64| times[(last as f64 * share).round() as usize];
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.0} | {} |",
            fault.name(),
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            fault.limit().as_secs_f64() * 1e3,
            of().filter(|outcome| outcome.missed).count()
        );
    }
}
