//! Tests of the package: its contents, and its installation in an arm64 Debian system under qemu.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Architecture, Build, make};
use crate::arm_root::{ArmRoot, Emulation};
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;
use tooling::requirements::Requirement;
use tooling::tally::Tally;

/// The highest exposure rating that `systemd-analyze security` may give each unit, in tenths.
const EXPOSURES: [(&str, u32); 3] = [
    ("pilotage-guard.service", 12),
    ("pilotage.service", 20),
    ("pilotage-watch.service", 18),
];
const UNITS: [&str; 5] = [
    "pilotage-guard.service",
    "pilotage.service",
    "pilotage-watch.service",
    "pilotage-engine.service",
    "pilotage-sleep.service",
];

/// The step of [`LIFE`] after which the units are checked.
const OPTED_IN: usize = 3;

/// Files that have to be in the package; it contains more.
const CONTENTS: [&str; 32] = [
    "etc/pilotage/car.toml",
    "lib/systemd/system/pilotage-engine.service",
    "lib/systemd/system/pilotage-guard.service",
    "lib/systemd/system/pilotage-sleep.service",
    "lib/systemd/system/pilotage-watch.service",
    "lib/systemd/system/pilotage.service",
    "lib/udev/rules.d/60-pilotage.rules",
    "usr/bin/pilotage",
    "usr/bin/pilotage-guard",
    "usr/bin/pilotage-watch",
    "usr/lib/sysusers.d/pilotage.conf",
    "usr/lib/tmpfiles.d/pilotage.conf",
    "usr/share/bash-completion/completions/pilotage",
    "usr/share/doc/pilotage/LICENSE-APACHE",
    "usr/share/doc/pilotage/LICENSE-MIT",
    "usr/share/doc/pilotage/OFL.txt",
    "usr/share/doc/pilotage/copyright",
    "usr/share/doc/pilotage/first-lap.md",
    "usr/share/doc/pilotage/licences.txt",
    "usr/share/doc/pilotage/log-lines.md",
    "usr/share/doc/pilotage/safety.md",
    "usr/share/fish/vendor_completions.d/pilotage.fish",
    "usr/share/man/man1/pilotage-drive.1.gz",
    "usr/share/pilotage/cars/donkeycar.toml",
    "usr/share/pilotage/cars/jetracer.toml",
    "usr/share/pilotage/opt-in/argus-restart.conf",
    "usr/share/pilotage/opt-in/csi-camera.conf",
    "usr/share/pilotage/opt-in/hardware-watchdog.conf",
    "usr/share/pilotage/opt-in/jetson-clocks.conf",
    "usr/share/pilotage/opt-in/lidar.conf",
    "usr/share/pilotage/opt-in/pwm-pins.conf",
    "usr/share/zsh/vendor-completions/_pilotage",
];

/// The requirements of these tests.
pub const REQUIREMENTS: [Requirement; 7] = [
    Requirement::CCompiler,
    Requirement::ArmTarget,
    Requirement::Python,
    Requirement::PythonPackages,
    Requirement::CargoDeb,
    Requirement::ArmRoots,
    Requirement::Systemd,
];

/// Runs every check and counts the results.
pub fn run(checkout: &Checkout) -> Result<Tally> {
    let (package, sound) = make(checkout, Architecture::Arm64, Build::Quick)?;
    let mut tally = checked("the programs need an old C library alone", Ok(sound));
    tally += checked(
        "the package holds what it should",
        contains_required_files(&package),
    );
    let system = System::with(checkout, &package)?;
    for (number, (what, script)) in LIFE.into_iter().enumerate() {
        tally += checked(what, system.run_script(script));
        // The package is installed, with every opt-in.
        if number == OPTED_IN {
            for (unit, most) in EXPOSURES {
                let what = format!("{unit} is hardly exposed");
                tally += checked(&what, exposure(&system.folder, unit, most));
            }
            tally += checked(
                "systemd has nothing to say of the units",
                verify(&system.folder),
            );
        }
    }
    Ok(tally)
}

fn checked(what: &str, sound: Result<bool>) -> Tally {
    let sound = sound.unwrap_or_else(|error| {
        println!("error: {error:#}");
        false
    });
    println!("{}: {what}", if sound { "ok" } else { "FAILED" });
    Tally::of_step(sound)
}

fn contains_required_files(package: &Path) -> Result<bool> {
    let list = Invocation::new("dpkg-deb --contents")
        .path(package)
        .answer()
        .context("dpkg-deb cannot read the package")?;
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .map(|name| name.trim_start_matches("./"))
        .collect();
    let missing: Vec<_> = CONTENTS
        .iter()
        .filter(|name| !names.contains(name))
        .collect();
    if !missing.is_empty() {
        println!("the package lacks {missing:?}");
    }
    Ok(missing.is_empty())
}

/// Whether the exposure rating of `unit` is at most `most`.
fn exposure(root: &Path, unit: &str, most: u32) -> Result<bool> {
    let mut rating = None;
    Invocation::new("systemd-analyze security --offline=true --no-pager")
        .arg(format!("--root={}", root.display()))
        .arg(unit)
        .listen(|line| {
            // "→ Overall exposure level for pilotage.service: 0.9 SAFE"
            if let Some((_, after)) = line.split_once("Overall exposure level for ") {
                rating = after.split_whitespace().nth(1).and_then(tenths);
            }
        })?;
    let rating = rating.context("systemd-analyze rates nothing")?;
    let show = |tenths: u32| format!("{}.{}", tenths / 10, tenths % 10);
    println!("{unit}: exposure {}, at most {}", show(rating), show(most));
    Ok(rating <= most)
}

/// 9 for "0.9".
fn tenths(rating: &str) -> Option<u32> {
    let (whole, tenth) = rating.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
}

/// Whether systemd accepts the units without any message, in the system in which they are installed
/// and with the opt-in drop-ins. On unknown keys systemd-analyze succeeds, but prints a message.
fn verify(root: &Path) -> Result<bool> {
    let command = UNITS.iter().fold(
        Invocation::new("systemd-analyze verify --man=no")
            .arg(format!("--root={}", root.display())),
        |command, unit| command.arg(*unit),
    );
    let mut silent = true;
    let accepted = command.listen(|line| {
        silent = false;
        print!("{line}");
    })?;
    Ok(silent && accepted)
}

/// The package's life cycle. Each shell script runs in the system, after the one before. There,
/// /old.deb is the package and /new.deb a later version with another car.toml.
const LIFE: [(&str, &str); 7] = [
    (
        "it is installed as docs/first-lap.md says",
        "apt-get install --yes --no-install-recommends /old.deb
        id pilotage; id pilotage-guard; id pilotage-watch
        for group in i2c gpio dialout video render input; do getent group $group; done
        test -L /etc/systemd/system/multi-user.target.wants/pilotage-guard.service
        test -L /etc/systemd/system/sleep.target.wants/pilotage-sleep.service
        test ! -e /etc/systemd/system/multi-user.target.wants/pilotage.service
        test ! -e /etc/systemd/system/pilotage.service.wants/pilotage-watch.service
        test \"$(stat -c '%U %a' /var/lib/pilotage /var/lib/pilotage/plans)\" = \"root 755
root 755\"
        test \"$(stat -c %U /var/lib/pilotage/recordings)\" = pilotage",
    ),
    (
        "its programs run, and as installed the car has no motors",
        "pilotage --version; pilotage-guard --version; pilotage-watch --version
        pilotage-guard --failsafe
        grep '^kind = \"dry-run\"' /etc/pilotage/car.toml
        pilotage compile --for-this-machine --car /etc/pilotage/car.toml",
    ),
    (
        "the cars to start from are sound to its guard",
        "for car in /usr/share/pilotage/cars/*.toml; do
            cp $car /etc/pilotage/car.toml
            ! pilotage-guard --failsafe 2>output
            cat output
            grep -q 'is it switched on and connected' output
        done",
    ),
    (
        "opting in is what the files say, and systemd's users exist for it",
        "cd /usr/share/pilotage/opt-in
        sed -n 's/^# *sudo install/install/p' *.conf > /opt-in.sh
        test $(wc -l < /opt-in.sh) = 6
        sh -e /opt-in.sh",
    ),
    (
        "a newer one leaves car.toml as its owner made it",
        "echo '# mine' >> /etc/pilotage/car.toml
        systemctl disable pilotage-guard.service pilotage-sleep.service
        apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold /new.deb
        tail -1 /etc/pilotage/car.toml | grep '^# mine$'
        grep '^# newer$' /etc/pilotage/car.toml.dpkg-dist
        test ! -e /etc/systemd/system/sleep.target.wants/pilotage-sleep.service
        test ! -e /etc/systemd/system/multi-user.target.wants/pilotage-guard.service",
    ),
    (
        "removed, it leaves what is its owner's",
        "systemctl enable pilotage-guard.service pilotage-sleep.service
        touch /var/lib/pilotage/recordings/0001.jpg
        apt-get remove --yes pilotage
        test ! -e /usr/bin/pilotage-guard
        test ! -e /etc/systemd/system/multi-user.target.wants/pilotage-guard.service
        test ! -e /etc/systemd/system/sleep.target.wants/pilotage-sleep.service
        grep '^# mine$' /etc/pilotage/car.toml
        test -e /var/lib/pilotage/recordings/0001.jpg",
    ),
    (
        "purged, it leaves the recordings and prints where they are, and nothing else",
        "rm /etc/pilotage/car.toml.dpkg-dist
        touch /var/lib/pilotage/plans/a.plan
        apt-get purge --yes pilotage > /purged
        cat /purged
        grep 'recordings are kept: /var/lib/pilotage/recordings' /purged
        test ! -e /etc/pilotage
        test -e /var/lib/pilotage/recordings/0001.jpg
        test \"$(ls /var/lib/pilotage)\" = recordings
        test ! -e /usr/share/pilotage
        test ! -e /usr/share/doc/pilotage
        test -z \"$(find / -xdev -name '*pilotage*' -path '*/systemd/system/*.service')\"",
    ),
];

/// An arm64 system that contains the package and a later version of it as files.
struct System {
    folder: PathBuf,
    _emulation: Emulation,
}

impl System {
    fn with(checkout: &Checkout, package: &Path) -> Result<Self> {
        let root = ArmRoot::made(checkout)?;
        let folder = checkout.root().join("target/package/system");
        root.unpack(&folder)?;
        let later = checkout.root().join("target/package/later");
        let script = r#"set -e; umask 022; rm -rf "$2"
            dpkg-deb --raw-extract "$0" "$2"
            echo '# newer' >> "$2/etc/pilotage/car.toml"
            sed -i 's/^Version: .*/Version: 999/' "$2/DEBIAN/control"
            cp "$0" "$1/old.deb"
            dpkg-deb --root-owner-group -Zgzip --build "$2" "$1/new.deb"
            rm -rf "$2""#;
        let copied = Invocation::privileged(script)
            .path(package)
            .path(&folder)
            .path(&later)
            .succeeds()?;
        if !copied {
            bail!("a later package cannot be made of {}", package.display());
        }
        Ok(Self {
            folder,
            _emulation: Emulation::begin()?,
        })
    }

    /// Runs `script` in the system, and prints its output only when it fails.
    fn run_script(&self, script: &str) -> Result<bool> {
        let mut output = String::new();
        // /proc is mounted in a mount namespace of the script, and disappears with it.
        let inside = r#"export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
            exec unshare --mount sh -c '
                mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -e -u -x -c "$1"
            ' "$0" "$1" < /dev/null"#;
        let done = Invocation::privileged(inside)
            .path(&self.folder)
            .arg(script)
            .listen(|line| output.push_str(line))?;
        if !done {
            print!("{output}");
        }
        Ok(done)
    }
}
