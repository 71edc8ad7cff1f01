//! The recordings of `pilotage record`, whatever ends it.

use pilotage_compiler::Frames;
use pilotage_training::dataset::Dataset;
use pilotage_training::recording;
use pilotage_vision::Preprocess;
use rustix::process::{Resource, Rlimit, prlimit};

use super::*;

/// Drives until `done`, with a jittering gamepad.
fn hold_until(pad: &mut Pad, mut done: impl FnMut() -> bool) {
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    wait("it records", || {
        pad.jitter();
        done()
    });
    pad.release(DEAD_MAN);
}

#[test]
fn a_drive_by_hand_is_recorded_for_training_and_calibration() {
    let car = Car::dry();
    let mut pad = car.pad();
    let record = car.record(&[]);
    car.wait_for("driving");
    // The dead-man button is not held: nothing is recorded.
    std::thread::sleep(Duration::from_millis(200));
    assert!(car.rows().is_empty());
    hold_until(&mut pad, || car.rows().len() >= 8);
    record.kill(Signal::TERM);
    let (ended, messages) = record.end();
    assert!(ended.status.success(), "{messages}");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let rows = car.rows();
    assert_eq!(report["recording"]["written"], rows.len());
    for key in [
        "outcome",
        "car",
        "gamepad",
        "actuator",
        "wall_seconds",
        "commands",
        "guard",
    ] {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }

    let text = fs::read_to_string(car.recording_folder().join("data.csv")).unwrap();
    assert!(text.starts_with("image_name,v,w,timestamp,steering,throttle,measured_speed,"));
    let mut before = 0.0;
    for (index, row) in rows.iter().enumerate() {
        let [name, v, w, time, steering, throttle, ..] = &row[..] else {
            panic!("{row:?}");
        };
        assert_eq!(*name, format!("{index:06}.jpg"));
        let number = |text: &String| text.parse::<f64>().unwrap();
        assert!(number(time) > before, "{row:?}");
        before = number(time);
        let (steering, throttle) = (number(steering), number(throttle));
        assert!((0.0..=0.2).contains(&throttle), "{row:?}");
        // The inverse of the mixer: 4 m/s at full throttle.
        let speed = 4.0 * throttle;
        let yaw_rate = speed * (0.4 * steering).tan() / 0.3;
        assert!((number(v) - speed).abs() < 1e-5, "{row:?}");
        assert!((number(w) - yaw_rate).abs() < 1e-5, "{row:?}");
        assert_eq!(
            image::image_dimensions(car.recording_folder().join(name)).unwrap(),
            (640, 480)
        );
    }
    let last = rows.last().unwrap();
    assert_eq!(last[4..6], ["1.000000", "0.200000"]);

    let mut data = Dataset::default();
    let added = recording::read(&car.recording_folder(), &mut data).unwrap();
    assert_eq!(added.frames, rows.len());
    let [v, _] = data.label(rows.len() - 1);
    assert!((f64::from(v) - (0.8 - 6.5) / 17.5).abs() < 1e-5, "{v}");
    Frames::read(&car.recording_folder(), &Preprocess::new(200, 66)).unwrap();

    // The recording is continued, as PNG, with three more frames.
    let record = car.record(&["--png", "--frames", "3"]);
    car.wait_for("driving");
    pad.jitter();
    hold_until(&mut pad, || car.rows().len() >= rows.len() + 3);
    let (ended, messages) = record.end();
    assert!(ended.status.success(), "{messages}");
    let more = car.rows();
    assert_eq!(more[..rows.len()], rows[..]);
    assert!(more.len() >= rows.len() + 3, "{}", more.len());
    assert_eq!(more[rows.len()][0], format!("{:06}.png", rows.len()));
    let before = data.len();
    let added = recording::read(&car.recording_folder(), &mut data).unwrap();
    assert_eq!(added.frames, more.len());
    assert_eq!(data.len(), before + more.len());
}

#[test]
fn a_killed_recorder_leaves_a_readable_folder() {
    let car = Car::dry();
    let mut pad = car.pad();
    let record = car.record(&[]);
    car.wait_for("driving");
    hold_until(&mut pad, || car.rows().len() >= 5);
    record.kill(Signal::KILL);
    drop(record);
    let read = || {
        recording::read(&car.recording_folder(), &mut Dataset::default())
            .unwrap()
            .frames
    };
    let rows = read();
    assert!(rows >= 5);
    // A row that a power failure cut off is removed, and so is an incomplete picture.
    let list = car.recording_folder().join("data.csv");
    let mut file = OpenOptions::new().append(true).open(&list).unwrap();
    file.write_all(b"000099.jpg,0.1").unwrap();
    fs::write(car.recording_folder().join(".000098.jpg.part"), "half").unwrap();
    wait("the guard has ended", || car.status().is_empty());
    let record = car.record(&["--frames", "1"]);
    // Only one recorder at a time.
    wait("the second recorder drives", || {
        car.status().starts_with("driving")
    });
    pad.jitter();
    pad.hold(DEAD_MAN);
    wait("one more", || {
        pad.jitter();
        car.rows().len() > rows
    });
    let (ended, messages) = record.end();
    assert!(ended.status.success(), "{messages}");
    assert!(read() > rows);
    assert!(!car.recording_folder().join(".000098.jpg.part").exists());
    // A folder of another program is not changed.
    fs::write(&list, "image_name,v,w,timestamp\n").unwrap();
    let (ended, messages) = car.record(&[]).end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        messages.contains("no recording of `pilotage record`"),
        "{messages}"
    );
}

/// A limit on the file size simulates a full disk.
#[test]
fn a_full_disk_pauses_the_recording_and_not_the_drive() {
    let car = Car::pins();
    let mut pad = car.pad();
    let mut command = Command::new("sh");
    let script = "trap '' XFSZ; exec \"$@\"";
    command.args(["-c", script, "sh", PILOTAGE, "record", "--png", "--car"]);
    command
        .arg(car.file())
        .arg("--to")
        .arg(car.recording_folder());
    command.stdin(Stdio::null());
    let mut record = Running::start(command);
    car.wait_for("disarmed");
    car.arm(&mut pad);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    wait("it records", || {
        pad.jitter();
        car.rows().len() >= 3
    });
    let pid = record.pid();
    let limit = |current| {
        let maximum = None;
        let limit = Rlimit { current, maximum };
        prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    };
    limit(Some(512));
    let pausing = Instant::now();
    loop {
        pad.jitter();
        if let Ok(line) = record.line_receiver.recv_timeout(Duration::from_millis(50)) {
            record.log += &line;
            if line.contains("recording paused; driving continues") {
                break;
            }
        }
        assert!(
            pausing.elapsed() < Duration::from_secs(60),
            "{}",
            record.log
        );
    }
    let rows = car.rows().len();
    pad.release(DEAD_MAN);
    car.wait_pulses(&mut pad, NEUTRAL);
    pad.hold(DEAD_MAN);
    pad.full_left_and_ahead();
    car.wait_pulses(&mut pad, GOING);
    let read = || {
        recording::read(&car.recording_folder(), &mut Dataset::default())
            .unwrap()
            .frames
    };
    assert_eq!(read(), rows, "no row without its picture");
    limit(None);
    wait("recording resumes", || {
        pad.jitter();
        car.rows().len() > rows
    });
    record.kill(Signal::TERM);
    let (ended, messages) = record.end();
    assert!(ended.status.success(), "{messages}");
    assert!(messages.contains("recording resumed"), "{messages}");
    assert!(read() > rows);
}
