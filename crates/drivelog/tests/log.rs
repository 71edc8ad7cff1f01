//! Logs: what is written is read, cut-off and hostile files included, and folders stay within their
//! limits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_drivelog::{
    Car, Detail, End, EndKind, Entry, Frame, Guard, Keep, Level, LogKind, LogWriter, Logger,
    Message, Pause, PauseKind, Picture, ReadError, Reader, Settings, Start, Stop, Store, Timestamp,
    Window,
};
use pilotage_guard_policy::{Mode, Output, State, StopReason};
use pilotage_tap::{Drive, FrameRecord, PictureView, PixelFormat, Tap, TapServer};
use pilotage_vehicle::Time;
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
    assert_eq!(summary.stats.unwrap().message_count, 6);
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
            prop_assert!(cut < 12_000, "{}", cut);
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

fn store(folder: &Path) -> Store {
    Store {
        folder: folder.join("logs"),
        most_logs: 3,
        most_bytes: 4_000_000,
    }
}

#[test]
fn a_folder_keeps_the_newest_logs_within_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert_eq!(store.logs().unwrap(), []);
    fs::create_dir(&store.folder).unwrap();
    let foreign = store.folder.join("20260101-000000-001-notes.mcap");
    fs::write(&foreign, "mine").unwrap();
    for second in 0..5 {
        let drive = Timestamp((1_767_225_600 + second) * 1_000_000_000);
        let (_, path) = store.create(drive, LogKind::Stop).unwrap();
        fs::write(path, [0; 100]).unwrap();
        // The order is that of the files' times.
        std::thread::sleep(Duration::from_millis(20));
    }
    let names = |store: &Store| -> Vec<String> {
        let logs = store.logs().unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        logs.iter().map(|log| name(&log.path)).collect()
    };
    let expected = [2, 3, 4].map(|second| format!("20260101-00000{second}-001-stop.mcap"));
    assert_eq!(names(&store), expected);
    // A large log leaves no space for the others.
    let drive = Timestamp(1_767_225_604_000_000_000);
    let (file, _) = store.create(drive, LogKind::End).unwrap();
    file.set_len(3_000_000).unwrap();
    assert_eq!(names(&store)[2], "20260101-000004-002-end.mcap");
    store.create(drive, LogKind::Drive).unwrap();
    assert_eq!(names(&store), ["20260101-000004-003-drive.mcap"]);
    assert!(foreign.exists());
}

/// A tap and a logger of it.
struct Logged {
    tap: Tap,
    server: TapServer,
    logger: Logger,
    reports: Arc<Mutex<Vec<String>>>,
}

fn logged(store: &Store, keep: Keep) -> Logged {
    let (tap, source) = Tap::create(&Drive::default(), (PixelFormat::Grey8, 8, 4)).unwrap();
    let (here, there) = TapServer::pair().unwrap();
    let server = TapServer::start(source, None, vec![here]).unwrap();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let settings = Settings {
        store: store.clone(),
        keep,
        start: start(),
        on_wall_clock: false,
    };
    let reported = Arc::clone(&reports);
    let report = move |reason: &str| reported.lock().unwrap().push(reason.to_owned());
    Logged {
        tap,
        server,
        logger: Logger::start(there, settings, report).unwrap(),
        reports,
    }
}

impl Logged {
    /// Publishes a frame at `second` with its picture, in a state.
    fn publish(&mut self, second: f64, state: State) {
        let nanos = (second * 1e9) as u64;
        let mut record = FrameRecord::new(nanos / 50_000_000, Time::from_nanos(nanos));
        record.published = nanos + 5_000_000;
        let (mode, steering, throttle) = (Mode::Failsafe, 0.0, 0.0);
        let output = Output {
            mode,
            steering,
            throttle,
        };
        record.set_guard(state, output);
        self.tap.publish(&record);
        self.tap.offer_picture(&PictureView {
            format: PixelFormat::Grey8,
            width: 8,
            height: 4,
            data: &[128; 32],
            sequence: record.sequence,
            captured: record.captured,
        });
        // The logger looks each 20 ms.
        std::thread::sleep(Duration::from_millis(2));
    }

    fn end(self) -> Vec<String> {
        let end = End {
            time_ms: 43_000.0,
            kind: EndKind::Signal,
            text: "stopped by a signal".to_owned(),
        };
        self.logger.note(Entry::End(end));
        drop(self.server);
        assert!(self.logger.finish(Duration::from_secs(60)));
        self.reports.lock().unwrap().clone()
    }
}

const OPERATOR: State = State::Stopped {
    reason: StopReason::Operator,
};

fn window(path: &Path) -> Window {
    Window::read(&mut Reader::open(path).unwrap()).unwrap()
}

#[test]
fn the_seconds_before_a_stop_and_before_the_end_are_logged() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut drive = logged(&store, Keep::Stops);
    for tick in 0..800 {
        drive.publish(f64::from(tick) * 0.05, State::Disarmed);
    }
    for tick in 800..860 {
        drive.publish(f64::from(tick) * 0.05, OPERATOR);
    }
    assert_eq!(drive.end(), [""; 0]);
    let logs = store.logs().unwrap();
    let kinds: Vec<_> = logs.iter().map(|log| log.kind).collect();
    assert_eq!(kinds, [LogKind::Stop, LogKind::End]);
    let stop = window(&logs[0].path);
    assert_eq!((stop.stops, stop.damaged), (1, false));
    assert_eq!(stop.end, None);
    assert_eq!(stop.stop_ms(), Some(40_005.0));
    let first = stop.frames.front().unwrap().published_ms;
    // 30 s before it is written, which is a second after the stop.
    assert!((10_900.0..=11_200.0).contains(&first), "{first}");
    assert!(!stop.pictures.is_empty());
    let decoded = image::load_from_memory(&stop.pictures[0].jpeg).unwrap();
    assert_eq!((decoded.width(), decoded.height()), (8, 4));
    let end = window(&logs[1].path);
    let kind = end.end.as_ref().map(|end| end.kind);
    assert_eq!(kind, Some(EndKind::Signal));
    assert_eq!(end.stop_ms(), Some(40_005.0));
}

#[test]
fn a_whole_drive_is_logged_and_readable_while_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut drive = logged(&store, Keep::Drive);
    for tick in 0..1200 {
        drive.publish(f64::from(tick) * 0.05, State::Disarmed);
    }
    // As after a power cut: there is no end yet.
    let logs = store.logs().unwrap();
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let cut = window(&log.path);
    assert!(
        cut.damaged && cut.frames.len() > 100,
        "{}",
        cut.frames.len()
    );
    assert_eq!(drive.end(), [""; 0]);
    let mut reader = Reader::open(&log.path).unwrap();
    let mut frames = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        frames += usize::from(matches!(entry, Entry::Frame(_)));
    }
    assert_eq!(
        (frames, reader.damaged(), reader.start().whole_drive),
        (1200, false, false)
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("logs"), "a file").unwrap();
    for keep in [Keep::Stops, Keep::Drive] {
        let mut drive = logged(&store(folder.path()), keep);
        for tick in 0..100 {
            let state = match tick / 30 % 2 {
                0 => State::Disarmed,
                _ => OPERATOR,
            };
            drive.publish(f64::from(tick) * 0.05, state);
        }
        let reports = drive.end();
        let [report] = &reports[..] else {
            panic!("{reports:?}")
        };
        assert!(report.contains("logs: "), "{report}");
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
