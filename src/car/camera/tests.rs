use std::fs;

use pilotage_vision::PixelFormat;

use super::*;
use crate::car::Car;

fn refused(text: &str) -> String {
    Car::from_toml("car.toml", text).unwrap_err().to_string()
}

fn accepted(text: &str) -> Car {
    Car::from_toml("car.toml", text).unwrap()
}

#[test]
fn each_kind_of_camera_is_configured_as_written() {
    let capture = |text: &str| {
        let text = format!("[actuator]\nkind = \"dry-run\"\n[camera]\n{text}");
        let car = accepted(&text);
        // The default name is the simulated car's.
        assert_eq!(car.name, "car without a name");
        car.capture.unwrap()
    };
    assert_eq!(accepted("").capture, None);

    let v4l = capture(
        "kind = \"v4l\"\ndevice = \"/dev/video1\"\nformat = \"YUYV\"\nwidth = 320\n\
         height = 240\nrate = 60\ntimeout_ms = 80\nfrozen_frames = 0\nblack_frames = 7\n\
         [camera.controls]\nauto_exposure = 1\nwhite_balance_automatic = false\n\
         0x009a0902 = 157",
    );
    let controls = [
        ("0x009a0902", 157),
        ("auto_exposure", 1),
        ("white_balance_automatic", 0),
    ];
    let expected = CameraConfig {
        source: camera::Source::V4l(V4lSource {
            device: "/dev/video1".into(),
            format: Some(Fourcc::Yuyv),
            controls: controls
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        }),
        width: 320,
        height: 240,
        rate: 60.0,
        timeout: Duration::from_millis(80),
        first_frame: None,
        frozen_frames: 0,
        black_frames: 7,
    };
    assert_eq!(v4l, expected);

    let pipe = capture("kind = \"pipe\"\nformat = \"NV12\"\ncommand = [\"cat\", \"frames\"]");
    let expected = camera::Source::Pipe(PipeSource {
        command: vec!["cat".to_owned(), "frames".to_owned()],
        format: PixelFormat::Nv12,
        planar: false,
        stride: None,
        latency: Duration::ZERO,
    });
    assert_eq!(pipe.source, expected);
    let planar =
        capture("kind = \"pipe\"\nformat = \"I420\"\ncommand = [\"rpicam-vid\"]\nlatency_ms = 80");
    let expected = camera::Source::Pipe(PipeSource {
        command: vec!["rpicam-vid".to_owned()],
        format: PixelFormat::Nv12,
        planar: true,
        stride: None,
        latency: Duration::from_millis(80),
    });
    assert_eq!(planar.source, expected);
    // Shorter than the guard's deadline of three periods.
    assert_eq!(pipe.timeout, Duration::from_millis(125));
    assert_eq!((pipe.frozen_frames, pipe.black_frames), (20, 20));
    let quick = capture("kind = \"v4l\"\ndevice = \"/dev/video0\"\nrate = 100");
    assert_eq!(quick.timeout, Duration::from_millis(100));
    assert_eq!(quick.frozen_frames, 100);
    let slow = capture("kind = \"v4l\"\ndevice = \"/dev/video0\"\nrate = 2");
    assert_eq!(slow.frozen_frames, 10);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("car.toml");
    fs::write(
        &file,
        "[camera]\nkind = \"folder\"\nfolder = \"seen\"\nrepeat = true\n\
         [actuator]\nkind = \"dry-run\"",
    )
    .unwrap();
    let expected = camera::Source::Folder(FolderSource {
        folder: folder.path().join("seen"),
        repeat: true,
    });
    assert_eq!(Car::load(&file).unwrap().capture.unwrap().source, expected);
}

#[test]
fn an_invalid_camera_is_refused_with_its_line() {
    for (text, line, expected) in [
        (
            "kind = \"v4\"",
            2,
            "camera.kind`: there is no `v4`: did you mean `v4l`?",
        ),
        ("kind = \"v4l\"", 1, "camera.device`: must name the camera"),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\nformat = \"H264\"",
            4,
            "camera.format`: there is no format `H264`: name one of YUYV,",
        ),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\nformat = \"YUYV\"\nwidth = 321",
            4,
            "camera.format`: a Yuyv frame of 321 x 480 pixels",
        ),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\ncommand = [\"cat\"]",
            4,
            "camera.command`: is for a camera of kind `pipe`, and this one is `v4l`",
        ),
        (
            "kind = \"folder\"\nfolder = \"it\"\ndevice = \"/dev/video0\"\nformat = \"YUYV\"",
            4,
            "camera.device`: is for a camera of kind `v4l`, and this one is `folder`; remove it, and \
             `format`, too",
        ),
        (
            "format = \"YUYV\"",
            2,
            "camera.format`: is for a camera of kind `v4l` or `pipe`, and this one is `simulator`",
        ),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\n[camera.controls]\ngain = 1.5",
            5,
            "camera.controls.gain`: a control's value is a whole number, or true or false",
        ),
        (
            "kind = \"pipe\"\nformat = \"GREY\"",
            1,
            "camera.command`: must be a program",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]",
            1,
            "camera.format`: must name one of",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]\nformat = \"NV21\"",
            4,
            "camera.format`: there is no format `NV21`: did you mean `NV12`?",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]\nformat = \"RGB3\"\nstride = 1919",
            5,
            "camera.stride`: must be 1920 (the bytes of a row without padding) to 6016, not 1919",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]\nformat = \"I420\"\nstride = 641",
            5,
            "camera.stride`: must be 640 (the bytes of a row without padding) to 4736, and even",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"sh\", \"-c\", \"exec gst-launch-1.0 x\"]\n\
             format = \"RGB3\"\nwidth = 322",
            5,
            "camera.width`: is 322, so a row has 966 bytes, and GStreamer pads rows to a multiple of \
             4: set `stride = 968`",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"gst-launch-1.0\"]\nformat = \"I420\"\nwidth = 324",
            5,
            "camera.width`: is 324, and GStreamer pads the rows of I420",
        ),
        (
            "kind = \"folder\"\nfolder = \"a\"\nfirst_frame_ms = 500",
            4,
            "camera.first_frame_ms`: is for a camera of kind `v4l` or `pipe`, and this one is \
             `folder`",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]\nformat = \"GREY\"\nfirst_frame_ms = 50",
            5,
            "camera.first_frame_ms`: must be from 100 to 120000, and is 50",
        ),
        (
            "kind = \"pipe\"\ncommand = [\"cat\"]\nformat = \"MJPG\"",
            4,
            "camera.format`: cannot be MJPG in a pipe",
        ),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\nformat = \"I420\"",
            4,
            "camera.format`: there is no format `I420`",
        ),
        (
            "kind = \"v4l\"\ndevice = \"/dev/video0\"\nlatency_ms = 80",
            4,
            "camera.latency_ms`: is for a camera of kind `pipe`, and this one is `v4l`",
        ),
        (
            "kind = \"pipe\"\nformat = \"I420\"\ncommand = [\"cat\"]\nlatency_ms = -1",
            5,
            "camera.latency_ms`: must be from 0 to 1000, and is -1",
        ),
        (
            "kind = \"folder\"",
            1,
            "camera.folder`: must name the folder",
        ),
        (
            "kind = \"folder\"\nfolder = \"a\"\ntimeout_ms = 1",
            4,
            "camera.timeout_ms`: must be from 10 to 10000, and is 1",
        ),
        (
            "kind = \"folder\"\nfolder = \"a\"\nfrozen_frames = 1",
            4,
            "camera.frozen_frames`: must be 0, or at least 2",
        ),
    ] {
        let expected = format!("car.toml:{line}: `{expected}");
        let message = refused(&format!("[camera]\n{text}"));
        assert!(
            message.starts_with(&expected),
            "{text}\n{message}\n{expected}"
        );
    }
}
