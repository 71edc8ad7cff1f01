//! A guest as the scenarios use it: shell commands, recorded pulses, injected faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::car;
use super::machine::{Machine, Parts};
use super::{Made, SLOWER};

/// The pulses of both channels from the time `at` on.
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
    /// Whether the car is stopped with these pulses: the throttle is neutral, or there are no
    /// pulses.
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

/// The position of the car on its circuit.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Place {
    pub s: f64,
    pub offset: f64,
    pub speed: f64,
}

/// The exit code and the output of a command in the guest.
pub struct Ran {
    pub code: Option<i64>,
    pub output: String,
}

/// A guest and its disk.
pub struct Guest {
    pub machine: Machine,
    disk: PathBuf,
}

impl Guest {
    /// Boots from a copy of `disk`. `name` names the copy and the console log.
    ///
    /// # Errors
    /// When the guest does not come up.
    pub fn boot(made: &Made, disk: &Path, name: &str) -> Result<Self> {
        Self::with(made, disk, name, &made.payload)
    }

    /// Boots from `disk` itself, which an earlier guest has used.
    ///
    /// # Errors
    /// When the guest does not come up.
    pub fn again(made: &Made, disk: PathBuf, name: &str) -> Result<Self> {
        Self::start(made, disk, name, &made.payload, None)
    }

    /// Boots from a copy of `disk`, and logs every write to it.
    ///
    /// # Errors
    /// When the guest does not come up.
    pub fn logged(made: &Made, disk: &Path, name: &str, log: &Path) -> Result<Self> {
        let own = made.folder.join(format!("{name}.img"));
        copy(disk, &own)?;
        Self::start(made, own, name, &made.payload, Some(log))
    }

    /// Boots from a copy of `disk`, with another payload.
    ///
    /// # Errors
    /// When the guest does not come up.
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

    /// Cuts the power of the guest, and returns its disk.
    pub fn cut(self) -> PathBuf {
        self.machine.cut();
        self.disk
    }

    /// Shuts the guest down with `systemctl poweroff`, and returns its disk.
    ///
    /// # Errors
    /// When the guest does not shut down.
    pub fn off(mut self) -> Result<PathBuf> {
        self.run("systemctl --no-block poweroff", 60)?;
        if !self.machine.ends_within(Duration::from_secs(120))? {
            bail!("it does not switch off:\n{}", self.machine.console_end());
        }
        Ok(self.disk)
    }

    /// Runs the shell command `line`, for at most `seconds`.
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

    /// Runs the shell command `line`, which has to succeed, and returns its output.
    ///
    /// # Errors
    /// When the command fails.
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

    /// Sends an order to the rig, and returns the guest's time just before the order was carried
    /// out.
    ///
    /// # Errors
    /// When the order fails.
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

    /// The position of the car, and the length of its circuit.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn place(&mut self) -> Result<(Place, f64)> {
        let answer = self.machine.order(json!({ "do": "place" }))?;
        let length = answer["length"].as_f64().context("no length")?;
        Ok((serde_json::from_value(answer["place"].clone())?, length))
    }

    /// The guard's state and its reason, as `pilotage status` prints them. That command waits 200
    /// ms for the guard, and an emulated guard may take longer: the command is tried up to five
    /// times.
    ///
    /// # Errors
    /// When the guest does not answer.
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

    /// Polls `done` until it returns a value.
    ///
    /// # Errors
    /// When `done` returns none within `patience`. The message contains the end of the guest's
    /// journal.
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

    /// The last journal lines of the guard, the pilot and the rig.
    pub fn journal(&mut self, lines: u32) -> String {
        let line = format!(
            "journalctl --no-pager -o short-monotonic -n {lines} -u pilotage -u pilotage-guard -u rig"
        );
        match self.run(&line, 30) {
            Ok(ran) => ran.output,
            Err(error) => format!("{error:#}"),
        }
    }

    /// Puts the car back to its start, arms it, and waits until it drives.
    ///
    /// # Errors
    /// When it does not drive, or too many requests to arm were lost.
    pub fn drive(&mut self) -> Result<()> {
        self.drive_armed_by("pilotage arm")
    }

    /// As [`drive`](Self::drive), with another command to arm the car.
    ///
    /// # Errors
    /// When it does not drive, or too many requests to arm were lost.
    pub fn drive_armed_by(&mut self, command: &str) -> Result<()> {
        self.order(json!({ "do": "restart" }))?;
        self.arm(command, Duration::from_secs(120))?;
        self.wait("the motor turns", Duration::from_secs(60), |guest| {
            let pulses = guest.pulses()?;
            Ok(pulses
                .last()
                .is_some_and(|last| !last.stands())
                .then_some(()))
        })?;
        // The car is under way when the fault is injected.
        std::thread::sleep(car::frame_period().mul_f64(2.0));
        Ok(())
    }

    /// Requests arming until the car is armed. While the pilot is still starting, failed requests
    /// are not counted; every other failed request counts as lost.
    ///
    /// # Errors
    /// When the car is not armed within `patience`, or too many requests were lost.
    pub fn arm(&mut self, command: &str, patience: Duration) -> Result<()> {
        let mut lost = 0;
        self.wait("the pilot is ready and the car armed", patience, |guest| {
            let ran = guest.run(&format!("{command} 2>&1"), 30)?;
            // The command waits 200 ms; the guard's reply may have come later than that.
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

    /// How long after `fault` the car, which was driving then, stopped for good. The car is watched
    /// for `patience`.
    ///
    /// # Errors
    /// When the car was stopped before the fault, or still moves after `patience`.
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

/// How a car stopped.
#[derive(Debug, Clone, Copy)]
pub struct Stood {
    /// Time from the fault to the stop.
    pub after: Duration,
    /// The first pulses of the final stop.
    pub by: Pulses,
    /// Whether the car moved again between the first stop after the fault and the final one.
    pub again: bool,
}

impl Stood {
    fn of(pulses: &[Pulses], fault: u64) -> Result<Self> {
        let at_fault = pulses.iter().rev().find(|pulses| pulses.at <= fault);
        let at_fault = *at_fault.context("no pulses before the fault")?;
        // If the car was stopped before the fault, the measurement means nothing.
        ensure!(
            !at_fault.stands(),
            "the car stood before the fault: {at_fault:?}"
        );
        let last_moving = pulses.iter().rposition(|pulses| !pulses.stands());
        let first = last_moving.map_or(0, |index| index + 1);
        let by = *pulses.get(first).context("the motor still turns")?;
        let after = by.at.checked_sub(fault).context("it stood before")?;
        let after = Duration::from_nanos(after);
        let again = pulses[..first]
            .windows(2)
            .any(|pair| pair[1].at > fault && pair[0].stands() && !pair[1].stands());
        Ok(Self { after, by, again })
    }
}

/// Requests to arm that may get lost: an emulated guard may reply too late.
const MOST_LOST: u32 = 3;

/// Parts of the errors that `pilotage arm` prints while guard and pilot are starting.
const NOT_READY: [&str; 2] = ["there is no pilot", "no guard answers"];

fn not_ready(answer: &str) -> bool {
    NOT_READY.iter().any(|text| answer.contains(text))
}

/// Copies a disk image and keeps it sparse.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = tooling::invocation::Invocation::new("cp --sparse=always --reflink=auto")
        .path(from)
        .path(to);
    ensure!(copied.succeeds()?, "`{copied}` failed");
    Ok(())
}

/// Whether the file exists and is not empty.
pub fn whole(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() > 0)
}

/// The guard's deadline in the guest.
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
    fn the_stop_begins_after_the_last_moving_pulses() {
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
    fn a_car_that_moves_again_is_detected() {
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
    fn a_car_stopped_before_the_fault_is_an_error() {
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
    fn errors_during_start_up_are_not_lost_requests() {
        assert!(not_ready("error: there is no pilot to drive: start it"));
        assert!(not_ready(
            "error: no guard answers at /run/pilotage/guard.sock"
        ));
        assert!(!not_ready("error: the guard did not answer"));
        let refusals = include_str!("../../../crates/guard-policy/src/policy.rs");
        assert!(refusals.contains(NOT_READY[0]), "as the guard has it");
    }
}
