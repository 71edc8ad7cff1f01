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

#[test]
fn an_unexpected_frame_length_is_detected() {
    let mut pipe = Assembler::new(4, MS * 50);
    // Whole frames, one by one and together.
    arrive(&mut pipe, at(0), &[1; 4]);
    arrive(&mut pipe, at(50), &[2; 8]);
    assert_eq!(pipe.unexpected_frame_len, None);
    // A frame of which a part was lost, now and then.
    for (number, length) in [3, 2, 3, 1, 4].into_iter().enumerate() {
        arrive(&mut pipe, at(100 + 50 * number as u32), &vec![3; length]);
        assert_eq!(pipe.unexpected_frame_len, None);
    }
    // Each frame has five bytes; one that comes with the next does not hide it.
    for number in 0..8 {
        let mut later = at(400 + 50 * number);
        arrive(&mut pipe, later, &[4; 3]);
        later = later + MS;
        arrive(&mut pipe, later, &[4; 2]);
        assert_eq!(
            pipe.unexpected_frame_len,
            (number >= 3).then_some(5),
            "{number}"
        );
    }
    arrive(&mut pipe, at(800), &[5; 10]);
    arrive(&mut pipe, at(850), &[5; 4]);
    assert_eq!(pipe.unexpected_frame_len, Some(5));
    arrive(&mut pipe, at(900), &[6; 4]);
    assert_eq!(pipe.unexpected_frame_len, None);
}

fn source(script: &str) -> PipeSource {
    PipeSource {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        format: PixelFormat::Grey8,
        planar: false,
        stride: None,
        latency: Duration::ZERO,
    }
}

fn config(source: &PipeSource) -> CameraConfig {
    CameraConfig {
        source: Source::Pipe(source.clone()),
        width: 64,
        height: 64,
        rate: 20.0,
        timeout: Duration::from_millis(400),
        first_frame: None,
        frozen_frames: 0,
        black_frames: 0,
    }
}

fn camera(script: &str) -> PipeCamera {
    let source = source(script);
    PipeCamera::start(&source, &config(&source)).unwrap()
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

/// As gst-launch-1.0, which closes the camera's session then.
#[test]
fn the_command_is_asked_to_end_before_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (started, ended) = (folder.path().join("started"), folder.path().join("ended"));
    for (trap, ends) in [("echo > \"$1\"; exit", true), ("", false)] {
        let script = format!("trap '{trap}' INT; echo > \"$0\"; while :; do sleep 0.02; done");
        let places = [&started, &ended].map(|path| path.display().to_string());
        let [shell, option] = ["sh", "-c"].map(str::to_owned);
        let command = [vec![shell, option, script], places.to_vec()].concat();
        let source = PipeSource {
            command,
            ..source("")
        };
        let camera = PipeCamera::start(&source, &config(&source)).unwrap();
        let began = Instant::now();
        while !started.exists() && began.elapsed() < Duration::from_secs(10) {
            thread::sleep(MS);
        }
        let pid = Pid::from_raw(camera.child.id().cast_signed()).unwrap();
        drop(camera);
        assert_eq!(ended.exists(), ends);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it runs");
        std::fs::remove_file(&started).unwrap();
        let _ = std::fs::remove_file(&ended);
    }
}

#[test]
fn a_planar_frame_arrives_as_nv12_and_its_capture_time_subtracts_latency() {
    // 4096 bytes of luma, then 1024 of blue and 1024 of red chroma, written at once: a busy machine
    // takes longer to start these programs than the camera waits for the rest of a frame.
    let script = "f=$(mktemp); for part in '4096 a' '1024 b' '1024 c'; do set -- $part; head -c $1 \
                  /dev/zero | tr '\\0' $2; done > $f; cat $f; rm $f; sleep 60";
    let source = PipeSource {
        format: PixelFormat::Nv12,
        planar: true,
        stride: None,
        latency: Duration::from_secs(3),
        ..source(script)
    };
    let before = Monotonic.now();
    let mut camera = PipeCamera::start(&source, &config(&source)).unwrap();
    let mut frame = Frame::new(PixelFormat::Nv12, 64, 64).unwrap();
    camera.next(&mut frame).unwrap();
    let (luma, chroma) = frame.data().split_at(4096);
    assert!(luma.iter().all(|byte| *byte == b'a'));
    assert!(chroma.chunks(2).all(|pair| pair == b"bc"));
    let captured = frame.captured + source.latency;
    assert!(captured >= before && captured <= Monotonic.now());
}

#[test]
fn a_command_that_is_not_there_is_an_error() {
    let source = PipeSource {
        command: vec!["/nonexistent/gst-launch".to_owned()],
        ..source("")
    };
    let error = PipeCamera::start(&source, &config(&source))
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`/nonexistent/gst-launch` cannot be started")
    );
}

/// Rows of 64 pixels, padded to 68 bytes: b, then four times a.
#[test]
fn padded_rows_are_an_error_that_names_the_stride_and_fit_with_it() {
    let row = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbaaaa";
    let script = format!(
        "rows=$(for i in $(seq 64); do printf {row}; done); while printf $rows; do sleep 0.05; done"
    );
    let began = Instant::now();
    let mut camera = camera(&script);
    let mut frame = frame();
    let error = loop {
        assert!(began.elapsed() < Duration::from_secs(20), "no error");
        if let Err(error @ CameraError::Length { .. }) = camera.next(&mut frame) {
            break error.to_string();
        }
    };
    assert!(
        error.contains("writes 4352 bytes a frame") && error.contains("`camera.stride = 68`"),
        "{error}"
    );
    let source = PipeSource {
        stride: Some(68),
        ..source(&script)
    };
    let mut camera = PipeCamera::start(&source, &config(&source)).unwrap();
    let mut seen = 0;
    while seen < 5 {
        assert!(began.elapsed() < Duration::from_secs(40), "no frames");
        // A busy machine may delay the command.
        if camera.next(&mut frame).is_ok() {
            assert!(frame.data().iter().all(|byte| *byte == b'b'));
            seen += 1;
        }
    }
}
