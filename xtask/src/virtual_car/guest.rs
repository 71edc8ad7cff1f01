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
        Self::start(made, disk, name, &made.payload)
    }

    /// Boots a copy of `disk`, with other things around the computer.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn with(made: &Made, disk: &Path, name: &str, payload: &Path) -> Result<Self> {
        let own = made.folder.join(format!("{name}.img"));
        copy(disk, &own)?;
        Self::start(made, own, name, payload)
    }

    fn start(made: &Made, disk: PathBuf, name: &str, payload: &Path) -> Result<Self> {
        let console = made.folder.join(format!("{name}.console.log"));
        let began = Instant::now();
        let machine = Machine::boot(&Parts {
            packages: &made.packages,
            initrd: &made.image.initrd,
            disk: &disk,
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
    /// When it does not.
    pub fn drive(&mut self) -> Result<()> {
        self.order(json!({ "do": "restart" }))?;
        self.wait(
            "the pilot has the car disarmed and ready",
            Duration::from_secs(120),
            |guest| {
                let armed = guest.run("pilotage arm 2>&1", 30)?.code == Some(0);
                // Its answer may have come later than it waits, 200 ms.
                let armed = armed || guest.status()?.starts_with("driving");
                Ok(armed.then_some(()))
            },
        )?;
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

    /// How long after `fault` the car stood for good; it is looked at until `patience` after
    /// that moment.
    ///
    /// # Errors
    /// When it goes on, or moves again.
    pub fn stood(&mut self, fault: u64, patience: Duration) -> Result<Stood> {
        let began = Instant::now();
        loop {
            let pulses = self.pulses()?;
            let last = pulses.last().copied().context("no pulses at all")?;
            let over = began.elapsed() > patience;
            if last.stands() && (over || began.elapsed() > patience / 2) {
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
        let moved = pulses.iter().rposition(|pulses| !pulses.stands());
        let first = moved.map_or(0, |index| index + 1);
        let by = *pulses.get(first).context("the motor still turns")?;
        let after = Duration::from_nanos(by.at.saturating_sub(fault));
        let again = pulses[..first]
            .windows(2)
            .any(|pair| pair[1].at > fault && pair[0].stands() && !pair[1].stands());
        Ok(Self { after, by, again })
    }
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
}
