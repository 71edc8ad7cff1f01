//! Faults of the computer: a power cut, a reboot, a kernel that hangs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{in_state, passed};
use crate::virtual_car::Made;
use crate::virtual_car::guest::{Guest, deadline};
use crate::virtual_car::power::Log;
use crate::virtual_car::table::Row;

/// After a boot the car is disarmed and there are no pulses; once armed, it drives.
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

/// A second car.toml whose PWM pins are files, so that trimming does not move the virtual car.
const TRIMMED: &str = r#"[camera]
kind = "folder"
folder = "."
rate = 20.0
[actuator]
kind = "pwm"
[actuator.pwm]
frequency = 100
steering_pin = { chip = "/root/pins/pwmchip0" }
throttle_pin = { chip = "/root/pins/pwmchip0" }
[actuator.pwm.steering]
channel = 0
left_us = 1900
centre_us = 1500
right_us = 1100
failsafe_us = 1500
disarmed_us = 0
[actuator.pwm.throttle]
channel = 1
ahead_us = 2000
neutral_us = 1500
reverse_us = 1000
failsafe_us = 1500
disarmed_us = 0
[guard]
socket = "/root/pins/guard.sock"
# The last line.
"#;

/// A script that writes both files in a loop, each by the program that writes it for users: an
/// engine file by `pilotage compile`, a car.toml by `pilotage trim`. In `trim`, every Enter keeps a
/// value; the first value is moved by one step.
const WRITING: &str = "\
while :; do
pilotage compile /run/rig/pilotnet.onnx --precision fp32 --outputs speed,yaw_rate --domain simulated \
--out /etc/pilotage/written.engine
printf '+\\n\\n\\n\\n\\n\\n\\n\\n' | pilotage trim --car /root/pins/car.toml
printf -- '-\\n\\n\\n\\n\\n\\n\\n\\n' | pilotage trim --car /root/pins/car.toml
done
";

/// The number of power cuts that are replayed from the log of one drive.
const CUTS: u64 = 3;
/// How long the programs write while the car drives.
const WRITTEN: Duration = Duration::from_secs(60);

/// The programs write engine files and car.toml, and the power is cut at random times. A random
/// part of the writes that were not flushed is lost.
pub fn power_cut(made: &Made) -> Result<Row> {
    let installed = made.folder.join("installed.img");
    let log = made.folder.join("power.log");
    let mut guest = Guest::logged(made, &installed, "power-log", &log)?;
    let pins = [0, 1].map(|channel| {
        let pin = format!("/root/pins/pwmchip0/pwm{channel}");
        format!(
            "mkdir -p {pin}; for file in duty_cycle period enable; do echo 0 > {pin}/$file; done"
        )
    });
    guest.must(&pins.join("\n"), 30)?;
    for (file, text) in [
        ("/root/pins/car.toml", TRIMMED),
        ("/root/write.sh", WRITING),
    ] {
        guest.must(&format!("cat > {file} << 'END'\n{text}END\n"), 30)?;
    }
    // Both files exist before the first possible cut.
    let compile = WRITING.lines().nth(1).unwrap_or_default();
    guest.must(compile, 300)?;
    guest.must("pilotage check /root/pins/car.toml; sync", 120)?;
    let from = std::fs::metadata(&log)?.len();
    guest.must("systemd-run --quiet sh /root/write.sh", 60)?;
    guest.drive()?;
    std::thread::sleep(WRITTEN);
    drop(guest.cut());
    let mut log = Log::read(&log)?;
    let first = log.entry_at(from) as u64;
    let entries = log.len() as u64;
    ensure!(
        entries > first + 100,
        "the disk was written to {} times only",
        entries - first
    );
    let mut random = Random::seeded_by_clock();
    let mut seen = Vec::new();
    for number in 0..CUTS {
        let at = first + random.below(entries - first);
        let name = format!("power-{number}");
        let disk = made.folder.join(format!("{name}.img"));
        let lost = log.cut(&installed, &disk, at as usize, || random.below(2) == 0)?;
        println!("    {name}: {lost:?}");
        let mut guest = comes_up(Guest::again(made, disk, &name)?)?;
        let engine = guest.must("pilotage inspect /etc/pilotage/written.engine", 60)?;
        ensure!(
            !engine.trim().is_empty(),
            "`pilotage inspect` printed nothing"
        );
        guest.must("pilotage check /root/pins/car.toml", 60)?;
        let car = guest.must("cat /root/pins/car.toml", 30)?;
        ensure!(
            car.lines().count() == TRIMMED.lines().count() && car.ends_with("# The last line.\n"),
            "car.toml after the cut:\n{car}"
        );
        seen.push(format!("{} of {}", lost.lost, lost.unflushed));
        drop(guest.cut());
    }
    Ok(passed(format!(
        "{CUTS} cuts while `pilotage compile` and `trim` wrote, {} unflushed writes lost: booted \
         disarmed, engine and car.toml whole, after arming it drove",
        seen.join(", ")
    )))
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn seeded_by_clock() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |now| now.as_nanos() as u64) | 1;
        println!("    random moments from {seed:#x}");
        Self(seed)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most.max(1)
    }
}

pub fn reboot(made: &Made, mut guest: Guest) -> Result<Row> {
    guest.drive()?;
    guest.must("systemctl --no-block reboot", 60)?;
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < Duration::from_secs(120) {
        match guest.pulses() {
            Ok(pulses) => last = pulses.last().copied(),
            // The rig has stopped; systemd stops it after guard and pilot.
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
        "stopped before the system went down; booted disarmed, after arming it drove",
    ))
}

/// A kernel that has panicked and does not reboot (`kernel.panic = 0`) feeds no watchdog.
pub fn hang(made: &Made, mut guest: Guest) -> Result<Row> {
    guest.must(
        "install -D -m 644 /usr/share/pilotage/opt-in/hardware-watchdog.conf \
         /etc/systemd/system.conf.d/zz-pilotage-watchdog.conf
         systemctl daemon-reexec; sync; sysctl --quiet kernel.panic=0",
        120,
    )?;
    guest.drive()?;
    let began = Instant::now();
    // No reply comes: the kernel panics.
    let _ = guest.run("echo c > /proc/sysrq-trigger", 1);
    ensure!(
        guest.machine.ends_within(Duration::from_secs(120))?,
        "the watchdog did not reset it:\n{}",
        guest.machine.console_end()
    );
    let reset = began.elapsed();
    // An earlier reset would come from the kernel, which then did not hang.
    ensure!(
        reset > Duration::from_secs(5),
        "it was reset {reset:?} after its kernel's panic, and not by the watchdog"
    );
    let guest = comes_up(Guest::again(made, guest.cut(), "hang-after")?)?;
    drop(guest);
    Ok(passed(format!(
        "reset {} s after it hung, its pulses held until then; booted disarmed, after arming it drove",
        reset.as_secs() + 1
    )))
}
