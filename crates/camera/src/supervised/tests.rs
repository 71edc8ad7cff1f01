use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pilotage_vehicle::Fault;

use super::*;

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(125);

#[derive(Clone, Default)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// What a scripted camera does at one call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    /// A frame of this level.
    Shows(u8),
    /// No frame in time.
    Stuck,
    Gone,
}

use Act::{Gone, Shows, Stuck};

/// Follows a script; at its end it is stuck.
struct Scripted {
    acts: VecDeque<Act>,
    clock: ManualClock,
    number: u64,
    format: PixelFormat,
    closed: Arc<AtomicU64>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Camera for Scripted {
    fn describe(&self) -> String {
        "scripted".to_owned()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (self.format, 16, 16)
    }

    fn frame_period(&self) -> Duration {
        MS * 50
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        match self.acts.pop_front().unwrap_or(Stuck) {
            Shows(level) => {
                self.clock.pass(MS * 50);
                frame.data_mut().fill(level);
                frame.captured = self.clock.now();
                frame.sequence = self.number;
                self.number += 1;
                Ok(())
            }
            Stuck => {
                self.clock.pass(TIMEOUT);
                Err(CameraError::NoFrame {
                    camera: "scripted".to_owned(),
                    waited: TIMEOUT,
                    hint: "",
                })
            }
            Gone => Err(CameraError::Gone {
                camera: "scripted".to_owned(),
                reason: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            frames: self.number,
            ..Counters::default()
        }
    }
}

/// Answers by script. Each answer comes after the requested wait; opening takes no time.
struct ScriptedOpener {
    clock: ManualClock,
    answers: Arc<Mutex<VecDeque<Result<BoxedCamera, CameraError>>>>,
    waits: Arc<Mutex<Vec<u128>>>,
    due: Cell<Option<Time>>,
}

impl Opener for ScriptedOpener {
    fn begin(&mut self, old: Option<BoxedCamera>, wait: Duration) {
        drop(old);
        self.waits.lock().unwrap().push(wait.as_millis());
        self.due.set(Some(self.clock.now() + wait));
    }

    fn wait(&mut self, timeout: Duration) -> Option<Result<BoxedCamera, CameraError>> {
        let due = self.due.get().unwrap();
        if due > self.clock.now() + timeout {
            self.clock.pass(timeout);
            return None;
        }
        self.clock.pass(due.since(self.clock.now()));
        self.answers.lock().unwrap().pop_front()
    }
}

struct Bench {
    camera: Supervised<ScriptedOpener, ManualClock>,
    frame: Frame,
    clock: ManualClock,
    answers: Arc<Mutex<VecDeque<Result<BoxedCamera, CameraError>>>>,
    waits: Arc<Mutex<Vec<u128>>>,
    closed: Arc<AtomicU64>,
}

impl Bench {
    fn new(acts: &[Act]) -> Self {
        let clock = ManualClock::default();
        let closed = Arc::new(AtomicU64::new(0));
        let (answers, waits) = (Arc::default(), Arc::default());
        let opener = ScriptedOpener {
            clock: clock.clone(),
            answers: Arc::clone(&answers),
            waits: Arc::clone(&waits),
            due: Cell::new(None),
        };
        let limits = Limits {
            frozen_frames: 4,
            black_frames: 3,
        };
        let first = scripted(acts, &clock, &closed, PixelFormat::Grey8);
        Self {
            camera: Supervised::new(first, opener, clock.clone(), limits, TIMEOUT),
            frame: Frame::new(PixelFormat::Grey8, 16, 16).unwrap(),
            clock,
            answers,
            waits,
            closed,
        }
    }

    fn plugged_in(&self, acts: &[Act]) {
        self.plugged_in_with_format(acts, PixelFormat::Grey8);
    }

    fn plugged_in_with_format(&self, acts: &[Act], format: PixelFormat) {
        let camera = scripted(acts, &self.clock, &self.closed, format);
        self.answers.lock().unwrap().push_back(Ok(camera));
    }

    fn not_there(&self) {
        let error = CameraError::Open {
            camera: "scripted".to_owned(),
            reason: io::ErrorKind::NotFound.into(),
            hint: String::new(),
        };
        self.answers.lock().unwrap().push_back(Err(error));
    }

    fn next(&mut self) -> Result<(), CameraError> {
        let before = self.clock.now();
        let result = self.camera.next(&mut self.frame);
        let taken = self.clock.now().since(before);
        assert!(taken <= TIMEOUT * 2, "each call is bounded: {taken:?}");
        result
    }

    /// Collects errors until the next frame.
    fn errors(&mut self) -> Vec<CameraError> {
        let mut errors = Vec::new();
        while let Err(error) = self.next() {
            errors.push(error);
            assert!(errors.len() < 100, "it never comes back: {errors:?}");
        }
        errors
    }
}

fn scripted(
    acts: &[Act],
    clock: &ManualClock,
    closed: &Arc<AtomicU64>,
    format: PixelFormat,
) -> BoxedCamera {
    Box::new(Scripted {
        acts: acts.iter().copied().collect(),
        clock: clock.clone(),
        number: 0,
        format,
        closed: Arc::clone(closed),
    })
}

#[test]
fn after_replugging_the_frame_numbers_continue_to_rise() {
    let mut bench = Bench::new(&[Shows(50), Shows(51), Gone]);
    bench.not_there();
    bench.not_there();
    bench.plugged_in(&[Shows(60), Shows(61)]);
    bench.next().unwrap();
    bench.next().unwrap();
    assert_eq!(bench.frame.sequence, 1);
    let errors = bench.errors();
    assert!(matches!(errors[0], CameraError::Gone { .. }));
    assert!(
        errors[1..]
            .iter()
            .all(|e| matches!(e, CameraError::Reopening { .. }))
    );
    assert!(errors.iter().all(|error| error.fault() == Fault::Camera));
    assert_eq!(*bench.waits.lock().unwrap(), [250, 500, 1000]);
    assert_eq!((bench.frame.sequence, bench.frame.data()[0]), (2, 60));
    bench.next().unwrap();
    assert_eq!((bench.frame.sequence, bench.frame.data()[0]), (3, 61));
    let counters = bench.camera.counters();
    assert_eq!((counters.frames, counters.reopened), (4, 1));
    assert_eq!(bench.closed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stuck_camera_is_an_error_at_once_and_opened_again_after_a_second() {
    let mut bench = Bench::new(&[Shows(50), Stuck, Shows(51), Stuck, Stuck]);
    bench.next().unwrap();
    assert_eq!(bench.errors().len(), 1, "one late frame");
    assert!(bench.waits.lock().unwrap().is_empty());
    bench.plugged_in(&[Shows(60)]);
    let errors = bench.errors();
    let stuck = |error: &&CameraError| matches!(error, CameraError::NoFrame { .. });
    assert_eq!(
        errors.iter().filter(stuck).count(),
        8,
        "of 125 ms each: 1 s"
    );
    assert_eq!(bench.frame.data()[0], 60);
    assert_eq!(*bench.waits.lock().unwrap(), [250]);
}

#[test]
fn a_first_frame_may_take_longer() {
    let slow = [[Stuck; 20].as_slice(), &[Shows(50)]].concat();
    let mut bench = Bench::new(&slow);
    assert_eq!(bench.errors().len(), 20);
    assert!(bench.waits.lock().unwrap().is_empty());
    assert_eq!(bench.frame.data()[0], 50);
}

#[test]
fn a_camera_that_never_starts_is_opened_again_and_the_key_is_named() {
    let mut bench = Bench::new(&[Stuck; 40]);
    bench.plugged_in(&[Shows(60)]);
    let errors = bench.errors();
    let first = |error: &&CameraError| matches!(error, CameraError::NoFirstFrame { .. });
    let named: Vec<_> = errors.iter().filter(first).collect();
    assert_eq!(named.len(), 1);
    assert_eq!(
        named[0].to_string(),
        "scripted gave no first frame in 3.0 s; if it needs longer to start, set \
         `camera.first_frame_ms` in car.toml"
    );
    assert_eq!(bench.frame.data()[0], 60);
}

#[test]
fn a_frozen_picture_is_its_own_fault_and_the_camera_is_opened_again() {
    let mut bench = Bench::new(&[Shows(50), Shows(51), Shows(51), Shows(51), Shows(51)]);
    bench.plugged_in(&[Shows(60)]);
    for _ in 0..4 {
        bench.next().unwrap();
    }
    let errors = bench.errors();
    assert!(matches!(errors[0], CameraError::Frozen { frames: 4 }));
    assert_eq!(errors[0].fault(), Fault::FrozenPicture);
    assert_eq!(bench.frame.data()[0], 60);
}

#[test]
fn a_camera_that_freezes_repeatedly_is_reopened_less_often() {
    let frozen = [Shows(51); 4];
    let mut bench = Bench::new(&frozen);
    for _ in 0..5 {
        bench.plugged_in(&frozen);
    }
    for _ in 0..100 {
        let _ = bench.next();
    }
    assert_eq!(
        bench.waits.lock().unwrap()[..5],
        [250, 500, 1000, 2000, 4000]
    );

    // After a long time without a loss, the shortest wait is used again.
    let sound: Vec<_> = (0..250).map(|n| Shows(40 + n % 200)).collect();
    let mut bench = Bench::new(&[Gone]);
    bench.plugged_in(&[sound.as_slice(), &[Gone]].concat());
    bench.plugged_in(&[Shows(70)]);
    bench.errors();
    for _ in 1..250 {
        bench.next().unwrap();
    }
    bench.errors();
    assert_eq!(*bench.waits.lock().unwrap(), [250, 250]);
}

#[test]
fn a_covered_lens_is_a_fault_while_it_is_covered() {
    let mut bench = Bench::new(&[
        Shows(50),
        Shows(16),
        Shows(17),
        Shows(16),
        Shows(17),
        Shows(50),
    ]);
    for _ in 0..3 {
        bench.next().unwrap();
    }
    let errors = bench.errors();
    assert_eq!(errors.len(), 2);
    assert!(
        errors
            .iter()
            .all(|e| matches!(e, CameraError::Black { .. }))
    );
    assert_eq!(bench.frame.data()[0], 50);
    assert!(
        bench.waits.lock().unwrap().is_empty(),
        "nothing to open again"
    );
}

#[test]
fn a_camera_with_another_format_is_refused() {
    let mut bench = Bench::new(&[Shows(50), Gone]);
    bench.plugged_in_with_format(&[Shows(90)], PixelFormat::Rgb8);
    bench.plugged_in(&[Shows(60)]);
    bench.next().unwrap();
    let errors = bench.errors();
    let changed = errors
        .iter()
        .find(|e| matches!(e, CameraError::Changed { .. }));
    assert_eq!(
        changed.unwrap().to_string(),
        "the camera came back with 16x16 Rgb8 frames, but was set up for 16x16 Grey8; restart \
         `pilotage drive`"
    );
    assert_eq!(bench.frame.data()[0], 60);
}

#[test]
fn a_camera_is_reopened_by_a_thread() {
    let clock = ManualClock::default();
    let (opened, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let again = {
        let (clock, opened, closed) = (clock.clone(), Arc::clone(&opened), Arc::clone(&closed));
        move || {
            opened.fetch_add(1, Ordering::Relaxed);
            Ok(scripted(&[Shows(60)], &clock, &closed, PixelFormat::Grey8))
        }
    };
    let first = scripted(&[Gone], &clock, &closed, PixelFormat::Grey8);
    let limits = Limits {
        frozen_frames: 0,
        black_frames: 0,
    };
    // With the real opener's thread, on the wall clock.
    let mut camera = Supervised::new(first, ThreadOpener::new(again), clock, limits, MS * 100);
    let mut frame = Frame::new(PixelFormat::Grey8, 16, 16).unwrap();
    assert!(matches!(
        camera.next(&mut frame),
        Err(CameraError::Gone { .. })
    ));
    let mut calls = 0;
    while camera.next(&mut frame).is_err() {
        calls += 1;
        assert!(calls < 100, "it never comes back");
    }
    assert_eq!(frame.data()[0], 60);
    assert_eq!(
        (
            opened.load(Ordering::Relaxed),
            closed.load(Ordering::Relaxed)
        ),
        (1, 1)
    );
}

#[test]
fn an_attempt_without_a_result_is_reported_once() {
    let clock = ManualClock::default();
    let closed = Arc::new(AtomicU64::new(0));
    let first = scripted(&[Gone], &clock, &closed, PixelFormat::Grey8);
    let limits = Limits {
        frozen_frames: 0,
        black_frames: 0,
    };
    let opener = ThreadOpener::new(|| panic!("a driver's crate may panic"));
    let mut camera = Supervised::new(first, opener, clock, limits, MS * 1000);
    let mut frame = Frame::new(PixelFormat::Grey8, 16, 16).unwrap();
    camera.next(&mut frame).unwrap_err();
    let error = camera.next(&mut frame).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the camera is lost and is being opened again: the camera could not be opened (the attempt \
         ended without a result)"
    );
}
