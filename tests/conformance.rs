//! Conformance suites of cameras and actuators, run on those of the simulator and on each kind of
//! camera.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use pilotage::car::Car;
use pilotage::pilot::Dropped;
use pilotage::simulation::{Latency, Pace, SimulatedActuator, Simulation};
use pilotage_camera::v4l::{
    Buffers, Description, Device, Fourcc, Granted, Metadata, Mode, Rates, Sizes, V4lCamera,
};
use pilotage_camera::{
    self as camera, Camera, CameraConfig, CameraError, FolderSource, PipeSource, Source, V4lSource,
};
use pilotage_guard::conformance;
use pilotage_vehicle::{Clock, Monotonic, Time};
use pilotage_vision::{Frame, PixelFormat};

/// The conformance suite of cameras: every kind of camera runs it.
fn camera(camera: &mut dyn Camera) {
    assert!(!camera.describe().is_empty());
    assert!(camera.frame_period() > Duration::ZERO);
    let (format, width, height) = camera.format();

    let mut wrong = Frame::new(PixelFormat::Grey8, width / 2 + 1, height).unwrap();
    assert!(
        matches!(camera.next(&mut wrong), Err(CameraError::FrameSize { .. })),
        "a frame of another size is refused, and not filled in part"
    );

    let mut frame = Frame::new(format, width, height).unwrap();
    let mut before: Option<(u64, Time)> = None;
    for _ in 0..10 {
        frame.data_mut().fill(0xA5);
        camera.next(&mut frame).unwrap();
        assert_eq!((frame.format(), frame.width()), (format, width));
        let untouched = frame.data().iter().filter(|&&byte| byte == 0xA5).count();
        assert!(untouched < frame.data().len() / 2, "the frame is filled");
        if let Some((sequence, captured)) = before {
            assert!(frame.sequence > sequence, "numbers rise");
            assert!(frame.captured > captured, "and so does time");
            let periods = u32::try_from(frame.sequence - sequence).unwrap();
            let passed = frame.captured.since(captured);
            let due = camera.frame_period() * periods;
            assert!(
                passed * 2 > due && passed < due * 2,
                "{periods} frames took {passed:?}, where {due:?} are due"
            );
        }
        before = Some((frame.sequence, frame.captured));
    }
}

fn simulation(latency: Latency, drops: Dropped) -> Simulation {
    let car = Car::load_with(None, |_| ()).unwrap();
    Simulation::new(car.world().unwrap(), car.limits, Pace::Fast, latency, drops).unwrap()
}

#[test]
fn the_simulated_camera_is_a_camera() {
    let prompt = Latency::Fixed(Duration::from_millis(10));
    camera(&mut simulation(prompt, Dropped::default()).camera);
    camera(&mut simulation(prompt, Dropped::new(0.5, 3)).camera);
    camera(&mut simulation(Latency::Measured, Dropped::default()).camera);
}

/// Writes six different pictures.
fn pictures(folder: &Path) {
    for number in 0..6 {
        let picture = image::RgbImage::from_fn(32, 24, |x, y| {
            image::Rgb([40 * number + 9, x as u8 * 3, y as u8 * 7])
        });
        picture.save(folder.join(format!("{number}.png"))).unwrap();
    }
}

fn config(source: Source) -> CameraConfig {
    CameraConfig {
        source,
        width: 32,
        height: 24,
        rate: 10.0,
        timeout: Duration::from_millis(400),
        first_frame: None,
        frozen_frames: 3,
        black_frames: 3,
    }
}

#[test]
fn a_folder_of_pictures_is_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    let source = FolderSource {
        folder: folder.path().to_owned(),
        repeat: true,
    };
    camera(&mut *camera::open(&config(Source::Folder(source))).unwrap());
}

#[test]
fn a_command_that_writes_frames_is_a_camera() {
    // One frame of 32 x 24 grey pixels each tenth of a second, as accurately as a shell can.
    let script = "while :; do for c in a b c d e f; do head -c 768 /dev/zero | tr '\\0' $c; \
                  sleep 0.09; done; done";
    let source = PipeSource {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        format: PixelFormat::Grey8,
        planar: false,
        stride: None,
        latency: Duration::ZERO,
    };
    camera(&mut *camera::open(&config(Source::Pipe(source))).unwrap());
}

/// A substitute for a V4L2 device: a frame each tenth of a second, on the wall clock.
struct Ticking {
    started: Time,
    /// The number of frames taken.
    taken: u32,
    bytes: Vec<u8>,
}

impl Ticking {
    const PERIOD: Duration = Duration::from_millis(100);

    fn due(&self) -> Time {
        self.started + Self::PERIOD * (self.taken + 1)
    }
}

impl Device for Ticking {
    type Buffers = Self;

    fn formats(&self) -> io::Result<Vec<[u8; 4]>> {
        Ok(vec![*b"GREY"])
    }

    fn sizes(&self, _: [u8; 4]) -> io::Result<Vec<Sizes>> {
        Ok(vec![Sizes::One(32, 24)])
    }

    fn rates(&self, _: [u8; 4], _: u32, _: u32) -> io::Result<Vec<Rates>> {
        Ok(vec![Rates::One((1, 10))])
    }

    fn set(&mut self, mode: &Mode) -> io::Result<Granted> {
        Ok(Granted {
            format: mode.format.letters(),
            width: mode.width,
            height: mode.height,
            stride: 32,
            rate: None,
        })
    }

    fn controls(&self) -> io::Result<Vec<Description>> {
        Ok(Vec::new())
    }

    fn set_control(&mut self, _: &Description, _: i64) -> io::Result<()> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn start(self, _: u32) -> io::Result<Self> {
        Ok(self)
    }
}

impl Buffers for Ticking {
    fn count(&self) -> usize {
        4
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        std::thread::sleep(self.due().since(Monotonic.now()).min(timeout));
        Ok(Monotonic.now() >= self.due())
    }

    fn take(&mut self) -> io::Result<()> {
        self.taken += 1;
        Ok(())
    }

    fn exchange(&mut self) -> io::Result<(&[u8], Metadata)> {
        let captured = Some(self.due());
        self.bytes.fill(self.taken as u8);
        self.taken += 1;
        let metadata = Metadata {
            sequence: self.taken,
            captured,
            damaged: false,
            len: self.bytes.len(),
        };
        Ok((&self.bytes, metadata))
    }
}

#[test]
fn a_v4l2_camera_is_a_camera() {
    let source = V4lSource {
        device: "/dev/video0".into(),
        format: Some(Fourcc::Grey),
        controls: Vec::new(),
    };
    let device = Ticking {
        started: Monotonic.now(),
        taken: 0,
        bytes: vec![0; 32 * 24],
    };
    let config = config(Source::V4l(source.clone()));
    camera(&mut V4lCamera::with_device(device, Monotonic, &source, &config).unwrap());
}

#[test]
fn a_missing_camera_is_reported() {
    let missing = |source| camera::open(&config(source)).map(|_| ()).unwrap_err();
    let device = V4lSource {
        device: "/dev/nonexistent".into(),
        format: None,
        controls: Vec::new(),
    };
    let message = missing(Source::V4l(device)).to_string();
    assert!(
        message.starts_with("/dev/nonexistent cannot be opened: No such file"),
        "{message}"
    );
    let no_camera = V4lSource {
        device: "/dev/null".into(),
        format: None,
        controls: Vec::new(),
    };
    let message = missing(Source::V4l(no_camera)).to_string();
    assert!(message.contains("no formats at all"), "{message}");
}

#[test]
fn the_simulated_motors_are_an_actuator() {
    let car = Car::load_with(None, |_| ()).unwrap();
    let world = Rc::new(RefCell::new(car.world().unwrap()));
    let mut motors = SimulatedActuator::new(world);
    conformance::actuator(&mut motors, 0.0, |motors| motors.in_force());
}
