//! Transfers on the I2C bus that block, as on a Jetson whose driver waits a time of its own: nothing
//! ends them meanwhile, SIGKILL included.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::wiring::{level, with_output_enable_pin};
use super::{in_state, judged, kind, reason, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// The guard writes again at the latest this long after a transfer has failed.
const RETRY: Duration = Duration::from_millis(320);

/// A part of the guard's reason for a failed write.
const STUCK: &str = "a transfer has been stuck";

fn hang(guest: &mut Guest, time: Duration) -> Result<u64> {
    guest.order(json!({ "do": "hang", "millis": time.as_millis() as u64 }))
}

/// Fails if the transfer that blocks for `time` since `fault` has ended already.
fn ensure_hanging(guest: &mut Guest, fault: u64, time: Duration) -> Result<()> {
    let now = guest.order(json!({ "do": "now" }))?;
    ensure!(
        Duration::from_nanos(now - fault) < time,
        "the emulator was too slow: the bus was free before the scenario was"
    );
    Ok(())
}

/// Shorter than the guard's deadline. The chip keeps its last pulses until the bus is free.
pub fn second(guest: &mut Guest) -> Result<Row> {
    let time = Duration::from_secs(1);
    guest.drive()?;
    let fault = hang(guest, time)?;
    let stood = guest.stood(fault, deadline() * 3)?;
    let state = in_state(guest, reason::ACTUATOR)?;
    let note = format!(
        "{}, {:.2} s after the bus was free again; {state}",
        kind(stood.by),
        stood.after.saturating_sub(time).as_secs_f64()
    );
    Ok(judged(stood, time + RETRY + slack(), note))
}

/// Longer than the guard's deadline. The guard answers meanwhile: `pilotage status` has the reason,
/// `pilotage stop` fails with it, and the OE pin, which needs no bus, holds the outputs back.
pub fn ten_seconds(guest: &mut Guest) -> Result<Row> {
    with_output_enable_pin(guest, with_pin)
}

fn with_pin(guest: &mut Guest) -> Result<Row> {
    let time = Duration::from_secs(10);
    guest.drive()?;
    level(guest, "lo").context("driving")?;
    let fault = hang(guest, time)?;
    level(guest, "hi").context("the bus hangs")?;
    let status = guest.status()?;
    ensure_hanging(guest, fault, time)?;
    ensure!(
        status.contains(STUCK),
        "`pilotage status` while the bus hung: {status}"
    );
    let stop = guest.run("pilotage stop", 60)?;
    // A guard in the emulator may answer later than within the 7 ms of `pilotage stop`, which then kills
    // it and waits for the bus itself.
    let killed = !stop.output.contains(STUCK);
    ensure!(
        stop.code != Some(0) && (!killed || stop.output.contains("failsafe was written")),
        "`pilotage stop` while the bus hung: {:?}: {}",
        stop.code,
        stop.output
    );
    let stood = guest.stood(fault, time * 2)?;
    level(guest, "lo").context("the bus is free again")?;
    let (by, state) = match killed {
        false => ("failed", in_state(guest, reason::ACTUATOR)?),
        true => (
            "killed the guard, which was late",
            in_state(guest, &["disarmed"])?,
        ),
    };
    let note = format!(
        "OE high meanwhile, `pilotage status` named the reason, `pilotage stop` {by}: \"{}\"; {}, \
         {:.2} s after the bus was free again; {state}",
        stop.output.trim(),
        kind(stood.by),
        stood.after.saturating_sub(time).as_secs_f64()
    );
    let limit = match killed {
        false => time + RETRY + slack(),
        true => time + deadline() * 2 + slack(),
    };
    Ok(judged(stood, limit, note))
}

/// A guard that is killed meanwhile ends with its transfer only. Until the next guard has written, the
/// OE pin stays where the killed one has left it.
pub fn killed(guest: &mut Guest) -> Result<Row> {
    with_output_enable_pin(guest, killed_with_pin)
}

fn killed_with_pin(guest: &mut Guest) -> Result<Row> {
    let time = Duration::from_secs(10);
    guest.drive()?;
    let fault = hang(guest, time)?;
    level(guest, "hi").context("the bus hangs")?;
    guest.order(json!({ "do": "signal", "unit": "pilotage-guard.service", "signal": "KILL" }))?;
    level(guest, "hi").context("the guard is killed")?;
    ensure_hanging(guest, fault, time)?;
    let stood = guest.stood(fault, time * 2)?;
    let state = guest.wait("a guard is back", Duration::from_secs(120), |guest| {
        Ok(in_state(guest, &["disarmed"]).ok())
    })?;
    level(guest, "lo").context("the next guard has written")?;
    let note = format!(
        "OE high meanwhile, also after the kill; {}, {:.2} s after the bus was free again; {state}",
        kind(stood.by),
        stood.after.saturating_sub(time).as_secs_f64()
    );
    Ok(judged(stood, time + deadline() * 2 + slack(), note))
}
