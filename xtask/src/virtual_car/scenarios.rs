//! What happens to the virtual car, and what its pulses have to do then.

mod drives;
mod files;
mod first_lap;
mod gamepad;
mod machine;
mod motors;
mod processes;
mod senses;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::Made;
use super::guest::{Guest, Pulses, Stood, deadline};
use super::table::Row;

/// One of them.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// Those of one boot share a guest.
    pub boot: &'static str,
    /// Whether it is one of those that matter most.
    pub important: bool,
    run: Run,
}

/// What a scenario does.
enum Run {
    /// With a guest that goes on afterwards.
    In(fn(&mut Guest) -> Result<Row>),
    /// With one whose power goes.
    Through(fn(&Made, Guest) -> Result<Row>),
    /// With one of its own.
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

/// All of them. The order within a boot is kept.
pub static SCENARIOS: [Scenario; 28] = [
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
        // Five boots: too long for each run of the tests.
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

/// What is done once to the disk that all others start from. What systemd gives programs of
/// a real car has to be as many times longer as this one is slower.
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

/// Installs the package in `guest` as a person would, and switches it off; its disk.
///
/// # Errors
/// When that does not go well.
pub fn install(mut guest: Guest) -> Result<PathBuf> {
    let ran = guest.run(INSTALLING, 600)?;
    if ran.code != Some(0) {
        bail!("installing failed:\n{}\n{}", ran.output, guest.journal(40));
    }
    let said = ran.output;
    println!("    {}", said.trim().replace('\n', "\n    "));
    let pulses = guest.pulses()?;
    ensure!(
        pulses.iter().all(|pulses| pulses.stands()),
        "installing moved the car: {pulses:?}"
    );
    guest.off()
}

/// Goes through one, with `guest` or one booted from the disk `installed`.
///
/// # Errors
/// When it cannot be gone through; the guest is gone then.
pub fn go(
    scenario: &Scenario,
    made: &Made,
    installed: &Path,
    guest: &mut Option<Guest>,
) -> Result<Row> {
    let mut given = || match guest.take() {
        Some(guest) => Ok(guest),
        None => Guest::boot(made, installed, scenario.boot),
    };
    let mut row = match scenario.run {
        Run::In(run) => {
            let mut given = given()?;
            let row = run(&mut given)?;
            tidy(&mut given)?;
            *guest = Some(given);
            row
        }
        Run::Through(run) => run(made, given()?)?,
        Run::Alone(run) => run(made)?,
    };
    row.scenario = scenario.what.to_owned();
    Ok(row)
}

/// All as it was, for the next.
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

/// What is allowed beside a deadline for an emulated machine's own slowness.
fn slack() -> Duration {
    deadline() / 5
}

/// How a car stood, against a limit; it may not have moved again.
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

/// Nothing to measure: it passed, or the error says why not.
fn passed(note: impl Into<String>) -> Row {
    Row {
        scenario: String::new(),
        stood: None,
        limit: None,
        passed: true,
        note: note.into(),
    }
}

/// What the pulses were by name, for people.
fn kind(pulses: Pulses) -> &'static str {
    match () {
        () if pulses.failsafe() => "failsafe",
        () if pulses.disarmed() => "no pulses",
        () => "neutral",
    }
}

/// Why a guard stopped the car, as `pilotage status` names it. A scenario that took any reason
/// would pass with the deadline's, whatever was broken and whoever had not noticed.
mod reason {
    pub const DEADLINE: &[&str] = &["stopped: no good command within the deadline"];
    pub const CAMERA: &[&str] = &["stopped: the camera failed"];
    pub const FROZEN: &[&str] = &["stopped: the camera's picture is frozen"];
    pub const PILOT: &[&str] = &["stopped: the pilot is gone"];
    pub const GAMEPAD: &[&str] = &["stopped: the gamepad is gone"];
    pub const ACTUATOR: &[&str] = &["stopped: the actuator did not take a write"];
    pub const OPERATOR: &[&str] = &[
        "stopped: an operator stopped the car",
        "stopped: an operator stopped the car",
    ];

    #[cfg(test)]
    #[test]
    fn they_are_the_guards_own() {
        let guards = include_str!("../../../crates/guard/src/state.rs");
        for reasons in [DEADLINE, CAMERA, FROZEN, PILOT, GAMEPAD, ACTUATOR, OPERATOR] {
            let is_there = |reason: &&str| {
                let text = reason.trim_start_matches("stopped: ");
                guards.contains(&format!("\"{text}\""))
            };
            assert!(reasons.iter().any(is_there), "{reasons:?}");
        }
    }
}

/// The state that the guard names, one of `wanted`.
fn in_state(guest: &mut Guest, wanted: &[&str]) -> Result<String> {
    let status = guest.status()?;
    let first = status.lines().next().unwrap_or("").to_owned();
    ensure!(
        wanted.iter().any(|wanted| first.contains(wanted)),
        "the guard is not {}: {status}\n{}",
        wanted.join(" or "),
        guest.journal(20)
    );
    Ok(first)
}
