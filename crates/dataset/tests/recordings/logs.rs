//! Logs of messages. Those in tests/mcap were written by Python's MCAP libraries (tests/mcap/make.py):
//! twelve frames at 100 + i / 20 s by the camera's stamp, recorded 30 ms later, of the grey 20 i.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcap::WriteOptions;
use mcap::records::MessageHeader;
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
    // The joystick has no such axis, but is not used.
    let beyond = LogOptions {
        throttle_axis: 6,
        ..LogOptions::default()
    };
    let found = notes(&open("ackermann.mcap", &beyond));
    assert!(!found.contains("cannot be parsed"), "{found}");
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
    // A link with the name of the temporary file is not followed.
    folder.write("other", "other");
    let part = folder.path().join(".it.mcap.left_out.csv.part");
    std::os::unix::fs::symlink("other", part).unwrap();
    let mut marks = Marks::open(&log).unwrap();
    marks.add(Path::new("000004"), "is black");
    marks.write().unwrap();
    assert_eq!(fs::read(folder.path().join("other")).unwrap(), b"other");
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

/// A log without compression of these channels (topic, schema, encoding), with these messages
/// (channel, content), in chunks of about `chunk` bytes.
fn log(channels: &[[&str; 3]], messages: &[(usize, String)], chunk: u64) -> Vec<u8> {
    let options = WriteOptions::new()
        .compression(None)
        .chunk_size(Some(chunk));
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = options.create(&mut bytes).unwrap();
    let mut ids = Vec::new();
    for [topic, schema, encoding] in channels {
        let schema = writer.add_schema(schema, "jsonschema", b"{}").unwrap();
        let id = writer.add_channel(schema, topic, encoding, &BTreeMap::new());
        ids.push(id.unwrap());
    }
    for (index, (channel, content)) in messages.iter().enumerate() {
        let header = MessageHeader {
            channel_id: ids[*channel],
            sequence: index as u32,
            log_time: index as u64,
            publish_time: index as u64,
        };
        let written = writer.write_to_known_channel(&header, content.as_bytes());
        written.unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes.into_inner()
}

const PICTURES: [&str; 3] = ["/camera", "foxglove.CompressedImage", "json"];

fn picture_message(index: usize) -> String {
    let picture = serde_json::json!({
        "timestamp": {"sec": 100 + index, "nsec": 5},
        "data": STANDARD.encode(jpeg(index)),
        "sequence": index,
    });
    picture.to_string()
}

/// Twelve pictures with their values, in several chunks.
fn chunks() -> Vec<u8> {
    let values = |index: usize| serde_json::json!({"sequence": index, "steering": 0.5}).to_string();
    let messages: Vec<_> = (0..12)
        .flat_map(|index| [(0, picture_message(index)), (1, values(index))])
        .collect();
    log(
        &[PICTURES, ["/record", "pilotage.Record", "json"]],
        &messages,
        1000,
    )
}

/// Where the chunks of a log end.
fn chunk_ends(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (8, Vec::new());
    // Behind the last record, the magic is there again.
    while at + 9 < bytes.len() {
        let length = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().unwrap());
        let end = at + 9 + usize::try_from(length).unwrap();
        if bytes[at] == 6 {
            ends.push(end);
        }
        at = end;
    }
    ends
}

/// How often `part` is in `bytes`.
fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|it| *it == part).count()
}

#[test]
fn a_start_with_too_many_points_gives_no_speed() {
    for (points, is_known) in [(2, true), (256, true), (257, false)] {
        let curve: Vec<_> = (0..points)
            .map(|it| [f64::from(it), f64::from(it) / 300.0])
            .collect();
        let start = serde_json::json!({
            "simulated": true, "wheelbase": 0.3, "steering_range": 0.4, "speed_to_throttle": curve,
        });
        let frame = serde_json::json!({
            "sequence": 0, "captured_ms": 1.0, "asked": [0.0, 0.002], "guard": "driving",
            "command": true, "by_hand": false, "dead_man": false,
        });
        let channels = [
            ["/start", "pilotage.Start", "json"],
            PICTURES,
            ["/frame", "pilotage.Frame", "json"],
        ];
        let contents = [start.to_string(), picture_message(0), frame.to_string()];
        let messages: Vec<_> = contents.into_iter().enumerate().collect();
        let records = read(&log(&channels, &messages, 1000)).unwrap();
        assert_eq!(records[0].throttle, Some(0.002));
        assert_eq!(records[0].speed.is_some(), is_known, "{points}");
    }
}

#[test]
fn a_log_without_commands_does_not_speak_of_their_times() {
    let folder = Folder::new();
    folder.write(
        "it.mcap",
        log(&[PICTURES], &[(0, picture_message(0))], 3000),
    );
    let recording = Recording::open(&folder.path().join("it.mcap")).unwrap();
    let notes = folder.notes(&recording);
    assert_eq!(notes, ["FOLDER/it.mcap: 1 pictures have no command"]);
}

#[test]
fn pictures_whose_commands_a_log_has_lost_are_left_out() {
    let frame = |index: usize| {
        let frame = serde_json::json!({
            "sequence": index, "captured_ms": 1.0, "asked": [0.5, 0.2], "guard": "driving",
            "command": true, "by_hand": false, "dead_man": false,
        });
        frame.to_string()
    };
    let folder = Folder::new();
    let messages = [
        (0, picture_message(0)),
        (0, picture_message(1)),
        (1, frame(1)),
    ];
    let channels = [PICTURES, ["/frame", "pilotage.Frame", "json"]];
    folder.write("it.mcap", log(&channels, &messages, 3000));
    let file = folder.path().join("it.mcap");
    let recording = Recording::open(&file).unwrap();
    let [record] = recording.records() else {
        panic!("{:?}", recording.records());
    };
    assert_eq!(record.picture, Path::new("000001"));
    assert_eq!((record.steering, record.throttle), (Some(0.5), Some(0.2)));
    let note = "FOLDER/it.mcap: 1 pictures are left out, because the log has lost their commands";
    assert_eq!(folder.notes(&recording), [note]);
    // All pictures, with a command or without.
    let all = LogOptions {
        idle: true,
        ..LogOptions::default()
    };
    let recording = Recording::open_with(&file, &all).unwrap();
    let steering: Vec<_> = recording.records().iter().map(|it| it.steering).collect();
    assert_eq!(steering, [None, Some(0.5)]);
}

#[test]
fn topics_with_names_of_any_length_take_no_memory() {
    let long = "x".repeat(1025);
    let long = &long[..];
    let message = [(0, picture_message(0))];
    for channel in [
        [long, PICTURES[1], PICTURES[2]],
        [PICTURES[0], long, PICTURES[2]],
        [PICTURES[0], PICTURES[1], long],
    ] {
        let error = read(&log(&[channel], &message, 3000))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("has no topic of") && error.len() < 1000,
            "{error}"
        );
    }
    let longest = &long[1..];
    let records = read(&log(&[[longest, PICTURES[1], PICTURES[2]]], &message, 3000));
    assert_eq!(records.unwrap().len(), 1);
}

/// The time of a picture, and its file.
type TimedPicture = (Option<f64>, Vec<u8>);

/// The times and pictures of a log.
fn pictures(bytes: &[u8]) -> Result<Vec<TimedPicture>, DatasetError> {
    let folder = Folder::new();
    folder.write("it.mcap", bytes);
    let recording = Recording::open(&folder.path().join("it.mcap"))?;
    let records = recording.records().iter();
    Ok(records
        .map(|it| (it.time, recording.picture_file(it).unwrap()))
        .collect())
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
        name in prop::sample::select(vec![None, Some("joy.mcap"), Some("ackermann.mcap")]),
        at in any::<prop::sample::Index>(),
    ) {
        let bytes = match name {
            Some(name) => fs::read(path(name)).unwrap(),
            None => chunks(),
        };
        let (at, ends) = (at.index(bytes.len()), chunk_ends(&bytes));
        prop_assert!(name.is_some() || ends.len() >= 4, "{ends:?}");
        let whole = pictures(&bytes).unwrap();
        prop_assert_eq!(whole.len(), 12);
        // The first chunk of each has a picture.
        match pictures(&bytes[..at]) {
            Ok(found) => {
                prop_assert!(ends[0] <= at);
                let last = ends.iter().rfind(|end| **end <= at).unwrap();
                let expected = match name {
                    // All is in one chunk.
                    Some(_) => 12,
                    None => count(&bytes[..*last], b"\"timestamp\""),
                };
                prop_assert_eq!(&found[..], &whole[..expected]);
            }
            Err(error) => prop_assert!(at < ends[0], "{}", error),
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
