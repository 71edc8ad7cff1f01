//! A gamepad that the kernel emulates (uinput): its buttons arm and stop the car while an engine
//! drives.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{in_state, judged, kind, reason, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// Plugs the gamepad in, and waits until the pilot has found it.
fn plug(guest: &mut Guest) -> Result<()> {
    let before = found(guest)?;
    guest.order(json!({ "do": "pad", "plugged": true }))?;
    guest.wait(
        "the pilot finds the gamepad",
        Duration::from_secs(60),
        |guest| Ok((found(guest)? > before).then_some(())),
    )
}

/// How often the journal reports that a pilot has found the gamepad; 0 when the journal cannot be
/// read.
fn found(guest: &mut Guest) -> Result<u32> {
    let line = "journalctl --no-pager -o cat -u pilotage | grep -c 'its buttons arm'";
    Ok(guest.run(line, 30)?.output.trim().parse().unwrap_or(0))
}

/// Presses of the arm button that may have no effect: a press before the pilot's first frame, and a
/// press after which the car takes longer to drive than until the next press.
const MOST_PRESSES: u32 = 5;

/// Presses the arm button until the car drives.
fn arm(guest: &mut Guest) -> Result<()> {
    guest.order(json!({ "do": "restart" }))?;
    let mut presses = 0;
    guest.wait(
        "armed by the gamepad, it drives",
        Duration::from_secs(120),
        |guest| {
            ensure!(presses < MOST_PRESSES, "{presses} presses did not arm it");
            presses += 1;
            guest.order(json!({ "do": "press", "button": "arm" }))?;
            std::thread::sleep(Duration::from_secs(2));
            let last = guest.pulses()?.last().copied();
            Ok(last.is_some_and(|last| !last.stands()).then_some(()))
        },
    )?;
    println!("        armed by the gamepad at press {presses}");
    Ok(())
}

pub fn gone(guest: &mut Guest) -> Result<Row> {
    plug(guest)?;
    arm(guest)?;
    let pressed = guest.order(json!({ "do": "press", "button": "stop" }))?;
    let by_button = guest.stood(pressed, deadline() * 2)?;
    in_state(guest, reason::OPERATOR)?;
    ensure!(
        by_button.after <= deadline() + slack() && !by_button.again,
        "its stop button: {by_button:?}"
    );
    arm(guest)?;
    let fault = guest.order(json!({ "do": "pad", "plugged": false }))?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let state = in_state(guest, reason::GAMEPAD)?;
    plug(guest)?;
    let still = guest.stood(fault, deadline() * 2)?;
    ensure!(
        still.after == stood.after,
        "it drove on when the gamepad was back"
    );
    arm(guest)?;
    let note = format!(
        "{}; {state}; back, it armed; its stop button: {:.2} s",
        kind(stood.by),
        by_button.after.as_secs_f64()
    );
    Ok(judged(stood, deadline() + slack(), note))
}
