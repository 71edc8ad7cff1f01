//! Runs the commands of docs/first-lap.md, unchanged and in order, on a computer on which Pilotage
//! was never installed.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::drives::after_stop;
use super::{judged, kind, slack};
use crate::virtual_car::car::RATE;
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;
use crate::virtual_car::{Made, SLOWER, image};

const PAGE: &str = include_str!("../../../../docs/first-lap.md");

/// A command of the page, and the text that its output has to contain.
const BEFORE_TRIMMING: [(&str, &str); 7] = [
    (
        "sudo apt install ./pilotage_arm64.deb",
        "Setting up pilotage",
    ),
    ("pilotage status", "disarmed"),
    ("i2cdetect -y -r 1", " 40 "),
    (
        "sudo cp /usr/share/pilotage/cars/jetracer.toml /etc/pilotage/car.toml",
        "",
    ),
    ("sudo cp mine.engine /etc/pilotage/", ""),
    ("pilotage check /etc/pilotage/car.toml", ""),
    ("sudo systemctl stop pilotage-guard", ""),
];
const AFTER_TRIMMING: [(&str, &str); 3] = [
    ("sudo systemctl start pilotage-guard", ""),
    ("pilotage status", "disarmed"),
    ("sudo systemctl enable --now pilotage", ""),
];

/// The command that replaces the user's editor. The car is a Donkeycar with a USB camera, and the
/// emulated car is slower.
fn edit() -> String {
    format!(
        "sed -i 's/^rate = .*/rate = {:.1}/' /etc/pilotage/car.toml
         printf '\\n[guard]\\ndeadline_ms = {:.1}\\nfirst_command_ms = {:.1}\\n' >> \
         /etc/pilotage/car.toml",
        RATE / SLOWER,
        150.0 * SLOWER,
        2000.0 * SLOWER
    )
}

/// Trims centre and ends. The keys that are sent move the first value by one step and keep the
/// others.
const TRIMMING: &str = "sudo pilotage trim";
const TYPED: &str = "printf '+\\n\\ny\\n\\n\\n\\n\\n\\n'";

fn follow(guest: &mut Guest, (command, answer): (&str, &str)) -> Result<()> {
    let line = shell_command(command)?;
    run_and_check(guest, &line, answer)
}

/// The shell command for `command`, which has to be in the page.
fn shell_command(command: &str) -> Result<String> {
    ensure!(
        PAGE.lines()
            .any(|line| line.split("  ").any(|part| part.trim() == command)),
        "docs/first-lap.md does not say `{command}` any more"
    );
    // The guest's user is root, and the car is another one of those that the page names.
    Ok(command
        .replace("sudo ", "")
        .replace("jetracer", "donkeycar"))
}

fn run_and_check(guest: &mut Guest, line: &str, answer: &str) -> Result<()> {
    let output = guest.must(&format!("cd /run/rig && {line} 2>&1"), 300)?;
    ensure!(
        output.contains(answer),
        "`{line}` did not print `{answer}`:\n{output}"
    );
    Ok(())
}

pub fn walk(made: &Made) -> Result<Row> {
    let folder = made.folder.join("first-lap");
    fs::create_dir_all(&folder)?;
    let car = folder.join("car.toml");
    let rig = folder.join("rig.toml");
    fs::copy(made.root.join("cars/donkeycar.toml"), &car)?;
    let own =
        fs::read_to_string(&car)?.replace("rate = 30.0", &format!("rate = {:.1}", RATE / SLOWER));
    fs::write(&car, own)?;
    // A Donkeycar's motor is on channel 0, its servo on channel 1.
    let settings = crate::virtual_car::car::rig("chicane")
        .replace("throttle_channel = 1", "throttle_channel = 0")
        .replace("steering_channel = 0", "steering_channel = 1");
    fs::write(&rig, format!("bare_buses = 1\n{settings}"))?;
    let payload = image::payload(
        &folder,
        &[
            ("rig", made.rig.as_path()),
            ("rig.toml", &rig),
            ("car.toml", &car),
            ("mine.engine", &made.folder.join("mine.engine")),
            ("pilotage_arm64.deb", &made.package),
        ],
    )?;
    let mut guest = Guest::with(made, &made.image.disk, "first-lap", &payload)?;
    for step in BEFORE_TRIMMING {
        if step.0.starts_with("pilotage check") {
            guest.must(&edit(), 30)?;
        }
        follow(&mut guest, step)?;
    }
    let file = "cat /etc/pilotage/car.toml";
    let before = guest.must(file, 30)?;
    run_and_check(
        &mut guest,
        &format!("{TYPED} | {}", shell_command(TRIMMING)?),
        "written to /etc/pilotage/car.toml",
    )?;
    let after = guest.must(file, 30)?;
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
    // The centre changes, and with it the failsafe and disarmed values that were equal to it.
    ensure!(
        (1..=3).contains(&changed.count()) && before.lines().count() == after.lines().count(),
        "trimming changed other lines of car.toml than the centre's:\n{after}"
    );
    for step in AFTER_TRIMMING {
        follow(&mut guest, step)?;
    }
    let arm = shell_command("pilotage arm")?;
    guest.arm(&arm, Duration::from_secs(180))?;
    guest.wait("armed, it drives", Duration::from_secs(60), |guest| {
        let driving = guest.status()?.starts_with("driving");
        Ok(driving.then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(8));
    let (place, _) = guest.place()?;
    ensure!(place.speed > 0.1, "armed, the car does not roll: {place:?}");
    let fault = guest.order(serde_json::json!({ "do": "now" }))?;
    follow(&mut guest, ("pilotage stop", ""))?;
    let stood = guest.stood(fault, deadline() * 2)?;
    let state = after_stop(&mut guest)?;
    let note = format!(
        "installed, set up, trimmed and driven by the page's commands; {}; {state}",
        kind(stood.by)
    );
    Ok(judged(stood, deadline() + slack(), note))
}
