//! The scenarios: what happens to the virtual car, and what its pulses have to do then.

mod drives;
mod files;
mod first_lap;
mod gamepad;
mod hangs;
mod machine;
mod motors;
mod operators;
mod processes;
mod senses;
mod wiring;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::Made;
use super::guest::{Guest, Pulses, Stood, deadline};
use super::table::Row;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// Scenarios with the same boot share a guest.
    pub boot: &'static str,
    /// Whether the tests run it too.
    pub important: bool,
    run: Run,
}

/// The function of a scenario, by what it needs.
enum Run {
    /// Uses a guest that the next scenario uses too.
    In(fn(&mut Guest) -> Result<Row>),
    /// Consumes the guest.
    Through(fn(&Made, Guest) -> Result<Row>),
    /// Boots its own guest.
    Alone(fn(&Made) -> Result<Row>),
}

const fn scenario(
    name: &'static str,
    boot: &'static str,
    important: bool,
    run: fn(&mut Guest) -> Result<Row>,
    what: &'static str,
) -> Scenario {
    Scenario {
        name,
        what,
        boot,
        important,
        run: Run::In(run),
    }
}

const fn ending(
    name: &'static str,
    boot: &'static str,
    important: bool,
    run: fn(&Made, Guest) -> Result<Row>,
    what: &'static str,
) -> Scenario {
    Scenario {
        name,
        what,
        boot,
        important,
        run: Run::Through(run),
    }
}

/// All scenarios. Those of one boot run in this order.
pub static SCENARIOS: [Scenario; 34] = [
    scenario(
        "clean-drive",
        "car",
        true,
        drives::clean,
        "through bends, then `pilotage stop`",
    ),
    scenario(
        "pilot-kill",
        "car",
        true,
        processes::pilot_kill,
        "kill -9 of the pilot",
    ),
    scenario(
        "pilot-stop",
        "car",
        true,
        processes::pilot_stop,
        "SIGSTOP of the pilot",
    ),
    scenario(
        "pilot-segv",
        "car",
        false,
        processes::pilot_segv,
        "SIGSEGV of the pilot",
    ),
    scenario(
        "pilot-oom",
        "car",
        false,
        processes::pilot_oom,
        "out of memory: the pilot",
    ),
    scenario(
        "clock-jump",
        "car",
        false,
        drives::clock,
        "the clock is set ahead by a year",
    ),
    scenario(
        "guard-kill",
        "car",
        true,
        processes::guard_kill,
        "kill -9 of the guard",
    ),
    scenario(
        "guard-stop",
        "car",
        true,
        processes::guard_stop,
        "SIGSTOP of the guard",
    ),
    scenario(
        "guard-segv",
        "car",
        false,
        processes::guard_segv,
        "SIGSEGV of the guard",
    ),
    scenario(
        "guard-oom",
        "car",
        false,
        processes::guard_oom,
        "out of memory: the guard",
    ),
    scenario(
        "service-stop",
        "car",
        false,
        processes::service_stop,
        "`systemctl stop pilotage`",
    ),
    scenario(
        "service-restart",
        "car",
        false,
        processes::restart,
        "`systemctl restart pilotage`",
    ),
    scenario(
        "guard-service",
        "car",
        false,
        processes::guard_service,
        "`systemctl stop pilotage-guard`",
    ),
    scenario(
        "camera-gone",
        "car",
        true,
        senses::gone,
        "the camera is removed, and comes back",
    ),
    scenario(
        "camera-frozen",
        "car",
        false,
        senses::frozen,
        "the camera shows one picture for ever",
    ),
    scenario(
        "camera-black",
        "car",
        false,
        senses::black,
        "the camera shows black",
    ),
    scenario(
        "nack",
        "car",
        true,
        motors::nack,
        "the chip does not answer for a second",
    ),
    scenario(
        "chip-reset",
        "car",
        false,
        motors::reset,
        "the chip loses its power for a moment",
    ),
    scenario(
        "chip-reset-idle",
        "car",
        false,
        motors::reset_idle,
        "the same while the car is disarmed",
    ),
    scenario(
        "bus-gone",
        "car",
        false,
        motors::bus,
        "the I2C adapter is unplugged, and plugged in",
    ),
    scenario(
        "smbus",
        "car",
        false,
        wiring::smbus,
        "an I2C adapter that makes SMBus commands only",
    ),
    scenario(
        "output-enable",
        "car",
        false,
        wiring::output_enable,
        "the chip's OE pin on a GPIO, and a chip that does not answer",
    ),
    scenario(
        "bus-hang",
        "car",
        false,
        hangs::second,
        "a transfer on the I2C bus blocks for 1 s",
    ),
    scenario(
        "bus-hang-long",
        "car",
        false,
        hangs::ten_seconds,
        "a transfer on the I2C bus blocks for 10 s, with the chip's OE pin on a GPIO",
    ),
    scenario(
        "bus-hang-kill",
        "car",
        false,
        hangs::killed,
        "kill -9 of the guard while a transfer on the I2C bus blocks for 10 s, with OE on a GPIO",
    ),
    scenario(
        "group",
        "car",
        false,
        operators::group,
        "a member of the group `pilotage` arms and stops the car",
    ),
    scenario(
        "gamepad",
        "car",
        false,
        gamepad::gone,
        "the gamepad that armed the car is unplugged",
    ),
    scenario(
        "engine-damaged",
        "files",
        false,
        files::damaged,
        "a byte of the engine file is another",
    ),
    scenario(
        "engine-simulated",
        "files",
        false,
        files::simulated,
        "an engine of the simulator's",
    ),
    scenario(
        "disk-full",
        "files",
        false,
        files::full,
        "the disk is full while it drives",
    ),
    Scenario {
        name: "power-cut",
        boot: "power",
        // Four boots: too long for every run of the tests.
        important: false,
        run: Run::Alone(machine::power_cut),
        what: "the power goes while an engine and car.toml are written",
    },
    ending(
        "reboot",
        "power",
        false,
        machine::reboot,
        "`systemctl reboot` while it drives",
    ),
    ending(
        "kernel-hang",
        "power",
        false,
        machine::hang,
        "the kernel hangs; the hardware watchdog resets it",
    ),
    Scenario {
        name: "first-lap",
        boot: "first-lap",
        important: false,
        run: Run::Alone(first_lap::walk),
        what: "docs/first-lap.md, its commands in its order",
    },
];

/// The script that makes the installed disk, from which the other scenarios start. systemd's
/// time-outs for the programs are longer by as much as this car is slower than a real one.
pub const INSTALLING: &str = r#"set -e
export DEBIAN_FRONTEND=noninteractive
depmod -a
apt-get install --yes /run/rig/pilotage_arm64.deb
mkdir -p /etc/systemd/system/pilotage-guard.service.d /etc/systemd/system/pilotage.service.d
printf '[Service]\nWatchdogSec=10s\nTimeoutStartSec=150s\nTimeoutStopSec=20s\n' > /etc/systemd/system/pilotage-guard.service.d/slower.conf
printf '[Service]\nWatchdogSec=300s\nTimeoutStartSec=1200s\nTimeoutStopSec=100s\n' > /etc/systemd/system/pilotage.service.d/slower.conf
systemctl daemon-reload
cp /run/rig/car.toml /etc/pilotage/car.toml
cp /run/rig/mine.engine /etc/pilotage/mine.engine
pilotage check /etc/pilotage/car.toml
systemctl restart pilotage-guard
systemctl enable --now pilotage
pilotage status
sync
"#;

/// Installs the package in `guest` with apt-get, as a user does, and shuts the guest down. Returns
/// its disk.
///
/// # Errors
/// When installing fails, or moves the car.
pub fn install(mut guest: Guest) -> Result<PathBuf> {
    let ran = guest.run(INSTALLING, 600)?;
    if ran.code != Some(0) {
        bail!("installing failed:\n{}\n{}", ran.output, guest.journal(40));
    }
    let output = ran.output;
    println!("    {}", output.trim().replace('\n', "\n    "));
    let pulses = guest.pulses()?;
    ensure!(
        pulses.iter().all(|pulses| pulses.stands()),
        "installing moved the car: {pulses:?}"
    );
    guest.off()
}

/// Runs a scenario, with `guest` or with a guest booted from the disk `installed`.
///
/// # Errors
/// When the scenario cannot be completed; the guest is dropped then.
pub fn go(
    scenario: &Scenario,
    made: &Made,
    installed: &Path,
    guest: &mut Option<Guest>,
) -> Result<Row> {
    let mut take_or_boot = || match guest.take() {
        Some(guest) => Ok(guest),
        None => Guest::boot(made, installed, scenario.boot),
    };
    let mut row = match scenario.run {
        Run::In(run) => {
            let mut running = take_or_boot()?;
            let row = run(&mut running)?;
            tidy(&mut running)?;
            *guest = Some(running);
            row
        }
        Run::Through(run) => run(made, take_or_boot()?)?,
        Run::Alone(run) => run(made)?,
    };
    row.scenario = scenario.what.to_owned();
    Ok(row)
}

/// Restores the rig and restarts the services for the next scenario.
fn tidy(guest: &mut Guest) -> Result<()> {
    guest.order(json!({ "do": "picture", "is": "live" }))?;
    guest.order(json!({ "do": "chip", "answers": true }))?;
    guest.order(json!({ "do": "cable", "plugged": true }))?;
    guest.order(json!({ "do": "pad", "plugged": false }))?;
    guest.must(
        "systemctl reset-failed; systemctl restart pilotage-guard && systemctl restart pilotage",
        300,
    )?;
    Ok(())
}

/// The margin on top of a deadline for the slowness of an emulated machine.
fn slack() -> Duration {
    deadline() / 5
}

/// Judges a stop against a limit. The car may not have moved again.
fn judged(stood: Stood, limit: Duration, note: impl Into<String>) -> Row {
    let mut note = note.into();
    if stood.again {
        note = format!("it moved again; {note}");
    }
    Row {
        scenario: String::new(),
        stood: Some(stood.after),
        limit: Some(limit),
        passed: stood.after <= limit && !stood.again,
        note,
    }
}

/// The row of a scenario that passed and has no time to measure.
fn passed(note: impl Into<String>) -> Row {
    Row {
        scenario: String::new(),
        stood: None,
        limit: None,
        passed: true,
        note: note.into(),
    }
}

/// The name of the pulses in notes.
fn kind(pulses: Pulses) -> &'static str {
    match () {
        () if pulses.failsafe() => "failsafe",
        () if pulses.disarmed() => "no pulses",
        () => "neutral",
    }
}

/// Why the guard stopped the car, as `pilotage status` prints it. Each scenario expects its own
/// reason: one that accepted any reason would also pass when the fault was not detected and the
/// deadline stopped the car.
mod reason {
    pub const DEADLINE: &[&str] = &["stopped: no good command within the deadline"];
    pub const CAMERA: &[&str] = &["stopped: the camera failed"];
    pub const FROZEN: &[&str] = &["stopped: the camera's picture is frozen"];
    pub const PILOT: &[&str] = &["stopped: the pilot is gone"];
    pub const GAMEPAD: &[&str] = &["stopped: the gamepad is gone"];
    pub const ACTUATOR: &[&str] = &["stopped: the actuator did not take a write"];
    pub const OPERATOR: &[&str] = &["stopped: an operator stopped the car"];

    #[cfg(test)]
    #[test]
    fn reasons_are_those_of_the_guard() {
        let guards = [
            include_str!("../../../crates/guard-policy/src/state.rs"),
            include_str!("../../../crates/vehicle/src/fault.rs"),
        ];
        for reasons in [DEADLINE, CAMERA, FROZEN, PILOT, GAMEPAD, ACTUATOR, OPERATOR] {
            let is_there = |reason: &&str| {
                let text = reason.trim_start_matches("stopped: ");
                let text = format!("\"{text}\"");
                guards.iter().any(|guard| guard.contains(&text))
            };
            assert!(reasons.iter().any(is_there), "{reasons:?}");
        }
    }
}

/// Checks that the guard's state is one of `expected`, and returns it.
fn in_state(guest: &mut Guest, expected: &[&str]) -> Result<String> {
    let status = guest.status()?;
    let first = status.lines().next().unwrap_or("").to_owned();
    ensure!(
        expected.iter().any(|expected| first.contains(expected)),
        "the guard is not {}: {status}\n{}",
        expected.join(" or "),
        guest.journal(20)
    );
    Ok(first)
}
