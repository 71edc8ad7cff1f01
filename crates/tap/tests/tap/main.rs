//! A tap with its server and its observers, through the public entries.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod untrusted;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pilotage_guard_policy::{Mode, Output, State, StopReason};
use pilotage_tap::{
    Drive, EngineInputs, FaultDetail, FrameRecord, Gap, GuardState, MAX_OBSERVERS, NumberedScan,
    ObserveError, Observer, Picture, PictureView, PixelFormat, Sensed, ServeError, Simulated, Tap,
    TapServer, flags,
};
use pilotage_vehicle::{Command, Controls, Fault, LONGEST_COMMAND, Measurements, Rays, Scan, Time};
use proptest::prelude::*;

const FORMAT: (PixelFormat, u32, u32) = (PixelFormat::Rgb8, 5, 3);

fn drive() -> Drive {
    Drive {
        name: "a car".to_owned(),
        simulated: true,
        deadline: Duration::from_millis(100),
        frame_period: Duration::from_millis(33),
        track: vec![[1.5, -2.0], [0.0, 3.25]],
        inputs: EngineInputs {
            measured: [true, false, true, false],
            replacements: Measurements::new([Some(0.5), None, None, None]),
            commands: vec!["left".to_owned(), "x".repeat(LONGEST_COMMAND)],
            scan: Rays::new(5, 90.0, -90.0),
            scan_replacement: Some(12.5),
            memory: true,
        },
        lidar_rays: 7,
    }
}

/// A tap, its server, and one observer.
fn observed() -> (Tap, TapServer, Observer) {
    let (tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    let (ours, theirs) = TapServer::pair().unwrap();
    let server = TapServer::start(source, None, vec![theirs]).unwrap();
    let observer = Observer::over(ours).unwrap();
    (tap, server, observer)
}

/// A tap whose server listens on a path.
fn listening() -> (Tap, TapServer, tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let (tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    let server = TapServer::start(source, Some(&path), Vec::new()).unwrap();
    (tap, server, folder, path)
}

fn numbered(number: u64) -> FrameRecord {
    let mut record = FrameRecord::new(number, Time::from_nanos(number * 10));
    record.arrived = number;
    record.missed = number;
    record.outputs = [number as f32; 8];
    record.asked = [number as f32; 2];
    record.simulated.heading = number as f32;
    record
}

/// Calls `done` until it returns true.
fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it never happened"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_observer_receives_the_drive_and_its_records_in_order() {
    let (mut tap, _server, mut observer) = observed();
    assert_eq!(observer.drive(), &drive());
    assert_eq!(observer.next_record(), None);
    for number in 0..3 {
        tap.publish(&numbered(number));
    }
    for number in 0..3 {
        assert_eq!(observer.next_record(), Some(numbered(number)));
    }
    assert_eq!((observer.next_record(), observer.lost()), (None, 0));
}

#[test]
fn a_record_carries_what_the_pilot_stored() {
    let mut record = FrameRecord::new(7, Time::from_nanos(70));
    record.set_outputs(&[0.5; 20]);
    record.set_controls(Controls::Twist {
        speed: 2.0,
        yaw_rate: -0.5,
    });
    record.set_asked(&Command {
        steering: 0.25,
        throttle: 0.75,
        captured: Time::ZERO,
        sequence: 7,
    });
    let reason = StopReason::Fault(Fault::FrozenPicture);
    let output = Output {
        mode: Mode::Failsafe,
        steering: 0.0,
        throttle: -1.0,
    };
    record.set_guard(State::Stopped { reason }, output);
    record.set_fault(Fault::Camera, Some(FaultDetail::BlackPicture));
    record.set_simulated(Simulated {
        lap: 0.5,
        heading: 3.0,
        ..Simulated::default()
    });
    let (mut tap, _server, mut observer) = observed();
    tap.publish(&record);
    let Some(read) = observer.next_record() else {
        unreachable!("a record was published")
    };
    assert_eq!(read, record);
    assert_eq!(read.outputs(), [0.5; 8]);
    assert_eq!(read.guard(), GuardState::Stopped(Some(reason)));
    assert_eq!(read.fault(), Some(Fault::Camera));
    assert_eq!(read.detail(), Some(FaultDetail::BlackPicture));
    assert_eq!(read.granted, [0.0, -1.0]);
    let all = flags::TWIST | flags::GRANTED | flags::NO_COMMAND | flags::SIMULATED;
    assert_eq!(read.flags, all);
}

#[test]
fn overwritten_records_are_counted() {
    let (mut tap, _server, mut observer) = observed();
    for number in 0..2000 {
        tap.publish(&numbered(number));
    }
    let mut read = 0;
    while let Some(record) = observer.next_record() {
        assert_eq!(record, numbered(2000 - 512 + read));
        read += 1;
    }
    assert_eq!((read, observer.lost()), (512, 2000 - 512));
}

#[test]
fn a_late_observer_begins_with_the_newest_half_and_has_lost_nothing() {
    let (mut tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    for number in 0..1000 {
        tap.publish(&numbered(number));
    }
    let (ours, theirs) = TapServer::pair().unwrap();
    let _server = TapServer::start(source, None, vec![theirs]).unwrap();
    let mut observer = Observer::over(ours).unwrap();
    assert_eq!(observer.next_record(), Some(numbered(1000 - 256)));
    assert_eq!(observer.lost(), 0);
}

/// Every field of a record is computed from its number, so a mix of two records shows.
#[test]
fn no_record_and_no_picture_is_torn_while_the_writer_spins() {
    let (mut tap, _server, mut observer) = observed();
    observer.want_pictures(30).unwrap();
    let end = AtomicBool::new(false);
    let (mut read, mut pictures) = (0_u64, 0);
    let mut picture = Picture::default();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !end.load(Ordering::Relaxed) {
                tap.publish(&numbered(number));
                let data = [number as u8; 45];
                tap.offer_picture(&PictureView {
                    format: PixelFormat::Rgb8,
                    width: 5,
                    height: 3,
                    data: &data,
                    sequence: number,
                    captured: 0,
                });
                number += 1;
            }
            number
        });
        let mut last = None;
        wait_until(|| {
            while let Some(record) = observer.next_record() {
                assert_eq!(record, numbered(record.sequence));
                assert!(last < Some(record.sequence));
                last = Some(record.sequence);
                read += 1;
                if read.is_multiple_of(5000) {
                    break;
                }
            }
            if observer.picture(&mut picture) {
                assert_eq!(picture.data, [picture.sequence as u8; 45]);
                pictures += 1;
            }
            read > 100_000 && pictures > 3
        });
        end.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    while observer.next_record().is_some() {
        read += 1;
    }
    // Each record was read or counted as lost.
    assert_eq!(read + observer.lost(), written);
}

#[test]
fn pictures_are_copied_only_on_request() {
    let (mut tap, _server, mut observer) = observed();
    let data: Vec<u8> = (0..45).collect();
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &data,
        sequence: 9,
        captured: 11,
    };
    assert!(!tap.offer_picture(&view));
    let mut picture = Picture::default();
    assert!(!observer.picture(&mut picture));
    observer.want_pictures(1).unwrap();
    wait_until(|| tap.offer_picture(&view));
    // The next is due in a second.
    assert!(!tap.offer_picture(&view));
    assert!(observer.picture(&mut picture));
    assert_eq!(picture.data, data);
    assert_eq!((picture.width, picture.height), (5, 3));
    assert_eq!((picture.sequence, picture.captured), (9, 11));
    assert!(!observer.picture(&mut picture), "there is no newer one");
    observer.want_pictures(30).unwrap();
    wait_until(|| tap.offer_picture(&view));
    let larger = PictureView {
        data: &[0; 48],
        ..view
    };
    std::thread::sleep(Duration::from_millis(40));
    assert!(!tap.offer_picture(&larger));
    drop(observer);
    // The request ends with the connection.
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(40));
        !tap.offer_picture(&view)
    });
}

#[test]
fn a_request_for_pictures_ends_by_itself() {
    let (mut tap, _server, observer) = observed();
    observer.want_pictures(30).unwrap();
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &[0; 45],
        sequence: 0,
        captured: 0,
    };
    wait_until(|| tap.offer_picture(&view));
    // The observer hangs: it neither asks again nor closes the connection.
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(40));
        !tap.offer_picture(&view)
    });
    assert!(!observer.has_ended());
}

#[test]
fn publishing_allocates_nothing() {
    let (mut tap, _server, observer) = observed();
    observer.want_pictures(30).unwrap();
    let data = [7; 45];
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &data,
        sequence: 0,
        captured: 0,
    };
    wait_until(|| tap.offer_picture(&view));
    let mut pictures = 0;
    let scans = [scan_of(&[5; 7]), scan_of(&[6; 7])];
    let counted = allocation_counter::measure(|| {
        let began = Instant::now();
        while pictures < 3 && began.elapsed() < Duration::from_secs(20) {
            tap.publish(&numbered(1));
            for scan in &scans {
                assert!(tap.offer_scan(scan, Time::ZERO) > 0);
            }
            pictures += usize::from(tap.offer_picture(&view));
            assert!(!tap.take_stop());
        }
    });
    assert_eq!((counted.count_total, pictures), (0, 3));
}

#[test]
fn a_stop_arrives_once() {
    let (tap, _server, observer) = observed();
    assert!(!tap.take_stop());
    observer.stopper().unwrap().stop().unwrap();
    wait_until(|| tap.take_stop());
    assert!(!tap.take_stop());
}

#[test]
fn an_observer_notices_the_end_of_the_pilot() {
    let (tap, server, mut observer) = observed();
    assert!(!observer.has_ended());
    drop((tap, server));
    assert!(observer.has_ended());
    assert_eq!(observer.next_record(), None);
    assert!(matches!(
        observer.stopper().unwrap().stop(),
        Err(ObserveError::Ended)
    ));
}

#[test]
fn observers_come_and_vanish_without_end() {
    let (mut tap, _server, _folder, path) = listening();
    for round in 0..100 {
        let mut observer = Observer::connect(&path).unwrap();
        tap.publish(&numbered(round));
        assert!(observer.next_record().is_some());
    }
}

#[test]
fn observers_beyond_the_limit_are_refused_and_admitted_when_one_leaves() {
    let (_tap, _server, _folder, path) = listening();
    let mut all: Vec<_> = (0..MAX_OBSERVERS)
        .map(|_| Observer::connect(&path).unwrap())
        .collect();
    assert!(matches!(
        Observer::connect(&path),
        Err(ObserveError::TooMany | ObserveError::Ended)
    ));
    all.pop();
    wait_until(|| Observer::connect(&path).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A record is read as it was written, whatever its numbers.
    #[test]
    fn any_record_is_read_as_written(words in prop::collection::vec(any::<u32>(), 30)) {
        let (mut tap, _server, mut observer) = observed();
        let mut record = FrameRecord::new(u64::from(words[0]) << 20, Time::from_nanos(3));
        let floats: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
        record.set_outputs(&floats[..(words[1] % 9) as usize]);
        record.asked = [floats[2], floats[3]];
        record.flags = words[4];
        record.simulated.x = floats[5];
        tap.publish(&record);
        let Some(read) = observer.next_record() else {
            return Err(TestCaseError::fail("no record"));
        };
        // Debug output, as NaN is not equal to itself.
        prop_assert_eq!(format!("{read:?}"), format!("{record:?}"));
    }
}

#[test]
fn a_socket_of_a_dead_pilot_is_replaced_and_that_of_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let start = || {
        let (_, source) = Tap::create(&drive(), FORMAT).unwrap();
        TapServer::start(source, Some(&path), Vec::new())
    };
    // A socket of another type has a living owner or none; this one has none.
    let first = match start() {
        Ok(server) => server,
        Err(_) => {
            std::fs::remove_file(&path).unwrap();
            start().unwrap()
        }
    };
    assert!(matches!(start(), Err(ServeError::InUse { .. })));
    assert!(Observer::connect(&path).is_ok());
    drop(first);
    assert!(!path.exists());
    let missing = Observer::connect(&path).unwrap_err();
    assert!(
        matches!(missing, ObserveError::Unreachable { .. }),
        "{missing}"
    );
    drop(start().unwrap());
}

#[test]
fn a_record_carries_what_the_engine_gets_and_the_high_level_command() {
    let mut record = FrameRecord::new(7, Time::from_nanos(70));
    assert_eq!(record.sensed(), Sensed::default());
    let mut sensed = Sensed {
        measured: Measurements::new([Some(1.5), None, Some(-2.0), Some(f32::NAN)]),
        measured_age: Duration::from_millis(40),
        scan_age: Duration::from_millis(300),
        lacking: [false, true, false, true],
        scan_lacking: true,
        gap: Some(Gap::Reset),
    };
    record.set_sensed(&sensed);
    assert_eq!(record.high_level(), None);
    record.set_high_level(Some("straight"));
    record.set_high_level(Some("left"));
    sensed.measured = Measurements::new([Some(1.5), None, Some(-2.0), None]);
    assert_eq!(
        (record.sensed(), record.high_level()),
        (sensed, Some("left"))
    );
    let mut held = FrameRecord::default();
    sensed.gap = Some(Gap::Held);
    held.set_sensed(&sensed);
    assert_eq!(held.sensed().gap, Some(Gap::Held));
}

fn scan_of(distances: &[u16]) -> Scan {
    Scan {
        rays: Rays::new(distances.len(), -10.0, 30.5).unwrap(),
        millimetres: distances.to_vec(),
    }
}

#[test]
fn an_observer_receives_each_scan_once_and_in_order() {
    let (mut tap, _server, mut observer) = observed();
    let mut seen = NumberedScan::default();
    assert!(!observer.next_scan(&mut seen));
    let [a, b] = [scan_of(&[1, 2, 3, 65_535, 0]), scan_of(&[9; 7])];
    let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
    let offered = [
        (&a, 10),
        (&a, 20),
        (&b, 30),
        (&b, 279),
        (&b, 280),
        (&a, 290),
    ];
    let numbers = offered.map(|(scan, ms)| tap.offer_scan(scan, at(ms)));
    // The same again is a new one after a quarter of a second.
    assert_eq!(numbers, [1, 1, 2, 2, 3, 4]);
    for (number, ms, scan) in [(1, 10, &a), (2, 30, &b), (3, 280, &b), (4, 290, &a)] {
        assert!(observer.next_scan(&mut seen));
        assert_eq!(
            (seen.number, seen.taken, &seen.scan),
            (number, at(ms), scan)
        );
    }
    assert!(!observer.next_scan(&mut seen));
    let mut cut = a.clone();
    cut.millimetres.pop();
    // More rays than the drive's description has.
    for none in [&Scan::default(), &cut, &scan_of(&[1; 8])] {
        assert_eq!(tap.offer_scan(none, at(300)), 0);
    }
    for number in 5..1000_u16 {
        tap.offer_scan(&scan_of(&[number; 3]), at(400));
    }
    let mut last = 4;
    while observer.next_scan(&mut seen) {
        assert!(seen.number > last && seen.scan == scan_of(&[seen.number as u16; 3]));
        last = seen.number;
    }
    assert_eq!(last, 999);
}

/// A writer that spins over the ring meanwhile: no scan is mixed from two.
#[test]
fn no_torn_scan_is_read() {
    let (mut tap, _server, mut observer) = observed();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = NumberedScan::default();
            while !done.load(Ordering::Relaxed) {
                while observer.next_scan(&mut seen) {
                    let first = seen.scan.millimetres[0];
                    assert_eq!(seen.scan, scan_of(&[first; 7]));
                    assert_eq!(first, seen.number as u16);
                }
            }
        });
        for number in 1..=200_000_u64 {
            tap.offer_scan(&scan_of(&[number as u16; 7]), Time::from_nanos(number));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_drive_without_a_lidar_has_no_scans() {
    let without = Drive {
        inputs: EngineInputs::default(),
        lidar_rays: 0,
        ..drive()
    };
    let (mut tap, source) = Tap::create(&without, FORMAT).unwrap();
    let (ours, theirs) = TapServer::pair().unwrap();
    let _server = TapServer::start(source, None, vec![theirs]).unwrap();
    let mut observer = Observer::over(ours).unwrap();
    assert_eq!(observer.drive(), &without);
    assert_eq!(tap.offer_scan(&scan_of(&[1, 2]), Time::ZERO), 0);
    assert!(!observer.next_scan(&mut NumberedScan::default()));
}
