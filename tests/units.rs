//! The systemd units and the package, as files: what the public record says would not work on a
//! Jetson. `cargo xtask package --test` runs them in a system.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap()
}

/// The values of a key in a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let line = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().filter_map(line).collect()
}

/// On cgroup v1 with RT_GROUP_SCHED, as the kernels of JetPack 4 and 5 are configured, a unit that
/// turns the cpu controller on takes SCHED_FIFO away from all services of its slice:
/// <https://access.redhat.com/solutions/2860951>.
#[test]
fn no_unit_turns_the_cpu_controller_on() {
    let mut units = 0;
    for entry in fs::read_dir(checkout().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "service") {
            let unit = fs::read_to_string(&path).unwrap();
            for key in [
                "CPUWeight",
                "CPUShares",
                "CPUQuota",
                "StartupCPUWeight",
                "StartupCPUShares",
                "CPUAccounting",
                "Delegate",
            ] {
                assert!(values(&unit, key).is_empty(), "{}: {key}", path.display());
            }
            units += 1;
        }
    }
    assert_eq!(units, 5);
}

/// Its user has no home, and ProtectSystem=strict makes all other folders read-only: GStreamer's
/// registry and CUDA's cache need a folder.
#[test]
fn the_pilot_has_a_cache_folder() {
    let unit = text("systemd/pilotage.service");
    assert_eq!(values(&unit, "CacheDirectory"), ["pilotage"]);
    let variables = values(&unit, "Environment");
    for name in ["XDG_CACHE_HOME", "CUDA_CACHE_PATH"] {
        let path = variables.iter().find_map(|line| line.strip_prefix(name));
        let path = path.and_then(|path| path.strip_prefix('=')).unwrap();
        assert!(path.starts_with("/var/cache/pilotage"), "{path}");
    }
}

/// `drive::default_folder` is `pilotage/logs` of XDG_STATE_HOME; all other folders are read-only.
#[test]
fn the_pilot_has_a_folder_for_its_logs() {
    let unit = text("systemd/pilotage.service");
    let variables = values(&unit, "Environment");
    assert!(variables.contains(&"XDG_STATE_HOME=/var/lib"));
    let folders = values(&unit, "StateDirectory");
    assert!(
        folders
            .iter()
            .any(|line| line.split(' ').any(|it| it == "pilotage/logs"))
    );
}

/// The pilot receives high-level commands at a socket in this folder (src/high_level/socket.rs).
#[test]
fn the_pilot_has_a_folder_for_its_socket() {
    let unit = text("systemd/pilotage.service");
    assert_eq!(values(&unit, "RuntimeDirectory"), ["pilotage-pilot"]);
    let source = text("src/high_level/socket.rs");
    assert!(source.contains("\"/run/pilotage-pilot\""));
}

/// apt installs what a package recommends: TensorRT's developer packages are gigabytes.
#[test]
fn the_package_pulls_nothing_large() {
    let manifest = text("Cargo.toml");
    let package = manifest.split("[package.metadata.deb]").nth(1).unwrap();
    let package = package.split("\n[").next().unwrap();
    assert!(!package.contains("\nrecommends"));
    let depends = package.lines().find(|line| line.starts_with("depends"));
    assert_eq!(
        depends.unwrap(),
        "depends = \"libc6 (>= 2.27), systemd (>= 237), udev\""
    );
}
