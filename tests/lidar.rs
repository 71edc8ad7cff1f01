//! Engines that drive by a lidar's scans alone lap, are recorded and replayed, and stop without scans.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pilotage::pilot::{BuildError, StepError};
use pilotage::sensors::{Lidar, Sensors, SimulatedSensors, Unfit};
use pilotage_dataset::Recording;
use pilotage_simulator::LidarSpec;
use pilotage_vehicle::{Measurement, Measurements, Scan};

use ld06::Ld06;
use program::{DRIVE, json, pilotage, refusal, replayed};
use running::{Running, err, out, wait_for};

#[path = "support/film.rs"]
mod film;
#[path = "../crates/lidar/tests/support/ld06.rs"]
mod ld06;
#[path = "support/lidar.rs"]
mod lidar;
#[path = "support/program.rs"]
mod program;
#[path = "../crates/guard/tests/support/pty.rs"]
mod pty;
#[path = "support/running.rs"]
mod running;
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
    // A copy keeps the scans, and a tub says that it has none.
    let copy = path("copy");
    for copy in [&copy, &path("copy.mcap")] {
        assert!(pilotage(&["data", "import", &own, copy]).status.success());
        assert!(replay(copy) < 1e-3);
    }
    let copied = pilotage(&["data", "import", &own, &path("tub"), "--tub"]);
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

/// Three seconds at the pace of the clock, so that the log loses nothing.
#[test]
fn the_log_of_a_drive_has_its_scans_and_becomes_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    lidar::write(folder.path(), "fp32", None);
    let engine = lidar::compiled(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let logs = path("logs");
    let drive = ["drive", "--json", "--engine", &engine, "--log", &logs];
    json(&[&drive[..], &["--time-limit", "3"]].concat());
    let log = fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let log = log.display().to_string();
    let shown = pilotage(&["log", "show", &log]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for expected in [
        "engine gets  a scan of 541 rays from -135 to 135 degrees",
        ", 1081 rays, at most ",
        "measured  speed ",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    // The network gets the same scans from the log, and from the folder that it becomes.
    assert!(replayed(&log, &engine) < 1e-3);
    let exported = path("exported");
    let output = pilotage(&["log", "export", &log, &exported]);
    assert!(output.status.success(), "{output:?}");
    assert!(replayed(&exported, &engine) < 1e-3);
    let rows = fs::read_to_string(folder.path().join("exported/data.csv")).unwrap();
    let titles = rows.lines().next().unwrap();
    assert!(
        titles.contains("measured_yaw_rate") && titles.contains("scan"),
        "{titles}"
    );
    assert!(rows.lines().count() > 20, "{rows}");
    assert!(folder.path().join("exported/scans.bin").is_file());
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

/// An engine for a physical car, and its car.toml: a folder of pictures in place of a camera, motors that do
/// not exist, and a lidar at `lidar` in the folder, upside down.
fn physical(folder: &Path, rays: usize) -> String {
    lidar::write(folder, "fp32", None);
    let recipe = fs::read_to_string(folder.join("lidar.toml")).unwrap();
    let recipe = recipe.replace("domain = \"simulated\"", "domain = \"physical\"");
    fs::write(folder.join("lidar.toml"), recipe).unwrap();
    let engine = lidar::compiled(folder);
    film::pictures(&folder.join("pictures"));
    let car = folder.join("car.toml");
    let text = format!(
        "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 20\n\
         [guard]\ndeadline_ms = 400\nsocket = {:?}\n[engine]\nfile = {engine:?}\n\
         [actuator]\nkind = \"dry-run\"\n\
         [lidar]\nport = \"lidar\"\nupside_down = true\nrays = {rays}\nmask = [[170, -170]]\n",
        folder.join("guard.sock"),
    );
    fs::write(&car, text).unwrap();
    car.display().to_string()
}

/// 4 m, and 1 m from ahead to the right of a lidar that is mounted upside down, whose angles grow to the left.
fn corridor(angle: f64) -> u16 {
    if angle > 181.0 { 1000 } else { 4000 }
}

#[test]
fn a_lidar_on_a_serial_port_drives_a_physical_car_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let car = physical(folder.path(), 720);
    let message = refusal(&["drive", "--no-log", "--car", &car]);
    assert!(
        message.contains("the lidar (`[lidar]` in car.toml) does not work")
            && message.contains("/dev/serial/by-id"),
        "{message}"
    );
    let model = Ld06::plug(&folder.path().join("lidar"), corridor, |_, _| ());
    let tape = folder.path().join("tape");
    let to = tape.display().to_string();
    let drive = [
        "drive", "--no-log", "--car", &car, "--record", &to, "--all", "--frames", "30",
    ];
    let output = pilotage(&drive);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("lidar at") && said.contains("720 rays"),
        "{said}"
    );
    assert!(!said.contains("no scan"), "{said}");
    let recording = Recording::open(&tape).unwrap();
    let records = recording.records();
    assert!(records.len() > 20, "{}", records.len());
    for record in records {
        let scan = record.scan.as_ref().unwrap();
        let at = |angle| scan.millimetres[scan.rays.nearest(angle).unwrap()];
        assert_eq!(scan.rays.count(), 720);
        assert_eq!(
            (at(60.0), at(-60.0), at(175.0), at(-175.0)),
            (4000, 1000, 0, 0)
        );
    }
    // The network's answers to the same scans: it turns to the side with more room.
    let engine = folder.path().join("lidar.engine").display().to_string();
    let replay = ["replay", &to, "--engine", &engine, "--json"];
    let report = json(&replay).to_string();
    assert!(report.contains("frames"), "{report}");

    // A lidar with fewer rays than the network is refused, and one that falls silent stops the car until it is
    // heard again.
    drop(model);
    let _model = Ld06::plug(&folder.path().join("lidar"), corridor, |number, bytes| {
        // 0.8 s of each 4 s.
        if number % 1500 > 1200 {
            bytes.fill(0);
        }
    });
    let coarse = fs::read_to_string(&car).unwrap();
    fs::write(&car, coarse.replace("rays = 720", "rays = 450")).unwrap();
    let message = refusal(&["drive", "--no-log", "--car", &car]);
    assert!(message.contains("`rays` of [lidar]"), "{message}");
    fs::write(&car, coarse).unwrap();
    let output = pilotage(&["drive", "--no-log", "--car", &car, "--frames", "100"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("the lidar gives no scan that is recent enough")
            && said.contains("the lidar gives scans again"),
        "{said}"
    );
}

#[test]
fn why_names_a_lidar_that_dies_while_the_car_drives() {
    let folder = tempfile::tempdir().unwrap();
    let car = physical(folder.path(), 720);
    let model = Ld06::plug(&folder.path().join("lidar"), corridor, |_, _| ());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilotage"));
        command.args(arguments).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", folder.path());
        command
    };
    let drive = Running::start(command(&["drive", "--car", &car]));
    let status = || out(&command(&["status", "--car", &car]).output().unwrap());
    let wait = |what: &str| {
        wait_for(Duration::from_secs(60), what, || status().starts_with(what));
    };
    wait("driving");
    // Its port is gone, as when its cable is pulled.
    drop(model);
    wait("stopped");
    drive.kill(rustix::process::Signal::TERM);
    let ended = drive.end();
    let why = out(&command(&["why"]).output().unwrap());
    let because = why.lines().find(|line| line.starts_with("because"));
    assert!(
        because.is_some_and(|line| line.contains("lidar") && line.contains("scan")),
        "{why}{}",
        err(&ended)
    );
    assert!(why.contains("check the sensor and its cable"), "{why}");
}

#[test]
fn the_doctor_shows_what_a_lidar_sees() {
    let folder = tempfile::tempdir().unwrap();
    let car = physical(folder.path(), 450);
    let line = |car: &str| {
        let page = String::from_utf8(pilotage(&["doctor", "--car", car]).stdout).unwrap();
        let mut lines = page.lines().map(str::trim_start);
        let line = lines.find(|line| line.starts_with("lidar"));
        line.unwrap_or_else(|| panic!("{page}")).to_owned()
    };
    let gone = line(&car);
    assert!(
        gone.contains("PROBLEM") && gone.contains("cannot be opened"),
        "{gone}"
    );
    let _model = Ld06::plug(&folder.path().join("lidar"), corridor, |_, _| ());
    let found = line(&car);
    assert!(
        found.contains("ok")
            && found.contains("600 rpm")
            && found.contains("nearest echo at 1.00 m"),
        "{found}"
    );
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
