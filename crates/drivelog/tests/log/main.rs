//! Logs: what is written is read, cut-off and hostile files included, and folders stay within their
//! limits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod folder;
mod layout;

use std::io::Cursor;
use std::path::Path;

use pilotage_drivelog::{
    Car, Detail, End, EndKind, Entry, Frame, Gap, Guard, Input, Inputs, Level, LidarScan,
    LogWriter, Message, NumberInput, Pause, PauseKind, Picture, ReadError, Reader, ScanInput,
    Start, Stop, Window,
};
use pilotage_tap::FrameRecord;
use pilotage_vehicle::{Rays, Scan, Time};
use proptest::prelude::*;

fn start() -> Start {
    Start {
        version: "0.1.0".to_owned(),
        car: "a car".to_owned(),
        simulated: true,
        driver: "engine pilotnet".to_owned(),
        started_ns: 1_767_225_600_000_000_000,
        epoch_ns: 1_767_225_500_000_000_000,
        deadline_ms: 150.0,
        frame_period_ms: 50.0,
        wheelbase: 0.33,
        steering_range: 0.42,
        speed_to_throttle: vec![(0.0, 0.0), (24.0, 1.0)],
        whole_drive: false,
        inputs: Inputs {
            numbers: vec![NumberInput {
                name: Input::YawRate,
                replacement: Some(0.25),
            }],
            commands: vec!["left".to_owned()],
            scan: Some(ScanInput {
                rays: 541,
                start: -135.0,
                end: 135.0,
                replacement: None,
            }),
            memory: true,
        },
    }
}

fn frame(number: u64) -> Frame {
    let mut record = FrameRecord::new(number, Time::from_nanos(number * 50_000_000));
    record.arrived = record.captured + 1_000_000;
    record.published = record.captured + 7_000_000;
    record.vision = 1_250_000;
    record.set_outputs(&[0.5, f32::NAN]);
    Frame::of(&record, 3)
}

/// An entry of each kind.
fn entries() -> Vec<Entry> {
    let mut full = frame(2);
    full.outputs = vec![0.125; 3];
    full.granted = Some([0.25, -0.5]);
    full.guard = Guard::Stopped;
    full.stop = Some(Stop::FrozenPicture);
    full.fault = Some(Stop::Camera);
    full.detail = Some(Detail::BlackPicture);
    full.measured.measured_yaw_rate = Some(-0.5);
    full.measured_age_ms = Some(40.0);
    (full.scan, full.scan_age_ms) = (Some(3), Some(12.5));
    full.lacking = vec![Input::LateralAcceleration, Input::Scan];
    full.gap = Some(Gap::Reset);
    full.high_level_command = Some("left".to_owned());
    full.simulated = Some(Car {
        lap: 0.5,
        ..Car::default()
    });
    vec![
        Entry::Frame(Box::new(full)),
        Entry::Picture(Picture {
            sequence: 2,
            captured_ms: 100.0,
            jpeg: (0..=255).collect(),
        }),
        Entry::Message(Message {
            time_ms: 101.5,
            level: Level::Error,
            text: "the \"bus\"\nfailed \u{1b}[31m".to_owned(),
        }),
        Entry::Pause(Pause {
            start_ms: 1.0,
            end_ms: 100.0,
            waited_ms: 80.0,
            kind: PauseKind::Queue,
        }),
        Entry::End(End {
            time_ms: 200.0,
            kind: EndKind::OffRoad,
            text: "off the road".to_owned(),
        }),
        Entry::Scan(LidarScan {
            number: 3,
            taken_ms: 88.5,
            scan: Scan {
                rays: Rays::new(5, -135.0, 0.1).unwrap(),
                millimetres: vec![0, 1, 1234, 9999, u16::MAX],
            },
        }),
    ]
}

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut log = LogWriter::new(Vec::new(), &start()).unwrap();
    for entry in entries {
        log.write(entry).unwrap();
        // Each entry in a chunk of its own.
        log.flush().unwrap();
    }
    log.finish().unwrap()
}

/// All entries, and whether the log is damaged.
fn read(bytes: &[u8]) -> Result<(Vec<Entry>, bool), ReadError> {
    let mut reader = Reader::new(Cursor::new(bytes), Path::new("a.mcap"))?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok((entries, reader.damaged()))
}

#[test]
fn every_entry_is_read_as_it_was_written() {
    assert_eq!(read(&written(&entries())).unwrap(), (entries(), false));
    let reader = Reader::new(Cursor::new(written(&[])), Path::new("a.mcap")).unwrap();
    assert_eq!(reader.start(), &start());
}

#[test]
fn numbers_that_are_not_finite_are_read_as_nan() {
    let (read, _) = read(&written(&[Entry::Frame(Box::new(frame(1)))])).unwrap();
    let [Entry::Frame(frame)] = &read[..] else {
        panic!("{read:?}")
    };
    assert!(
        frame.outputs[0] == 0.5 && frame.outputs[1].is_nan(),
        "{frame:?}"
    );
    assert_eq!((frame.lost, frame.published_ms), (3, 57.0));
}

/// The library's own reader, with the index at the end, sees the same.
#[test]
fn an_mcap_reader_reads_a_log_with_its_schemas_and_index() {
    let bytes = written(&entries());
    let messages: Vec<_> = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let schemas: Vec<_> = messages
        .iter()
        .map(|message| message.channel.schema.as_ref().unwrap().name.as_str())
        .collect();
    let expected = [
        "pilotage.Start",
        "pilotage.Frame",
        "foxglove.CompressedImage",
        "foxglove.Log",
        "pilotage.Pause",
        "pilotage.End",
        "foxglove.LaserScan",
    ];
    assert_eq!(schemas, expected);
    for message in &messages {
        let schema = message.channel.schema.as_ref().unwrap();
        assert_eq!(schema.encoding, "jsonschema");
        let schema: serde_json::Value = serde_json::from_slice(&schema.data).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
        // The schema describes exactly the message's keys.
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(
            keys(&schema["properties"]),
            keys(&value),
            "{}",
            message.channel.topic
        );
    }
    let picture = &messages[2];
    assert_eq!(picture.log_time, start().epoch_ns + 100_000_000);
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    assert_eq!(summary.stats.unwrap().message_count, 7);
}

#[test]
fn what_is_no_log_is_an_error_that_says_so() {
    for (bytes, expected) in [
        (&b""[..], "is not an MCAP file"),
        (b"GIF89a..........", "is not an MCAP file"),
        (mcap::MAGIC, "is not a log of Pilotage"),
    ] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for path in ["/", "/dev/null", "/dev/zero"] {
        let error = Reader::open(Path::new(path)).unwrap_err();
        assert!(matches!(error, ReadError::NotFile(_)), "{error}");
    }
    let missing = Reader::open(Path::new("/nowhere/a.mcap")).unwrap_err();
    assert!(
        missing.to_string().starts_with("/nowhere/a.mcap: "),
        "{missing}"
    );
}

/// Lengths that would take all memory: of a record, a chunk and of texts in it.
#[test]
fn hostile_lengths_take_no_memory() {
    let whole = written(&entries());
    let record = |opcode: u8, length: u64, body: &[u8]| {
        let mut bytes = mcap::MAGIC.to_vec();
        bytes.push(opcode);
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        bytes
    };
    let mut channel = vec![1, 0, 1, 0];
    channel.extend(u32::MAX.to_le_bytes());
    channel.extend([b'x'; 64]);
    for bytes in [
        record(6, u64::MAX, &whole),
        record(6, 60 << 20, &whole),
        record(5, u64::MAX / 2, &[]),
        record(4, channel.len() as u64, &channel),
        record(6, 64, &[0xff; 64]),
        record(9, 2, &[0, 0]),
        record(12, 8, &[0xff; 8]),
    ] {
        let used = allocation_counter::measure(|| {
            assert!(matches!(read(&bytes), Err(ReadError::NoStart(_))));
        });
        assert!(used.bytes_max < 1 << 20, "{used:?}");
    }
}

proptest! {
    #[test]
    fn a_log_that_is_cut_off_has_its_whole_chunks(at in any::<prop::sample::Index>()) {
        let bytes = written(&entries());
        let cut = at.index(bytes.len());
        let Ok((read, damaged)) = read(&bytes[..cut]) else {
            // Not even the start is whole.
            prop_assert!(cut < 20_000, "{}", cut);
            return Ok(());
        };
        prop_assert_eq!(&read[..], &entries()[..read.len()]);
        prop_assert!(damaged || read.len() == entries().len());
    }

    #[test]
    fn zeros_after_a_cut_are_no_entries(at in any::<prop::sample::Index>(), zeros in 1..5000_usize) {
        let mut bytes = written(&entries());
        bytes.truncate(at.index(bytes.len()));
        bytes.extend(vec![0; zeros]);
        if let Ok((read, _)) = read(&bytes) {
            prop_assert_eq!(&read[..], &entries()[..read.len()]);
        }
    }

    #[test]
    fn changed_bytes_are_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = written(&entries());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let mut reader = Reader::new(Cursor::new(&bytes), Path::new("a.mcap"));
        if let Ok(reader) = &mut reader
            && let Ok(window) = Window::read(reader)
        {
            let _ = pilotage_drivelog::Diagnosis::of(&window).text(&window);
        }
    }

    #[test]
    fn any_bytes_after_the_magic_are_never_a_panic(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&[mcap::MAGIC, &noise].concat());
    }

    /// Any frames, as another program may write them.
    #[test]
    fn any_frames_are_diagnosed_in_text_without_control_characters(
        frames in prop::collection::vec(
            (any::<f64>(), any::<f64>(), any::<f64>(), 0..6_u8, any::<u64>()),
            0..60,
        ),
        period in any::<f64>(),
    ) {
        let mut window = Window::new(Start { frame_period_ms: period, ..start() });
        for (published, arrived, inference, guard, missed) in frames {
            let mut entry = frame(1);
            (entry.published_ms, entry.arrived_ms) = (published, arrived);
            (entry.inference_ms, entry.missed) = (inference, missed);
            entry.guard = [Guard::Driving, Guard::Stopped, Guard::Armed][usize::from(guard % 3)];
            entry.stop = (entry.guard == Guard::Stopped).then_some(Stop::Deadline);
            window.add(Entry::Frame(Box::new(entry)));
        }
        window.add(entries()[2].clone());
        let text = pilotage_drivelog::Diagnosis::of(&window).text(&window);
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", text);
    }
}

/// A disk that is full after some bytes.
struct FullDisk(usize);

impl std::io::Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_full_disk_is_an_error(space in 0..20_000_usize) {
        let written = LogWriter::new(FullDisk(space), &start()).and_then(|mut log| {
            for entry in entries() {
                log.write(&entry)?;
                log.flush()?;
            }
            log.finish().map(drop)
        });
        let bytes = self::written(&entries()).len();
        match written {
            Ok(()) => prop_assert!(space >= bytes, "{} {}", space, bytes),
            Err(error) => prop_assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
        }
    }
}
