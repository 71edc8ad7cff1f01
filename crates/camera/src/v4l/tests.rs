//! The camera with scripted devices.

mod modes;
mod script;

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use script::{
    Arrival, EINVAL, MS, Script, ScriptBuffers, ScriptClock, ScriptDevice, at, config, device,
    source,
};

type ScriptCamera = V4lCamera<ScriptBuffers, ScriptClock>;

fn open(script: &Rc<RefCell<Script>>) -> (ScriptCamera, Frame) {
    let device = device(script);
    let source = source(Some(Fourcc::Grey));
    let clock = ScriptClock(Rc::clone(script));
    let camera = V4lCamera::with_device(device, clock, &source, &config()).unwrap();
    let frame = Frame::new(PixelFormat::Grey8, 16, 16).unwrap();
    (camera, frame)
}

/// Frame `sequence`, captured 4 ms before its arrival; its pixels are its number.
fn grey(sequence: u32, arrives: u64) -> Arrival {
    Arrival {
        at: at(arrives),
        metadata: Metadata {
            sequence,
            captured: Some(at(arrives - 4)),
            damaged: false,
            len: 256,
        },
        // A driver rounds up to pages.
        bytes: [vec![sequence as u8; 256], vec![0xEE; 3840]].concat(),
    }
}

fn every_50_ms(script: &Rc<RefCell<Script>>, numbers: impl IntoIterator<Item = u32>) {
    let arrivals = numbers.into_iter().map(|n| grey(n, 50 * u64::from(n + 1)));
    script.borrow_mut().arrivals.extend(arrivals);
}

#[test]
fn frames_have_continuous_numbers_and_the_kernels_capture_time() {
    let script = Script::new();
    every_50_ms(&script, 0..6);
    let (mut camera, mut frame) = open(&script);
    for number in 1..6 {
        camera.next(&mut frame).unwrap();
        assert_eq!(frame.captured, at(50 * (number + 1) - 4));
        assert_eq!(frame.data(), [number as u8; 256]);
        assert_eq!(frame.sequence, number - 1);
    }
    let counters = camera.counters();
    assert_eq!((counters.frames, counters.skipped), (5, 0));
    assert_eq!((counters.lost, counters.broken), (0, 0));
}

#[test]
fn after_a_time_out_frames_come_again() {
    let script = Script::new();
    every_50_ms(&script, (0..3).chain(20..23));
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    camera.next(&mut frame).unwrap();
    for _ in 0..3 {
        let before = script.borrow().now;
        let error = camera.next(&mut frame).unwrap_err();
        assert!(matches!(error, CameraError::NoFrame { .. }), "{error}");
        assert_eq!(script.borrow().now.since(before), MS * 125, "bounded");
    }
    while camera.next(&mut frame).is_err() {}
    assert_eq!(frame.data(), [20; 256]);
    assert_eq!(camera.counters().lost, 17);
}

#[test]
fn the_scripted_buffers_fail_like_the_crates_when_returned_twice() {
    let script = Script::new();
    every_50_ms(&script, 0..3);
    let mut buffers = device(&script).start(BUFFERS).unwrap();
    // What `v4l::io::mmap::Stream::next` does: return, wait, take.
    assert!(buffers.wait(MS * 60).unwrap());
    buffers.take().unwrap();
    let nothing_there = buffers.exchange().map(|_| ()).unwrap_err();
    assert_eq!(nothing_there.kind(), io::ErrorKind::WouldBlock);
    assert!(buffers.wait(MS * 60).unwrap());
    let for_good = buffers.exchange().map(|_| ()).unwrap_err();
    assert_eq!(for_good.raw_os_error(), Some(EINVAL));
}

#[test]
fn a_missing_first_frame_is_an_error_and_not_the_end() {
    let script = Script::new();
    every_50_ms(&script, 10..14);
    let (mut camera, mut frame) = open(&script);
    assert!(camera.next(&mut frame).is_err());
    while camera.next(&mut frame).is_err() {}
    assert_eq!(frame.data(), [11; 256]);
}

#[test]
fn the_newest_of_several_frames_is_taken() {
    let script = Script::new();
    every_50_ms(&script, 0..20);
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.data(), [1; 256]);
    // Two more frames arrived while the pilot was busy.
    script.borrow_mut().pass_to(at(210));
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.data(), [3; 256]);
    assert_eq!(script.borrow().now, at(210), "without a wait");
    assert_eq!(camera.counters().skipped, 1);
}

#[test]
fn after_a_long_stall_what_the_kernel_kept_is_too_old() {
    let script = Script::new();
    every_50_ms(&script, 0..40);
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    // The buffers hold 2 to 4; later frames are lost, and 4 is old.
    script.borrow_mut().pass_to(at(1010));
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.data(), [20; 256]);
    assert_eq!(frame.captured, at(1046));
    let counters = camera.counters();
    assert_eq!((counters.skipped, counters.lost), (3, 15));
}

#[test]
fn after_a_stall_the_available_frame_is_returned() {
    let script = Script::new();
    every_50_ms(&script, 0..5);
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    script.borrow_mut().pass_to(at(1000));
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.captured, at(246), "as old as it is");
}

#[test]
fn damaged_and_short_frames_are_skipped() {
    let script = Script::new();
    every_50_ms(&script, 0..6);
    {
        let arrivals = &mut script.borrow_mut().arrivals;
        arrivals[2].metadata.damaged = true;
        arrivals[3].metadata.len = 255;
    }
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    let error = camera.next(&mut frame).unwrap_err();
    assert!(
        error.to_string().contains("damaged or incomplete"),
        "{error}"
    );
    assert_eq!(frame.data(), [1; 256], "untouched");
    camera.next(&mut frame).unwrap();
    assert_eq!((frame.data()[0], frame.sequence), (4, 3));
    assert_eq!(camera.counters().broken, 2);
}

#[test]
fn an_unplugged_camera_is_reported() {
    let script = Script::new();
    every_50_ms(&script, 0..3);
    script.borrow_mut().gone = Some(at(120));
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    let error = camera.next(&mut frame).unwrap_err();
    assert!(matches!(error, CameraError::Gone { .. }), "{error}");
    assert!(error.to_string().starts_with("/dev/video7 is gone"));
}

#[test]
fn a_device_that_reports_ready_without_a_frame_is_waited_for() {
    let script = Script::new();
    every_50_ms(&script, 0..5);
    let (mut camera, mut frame) = open(&script);
    script.borrow_mut().spurious = 2;
    camera.next(&mut frame).unwrap();
    script.borrow_mut().spurious = 2;
    camera.next(&mut frame).unwrap();
    camera.next(&mut frame).unwrap();
    assert!(frame.data()[0] >= 3);
}

#[test]
fn without_a_kernel_time_stamp_the_arrival_is_used_and_no_time_is_in_the_future() {
    let script = Script::new();
    every_50_ms(&script, 0..4);
    script.borrow_mut().arrivals[1].metadata.captured = None;
    script.borrow_mut().arrivals[2].metadata.captured = Some(at(100_000));
    let (mut camera, mut frame) = open(&script);
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.captured, at(100));
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.captured, at(150));
}

#[test]
fn numbers_rise_when_the_kernels_wrap_or_do_not_change() {
    let script = Script::new();
    every_50_ms(&script, 0..8);
    for (arrival, number) in
        script
            .borrow_mut()
            .arrivals
            .iter_mut()
            .zip([0, u32::MAX - 1, u32::MAX, 1, 1, 0, 0, 5])
    {
        arrival.metadata.sequence = number;
    }
    let (mut camera, mut frame) = open(&script);
    let mut numbers = Vec::new();
    while camera.next(&mut frame).is_ok() {
        numbers.push(frame.sequence);
    }
    assert_eq!(numbers, [0, 1, 3, 4, 5, 6, 11]);
    assert_eq!(camera.counters().lost, 1 + 4);
}

#[test]
fn a_frame_of_another_size_is_refused() {
    let script = Script::new();
    every_50_ms(&script, 0..4);
    let (mut camera, _) = open(&script);
    let mut wrong = Frame::new(PixelFormat::Grey8, 16, 15).unwrap();
    let error = camera.next(&mut wrong).unwrap_err();
    assert!(matches!(error, CameraError::FrameSize { .. }));
}

#[test]
fn padding_between_rows_is_removed() {
    let script = Script::new();
    let device = ScriptDevice {
        formats: vec![*b"NV12"],
        stride: 20,
        ..device(&script)
    };
    let clock = ScriptClock(Rc::clone(&script));
    let mut camera = V4lCamera::with_device(device, clock, &source(None), &config()).unwrap();
    let row = |row: u8| [vec![row; 16], vec![0xEE; 4]].concat();
    let mut bytes: Vec<u8> = (0..24).flat_map(row).collect();
    bytes.truncate(24 * 20 - 4);
    let mut frames: Vec<_> = (0..3).map(|n| grey(n, 30 * u64::from(n + 1))).collect();
    frames.iter_mut().for_each(|frame| {
        frame.metadata.len = bytes.len();
        frame.bytes = bytes.clone();
    });
    frames[1].metadata.len -= 1;
    script.borrow_mut().arrivals.extend(frames);
    let mut frame = Frame::new(PixelFormat::Nv12, 16, 16).unwrap();
    camera.next(&mut frame).unwrap();
    let expected: Vec<u8> = (0..24).flat_map(|row| [row; 16]).collect();
    assert_eq!(frame.data(), expected);
    assert_eq!(camera.counters().broken, 1);
}

/// A JPEG picture of 16 rows: the left 8 columns are red, the others blue.
fn jpeg(width: u32) -> Vec<u8> {
    let pixel = |x, _| image::Rgb(if x < 8 { [250, 0, 0] } else { [0, 0, 250] });
    let picture = image::RgbImage::from_fn(width, 16, pixel);
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    picture.write_with_encoder(encoder).unwrap();
    bytes
}

/// A JPEG picture whose codes fit no longer, as after a lost packet: sixteen ones are no code. By
/// default the decoder would leave the rest of the picture grey.
fn with_wrong_codes() -> Vec<u8> {
    let mut bytes = jpeg(16);
    let scan = bytes.windows(2).position(|two| two == [0xFF, 0xDA]);
    let scan = scan.unwrap() + 16;
    let end = bytes.len() - 2;
    bytes.splice(scan..end, [0xFF, 0].repeat(40));
    bytes
}

#[test]
fn jpeg_pictures_are_decoded_and_damaged_ones_are_skipped() {
    let script = Script::new();
    let clock = ScriptClock(Rc::clone(&script));
    let mjpg = source(Some(Fourcc::Mjpg));
    let mut camera = V4lCamera::with_device(device(&script), clock, &mjpg, &config()).unwrap();
    assert_eq!(camera.format(), (PixelFormat::Rgb8, 16, 16));
    let whole = jpeg(16);
    let cut = whole[..whole.len() / 2].to_vec();
    let padded = [whole.clone(), vec![0; 700]].concat();
    let garbage = [vec![7; 100], vec![0xFF, 0xD9]].concat();
    let pictures = [whole, cut, garbage, jpeg(24), with_wrong_codes(), padded];
    let frames = pictures.into_iter().zip(0..).map(|(bytes, n)| {
        let mut frame = grey(n, 20 * u64::from(n + 1));
        frame.metadata.len = bytes.len();
        frame.bytes = bytes;
        frame
    });
    script.borrow_mut().arrivals.extend(frames);
    let mut frame = Frame::new(PixelFormat::Rgb8, 16, 16).unwrap();
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.sequence, 4);
    let (red, blue) = (&frame.data()[..3], &frame.data()[45..48]);
    assert!(red[0] > 220 && red[2] < 30, "{red:?}");
    assert!(blue[2] > 220 && blue[0] < 30, "{blue:?}");
    let counters = camera.counters();
    assert_eq!((counters.frames, counters.broken), (1, 4));
}
