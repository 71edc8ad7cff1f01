//! CPU, system, clocks, power and limits.

use std::process::Command;

use super::{Finding, Level, System};
use crate::machine::Machine;

pub(super) fn findings(system: &System) -> Vec<Finding> {
    let mut findings = vec![processor(), kernel(system)];
    findings.extend(board(system));
    findings.extend(power_mode(system));
    let gpu = clocks(system);
    // Of a Jetson, which drives; a developer's computer may save power.
    findings.extend(gpu.is_some().then(|| governor(system)).flatten());
    findings.extend(gpu);
    findings.extend(heat(system));
    findings.extend(limits(system));
    findings
}

fn processor() -> Finding {
    let machine = Machine::here();
    let fastest = machine
        .instruction_sets
        .first()
        .copied()
        .unwrap_or("scalar");
    let found = format!("{}, {} cores, {fastest}", machine.processor, machine.cores);
    match fastest {
        "scalar" => Finding::wrong(
            "processor",
            Level::Warning,
            found,
            "the engine has kernels for AVX2 and NEON and up; here it runs scalar loops, slowly",
        ),
        _ => Finding::fine("processor", found),
    }
}

/// The oldest glibc that the .deb supports.
const GLIBC: (u32, u32) = (2, 27);

fn kernel(system: &System) -> Finding {
    let release = system
        .text("/proc/sys/kernel/osrelease")
        .unwrap_or_else(|| "unknown kernel".to_owned());
    let glibc = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let Some(glibc) = glibc else {
        return Finding::fine("system", format!("Linux {release}"));
    };
    let found = format!("Linux {release}, {glibc}");
    let version = glibc.strip_prefix("glibc ").and_then(|version| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    match version {
        Some(version) if version < GLIBC => Finding::wrong(
            "system",
            Level::Warning,
            found,
            "the packages need glibc 2.27 or newer; build from source here",
        ),
        _ => Finding::fine("system", found),
    }
}

/// The model of a Jetson, if the machine is one.
fn board(system: &System) -> Option<Finding> {
    let model = system.text("/proc/device-tree/model")?;
    // "# R36 (release), REVISION: 3.0, GCID: ..." on a Jetson.
    let release = system.text("/etc/nv_tegra_release");
    let Some(release) = release else {
        return Some(Finding::fine("board", model));
    };
    let line = release.lines().next().unwrap_or_default();
    let mut words = line.trim_start_matches(['#', ' ']).split(", ");
    let major = words.next().unwrap_or_default().replace(" (release)", "");
    let minor = words.next().unwrap_or_default().replace("REVISION: ", "");
    let found = format!("{model}, Jetson Linux {major}.{minor}");
    let number = |text: &str| -> Option<u32> {
        let digits = text.trim_start_matches('R').split('.').next()?;
        digits.parse().ok()
    };
    let version = (
        number(&major).unwrap_or(u32::MAX),
        number(&minor).unwrap_or(0),
    );
    // Jetson Linux 32.7 is of JetPack 4.6.1, the first with TensorRT 8.2.
    Some(match version < (32, 7) {
        true => Finding::wrong(
            "board",
            Level::Warning,
            found,
            "TensorRT needs JetPack 4.6.1 (Jetson Linux 32.7) or newer; the CPU engine drives",
        ),
        false => Finding::fine("board", found),
    })
}

/// The power mode that nvpmodel set.
fn power_mode(system: &System) -> Option<Finding> {
    let status = system.text("/var/lib/nvpmodel/status")?;
    let mode: u32 = status
        .split_whitespace()
        .find_map(|word| word.strip_prefix("pmode:"))?
        .parse()
        .ok()?;
    // "< POWER_MODEL ID=0 NAME=MAXN >"
    let known = system.text("/etc/nvpmodel.conf").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it =
            words.contains(&"POWER_MODEL") && words.contains(&format!("ID={mode}").as_str());
        let name = words.iter().find_map(|word| word.strip_prefix("NAME="));
        is_it.then_some(name?.to_owned())
    });
    // The numbers mean other modes on each board: 0 is MAXN on an AGX Orin and 15W on an Orin Nano
    // Super. A lower mode is the right one on a battery that cannot supply more.
    Some(match name {
        Some(name) => Finding::fine("power", format!("power mode {name}")),
        None => Finding::fine("power", format!("power mode number {mode}")),
    })
}

/// The names of the GPU's clock under /sys/class/devfreq on Jetsons.
const GPUS: [&str; 4] = ["gpu", "gv11b", "ga10b", "gp10b"];

fn clocks(system: &System) -> Option<Finding> {
    let folder = "/sys/class/devfreq";
    let gpu = system
        .names(folder, "")
        .into_iter()
        .find(|name| GPUS.iter().any(|gpu| name.ends_with(gpu)))?;
    let megahertz =
        |file: &str| Some(system.number(&format!("{folder}/{gpu}/{file}"))? / 1_000_000);
    let (now, least, most) = (
        megahertz("cur_freq")?,
        megahertz("min_freq")?,
        megahertz("max_freq")?,
    );
    let found = format!("GPU at {now} MHz, held between {least} and {most}");
    Some(match least < most {
        true => Finding::wrong(
            "clocks",
            Level::Warning,
            found,
            "sudo jetson_clocks holds them at the top of the power mode until the next boot: the \
             first frames after a pause are slow otherwise; on a battery check first that the \
             computer does not reset under load",
        ),
        false => Finding::fine("clocks", found),
    })
}

/// The governor of the processor's clock. One that follows the load lets the first frames after a
/// pause be slow.
fn governor(system: &System) -> Option<Finding> {
    let governor = system.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    let found = format!("processor clock by the governor {governor}");
    Some(match governor.as_str() {
        "performance" => Finding::fine("clocks", found),
        _ => Finding::wrong(
            "clocks",
            Level::Warning,
            found,
            "sudo jetson_clocks holds it until the next boot; on a battery check first that the \
             computer does not reset under load",
        ),
    })
}

/// How near the hottest part is to being throttled, and whether power has been throttled.
fn heat(system: &System) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = "/sys/class/thermal";
    let mut hottest: Option<(i64, String, Option<i64>)> = None;
    for zone in system.names(folder, "thermal_zone") {
        let at = |file: &str| format!("{folder}/{zone}/{file}");
        let Some(degrees) = system.number(&at("temp")).map(|milli| milli / 1000) else {
            continue;
        };
        // At this temperature the kernel starts to throttle the part.
        let passive = (0..16)
            .filter(|trip| {
                let of = system.text(&at(&format!("trip_point_{trip}_type")));
                of.as_deref() == Some("passive")
            })
            .filter_map(|trip| system.number(&at(&format!("trip_point_{trip}_temp"))))
            .min()
            .map(|milli| milli / 1000);
        let name = system.text(&at("type")).unwrap_or(zone);
        if hottest.as_ref().is_none_or(|(most, ..)| degrees > *most) {
            hottest = Some((degrees, name, passive));
        }
    }
    if let Some((degrees, name, passive)) = hottest {
        let found = format!("{name} at {degrees} C");
        findings.push(match passive {
            Some(limit) if degrees >= limit => Finding::wrong(
                "heat",
                Level::Warning,
                format!("{found}, throttled from {limit} C on"),
                "improve the cooling: add a fan, or more air",
            ),
            _ => Finding::fine("heat", found),
        });
    }
    // Over-current events of a Jetson Orin.
    let folder = "/sys/class/hwmon";
    let events: i64 = system
        .names(folder, "hwmon")
        .iter()
        .flat_map(|chip| (1..=3).map(move |n| format!("{folder}/{chip}/oc{n}_event_cnt")))
        .filter_map(|path| system.number(&path))
        .sum();
    if events > 0 {
        findings.push(Finding::wrong(
            "power",
            Level::Warning,
            format!("throttled {events} times since the start because it drew too much current"),
            "a stronger supply, or a lower power mode: `grep POWER_MODEL /etc/nvpmodel.conf` lists \
             their names and numbers, `sudo nvpmodel -m NUMBER` sets one",
        ));
    }
    findings
}

/// The limits of locked memory and of scheduling priority.
fn limits(system: &System) -> Option<Finding> {
    let text = system.text("/proc/self/limits")?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let (locked, priority) = (of("Max locked memory")?, of("Max realtime priority")?);
    let found = format!(
        "{} may be locked, real-time priority up to {priority}",
        match locked.parse::<u64>() {
            Ok(bytes) => format!("{} KiB", bytes / 1024),
            Err(_) => "any amount of memory".to_owned(),
        }
    );
    Some(match priority.as_str() {
        "0" => Finding::wrong(
            "limits",
            Level::Absent,
            found,
            "the systemd services have limits of their own; started by hand the guard runs at \
             the usual priority",
        ),
        _ => Finding::fine("limits", found),
    })
}
