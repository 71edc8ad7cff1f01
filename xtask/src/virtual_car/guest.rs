//! What scenarios do with a guest: its shell, its pulses, its faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::car;
use super::machine::{Machine, Parts};
use super::{Made, SLOWER};

/// The pulses of both channels from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Pulses {
    /// The guest's CLOCK_MONOTONIC, nanoseconds.
    pub at: u64,
    /// Microseconds.
    pub throttle: f32,
    /// Microseconds.
    pub steering: f32,
}

impl Pulses {
    /// Whether a car with these stands: the motor's neutral, or nothing at all.
    pub fn stands(self) -> bool {
        let neutral = (self.throttle - f32::from(car::NEUTRAL)).abs() <= car::STANDING;
        neutral || self.throttle == 0.0
    }

    /// Whether these are the failsafe values.
    pub fn failsafe(self) -> bool {
        (self.throttle - f32::from(car::NEUTRAL)).abs() <= car::TICK
            && (self.steering - f32::from(car::CENTRE)).abs() <= car::TICK
    }

    /// Whether these are the disarmed values: no pulses.
    pub fn disarmed(self) -> bool {
        (self.throttle, self.steering) == (0.0, 0.0)
    }
}

/// Where the car is.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Place {
    pub s: f64,
    pub offset: f64,
    pub speed: f64,
}

/// What a program of the guest's said.
pub struct Ran {
    pub code: Option<i64>,
    pub output: String,
}

/// A guest with a disk of its own.
pub struct Guest {
    pub machine: Machine,
    disk: PathBuf,
}

impl Guest {
    /// Boots a copy of `disk`, called `name`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn boot(made: &Made, disk: &Path, name: &str) -> Result<Self> {
        Self::with(made, disk, name, &made.payload)
    }

    /// Boots from the disk that another left.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn again(made: &Made, disk: PathBuf, name: &str) -> Result<Self> {
        Self::start(made, disk, name, &made.payload, None)
    }

    /// Boots a copy of `disk`, and keeps a log of what is written to it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn logged(made: &Made, disk: &Path, name: &str, log: &Path) -> Result<Self> {
        let own = made.folder.join(format!("{name}.img"));
        copy(disk, &own)?;
        Self::start(made, own, name, &made.payload, Some(log))
    }

    /// Boots a copy of `disk`, with other things around the computer.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn with(made: &Made, disk: &Path, name: &str, payload: &Path) -> Result<Self> {
        let own = made.folder.join(format!("{name}.img"));
        copy(disk, &own)?;
        Self::start(made, own, name, payload, None)
    }

    fn start(
        made: &Made,
        disk: PathBuf,
        name: &str,
        payload: &Path,
        log: Option<&Path>,
    ) -> Result<Self> {
        let console = made.folder.join(format!("{name}.console.log"));
        let began = Instant::now();
        let machine = Machine::boot(&Parts {
            packages: &made.packages,
            initrd: &made.image.initrd,
            disk: &disk,
            log,
            payload,
            console: &console,
        })?;
        println!("    booted in {} s ({name})", began.elapsed().as_secs());
        Ok(Self { machine, disk })
    }

    /// Takes its power away, and gives back its disk.
    pub fn cut(self) -> PathBuf {
        self.machine.cut();
        self.disk
    }

    /// Switches it off as a person would, and gives back its disk.
    ///
    /// # Errors
    /// When it does not go off.
    pub fn off(mut self) -> Result<PathBuf> {
        self.run("systemctl --no-block poweroff", 60)?;
        if !self.machine.ends_within(Duration::from_secs(120))? {
            bail!("it does not switch off:\n{}", self.machine.console_end());
        }
        Ok(self.disk)
    }

    /// Runs a line of the shell's, for `seconds` at most.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn run(&mut self, line: &str, seconds: u64) -> Result<Ran> {
        let patience = Duration::from_secs(seconds + 15);
        let order = json!({ "do": "run", "line": line, "seconds": seconds });
        let answer = self.machine.ask(order, patience)?;
        Ok(Ran {
            code: answer["code"].as_i64(),
            output: answer["output"].as_str().unwrap_or("").to_owned(),
        })
    }

    /// Runs a line of the shell's that has to succeed; what it said.
    ///
    /// # Errors
    /// When it does not.
    pub fn must(&mut self, line: &str, seconds: u64) -> Result<String> {
        let ran = self.run(line, seconds)?;
        ensure!(
            ran.code == Some(0),
            "`{line}` in the guest ended with {:?}:\n{}",
            ran.code,
            ran.output
        );
        Ok(ran.output)
    }

    /// Gives an order; the guest's moment just before it was done.
    ///
    /// # Errors
    /// When it fails.
    pub fn order(&mut self, order: Value) -> Result<u64> {
        let answer = self.machine.order(order)?;
        answer["at"].as_u64().context("the guest names no moment")
    }

    /// Every change of the pulses so far.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn pulses(&mut self) -> Result<Vec<Pulses>> {
        let answer = self.machine.order(json!({ "do": "pulses", "from": 0 }))?;
        Ok(serde_json::from_value(answer["pulses"].clone())?)
    }

    /// Where the car is, and how long its circuit.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn place(&mut self) -> Result<(Place, f64)> {
        let answer = self.machine.order(json!({ "do": "place" }))?;
        let length = answer["length"].as_f64().context("no length")?;
        Ok((serde_json::from_value(answer["place"].clone())?, length))
    }

    /// The guard's state and its reason, as `pilotage status` says. That waits 200 ms, and an
    /// emulated guard may be slower: it is asked a few times.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn status(&mut self) -> Result<String> {
        let mut ran = self.run("pilotage status 2>&1", 30)?;
        for _ in 0..4 {
            if ran.code == Some(0) {
                break;
            }
            ran = self.run("pilotage status 2>&1", 30)?;
        }
        Ok(ran.output)
    }

    /// Waits until `done` says so.
    ///
    /// # Errors
    /// When it does not in `patience`; what the guest's journal says is in the message.
    pub fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut done: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(value) = done(self)? {
                return Ok(value);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let journal = self.journal(30);
        bail!("not within {} s: {what}\n{journal}", patience.as_secs());
    }

    /// The last lines of guard and pilot.
    pub fn journal(&mut self, lines: u32) -> String {
        let line = format!(
            "journalctl --no-pager -o short-monotonic -n {lines} -u pilotage -u pilotage-guard -u rig"
        );
        match self.run(&line, 30) {
            Ok(ran) => ran.output,
            Err(error) => format!("{error:#}"),
        }
    }

    /// Arms the car, and waits until it drives.
    ///
    /// # Errors
    /// When it does not, or is armed only at one request of many.
    pub fn drive(&mut self) -> Result<()> {
        self.order(json!({ "do": "restart" }))?;
        self.arm("pilotage arm", Duration::from_secs(120))?;
        self.wait("the motor turns", Duration::from_secs(60), |guest| {
            let pulses = guest.pulses()?;
            Ok(pulses
                .last()
                .is_some_and(|last| !last.stands())
                .then_some(()))
        })?;
        // So that a fault finds it on its way.
        std::thread::sleep(car::frame_period().mul_f64(2.0));
        Ok(())
    }

    /// Asks for arming until the car is armed. A pilot that is not there yet is waited for; other
    /// requests without success are lost ones, and counted.
    ///
    /// # Errors
    /// When it is not armed in `patience`, or too many requests were lost.
    pub fn arm(&mut self, command: &str, patience: Duration) -> Result<()> {
        let mut lost = 0;
        self.wait("the pilot is ready and the car armed", patience, |guest| {
            let ran = guest.run(&format!("{command} 2>&1"), 30)?;
            // Its answer may have come later than it waits, 200 ms.
            if ran.code == Some(0) || guest.status()?.starts_with("driving") {
                return Ok(Some(()));
            }
            if !not_ready(&ran.output) {
                lost += 1;
                println!("        arming, lost request {lost}: {}", ran.output.trim());
            }
            ensure!(lost <= MOST_LOST, "{lost} requests to arm were lost");
            Ok(None)
        })
    }

    /// How long after `fault` the car, which drove then, stood for good; it is watched for
    /// `patience`.
    ///
    /// # Errors
    /// When it stood before the fault, or goes on after it.
    pub fn stood(&mut self, fault: u64, patience: Duration) -> Result<Stood> {
        let began = Instant::now();
        loop {
            let pulses = self.pulses()?;
            let last = pulses.last().copied().context("no pulses at all")?;
            let over = began.elapsed() > patience;
            if last.stands() && over {
                return Stood::of(&pulses, fault);
            }
            if over {
                let journal = self.journal(20);
                bail!(
                    "the motor still turns {} s later: {last:?}\n{journal}",
                    patience.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// How a car came to stand.
#[derive(Debug, Clone, Copy)]
pub struct Stood {
    /// From the fault.
    pub after: Duration,
    /// The first pulses that it stood with.
    pub by: Pulses,
    /// Whether the motor turned anew between the first stand and the last.
    pub again: bool,
}

impl Stood {
    fn of(pulses: &[Pulses], fault: u64) -> Result<Self> {
        let in_force = pulses.iter().rev().find(|pulses| pulses.at <= fault);
        let in_force = *in_force.context("no pulses before the fault")?;
        // A car that stood already shows nothing.
        ensure!(
            !in_force.stands(),
            "the car stood before the fault: {in_force:?}"
        );
        let moved = pulses.iter().rposition(|pulses| !pulses.stands());
        let first = moved.map_or(0, |index| index + 1);
        let by = *pulses.get(first).context("the motor still turns")?;
        let after = by.at.checked_sub(fault).context("it stood before")?;
        let after = Duration::from_nanos(after);
        let again = pulses[..first]
            .windows(2)
            .any(|pair| pair[1].at > fault && pair[0].stands() && !pair[1].stands());
        Ok(Self { after, by, again })
    }
}

/// Requests of an operator's that may get lost: an emulated guard may answer too late.
const MOST_LOST: u32 = 3;

/// What is answered while guard and pilot are still starting.
const NOT_READY: [&str; 2] = ["there is no pilot", "no guard answers"];

fn not_ready(answer: &str) -> bool {
    NOT_READY.iter().any(|text| answer.contains(text))
}

/// Copies a disk and leaves its holes empty.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = crate::invocation::Invocation::new("cp --sparse=always --reflink=auto")
        .path(from)
        .path(to);
    ensure!(copied.succeeds()?, "`{copied}` failed");
    Ok(())
}

/// Whether a file is there and not empty.
pub fn whole(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() > 0)
}

/// The guest's deadline.
pub fn deadline() -> Duration {
    Duration::from_secs_f64(0.150 * SLOWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(at: u64, throttle: f32) -> Pulses {
        Pulses {
            at,
            throttle,
            steering: 1500.0,
        }
    }

    #[test]
    fn a_car_stands_from_when_its_motor_turned_last() {
        let pulses = [
            at(0, 0.0),
            at(10, 1700.0),
            at(20, 1600.0),
            at(35, 1500.0),
            at(40, 0.0),
        ];
        let stood = Stood::of(&pulses, 30).unwrap();
        assert_eq!(stood.after, Duration::from_nanos(5));
        assert!(stood.by.failsafe() && !stood.again);
    }

    #[test]
    fn one_that_moves_again_is_seen() {
        let pulses = [
            at(10, 1700.0),
            at(35, 1500.0),
            at(40, 1600.0),
            at(50, 1500.0),
        ];
        let stood = Stood::of(&pulses, 30).unwrap();
        assert!(stood.again);
        assert_eq!(stood.after, Duration::from_nanos(20));
        assert!(Stood::of(&pulses[..3], 30).is_err());
    }

    #[test]
    fn a_car_that_stood_before_the_fault_shows_nothing() {
        let pulses = [at(10, 1700.0), at(20, 1500.0), at(40, 0.0)];
        for fault in [20, 30, 50] {
            let error = Stood::of(&pulses, fault).unwrap_err().to_string();
            assert!(error.contains("before the fault"), "{error}");
        }
        assert!(Stood::of(&pulses, 5).is_err(), "and one without pulses");
        let stood = Stood::of(&pulses, 19).unwrap();
        assert_eq!(stood.after, Duration::from_nanos(1));
    }

    #[test]
    fn a_pilot_that_is_not_there_yet_loses_no_request() {
        assert!(not_ready("error: there is no pilot to drive: start it"));
        assert!(not_ready(
            "error: no guard answers at /run/pilotage/guard.sock"
        ));
        assert!(!not_ready("error: the guard did not answer"));
        let refusals = include_str!("../../../crates/guard/src/policy.rs");
        assert!(refusals.contains(NOT_READY[0]), "as the guard has it");
    }
}
