//! A logger writes the logs of a drive into a folder, which stays within its limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotage_drivelog::{
    End, EndKind, Entry, Keep, LogKind, Logger, Reader, Settings, Store, Timestamp, Window,
};
use pilotage_guard_policy::{Mode, Output, State, StopReason};
use pilotage_tap::{Drive, FrameRecord, PictureView, PixelFormat, Tap, TapServer};
use pilotage_vehicle::Time;

use crate::start;

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
