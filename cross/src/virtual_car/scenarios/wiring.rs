//! Other ways to wire the chip: an adapter for SMBus commands, and the output-enable pin on a GPIO.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::drives::after_stop;
use super::{in_state, judged, kind, passed, reason, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

const RESTART: &str = "systemctl restart pilotage-guard && systemctl restart pilotage";
/// The kernel's record of its SMBus commands. It shows which kind of transfer the guard made.
const TRACE: &str = "/sys/kernel/tracing";

fn plug_again(guest: &mut Guest, smbus: bool) -> Result<()> {
    guest.order(json!({ "do": "adapter", "smbus": smbus }))?;
    // A guard that has the bus open would keep its name.
    guest.must("systemctl stop pilotage pilotage-guard", 300)?;
    guest.order(json!({ "do": "cable", "plugged": false }))?;
    guest.order(json!({ "do": "cable", "plugged": true }))?;
    guest.must(RESTART, 300)?;
    Ok(())
}

/// The adapter reports SMBus functions only, as those of some computers do. The guard then uses
/// SMBus block writes and byte reads, and the car drives and stops as with any other.
pub fn smbus(guest: &mut Guest) -> Result<Row> {
    plug_again(guest, true)?;
    guest.must(
        &format!(
            "mountpoint -q {TRACE} || mount -t tracefs tracefs {TRACE}
             echo 1 > {TRACE}/events/smbus/enable"
        ),
        30,
    )?;
    guest.drive()?;
    let fault = guest.order(json!({ "do": "now" }))?;
    guest.must("pilotage stop", 60)?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let state = after_stop(guest)?;
    let trace = guest.must(
        &format!(
            "grep -c 'smbus_write:.*I2C_BLOCK_DATA' {TRACE}/trace
             grep -c 'smbus_read:.*BYTE_DATA' {TRACE}/trace
             echo 0 > {TRACE}/events/smbus/enable; echo > {TRACE}/trace"
        ),
        30,
    )?;
    plug_again(guest, false)?;
    let counts: Vec<u32> = trace
        .lines()
        .map(|line| line.trim().parse().context("the kernel's trace"))
        .collect::<Result<_>>()?;
    let [writes, reads] = counts[..] else {
        anyhow::bail!("the kernel's trace has no counts: {trace}");
    };
    ensure!(
        writes > 10 && reads > 0,
        "{writes} block writes and {reads} reads: the guard used other transfers"
    );
    let note = format!(
        "SMBus block writes and byte reads in the kernel's trace; `pilotage stop`: {}; {state}",
        kind(stood.by)
    );
    Ok(judged(stood, deadline() + slack(), note))
}

/// The kernel's own record of its GPIO lines. It shows the level at the pin.
const LINES: &str = "/sys/kernel/debug/gpio";

/// Waits until the guard's line is an output of this level (`hi` or `lo`).
pub(super) fn level(guest: &mut Guest, level: &str) -> Result<()> {
    let line = format!("grep 'pilotage-guard' {LINES}");
    let expected = format!("out {level}");
    guest.wait(&format!("the OE pin is {level}"), deadline() * 2, |guest| {
        Ok(guest
            .run(&line, 30)?
            .output
            .contains(&expected)
            .then_some(()))
    })
}

/// Runs `scenario` with a car whose OE pin is on a GPIO.
pub(super) fn with_output_enable_pin(
    guest: &mut Guest,
    scenario: fn(&mut Guest) -> Result<Row>,
) -> Result<Row> {
    guest.must(
        &format!(
            "mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
             cp /etc/pilotage/car.toml /root/kept.toml
             sed -i 's|^bus = .*|&\\noutput_enable = {{ chip = \"/dev/gpiochip0\", line = 5 }}|' \
                 /etc/pilotage/car.toml
             grep -q '^output_enable' /etc/pilotage/car.toml
             {RESTART}"
        ),
        300,
    )?;
    let result = scenario(guest);
    guest.order(json!({ "do": "chip", "answers": true }))?;
    guest.must("cp /root/kept.toml /etc/pilotage/car.toml", 30)?;
    result
}

/// The guard holds OE low while the bus works, and raises it when the chip does not answer. A
/// guard that is started after a kill gets the line again.
pub fn output_enable(guest: &mut Guest) -> Result<Row> {
    with_output_enable_pin(guest, with_output_enable)
}

/// `pilotage trim` turns the outputs off when it asks whether the servo goes limp. An emulated guard may
/// answer too late for it, and it ends then: it is started up to three times.
fn trim_turns_the_outputs_off(guest: &mut Guest) -> Result<()> {
    // Another pilot may not be connected.
    guest.must("systemctl stop pilotage", 300)?;
    let mut was_off = false;
    for _ in 0..3 {
        was_off = was_off || is_off_in_trim(guest)?;
    }
    let printed = guest.run("cat /run/trim.txt", 30)?.output;
    ensure!(was_off, "the OE pin never was high: {printed}");
    level(guest, "lo").context("trim has ended")?;
    guest.must("systemctl start pilotage", 300)?;
    Ok(())
}

/// Runs `pilotage trim` until its question about the outputs. Returns whether the pin was high then.
fn is_off_in_trim(guest: &mut Guest) -> Result<bool> {
    // The centre, the wheels turn left, both ends and the neutral; then the answer about the outputs.
    guest.must(
        "echo > /run/trim.txt
         (printf '\\ny\\n\\n\\n\\n'; sleep 12; printf 'y\\n') \
         | (pilotage trim >> /run/trim.txt 2>&1; echo THE END >> /run/trim.txt) &",
        30,
    )?;
    let mut was_off = false;
    guest.wait("trim ends", Duration::from_secs(120), |guest| {
        let line = format!("cat /run/trim.txt; grep 'pilotage-guard' {LINES}");
        let output = guest.run(&line, 30)?.output;
        was_off |= output.contains("the outputs are off by OE") && output.contains("out hi");
        Ok(output.contains("THE END").then_some(()))
    })?;
    Ok(was_off)
}

fn with_output_enable(guest: &mut Guest) -> Result<Row> {
    level(guest, "lo").context("disarmed")?;
    trim_turns_the_outputs_off(guest)?;
    guest.drive()?;
    level(guest, "lo").context("driving")?;
    guest.order(json!({ "do": "chip", "answers": false }))?;
    level(guest, "hi").context("the chip does not answer")?;
    in_state(guest, reason::ACTUATOR)?;
    // It stays high as long as the chip does not answer.
    std::thread::sleep(Duration::from_secs(2));
    level(guest, "hi").context("the chip still does not answer")?;
    guest.order(json!({ "do": "chip", "answers": true }))?;
    level(guest, "lo").context("the chip answers again")?;
    in_state(guest, reason::ACTUATOR)?;

    guest.drive()?;
    guest.order(json!({ "do": "signal", "unit": "pilotage-guard.service", "signal": "KILL" }))?;
    guest.wait("a guard is back", Duration::from_secs(120), |guest| {
        Ok(in_state(guest, &["disarmed"]).ok())
    })?;
    level(guest, "lo").context("after the guard was killed")?;
    Ok(passed(
        "high while `trim` asked about it, low while it drove, high while the chip did not answer, \
         low again with the guard that systemd started after a kill",
    ))
}
