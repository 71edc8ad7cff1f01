//! Engine files that have to be rejected, and a full disk.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::drives::after_stop;
use super::{judged, kind, passed, slack};
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// A pilot that cannot start exits and is restarted by systemd. The car does not move.
fn rejected(
    guest: &mut Guest,
    break_command: &str,
    repair_command: &str,
    reasons: &[&str],
) -> Result<Row> {
    guest.must("systemctl stop pilotage", 60)?;
    let since = guest.must("date '+%Y-%m-%d %H:%M:%S'", 30)?;
    let since = since.trim();
    // The journal's `--since` has a resolution of one second.
    std::thread::sleep(Duration::from_millis(1500));
    let before = guest.pulses()?.len();
    guest.must(
        &format!("{break_command}\nsystemctl --no-block start pilotage"),
        60,
    )?;
    let journal = guest.wait(
        "the pilot reports the error",
        Duration::from_secs(120),
        |guest| {
            let output = guest
                .run(
                    &format!("journalctl --no-pager -o cat -u pilotage --since '{since}'"),
                    30,
                )?
                .output;
            Ok(reasons
                .iter()
                .any(|reason| output.contains(reason))
                .then_some(output))
        },
    );
    let armed = guest.run("pilotage arm 2>&1", 30);
    // Long enough for a pilot that started by mistake to drive.
    std::thread::sleep(deadline() * 3);
    let pulses = guest.pulses()?;
    guest.must(repair_command, 60)?;
    let journal = journal?;
    ensure!(
        pulses[before..].iter().all(|pulses| pulses.stands()),
        "it moved: {:?}",
        &pulses[before..]
    );
    let line = journal
        .lines()
        .rev()
        .find(|line| reasons.iter().any(|reason| line.contains(reason)));
    let armed = armed?;
    let answer = armed.output.lines().next().unwrap_or("").to_owned();
    ensure!(armed.code != Some(0), "it could be armed: {answer}");
    Ok(passed(format!(
        "\"{}\"; arming: \"{answer}\"",
        line.unwrap_or("").trim()
    )))
}

pub fn damaged(guest: &mut Guest) -> Result<Row> {
    rejected(
        guest,
        "cp /etc/pilotage/mine.engine /root/kept.engine
         printf '\\125' | dd of=/etc/pilotage/mine.engine bs=1 seek=100000 conv=notrunc status=none",
        "cp /root/kept.engine /etc/pilotage/mine.engine",
        &["checksum is wrong"],
    )
}

pub fn simulated(guest: &mut Guest) -> Result<Row> {
    rejected(
        guest,
        "cp /etc/pilotage/car.toml /root/kept.toml
         sed -i 's/^file = .*/name = \"pilotnet\"/' /etc/pilotage/car.toml",
        "cp /root/kept.toml /etc/pilotage/car.toml",
        &["simulat"],
    )
}

pub fn full(guest: &mut Guest) -> Result<Row> {
    guest.drive()?;
    let before = guest.pulses()?.len();
    // dd fails when the disk is full, which is the purpose.
    guest.run(
        "dd if=/dev/zero of=/var/full bs=1M; dd if=/dev/zero of=/var/fuller bs=4k; sync",
        300,
    )?;
    let left = guest.must("df --output=avail / | tail -1", 30)?;
    std::thread::sleep(Duration::from_secs(10));
    let pulses = guest.pulses()?;
    let stood = pulses[before..].iter().any(|pulses| pulses.stands());
    let fault = guest.order(json!({ "do": "now" }))?;
    guest.must("pilotage stop", 60)?;
    let row = guest.stood(fault, deadline() * 2);
    guest.must("rm -f /var/full /var/fuller", 60)?;
    let state = after_stop(guest)?;
    ensure!(!stood, "it stood with the disk full");
    let row = row?;
    let note = format!(
        "{} KiB left, it drove on; `pilotage stop`: {}; {state}",
        left.trim(),
        kind(row.by)
    );
    Ok(judged(row, deadline() + slack(), note))
}
