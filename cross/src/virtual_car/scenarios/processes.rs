//! Processes that die, hang, or are stopped.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{in_state, judged, kind, reason, slack};
use crate::virtual_car::guest::{Guest, Stood, deadline};
use crate::virtual_car::table::Row;

const PILOT: &str = "pilotage.service";
const GUARD: &str = "pilotage-guard.service";

fn signal(guest: &mut Guest, unit: &str, signal: &str) -> Result<u64> {
    guest.order(json!({ "do": "signal", "unit": unit, "signal": signal }))
}

/// Triggers the kernel's out-of-memory killer (sysrq f), with this unit as the preferred victim.
fn starve(guest: &mut Guest, unit: &str) -> Result<u64> {
    guest.must(
        &format!(
            "echo 1000 > /proc/$(systemctl show --property=MainPID --value {unit})/oom_score_adj"
        ),
        30,
    )?;
    guest.order(json!({ "do": "write", "file": "/proc/sysrq-trigger", "text": "f" }))
}

fn pilot(
    guest: &mut Guest,
    reason: &[&str],
    strike: impl FnOnce(&mut Guest) -> Result<u64>,
) -> Result<Row> {
    guest.drive()?;
    let fault = strike(guest)?;
    let stood = guest.stood(fault, deadline() * 3)?;
    let state = in_state(guest, reason)?;
    Ok(judged(
        stood,
        deadline() + slack(),
        format!("{}; {state}", kind(stood.by)),
    ))
}

/// systemd restarts the pilot, and the car stays stopped.
pub fn pilot_kill(guest: &mut Guest) -> Result<Row> {
    let mut row = pilot(guest, reason::PILOT, |guest| signal(guest, PILOT, "KILL"))?;
    guest.wait("the pilot is back", Duration::from_secs(120), |guest| {
        let active = guest.run("systemctl is-active pilotage", 30)?;
        Ok((active.output.trim() == "active").then_some(()))
    })?;
    std::thread::sleep(deadline());
    in_state(guest, reason::PILOT)?;
    guest.drive()?;
    row.note
        .push_str("; after its restart it stayed stopped; after arming it drove");
    Ok(row)
}

pub fn pilot_stop(guest: &mut Guest) -> Result<Row> {
    pilot(guest, reason::DEADLINE, |guest| {
        signal(guest, PILOT, "STOP")
    })
}

pub fn pilot_segv(guest: &mut Guest) -> Result<Row> {
    pilot(guest, reason::PILOT, |guest| signal(guest, PILOT, "SEGV"))
}

pub fn pilot_oom(guest: &mut Guest) -> Result<Row> {
    pilot(guest, reason::PILOT, |guest| starve(guest, PILOT))
}

fn guard(guest: &mut Guest, strike: impl FnOnce(&mut Guest) -> Result<u64>) -> Result<Row> {
    guest.drive()?;
    let fault = strike(guest)?;
    let stood = guest.stood(fault, deadline() * 5)?;
    let state = guest.wait("a guard is back", Duration::from_secs(120), |guest| {
        Ok(in_state(guest, &["disarmed"]).ok())
    })?;
    // The car stays stopped, whatever the pilot sends.
    let after: Stood = guest.stood(fault, deadline() * 2)?;
    let mut row = judged(
        stood,
        deadline() * 2 + slack(),
        format!("{}; {state}", kind(stood.by)),
    );
    row.passed &= after.after == stood.after;
    Ok(row)
}

pub fn guard_kill(guest: &mut Guest) -> Result<Row> {
    guard(guest, |guest| signal(guest, GUARD, "KILL"))
}

pub fn guard_stop(guest: &mut Guest) -> Result<Row> {
    guard(guest, |guest| signal(guest, GUARD, "STOP"))
}

pub fn guard_segv(guest: &mut Guest) -> Result<Row> {
    guard(guest, |guest| signal(guest, GUARD, "SEGV"))
}

pub fn guard_oom(guest: &mut Guest) -> Result<Row> {
    guard(guest, |guest| starve(guest, GUARD))
}

/// An operator's `systemctl` command. The time counts from just before the command.
fn asked(guest: &mut Guest, line: &str, states: &[&str]) -> Result<Row> {
    guest.drive()?;
    let fault = guest.order(json!({ "do": "now" }))?;
    guest.must(line, 120)?;
    let stood = guest.stood(fault, deadline() * 3)?;
    let state = match states {
        [] => "no guard".to_owned(),
        states => in_state(guest, states)?,
    };
    // In the emulator, systemctl itself takes most of a second.
    let limit = deadline() * 2 + slack();
    Ok(judged(stood, limit, format!("{}; {state}", kind(stood.by))))
}

pub fn service_stop(guest: &mut Guest) -> Result<Row> {
    asked(guest, "systemctl stop pilotage", &["disarmed"])
}

pub fn restart(guest: &mut Guest) -> Result<Row> {
    asked(guest, "systemctl restart pilotage", &["disarmed"])
}

pub fn guard_service(guest: &mut Guest) -> Result<Row> {
    asked(guest, "systemctl stop pilotage-guard", &[])
}
