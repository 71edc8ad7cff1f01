use pilotage_vehicle::Time;
use pilotage_vision::Frame;

use super::*;

const LIMITS: Limits = Limits {
    frozen_frames: 3,
    black_frames: 2,
};

/// The findings for pictures of these levels in order.
fn findings(limits: Limits, format: PixelFormat, levels: &[u8]) -> Vec<Option<Finding>> {
    let mut monitor = Monitor::new(limits, 0);
    let mut frame = Frame::new(format, 64, 64).unwrap();
    let levels = levels.iter().enumerate();
    levels
        .map(|(number, &level)| {
            frame.data_mut().fill(level);
            frame.sequence = number as u64;
            monitor.check(frame.view())
        })
        .collect()
}

#[test]
fn the_third_identical_frame_is_frozen() {
    use Finding::Frozen;
    let grey = PixelFormat::Grey8;
    assert_eq!(
        findings(LIMITS, grey, &[90, 90, 91, 90, 90, 90, 90, 91]),
        [
            None,
            None,
            None,
            None,
            None,
            Some(Frozen(3)),
            Some(Frozen(4)),
            None
        ]
    );
    let never = Limits {
        frozen_frames: 0,
        ..LIMITS
    };
    assert_eq!(findings(never, grey, &[90; 100]), [None; 100]);
}

#[test]
fn one_noisy_pixel_is_a_new_picture() {
    let mut monitor = Monitor::new(LIMITS, 0);
    let mut frame = Frame::new(PixelFormat::Grey8, 64, 64).unwrap();
    frame.data_mut().fill(90);
    for number in 0..20 {
        frame.sequence = number;
        frame.data_mut()[4095] = 90 + (number % 2) as u8;
        assert_eq!(monitor.check(frame.view()), None);
    }
}

#[test]
fn identical_frames_count_only_while_the_numbers_advance() {
    let mut monitor = Monitor::new(LIMITS, 0);
    let mut frame = Frame::new(PixelFormat::Grey8, 64, 64).unwrap();
    frame.data_mut().fill(90);
    frame.sequence = 7;
    for _ in 0..20 {
        assert_eq!(monitor.check(frame.view()), None);
    }
    frame.sequence = 8;
    assert_eq!(monitor.check(frame.view()), None);
    frame.sequence = 9;
    assert_eq!(monitor.check(frame.view()), Some(Finding::Frozen(3)));
}

#[test]
fn a_restart_clears_the_count() {
    let mut monitor = Monitor::new(LIMITS, 0);
    let mut frame = Frame::new(PixelFormat::Grey8, 64, 64).unwrap();
    frame.data_mut().fill(90);
    for number in 0..20 {
        frame.sequence = number;
        if number % 2 == 0 {
            monitor.restart();
        }
        assert_eq!(monitor.check(frame.view()), None);
    }
}

#[test]
fn black_is_black_in_every_format() {
    for format in [
        PixelFormat::Grey8,
        PixelFormat::Rgb8,
        PixelFormat::Bgr8,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
    ] {
        let mut monitor = Monitor::new(LIMITS, 0);
        let mut frame = Frame::new(format, 64, 64).unwrap();
        let mut show = |luma: u8, number: u64| {
            let len = frame.data().len();
            for (index, byte) in frame.data_mut().iter_mut().enumerate() {
                let chroma = match format {
                    PixelFormat::Yuyv => index % 2 == 1,
                    PixelFormat::Uyvy => index % 2 == 0,
                    PixelFormat::Nv12 => index >= len / 3 * 2,
                    _ => false,
                };
                // Sensor noise.
                *byte = if chroma {
                    128
                } else {
                    luma + (index % 3) as u8
                };
            }
            (frame.sequence, frame.captured) = (number, Time::ZERO);
            monitor.check(frame.view())
        };
        assert_eq!(show(16, 0), None, "{format:?}: one is not enough");
        assert_eq!(show(17, 1), Some(Finding::Black(2)), "{format:?}");
        assert_eq!(show(40, 2), None, "{format:?}: dim is not black");
        assert_eq!(show(16, 3), None, "{format:?}");
    }
}

#[test]
fn a_dark_picture_with_a_lamp_in_it_is_not_black() {
    let mut monitor = Monitor::new(LIMITS, 0);
    let mut frame = Frame::new(PixelFormat::Grey8, 64, 64).unwrap();
    frame.data_mut()[2000..2064].fill(200);
    for number in 0..2 {
        frame.sequence = number;
        assert_eq!(monitor.check(frame.view()), None);
    }
    // A few bright pixels still count as black.
    frame.data_mut()[2004..2064].fill(0);
    frame.sequence = 2;
    monitor.check(frame.view());
    frame.sequence = 3;
    assert_eq!(monitor.check(frame.view()), Some(Finding::Black(2)));
}

#[test]
fn a_picture_of_one_colour_or_with_every_second_column_lit_is_not_black() {
    for (width, height) in [
        (64, 64),
        (160, 120),
        (224, 224),
        (320, 240),
        (640, 480),
        (1280, 720),
    ] {
        let mut frame = Frame::new(PixelFormat::Rgb8, width, height).unwrap();
        for colour in 0..3 {
            for (index, byte) in frame.data_mut().iter_mut().enumerate() {
                *byte = if index % 3 == colour { 200 } else { 0 };
            }
            assert!(!black(frame.view()), "{width}x{height}, colour {colour}");
        }
        for odd in [0, 1] {
            let row = 3 * width as usize;
            for (index, byte) in frame.data_mut().iter_mut().enumerate() {
                *byte = if index % row / 3 % 2 == odd { 200 } else { 0 };
            }
            assert!(!black(frame.view()), "{width}x{height}, columns {odd}");
        }
    }
}

#[test]
fn waits_grow_to_a_limit_and_start_again() {
    let mut backoff = Backoff::default();
    let waits: Vec<_> = (0..7).map(|_| backoff.wait().as_millis()).collect();
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    backoff.reset();
    assert_eq!(backoff.wait(), Backoff::LEAST);
}
