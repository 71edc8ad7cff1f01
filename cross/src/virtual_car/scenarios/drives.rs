//! Drives without a fault.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{in_state, judged, kind, slack};
use crate::virtual_car::car;
use crate::virtual_car::guest::{Guest, Pulses, deadline};
use crate::virtual_car::table::Row;

/// The distance of a drive, in metres. By then the chicane has had a left and a right bend.
const FAR: f64 = 60.0;
/// The largest distance from the centre line, in metres. The road is 3 m wide: beyond this, a wheel
/// leaves the road.
const WIDEST: f64 = 1.0;
/// The longest time that a drive may take, emulated on a busy machine.
const LONGEST: Duration = Duration::from_secs(400);

/// Watches the car drive for `far` metres, and returns its largest distance from the centre line.
fn through(guest: &mut Guest, far: f64) -> Result<f64> {
    let (start, length) = guest.place()?;
    let began = Instant::now();
    let (mut widest, mut gone, mut s) = (0.0_f64, 0.0, start.s);
    while gone < far {
        let (place, _) = guest.place()?;
        let step = (place.s - s + length / 2.0).rem_euclid(length) - length / 2.0;
        (gone, s) = (gone + step, place.s);
        widest = widest.max(place.offset.abs());
        ensure!(
            widest < WIDEST,
            "{:.2} m off the line after {gone:.0} m\n{}",
            place.offset,
            guest.journal(15)
        );
        ensure!(
            began.elapsed() < LONGEST,
            "only {gone:.0} m: {}",
            guest.status()?
        );
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(widest)
}

/// Checks the pulses before the car drove: the car was stopped throughout, disarmed at first, and
/// in failsafe once armed.
fn began_well(pulses: &[Pulses]) -> Result<()> {
    let first = pulses
        .iter()
        .position(|pulses| !pulses.stands())
        .unwrap_or(pulses.len());
    let before = &pulses[..first];
    ensure!(
        before.last().is_some_and(|last| last.failsafe()),
        "it drove without failsafe first: {before:?}"
    );
    ensure!(
        before.iter().any(|pulses| pulses.disarmed()),
        "it never was disarmed: {before:?}"
    );
    Ok(())
}

/// The guard's state after `pilotage stop`. That command kills a guard that does not answer in 7
/// ms, and an emulated guard may not. systemd then starts the next guard, which is disarmed.
pub(super) fn after_stop(guest: &mut Guest) -> Result<String> {
    guest.wait("a guard is there", Duration::from_secs(60), |guest| {
        Ok(in_state(guest, &["stopped", "disarmed"]).ok())
    })
}

pub fn clean(guest: &mut Guest) -> Result<Row> {
    let since = guest.pulses()?.len();
    guest.drive()?;
    let widest = through(guest, FAR)?;
    let pulses = guest.pulses()?;
    began_well(&pulses[since.saturating_sub(1)..])?;
    let steered = |side: f32| {
        pulses.iter().any(|pulses| {
            (pulses.steering - f32::from(car::CENTRE)) * side > 4.0 * car::TICK
                && pulses.steering > 0.0
        })
    };
    ensure!(steered(1.0) && steered(-1.0), "it steered to one side only");
    let fault = guest.order(json!({ "do": "now" }))?;
    guest.must("pilotage stop", 60)?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let state = after_stop(guest)?;
    let note = format!(
        "{FAR:.0} m of bends, at most {widest:.2} m off the line; `pilotage stop`: {}; {state}",
        kind(stood.by)
    );
    Ok(judged(stood, deadline() + slack(), note))
}

pub fn clock(guest: &mut Guest) -> Result<Row> {
    guest.drive()?;
    let before = guest.pulses()?.len();
    guest.must("date --set='+1 year'", 30)?;
    let widest = through(guest, 20.0)?;
    let since = guest.pulses()?;
    ensure!(
        since[before..].iter().all(|pulses| !pulses.stands()),
        "it stood: {:?}",
        &since[before..]
    );
    let fault = guest.order(json!({ "do": "now" }))?;
    guest.must("pilotage stop", 60)?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let note = format!("drove on, at most {widest:.2} m off the line; then `pilotage stop`");
    Ok(judged(stood, deadline() + slack(), note))
}
