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

fn hang(guest: &mut Guest, time: Duration) -> Result<u64> {
    guest.order(json!({ "do": "hang", "millis": time.as_millis() as u64 }))
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

/// Longer than the guard's deadline. The guard answers meanwhile: `pilotage stop` fails and says why,
/// and the OE pin, which needs no bus, holds the outputs back.
pub fn ten_seconds(guest: &mut Guest) -> Result<Row> {
    with_output_enable_pin(guest, with_pin)
}

fn with_pin(guest: &mut Guest) -> Result<Row> {
    let time = Duration::from_secs(10);
    guest.drive()?;
    level(guest, "lo").context("driving")?;
    let fault = hang(guest, time)?;
    level(guest, "hi").context("the bus hangs")?;
    let stop = guest.run("pilotage stop", 60)?;
    let now = guest.order(json!({ "do": "now" }))?;
    ensure!(
        Duration::from_nanos(now - fault) < time,
        "the emulator was too slow: the bus was free before `pilotage stop` had ended"
    );
    ensure!(
        stop.code != Some(0) && stop.output.contains("a transfer has been stuck"),
        "`pilotage stop` while the bus hung: {:?}: {}",
        stop.code,
        stop.output
    );
    let stood = guest.stood(fault, time * 2)?;
    level(guest, "lo").context("the bus is free again")?;
    let state = in_state(guest, reason::ACTUATOR)?;
    let note = format!(
        "OE high meanwhile, and `pilotage stop` failed: \"{}\"; {}, {:.2} s after the bus was free \
         again; {state}",
        stop.output.trim(),
        kind(stood.by),
        stood.after.saturating_sub(time).as_secs_f64()
    );
    Ok(judged(stood, time + RETRY + slack(), note))
}
