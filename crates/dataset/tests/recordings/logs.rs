//! Logs of messages. Those in tests/mcap were written by Python's MCAP libraries (tests/mcap/make.py):
//! twelve frames at 100 + i / 20 s by the camera's stamp, recorded 30 ms later, of the grey 20 i.

use std::fs;
use std::path::{Path, PathBuf};

use pilotage_dataset::{DatasetError, Format, LogOptions, Marks, Record, Recording, marks_file};
use pilotage_vehicle::Mixer;
use proptest::prelude::*;

use crate::support::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/mcap")
        .join(name)
}

fn open(name: &str, options: &LogOptions) -> Recording {
    Recording::open_with(&path(name), options).unwrap_or_else(|error| panic!("{error}"))
}

fn error(name: &str, options: &LogOptions) -> String {
    let error = Recording::open_with(&path(name), options).unwrap_err();
    let error = error.to_string();
    assert!(!error.contains('\n') && error.contains(name), "{error}");
    error
}

/// Checks the pictures and their times.
fn check_pictures(recording: &Recording, offset: f64) {
    assert_eq!(recording.format(), Format::Mcap);
    assert_eq!(recording.records().len(), 12);
    for (index, record) in recording.records().iter().enumerate() {
        let time = 100.0 + index as f64 / 20.0 + offset;
        assert!((record.time.unwrap() - time).abs() < 1e-9, "{record:?}");
        let picture = recording.decode(record).unwrap();
        assert_eq!((picture.width, picture.height), (16, 12));
        let grey = i32::from(picture.rgb[0]);
        assert!((grey - 20 * index as i32).abs() < 4, "{index}: {grey}");
    }
}

fn notes(recording: &Recording) -> String {
    let notes = recording.notes().iter().map(ToString::to_string);
    notes.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_picture_gets_the_newest_command_that_is_not_younger() {
    // Commands at 100 + j / 50 + 0.007 s for j of -1 to 14, written after the pictures.
    let mixer = Mixer::new(0.3, 0.4, vec![(0.0, 0.0), (4.0, 1.0)]).unwrap();
    let options = LogOptions {
        mixer: Some(mixer),
        ..LogOptions::default()
    };
    let recording = open("ackermann.mcap", &options);
    check_pictures(&recording, 0.0);
    for (index, record) in recording.records().iter().enumerate() {
        let time = 0.05 * index as f64;
        // The last before it, and not more than 0.1 s before it.
        let newest = ((time - 0.007) * 50.0).floor().min(14.0);
        if time - (newest / 50.0 + 0.007) > 0.1 {
            assert_eq!((record.steering, record.speed), (None, None), "{index}");
            continue;
        }
        let (angle, speed) = (0.2 * (newest / 3.0).sin(), 1.0 + newest / 10.0);
        let close = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!(
                (found - expected).abs() < 1e-6,
                "{index}: {found} {expected}"
            );
        };
        close(record.steering, angle / 0.4);
        close(record.speed, speed);
        close(record.throttle, speed / 4.0);
        close(record.yaw_rate, speed * angle.tan() / 0.3);
    }
    let with = recording
        .records()
        .iter()
        .filter(|it| it.steering.is_some());
    assert_eq!(with.count(), 8);
    let notes = notes(&recording);
    assert!(
        notes.contains("4 pictures have no command in the 0.1 s"),
        "{notes}"
    );
    // A longer tolerance.
    let patient = LogOptions {
        tolerance: 1.0,
        ..options
    };
    let all = open("ackermann.mcap", &patient);
    assert!(all.records().iter().all(|record| record.steering.is_some()));
}

#[test]
fn without_a_car_an_angle_is_kept_and_not_taken_for_steering() {
    let recording = open("ackermann.mcap", &LogOptions::default());
    let first = &recording.records()[2];
    assert_eq!((first.steering, first.yaw_rate), (None, None));
    assert_eq!(&*first.extra[0].0, "steering_angle");
    // j = 4.
    assert!((first.extra[0].1 - 0.2 * (4.0_f64 / 3.0).sin()).abs() < 1e-6);
    let notes = notes(&recording);
    assert!(notes.contains("--car converts"), "{notes}");
}

#[test]
fn the_axes_of_a_joystick_are_chosen() {
    let recording = open("joy.mcap", &LogOptions::default());
    check_pictures(&recording, 0.0);
    assert_eq!(notes(&recording), "");
    for (index, record) in recording.records().iter().enumerate() {
        let steering = record.steering.unwrap();
        assert!((steering - index as f64 / 11.0).abs() < 1e-6, "{record:?}");
        assert_eq!(record.throttle, Some(0.5));
        assert_eq!((record.speed, record.yaw_rate), (None, None));
    }
    let others = LogOptions {
        steering_axis: 3,
        throttle_axis: 4,
        ..LogOptions::default()
    };
    let mut recording = open("joy.mcap", &others);
    let last = recording.records()[11].clone();
    assert_eq!((last.steering, last.throttle), (Some(-1.0), Some(0.25)));
    recording.reverse_steering();
    assert_eq!(recording.records()[11].steering, Some(1.0));
    let beyond = LogOptions {
        throttle_axis: 6,
        ..LogOptions::default()
    };
    let error = error("joy.mcap", &beyond);
    assert!(
        error.contains("have 6 axes, so there is no axis 6"),
        "{error}"
    );
}

#[test]
fn topics_are_chosen_and_messages_without_a_stamp_count_by_when_they_were_recorded() {
    let several = error("plain.mcap", &LogOptions::default());
    assert!(
        several.contains("several topics of pictures: /camera/image/compressed (")
            && several.contains("--image-topic"),
        "{several}"
    );
    let front = LogOptions {
        image_topic: Some("/camera/image/compressed".to_owned()),
        ..LogOptions::default()
    };
    let recording = open("plain.mcap", &front);
    check_pictures(&recording, 0.03);
    assert!(recording.records().iter().all(|it| it.speed == Some(2.0)));
    let unknown = LogOptions {
        command_topic: Some("/drive".to_owned()),
        ..front
    };
    let unknown = error("plain.mcap", &unknown);
    assert!(
        unknown.contains("no topic `/drive` of commands")
            && unknown.contains("/ackermann_cmd (ackermann_msgs/msg/AckermannDrive, cdr)"),
        "{unknown}"
    );
    // The joystick, although there is something better.
    let joy = LogOptions {
        command_topic: Some("/joy".to_owned()),
        ..LogOptions::default()
    };
    let steering = open("ackermann.mcap", &joy).records()[0].steering;
    assert!((steering.unwrap() - 0.9).abs() < 1e-6);
}

#[test]
fn what_is_no_recording_is_refused_in_one_line() {
    let folder = Folder::new();
    let raw = error("raw.mcap", &LogOptions::default());
    assert!(
        raw.contains("pictures without compression are not read"),
        "{raw}"
    );
    let refused = |bytes: &[u8]| {
        let path = folder.path().join("it.mcap");
        fs::write(&path, bytes).unwrap();
        let error = Recording::open(&path).unwrap_err().to_string();
        assert!(
            !error.contains('\n') && error.contains("it.mcap"),
            "{error}"
        );
        error
    };
    for bytes in [&b""[..], b"image_name,v,w\n", &[0; 4096]] {
        assert!(refused(bytes).contains("is not an MCAP file; name"));
    }
    let whole = fs::read(path("joy.mcap")).unwrap();
    assert!(refused(&whole[..8]).contains("has no topic of"));
    let magic = [&whole[..8], &[6], &[0xff; 8], &[0; 100]].concat();
    assert!(refused(&magic).contains("has no topic of"));
    for (path, expected) in [
        ("/dev/null", "/dev/null"),
        ("/nowhere.mcap", "No such file"),
    ] {
        let error = Recording::open(Path::new(path)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn marks_of_a_log_lie_beside_it() {
    let folder = Folder::new();
    let log = folder.path().join("it.mcap");
    fs::copy(path("joy.mcap"), &log).unwrap();
    let mut marks = Marks::open(&log).unwrap();
    marks.add(Path::new("000004"), "is black");
    marks.write().unwrap();
    assert_eq!(marks_file(&log), folder.path().join("it.mcap.left_out.csv"));
    assert!(marks_file(&log).exists());
    let recording = Recording::open(&log).unwrap();
    assert_eq!(recording.records().len(), 11);
    // The pictures of the others are still theirs.
    let record = &recording.records()[4];
    assert_eq!(record.picture, Path::new("000005"));
    let grey = i32::from(recording.decode(record).unwrap().rgb[0]);
    assert!((grey - 100).abs() < 4, "{grey}");
}

/// The records of a log and the sizes of their pictures, or an error; never a panic.
fn read(bytes: &[u8]) -> Result<Vec<Record>, DatasetError> {
    let folder = Folder::new();
    folder.write("it.mcap", bytes);
    let recording = Recording::open(&folder.path().join("it.mcap"))?;
    for record in recording.records() {
        let _ = recording.decode(record);
    }
    Ok(recording.records().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_log_that_is_cut_off_has_the_records_before_that(
        name in prop::sample::select(vec!["joy.mcap", "ackermann.mcap"]),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = fs::read(path(name)).unwrap();
        if let Ok(records) = read(&bytes[..at.index(bytes.len())]) {
            let whole = read(&bytes).unwrap();
            prop_assert!(records.len() <= whole.len());
        }
    }

    #[test]
    fn changed_bytes_are_never_a_panic(
        name in prop::sample::select(vec!["joy.mcap", "ackermann.mcap", "raw.mcap"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = fs::read(path(name)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }
}
