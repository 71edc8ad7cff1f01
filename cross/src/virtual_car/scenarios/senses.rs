//! Faults of the camera.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{in_state, judged, kind, reason, slack};
use crate::virtual_car::car;
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// The picture fails and the car stops; the picture comes back and the car stays stopped; armed
/// again, the car drives. The pilot's process stays the same throughout.
fn wrong(guest: &mut Guest, picture: &str, reason: &[&str], limit: Duration) -> Result<Row> {
    const PILOT: &str = "systemctl show --property=MainPID --value pilotage";
    guest.drive()?;
    let pilot = guest.must(PILOT, 30)?;
    let fault = guest.order(json!({ "do": "picture", "is": picture }))?;
    let stood = guest.stood(fault, limit * 2)?;
    let state = in_state(guest, reason)?;
    guest.order(json!({ "do": "picture", "is": "live" }))?;
    // Longer than the pilot's interval between attempts to open a camera.
    std::thread::sleep(Duration::from_secs(6));
    let still = guest.stood(fault, deadline())?;
    ensure!(
        still.after == stood.after,
        "it drove on when the camera was back"
    );
    guest.drive()?;
    ensure!(
        guest.must(PILOT, 30)? == pilot,
        "the pilot was started anew"
    );
    let note = format!(
        "{}; {state}; with the camera back and the car armed, it drove",
        kind(stood.by)
    );
    Ok(judged(stood, limit, note))
}

pub fn gone(guest: &mut Guest) -> Result<Row> {
    wrong(guest, "gone", reason::CAMERA, deadline() + slack())
}

/// The time until the fault is detected: the frames that have to be odd, and those in flight.
fn noticed() -> Duration {
    car::frame_period() * (car::ODD_FRAMES + 2) + slack()
}

pub fn frozen(guest: &mut Guest) -> Result<Row> {
    wrong(guest, "frozen", reason::FROZEN, noticed())
}

pub fn black(guest: &mut Guest) -> Result<Row> {
    wrong(guest, "black", reason::CAMERA, noticed())
}
