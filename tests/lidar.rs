//! Engines that drive by a lidar's scans alone lap, are recorded and replayed, and stop without scans.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::time::Duration;

use pilotage::pilot::{BuildError, StepError};
use pilotage::sensors::{Lidar, Sensors, SimulatedSensors, Unfit};
use pilotage_simulator::LidarSpec;
use pilotage_vehicle::{Measurement, Measurements, Scan};

use program::{DRIVE, json, pilotage, refusal, replayed};

#[path = "support/lidar.rs"]
mod lidar;
#[path = "support/program.rs"]
mod program;
#[path = "support/stepped.rs"]
mod stepped;

#[test]
fn a_network_with_scans_alone_laps_in_fp32_and_int8_and_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // A car whose lidar is on while another engine drives, for calibration.
    fs::write(path("car.toml"), "[simulator]\nlidar = true\n").unwrap();
    let (car, tape) = (path("car.toml"), path("tape"));
    let record = ["--time-limit", "12", "--record", &tape, "--png"];
    json(&[&DRIVE, &["--car", &car][..], &record].concat());
    let rows = fs::read_to_string(folder.path().join("tape/data.csv")).unwrap();
    let first = rows.lines().nth(1).unwrap();
    assert!(
        rows.lines().count() > 200 && first.ends_with(",0"),
        "{first}"
    );

    let mut speeds = Vec::new();
    for precision in ["fp32", "int8"] {
        lidar::write(folder.path(), precision, Some("tape"));
        let engine = lidar::compiled(folder.path());
        let report = json(&[&DRIVE[..], &["--engine", &engine]].concat());
        assert_eq!(report["completed"], true, "{precision}: {report}");
        speeds.push(report["metrics"]["average_speed"].as_f64().unwrap());
    }
    assert!((speeds[0] - speeds[1]).abs() < 0.2, "{speeds:?}");

    // A recording of its drive has the answers: the network gets the same scans.
    let (engine, own) = (path("lidar.engine"), path("own"));
    let record = ["--time-limit", "8", "--record", &own, "--png"];
    json(&[&DRIVE, &["--engine", &engine][..], &record].concat());
    let replay = |recording: &str| replayed(recording, &engine);
    assert!(replay(&own) < 1e-3, "{}", replay(&own));
    // A copy keeps the scans, and an MCAP file says that it has none.
    let copy = path("copy");
    assert!(pilotage(&["data", "import", &own, &copy]).status.success());
    assert!(replay(&copy) < 1e-3);
    let copied = pilotage(&["data", "import", &own, &path("copy.mcap")]);
    let message = String::from_utf8_lossy(&copied.stderr).into_owned();
    assert!(
        copied.status.success() && message.contains("scans"),
        "{message}"
    );
    let list = folder.path().join("copy/data.csv");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replacen(",scan", ",other", 1)).unwrap();
    let message = refusal(&["replay", &copy, "--engine", &engine, "--json"]);
    assert!(message.contains("no column `scan`"), "{message}");
    let evaluated = pilotage(&["evaluate", &engine, "--data", &own]);
    assert!(
        evaluated.status.success(),
        "{}",
        String::from_utf8_lossy(&evaluated.stderr)
    );
    let inspected = String::from_utf8(pilotage(&["inspect", &engine]).stdout).unwrap();
    assert!(inspected.contains("541 rays"), "{inspected}");
}

#[test]
fn a_car_without_a_lidar_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    lidar::write(folder.path(), "fp32", None);
    let engine = lidar::compiled(folder.path());
    let frames = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/frames");
    let car = folder.path().join("car.toml").display().to_string();
    let text = format!(
        "[camera]\nkind = \"folder\"\nfolder = \"{frames}\"\n[actuator]\nkind = \"dry-run\"\n[engine]\nfile = \
         \"{engine}\"\n"
    );
    fs::write(&car, text).unwrap();
    let message = refusal(&["drive", "--no-log", "--car", &car]);
    assert!(
        message.contains("this car has no lidar") && message.contains("[scan]"),
        "{message}"
    );
    let narrow = format!("[simulator]\nlidar_field = 90\n[engine]\nfile = \"{engine}\"\n");
    fs::write(&car, narrow).unwrap();
    let message = refusal(&["drive", "--no-log", "--car", &car]);
    assert!(message.contains("do not cover it"), "{message}");
}

/// The sensors of the simulated car, whose lidar breaks after `good` scans.
struct Breaking {
    sensors: SimulatedSensors,
    good: u32,
    bad: fn(&mut Scan) -> Duration,
}

impl Sensors for Breaking {
    fn describe(&self) -> String {
        "stand-in that breaks".to_owned()
    }

    fn measures(&self, measurement: Measurement) -> bool {
        self.sensors.measures(measurement)
    }

    fn read(&mut self) -> (Measurements, Duration) {
        self.sensors.read()
    }

    fn lidar(&self) -> Option<Lidar> {
        self.sensors.lidar()
    }

    fn scan(&mut self, scan: &mut Scan) -> Duration {
        let age = self.sensors.scan(scan);
        match self.good.checked_sub(1) {
            Some(left) => {
                self.good = left;
                age
            }
            None => (self.bad)(scan),
        }
    }
}

#[test]
fn a_broken_lidar_stops_the_car() {
    let folder = tempfile::tempdir().unwrap();
    lidar::write(folder.path(), "fp32", None);
    let engine = lidar::compiled(folder.path());
    let spec = Some(LidarSpec::default());
    assert!(matches!(
        stepped::pilot(&engine, spec, |_| None),
        Err(BuildError::Sensors(Unfit::NoLidar))
    ));

    let unplugged = |scan: &mut Scan| {
        scan.clear();
        Duration::ZERO
    };
    let cut = |scan: &mut Scan| {
        scan.millimetres.pop();
        Duration::ZERO
    };
    let old = |_: &mut Scan| Duration::from_millis(201);
    for (bad, age) in [
        (unplugged as fn(&mut Scan) -> Duration, None),
        (cut, None),
        (old, Some(201)),
    ] {
        let good = 20;
        let made = stepped::pilot(&engine, spec, |sensors| {
            Some(Box::new(Breaking { sensors, good, bad }))
        });
        let error = stepped::stops_after(good, &mut made.unwrap());
        let StepError::NoScan(none) = &error else {
            panic!("{error}");
        };
        assert_eq!(none.age, age.map(Duration::from_millis));
        assert!(error.to_string().contains("no scan"), "{error}");
    }
}
