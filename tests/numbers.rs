//! Engines that get measured numbers and a high-level command drive, are replayed, and stop without
//! them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pilotage::pilot::{BuildError, StepError};
use pilotage::sensors::{Sensors, SimulatedSensors, Unfit};
use pilotage_vehicle::{Measurement, Measurements};

use program::{DRIVE, json, pilotage, refusal, replayed};

#[path = "support/combined.rs"]
mod combined;
#[path = "support/film.rs"]
mod film;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/program.rs"]
mod program;
#[path = "../crates/guard/tests/support/pty.rs"]
mod pty;
#[path = "support/stepped.rs"]
mod stepped;

fn engine(folder: &Path, precision: &str) -> String {
    numbers::write(folder, precision);
    numbers::compiled(folder)
}

/// The fields of a column in a recording.
fn column(recording: &Path, title: &str) -> Vec<String> {
    let text = fs::read_to_string(recording.join("data.csv")).unwrap();
    let mut rows = text.lines().map(|row| row.split(','));
    let place = rows.next().unwrap().position(|it| it == title).unwrap();
    rows.map(|mut row| row.nth(place).unwrap().to_owned())
        .collect()
}

#[test]
fn a_network_with_numbers_laps_and_its_recording_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), "int8");
    let tape = folder.path().join("tape");
    let to = tape.display().to_string();
    let lap = |arguments: &[&str]| {
        let report = json(&[&DRIVE, arguments].concat());
        assert_eq!(report["completed"], true, "{report}");
        report["metrics"]["average_speed"].as_f64().unwrap()
    };
    let plain = lap(&[]);
    let fast = lap(&["--engine", &engine]);
    let slow = lap(&["--engine", &engine, "--command", "slow"]);
    // Where the speed does not change, v = wanted - 0.15 v, and 3.5 m/s less are 3.04; on a lap with curves a
    // little more.
    let share = 1.0 + numbers::REDUCED;
    assert!((plain / share - fast).abs() < 0.8, "{plain}, {fast}");
    let less = numbers::SLOW / share;
    assert!(
        (less - 0.3..less + 1.0).contains(&(fast - slow)),
        "{fast}, {slow}"
    );

    let wish = [
        "--engine",
        &engine,
        "--command",
        "slow",
        "--time-limit",
        "6",
    ];
    json(&[&DRIVE, &wish[..], &["--record", &to, "--png"]].concat());
    assert!(column(&tape, "command").iter().all(|it| it == "slow"));
    let numbers_of = |title| -> Vec<f64> {
        let column = column(&tape, title);
        column.iter().map(|it| it.parse().unwrap()).collect()
    };
    let (measured, wanted) = (numbers_of("measured_speed"), numbers_of("v"));
    // The first frame showed the car at rest: the network wanted to drive faster then.
    assert!(
        measured.len() > 100 && measured[0] > measured[10] + 1.0,
        "{measured:?}"
    );
    // The car has the speed that was wanted a frame before.
    for (measured, wanted) in measured.iter().skip(1).zip(&wanted).skip(10) {
        assert!(
            (measured - wanted).abs() < 0.1 && *wanted > 4.0,
            "{measured}, {wanted}"
        );
    }
    assert_eq!(numbers_of("measured_yaw_rate").len(), measured.len());

    // The answers to the recording are those of the drive: the network gets the same numbers.
    let replay = |recording: &str| replayed(recording, &engine);
    assert!(replay(&to) < 1e-3, "{}", replay(&to));
    // Copies keep the numbers: as a folder and as MCAP.
    for copy in ["copy", "copy.mcap"] {
        let copy = folder.path().join(copy).display().to_string();
        assert!(pilotage(&["data", "import", &to, &copy]).status.success());
        assert!(replay(&copy) < 1e-3, "{copy}");
    }
    // Without the columns the recording is refused, and with another command the answers are others.
    let list = tape.join("data.csv");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace(",slow", ",fast")).unwrap();
    let other = replay(&to);
    assert!((other - numbers::SLOW).abs() < 0.2, "{other}");
    fs::write(&list, text.replace("measured_speed", "other")).unwrap();
    let message = refusal(&["replay", &to, "--engine", &engine, "--json"]);
    assert!(message.contains("no column `measured_speed`"), "{message}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_moves() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), "fp32");
    let drive = ["drive", "--no-log", "--pace", "fast"];
    let with = |arguments: &[&str]| refusal(&[&drive, arguments].concat());
    let message = with(&["--engine", &engine, "--command", "left"]);
    assert!(
        message.contains("no command `left`") && message.contains("fast, slow"),
        "{message}"
    );
    let message = with(&["--command", "left"]);
    assert!(message.contains("takes no commands"), "{message}");
    let message = refusal(&["command", "left", "--car", "/nowhere/car.toml"]);
    assert!(message.contains("no drive takes commands"), "{message}");

    let frames = folder.path().join("frames");
    let car = folder.path().join("car.toml");
    let text = format!(
        "[camera]\nkind = \"folder\"\nfolder = \"{}\"\n[actuator]\nkind = \"dry-run\"\n[engine]\nfile = \
         \"{engine}\"\n",
        frames.display()
    );
    fs::write(&car, text).unwrap();
    let message = refusal(&["drive", "--no-log", "--car", &car.display().to_string()]);
    assert!(
        message.contains("`speed`") && message.contains("[[measurement]]"),
        "{message}"
    );
    let inspected = String::from_utf8(pilotage(&["inspect", &engine]).stdout).unwrap();
    assert!(
        inspected.contains("0.1 * (speed)") && inspected.contains("one of fast, slow"),
        "{inspected}"
    );
}

/// Ends the drive if the test fails.
struct Drive(Child);

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_operator_sets_the_command_while_the_car_drives() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), "fp32");
    let (car, tape) = (folder.path().join("car.toml"), folder.path().join("tape"));
    fs::write(&car, format!("[engine]\nfile = \"{engine}\"\n")).unwrap();
    let car = car.display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_pilotage"))
        .args(["drive", "--no-log", "--json", "--car", &car, "--record"])
        .arg(&tape)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let mut drive = Drive(child.unwrap());
    let until = |reached: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !reached() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nothing happened"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let rows = |wish: &str| {
        let text = fs::read_to_string(tape.join("data.csv")).unwrap_or_default();
        text.lines().filter(|row| row.ends_with(wish)).count()
    };
    until(&|| rows(",fast,") > 3);
    let command = |name: &str| pilotage(&["command", name, "--car", &car]);
    let refused = command("left");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && message.contains("fast, slow"),
        "{message}"
    );
    assert!(command("slow").status.success());
    until(&|| rows(",slow,") > 3);
    let process = rustix::process::Pid::from_child(&drive.0);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    drive.0.wait().unwrap();
    assert!(!command("fast").status.success());
}

/// A VESC at the other end of a port, whose motor turns at 1500 ERPM. It answers until the port is
/// closed.
fn vesc(port: &Path) {
    /// The requests and their answers: the version of the firmware, and the electrical speed.
    const ANSWERS: [(&[u8], &[u8]); 2] = [
        (&[2, 1, 0, 0, 0, 3], &[2, 3, 0, 6, 2, 138, 228, 3]),
        (
            &[2, 5, 50, 0, 0, 0, 128, 217, 229, 3],
            &[2, 9, 50, 0, 0, 0, 128, 0, 0, 5, 220, 229, 177, 3],
        ),
    ];
    let mut end = pty::plug(port);
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok(length) = end.read(&mut bytes) {
            for (request, answer) in ANSWERS {
                let mut read = bytes[..length].windows(request.len());
                if read.any(|read| read == request) && end.write_all(answer).is_err() {
                    return;
                }
            }
        }
    });
}

#[test]
fn a_vesc_gives_the_speed_to_the_network_and_to_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = numbers::write(folder.path(), "fp32");
    let recipe = recipe.replace("domain = \"simulated\"", "domain = \"physical\"");
    fs::write(folder.path().join("numbers.toml"), recipe).unwrap();
    let engine = numbers::compiled(folder.path());
    film::pictures(&folder.path().join("pictures"));
    vesc(&folder.path().join("vesc"));
    let (car, tape) = (folder.path().join("car.toml"), folder.path().join("tape"));
    let text = format!(
        "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 20\n\
         [guard]\ndeadline_ms = 400\nsocket = {:?}\n[engine]\nfile = {engine:?}\n\
         [actuator]\nkind = \"vesc\"\n[actuator.vesc]\nport = {:?}\nfull_erpm = -20000\n\
         erpm_per_mps = 1000\nfailsafe_brake_a = 5\ndisarmed_brake_a = 0\nleft = 0.1\ncentre = 0.5\n\
         right = 0.9\nfailsafe = 0.5\ndisarmed = 0.5\n",
        folder.path().join("guard.sock"),
        folder.path().join("vesc"),
    );
    fs::write(&car, text).unwrap();
    let (car, to) = (car.display().to_string(), tape.display().to_string());
    let drive = [
        "drive", "--no-log", "--car", &car, "--record", &to, "--all", "--frames", "30",
    ];
    let output = pilotage(&drive);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("speed by the motors"), "{said}");
    let measured = column(&tape, "measured_speed");
    // The motor turns backwards for this car.
    assert!(
        measured.len() == 30 && measured.iter().all(|it| it == "-1.500000"),
        "{said}{measured:?}"
    );
    assert!(!said.contains("the sensors give no"), "{said}");

    let car_without = fs::read_to_string(&car).unwrap();
    let car_without = car_without.replace("erpm_per_mps = 1000\n", "");
    fs::write(&car, car_without).unwrap();
    let message = refusal(&["drive", "--no-log", "--car", &car]);
    assert!(message.contains("`erpm_per_mps`"), "{message}");
}

/// The sensors of the simulated car, until they have been read `good` times.
struct Unplugged {
    sensors: SimulatedSensors,
    good: u32,
    gone: fn(Measurements, Duration) -> (Measurements, Duration),
}

impl Sensors for Unplugged {
    fn describe(&self) -> String {
        "stand-in that is unplugged".to_owned()
    }

    fn measures(&self, measurement: Measurement) -> bool {
        self.sensors.measures(measurement)
    }

    fn read(&mut self) -> (Measurements, Duration) {
        let (measured, age) = self.sensors.read();
        match self.good.checked_sub(1) {
            Some(left) => {
                self.good = left;
                (measured, age)
            }
            None => (self.gone)(measured, age),
        }
    }
}

#[test]
fn a_missing_measurement_stops_the_car() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), "fp32");
    let unmeasured = stepped::pilot(&engine, None, |_| None);
    assert!(
        matches!(unmeasured, Err(BuildError::Sensors(Unfit::Measurement(it))) if it.measurement == Measurement::Speed)
    );

    let unknown = |_, age| (Measurements::default(), age);
    let old = |measured, _| (measured, Duration::from_millis(201));
    for (gone, age) in [(unknown as fn(_, _) -> _, None), (old, Some(201))] {
        let good = 20;
        let made = stepped::pilot(&engine, None, |sensors| {
            Some(Box::new(Unplugged {
                sensors,
                good,
                gone,
            }))
        });
        let error = stepped::stops_after(good, &mut made.unwrap());
        let StepError::Unmeasured(unmeasured) = &error else {
            panic!("{error}");
        };
        assert_eq!(unmeasured.age, age.map(Duration::from_millis));
        assert!(error.to_string().contains("no `speed`"), "{error}");
    }
}

/// The sensors of the simulated car, which give nothing at one read.
struct Interrupted {
    sensors: SimulatedSensors,
    reads_before: u32,
}

impl Sensors for Interrupted {
    fn describe(&self) -> String {
        "stand-in that is interrupted".to_owned()
    }

    fn measures(&self, _: Measurement) -> bool {
        true
    }

    fn read(&mut self) -> (Measurements, Duration) {
        self.reads_before = self.reads_before.wrapping_sub(1);
        match self.reads_before {
            u32::MAX => (Measurements::default(), Duration::ZERO),
            _ => self.sensors.read(),
        }
    }
}

#[test]
fn a_frame_without_an_answer_is_a_gap_in_what_the_network_remembers() {
    let folder = tempfile::tempdir().unwrap();
    combined::compiled(folder.path(), "fp32");
    let recipe = folder.path().join("combined.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("\"reset\"", "\"stop\"")).unwrap();
    let compiled = pilotage_compiler::compile(&recipe).unwrap();
    let engine = folder.path().join("combined.engine");
    fs::write(&engine, compiled.bytes).unwrap();
    let engine = engine.display().to_string();
    let good = 20;
    let made = stepped::pilot(&engine, None, |sensors| {
        Some(Box::new(Interrupted {
            sensors,
            reads_before: good,
        }))
    });
    let mut pilot = made.unwrap();
    let error = stepped::stops_after(good, &mut pilot);
    assert!(matches!(error, StepError::Unmeasured(_)), "{error}");
    // The next frame follows that one, which the network has not seen.
    let error = pilot.step().unwrap_err();
    assert!(matches!(error, StepError::Gap { missed: 1 }), "{error}");
    pilot.step().unwrap();
}
