use std::time::Instant;

use super::*;
use crate::config::Source;

const MS: Duration = Duration::from_millis(1);

fn at(millis: u32) -> Time {
    Time::ZERO + MS * millis
}

/// Passes `bytes` to the assembler; returns the completed frames: time, number, first byte.
fn arrive(assembler: &mut Assembler, now: Time, mut bytes: &[u8]) -> Vec<(Time, u64, u8)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let room = assembler.room(now);
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        if assembler.received(count) {
            let mut data = vec![0; 4];
            let (captured, number) = assembler.swap(&mut data);
            assert!(data.iter().all(|byte| *byte == data[0]), "mixed: {data:?}");
            frames.push((captured, number, data[0]));
        }
    }
    frames
}

#[test]
fn frames_are_assembled_from_pieces() {
    let mut pipe = Assembler::new(4, MS * 50);
    assert_eq!(arrive(&mut pipe, at(10), &[1, 1]), []);
    assert_eq!(arrive(&mut pipe, at(12), &[1, 1, 2]), [(at(10), 0, 1)]);
    assert_eq!(arrive(&mut pipe, at(14), &[2, 2, 2]), [(at(12), 1, 2)]);
    let both = arrive(&mut pipe, at(60), &[3, 3, 3, 3, 4, 4, 4, 4]);
    assert_eq!(both, [(at(60), 2, 3), (at(60), 3, 4)]);
    assert_eq!(pipe.broken, 0);
}

#[test]
fn after_a_frame_without_its_end_the_next_is_whole() {
    let mut pipe = Assembler::new(4, MS * 50);
    assert_eq!(arrive(&mut pipe, at(10), &[1, 1, 1]), []);
    assert_eq!(arrive(&mut pipe, at(60), &[2, 2]), []);
    assert_eq!(arrive(&mut pipe, at(80), &[2, 2]), [(at(60), 1, 2)]);
    assert_eq!(pipe.broken, 1);
}

fn camera(script: &str) -> PipeCamera {
    let source = PipeSource {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        format: PixelFormat::Grey8,
    };
    let config = CameraConfig {
        source: Source::Pipe(source.clone()),
        width: 64,
        height: 64,
        rate: 20.0,
        timeout: Duration::from_millis(400),
        frozen_frames: 0,
        black_frames: 0,
    };
    PipeCamera::start(&source, &config).unwrap()
}

fn frame() -> Frame {
    Frame::new(PixelFormat::Grey8, 64, 64).unwrap()
}

#[test]
fn frames_come_from_the_command_and_its_end_is_reported() {
    let script =
        "for c in a b c; do head -c 4096 /dev/zero | tr '\\0' $c; sleep 0.05; done; exit 3";
    let mut camera = camera(script);
    let mut frame = frame();
    let before = Monotonic.now();
    let mut seen = Vec::new();
    let error = loop {
        match camera.next(&mut frame) {
            Ok(()) => {
                assert!(frame.data().iter().all(|byte| *byte == frame.data()[0]));
                assert!(frame.captured > before && frame.captured <= Monotonic.now());
                seen.push((frame.sequence, frame.data()[0]));
            }
            Err(error) => break error,
        }
    };
    assert_eq!(seen.last(), Some(&(2, b'c')));
    assert!(seen.len() as u64 + camera.counters().skipped == 3);
    assert!(matches!(error, CameraError::Exited { .. }), "{error}");
    assert!(
        error.to_string().ends_with("ended (exit status: 3)"),
        "{error}"
    );
}

#[test]
fn the_newest_of_the_waiting_frames_is_taken() {
    let script = "for c in a b c d; do head -c 4096 /dev/zero | tr '\\0' $c; done; sleep 60";
    let mut camera = camera(script);
    thread::sleep(Duration::from_millis(800));
    let mut frame = frame();
    camera.next(&mut frame).unwrap();
    assert_eq!((frame.sequence, frame.data()[0]), (3, b'd'));
    assert_eq!(camera.counters().skipped, 3);
    let started = Instant::now();
    let error = camera.next(&mut frame).unwrap_err();
    assert!(matches!(error, CameraError::NoFrame { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "bounded");
}

#[test]
fn the_command_and_its_children_end_with_the_camera() {
    // The child's child keeps the pipe open and would write forever.
    let name = format!("/tmp/pilotage-pipe-{}", std::process::id());
    let script = format!("(while sleep 0.02; do date +%s%N > {name}; done) & sleep 60");
    let camera = camera(&script);
    let written = || std::fs::read_to_string(&name).unwrap_or_default();
    let started = Instant::now();
    while written().is_empty() && started.elapsed() < Duration::from_secs(10) {
        thread::sleep(MS * 10);
    }
    let stopping = Instant::now();
    drop(camera);
    assert!(stopping.elapsed() < Duration::from_secs(5));
    let last = written();
    thread::sleep(MS * 300);
    assert_eq!(written(), last);
    assert!(!last.is_empty(), "it ran");
    std::fs::remove_file(&name).unwrap();
}

#[test]
fn a_command_that_is_not_there_is_an_error() {
    let source = PipeSource {
        command: vec!["/nonexistent/gst-launch".to_owned()],
        format: PixelFormat::Grey8,
    };
    let config = CameraConfig {
        source: Source::Pipe(source.clone()),
        width: 64,
        height: 64,
        rate: 20.0,
        timeout: MS * 400,
        frozen_frames: 0,
        black_frames: 0,
    };
    let error = PipeCamera::start(&source, &config).map(|_| ()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`/nonexistent/gst-launch` cannot be started")
    );
}
