//! Drives without a fault.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
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
/// in failsafe once armed. The throttle's first slewed values may lie between failsafe and driving.
fn began_well(pulses: &[Pulses]) -> Result<()> {
    let first = pulses
        .iter()
        .position(|pulses| !pulses.stands())
        .unwrap_or(pulses.len());
    let before = &pulses[..first];
    let disarmed = before.iter().position(|pulses| pulses.disarmed());
    let Some(disarmed) = disarmed else {
        bail!("it never was disarmed: {before:?}");
    };
    ensure!(
        before[disarmed..].iter().any(|pulses| pulses.failsafe()),
        "it drove without failsafe first: {before:?}"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses(values: &[(f32, f32)]) -> Vec<Pulses> {
        let at = |(at, &(throttle, steering))| Pulses {
            at,
            throttle,
            steering,
        };
        (0..).zip(values).map(at).collect()
    }

    #[test]
    fn a_drive_begins_disarmed_and_in_failsafe() {
        let neutral = (1498.16, 1498.16);
        let ahead = (1560.0, 1503.04);
        let armed = [(0.0, 0.0), (1498.16, 0.0), neutral];
        // The throttle's first value may be too small to drive.
        for begun in [&[][..], &[(1507.92, 1498.16), (1507.92, 1503.04)]] {
            let good = [&armed[..], begun, &[ahead]].concat();
            assert!(began_well(&pulses(&good)).is_ok(), "{good:?}");
        }
        assert!(began_well(&pulses(&[neutral, ahead])).is_err());
        assert!(began_well(&pulses(&[(0.0, 0.0), ahead])).is_err());
    }
}
