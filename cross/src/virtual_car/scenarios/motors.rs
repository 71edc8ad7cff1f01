//! Faults of the PWM chip and of its I2C bus.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{in_state, judged, kind, passed, reason, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// While no write reaches the chip, it holds its last pulse. So the time counts from when writes
/// reach it again. The guard retries every 320 ms at the latest.
const OUTAGE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(320);

pub fn nack(guest: &mut Guest) -> Result<Row> {
    guest.drive()?;
    let fault = guest.order(json!({ "do": "chip", "answers": false }))?;
    std::thread::sleep(OUTAGE);
    let back = guest.order(json!({ "do": "chip", "answers": true }))?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let outage = Duration::from_nanos(back - fault);
    let state = in_state(guest, reason::ACTUATOR)?;
    let note = format!(
        "{}, {:.2} s after the chip answered again; {state}",
        kind(stood.by),
        stood.after.saturating_sub(outage).as_secs_f64()
    );
    Ok(judged(stood, outage + RETRY + slack(), note))
}

pub fn reset(guest: &mut Guest) -> Result<Row> {
    guest.drive()?;
    let fault = guest.order(json!({ "do": "reset-chip" }))?;
    let stood = guest.stood(fault, deadline() * 3)?;
    let state = in_state(guest, reason::ACTUATOR)?;
    let last = guest.pulses()?.last().copied();
    ensure!(
        last.is_some_and(|last| last.failsafe()),
        "the chip was not set up anew: {last:?}"
    );
    Ok(judged(
        stood,
        slack(),
        format!("a reset chip puts out nothing; then failsafe; {state}"),
    ))
}

/// The guard reads the chip's settings back once per second.
pub fn reset_idle(guest: &mut Guest) -> Result<Row> {
    guest.wait("it is disarmed", Duration::from_secs(60), |guest| {
        Ok((guest.run("pilotage disarm", 30)?.code == Some(0)).then_some(()))
    })?;
    let before = guest.pulses()?.len();
    guest.order(json!({ "do": "reset-chip" }))?;
    std::thread::sleep(Duration::from_secs(3) + deadline());
    let pulses = guest.pulses()?;
    ensure!(
        pulses[before..].iter().all(|pulses| pulses.stands()),
        "it moved: {:?}",
        &pulses[before..]
    );
    guest.drive()?;
    Ok(passed(
        "nothing moved; the chip was set up anew; after arming it drove",
    ))
}

/// As with a chip that does not answer: the chip holds its last pulse while the adapter is
/// unplugged.
pub fn bus(guest: &mut Guest) -> Result<Row> {
    guest.drive()?;
    let fault = guest.order(json!({ "do": "cable", "plugged": false }))?;
    std::thread::sleep(OUTAGE);
    let state = in_state(guest, reason::ACTUATOR)?;
    let back = guest.order(json!({ "do": "cable", "plugged": true }))?;
    let stood = guest.stood(fault, Duration::from_secs(20))?;
    let outage = Duration::from_nanos(back - fault);
    let note = format!(
        "{}, {:.2} s after it was plugged in again; {state}",
        kind(stood.by),
        stood.after.saturating_sub(outage).as_secs_f64()
    );
    // The kernel has to detect the adapter and register its bus first.
    Ok(judged(stood, outage + Duration::from_secs(5), note))
}
