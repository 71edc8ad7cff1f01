//! Hundreds of faults at random times, with the real programs: `pilotage drive` with a camera that
//! writes frames to a pipe, and a guard over PWM pins that are files. In each case the car drives
//! first, must stop within its deadline, and must stay stopped after the fault has been repaired.
//!
//! `cargo xtask faults` runs it for 10,000. Environment variables: PILOTAGE_FAULTS is the number of
//! faults, PILOTAGE_LOAD=1 keeps the machine busy meanwhile, PILOTAGE_FAULTS_ONLY selects the
//! faults whose names contain it, PILOTAGE_OBSERVED=1 opens the page of each drive in Chromium, logs it
//! and lets an observer of it hang.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Pid;

#[path = "../browser/chromium.rs"]
#[allow(dead_code, reason = "the page's own tests use more of it")]
mod chromium;
#[path = "../support/film.rs"]
mod film;
#[path = "../support/observed.rs"]
#[allow(dead_code, reason = "the soak uses more of it")]
mod observed;
#[path = "../support/physical.rs"]
mod physical;
#[path = "../support/pins.rs"]
mod pins;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../support/tty.rs"]
mod tty;

mod car;
mod fault;
mod judge;
mod load;
mod report;
mod strike;

use car::{Car, Pilot};
use fault::Fault;
use judge::{Defect, Verdict};
use load::{Jitter, Load};

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");

/// Frames per second.
const RATE: u32 = 60;
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / RATE as u64);
const DEADLINE: Duration = Duration::from_millis(60);
/// The allowance for a stop beyond its deadline, without the timer's jitter.
const SLACK: Duration = Duration::from_millis(5);
/// The limit of `pilotage stop`, including its start; the limit is not meaningful for a debug
/// build.
const STOP: Duration = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 20 });
/// How many identical frames count as a frozen picture.
const FROZEN: u32 = 10;

/// `pilotage-guard` beside `pilotage`, which `pilotage drive` starts.
fn guard_program() -> PathBuf {
    let guard = PathBuf::from(PILOTAGE).with_file_name("pilotage-guard");
    let release = match cfg!(debug_assertions) {
        true => "",
        false => " --release",
    };
    assert!(
        guard.is_file(),
        "{} is missing: `cargo build{release} -p pilotage-guard` builds it",
        guard.display()
    );
    guard
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

/// A pilot and the guard that it started.
struct Drive {
    pilot: Pilot,
    guard: Pid,
}

impl Drive {
    /// Starts a drive if none of the required kind runs, and arms the car.
    fn ready(drive: Option<Self>, car: &mut Car, fault: Fault) -> Self {
        let drive = match drive {
            Some(drive) if drive.pilot.seat == fault.seat() => drive,
            other => {
                if let Some(other) = other {
                    other.end(car);
                }
                let pilot = car.pilot(fault.seat());
                let guard = listening(car, &pilot);
                await_stop_button(&pilot);
                car.observe(&pilot);
                Self { pilot, guard }
            }
        };
        car.arm(&drive.pilot);
        drive
    }

    /// Ends the pilot, if it still runs, and waits for its guard.
    fn end(self, car: &Car) {
        let Self { pilot, guard } = self;
        drop(pilot);
        let began = Instant::now();
        while processes::lives(guard) || car.connection().is_some() {
            assert!(began.elapsed() < Duration::from_secs(10), "the guard stays");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn listening(car: &Car, pilot: &Pilot) -> Pid {
    let began = Instant::now();
    loop {
        if let Some(guard) = car.guard() {
            return guard;
        }
        let late = began.elapsed() > Duration::from_secs(30);
        assert!(!late && pilot.lives(), "no guard:\n{}", pilot.log());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the pilot has seen the stop button, whose press would stop a car armed before.
fn await_stop_button(pilot: &Pilot) {
    let began = Instant::now();
    while !pilot.log().contains("stop button works") {
        let late = began.elapsed() > Duration::from_secs(30);
        assert!(!late && pilot.lives(), "no stop button:\n{}", pilot.log());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The faults whose names contain the requested text.
fn selected() -> Vec<Fault> {
    let only = std::env::var("PILOTAGE_FAULTS_ONLY").unwrap_or_default();
    let all = Fault::ALL.into_iter();
    let selected: Vec<Fault> = all.filter(|fault| fault.name().contains(&only)).collect();
    assert!(!selected.is_empty(), "no fault's name contains {only:?}");
    selected
}

#[test]
fn after_any_fault_at_any_time_the_car_stops_in_time_and_stays_stopped() {
    let count = std::env::var("PILOTAGE_FAULTS").ok();
    let count: usize = count.map_or(200, |count| count.parse().unwrap());
    let faults = selected();
    guard_program();
    let mut car = Car::new();
    let jitter = Jitter::watch();
    let busy = std::env::var_os("PILOTAGE_LOAD").is_some();
    let load = busy.then(Load::start);
    println!(
        "machine under load: {busy}; observed: {}; test in real time: {}",
        observed::asked(),
        load::real_time()
    );
    let mut random = Random(0x5EED_0001);
    let mut drive = None;
    let (mut cases, mut void, mut idle) = (Vec::new(), Vec::new(), 0);
    while cases.len() < count {
        let fault = faults[random.below(faults.len() as u64) as usize];
        let case = if fault == Fault::DryRunBeside {
            if let Some(drive) = drive.take() {
                Drive::end(drive, &car);
            }
            strike::dry_run(&car, &jitter)
        } else {
            let ready = Drive::ready(drive.take(), &mut car, fault);
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            let case = strike::strike(&mut car, &jitter, &ready.pilot, ready.guard, fault);
            let used_up = fault.uses_up_the_pilot() || case.verdict.defect().is_some();
            let lives = ready.pilot.lives() && processes::lives(ready.guard);
            match used_up || !lives {
                true => ready.end(&car),
                false => drive = Some(ready),
            }
            case
        };
        match case.verdict {
            Verdict::Void(_) => void.push(case),
            // The car had stopped before the fault, because of the machine.
            Verdict::Missed(Defect::DidNotDrive, _) => {
                println!("stood before its fault: {}\n{}", fault.name(), case.note);
                idle += 1;
            }
            Verdict::Missed(defect, took) => {
                let (name, jitter) = (fault.name(), case.jitter);
                println!("missed: {name}: {defect:?}, {took:?}, jitter {jitter:?}");
                println!("{}", case.note);
                cases.push(case);
            }
            _ => cases.push(case),
        }
        let few = 3.max(count / 100);
        assert!(
            void.len() <= few,
            "{} void: the machine is too busy",
            void.len()
        );
        // Under load the pilot, which has no real-time priority, is late at times.
        let few = if busy { 3.max(count / 3) } else { few };
        assert!(idle <= few, "{idle} times the car stood before its fault");
        if cases.len() % 1000 == 0 {
            println!("{} faults, {} void, {idle} idle", cases.len(), void.len());
        }
    }
    drop(load);
    report::print(&cases, &void);
    let void = void.len();
    println!("{count} faults; repeated: {void} for jitter, {idle} in which the car stood before");
    let missed = cases.iter().filter(|case| case.verdict.defect().is_some());
    assert_eq!(missed.count(), 0, "of {count}");
}
