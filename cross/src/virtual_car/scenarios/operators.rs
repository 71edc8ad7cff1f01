//! Operators that are not root.

use anyhow::{Result, ensure};
use std::time::Duration;

use super::drives::after_stop;
use super::{in_state, judged, kind, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// A member of the group `pilotage` arms and stops the car. A user outside the group does neither.
pub fn group(guest: &mut Guest) -> Result<Row> {
    guest.must(
        "id driver || useradd --groups pilotage driver; id visitor || useradd visitor",
        60,
    )?;
    guest.order(serde_json::json!({ "do": "restart" }))?;
    guest.wait("the pilot is ready", Duration::from_secs(120), |guest| {
        let active = guest.run("systemctl is-active pilotage", 30)?;
        Ok((active.output.trim() == "active").then_some(()))
    })?;
    let armed = guest.run("runuser -u visitor -- pilotage arm 2>&1", 30)?;
    ensure!(
        armed.code != Some(0),
        "an unauthorized user armed it: {}",
        armed.output
    );
    in_state(guest, &["disarmed"])?;

    guest.drive_armed_by("runuser -u driver -- pilotage arm")?;
    let before = guest.pulses()?.len();
    let stopped = guest.run("runuser -u visitor -- pilotage stop 2>&1", 30)?;
    ensure!(
        stopped.code != Some(0),
        "an unauthorized user stopped it: {}",
        stopped.output
    );
    std::thread::sleep(deadline());
    let pulses = guest.pulses()?;
    ensure!(
        pulses[before..].iter().all(|pulses| !pulses.stands()),
        "it stood: {:?}",
        &pulses[before..]
    );

    let fault = guest.order(serde_json::json!({ "do": "now" }))?;
    guest.must("runuser -u driver -- pilotage stop", 60)?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let state = after_stop(guest)?;
    let refusal = stopped.output.lines().next().unwrap_or("").to_owned();
    let note = format!(
        "`pilotage stop`: {}; {state}; a user outside the group: \"{refusal}\"",
        kind(stood.by)
    );
    Ok(judged(stood, deadline() + slack(), note))
}
