//! The computer itself: its power, a reboot, a kernel that hangs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{in_state, passed};
use crate::virtual_car::Made;
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::table::Row;

/// After a boot the car is disarmed, nothing comes out, and armed it drives.
fn comes_up(mut guest: Guest) -> Result<Guest> {
    guest.wait("the guard is there", Duration::from_secs(180), |guest| {
        Ok(in_state(guest, &["disarmed"]).ok())
    })?;
    std::thread::sleep(deadline() * 2);
    let pulses = guest.pulses()?;
    ensure!(
        pulses.iter().all(|pulses| pulses.disarmed()),
        "it did not stay disarmed: {pulses:?}"
    );
    guest.drive()?;
    Ok(guest)
}

/// Engine files are written over and over, and the power goes in the middle of one.
pub fn power_cut(made: &Made, mut guest: Guest) -> Result<Row> {
    guest.must(
        "cp /etc/pilotage/mine.engine /root/new.engine; sync
         printf 'while :; do cp /root/new.engine /etc/pilotage/mine.engine.part
         sync /etc/pilotage/mine.engine.part
         mv /etc/pilotage/mine.engine.part /etc/pilotage/mine.engine; done' > /root/write.sh
         systemd-run --quiet sh /root/write.sh",
        60,
    )?;
    guest.drive()?;
    std::thread::sleep(Duration::from_millis(700));
    let disk = guest.cut();
    let guest = Guest::again(made, disk, "power-after")?;
    let mut guest = comes_up(guest)?;
    let pilot = guest.must("pilotage inspect /etc/pilotage/mine.engine | head -3", 60)?;
    let first = pilot.lines().next().unwrap_or("").to_owned();
    Ok(passed(format!(
        "booted disarmed, the engine whole ({first}), armed it drove"
    )))
}

pub fn reboot(made: &Made, mut guest: Guest) -> Result<Row> {
    guest.drive()?;
    guest.must("systemctl --no-block reboot", 60)?;
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < Duration::from_secs(120) {
        match guest.pulses() {
            Ok(pulses) => last = pulses.last().copied(),
            // The rig went, after guard and pilot.
            Err(_) => break,
        }
        if guest.machine.ends_within(Duration::from_millis(100))? {
            break;
        }
    }
    let last = last.filter(|last| last.stands());
    ensure!(last.is_some(), "it still moved when the system went down");
    ensure!(
        guest.machine.ends_within(Duration::from_secs(120))?,
        "it does not reboot:\n{}",
        guest.machine.console_end()
    );
    let guest = comes_up(Guest::again(made, guest.cut(), "reboot-after")?)?;
    drop(guest);
    Ok(passed(
        "stood before the system went down; booted disarmed, armed it drove",
    ))
}

/// A kernel that has panicked and stays there, as `kernel.panic = 0` has it, feeds nothing.
pub fn hang(made: &Made, mut guest: Guest) -> Result<Row> {
    guest.must(
        "install -D -m 644 /usr/share/pilotage/opt-in/hardware-watchdog.conf \
         /etc/systemd/system.conf.d/pilotage-watchdog.conf
         systemctl daemon-reexec; sync; sysctl --quiet kernel.panic=0",
        120,
    )?;
    guest.drive()?;
    let began = Instant::now();
    // Nobody answers this.
    let _ = guest.run("echo c > /proc/sysrq-trigger", 1);
    ensure!(
        guest.machine.ends_within(Duration::from_secs(120))?,
        "the watchdog did not reset it:\n{}",
        guest.machine.console_end()
    );
    let reset = began.elapsed();
    // Sooner, and it was the kernel itself, which then did not hang.
    ensure!(
        reset > Duration::from_secs(5),
        "it was reset {reset:?} after its kernel's panic, and not by the watchdog"
    );
    let guest = comes_up(Guest::again(made, guest.cut(), "hang-after")?)?;
    drop(guest);
    Ok(passed(format!(
        "reset {} s after it hung, its pulses held until then; booted disarmed, armed it drove",
        reset.as_secs() + 1
    )))
}
