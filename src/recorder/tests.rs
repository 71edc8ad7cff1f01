use std::fs;
use std::path::Path;

use pilotage_camera::Camera;
use pilotage_dataset::{Recording, read_domain};
use pilotage_vehicle::{Domain, Measurement, Measurements, Rays, Scan, Time};
use pilotage_vision::PixelFormat;

use super::folder::FolderError;
use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &tempfile::TempDir) -> Result<Folder, FolderError> {
    Folder::open(folder.path(), Encoding::Png)
}

fn frame(format: PixelFormat, value: u8) -> Frame {
    let mut frame = Frame::new(format, 16, 16).unwrap();
    frame.data_mut().fill(value);
    frame
}

#[test]
fn nothing_is_recorded_until_the_operator_drives() {
    let steered = Steered::new(false);
    assert_eq!(steered.get(), None);
    steered.set(true, -1.0, 0.2);
    assert_eq!(steered.get(), Some((-1.0, 0.2)));
    steered.set(false, -1.0, 0.2);
    assert_eq!(steered.get(), None);
    let always = Steered::new(true);
    always.set(false, -1.0, 0.2);
    assert_eq!(always.get(), Some((0.0, 0.0)), "the car is at rest");
}

#[test]
fn frames_of_each_format_become_pictures_in_their_colours() {
    for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Yuyv] {
        let tape = folder();
        let mut writer = open(&tape)
            .unwrap()
            .of((format, 16, 16), Mixer::simulated(), None)
            .unwrap();
        let mut frame = frame(format, 128);
        if format == PixelFormat::Bgr8 {
            for pixel in frame.data_mut().chunks_exact_mut(3) {
                pixel.copy_from_slice(&[10, 20, 30]);
            }
        }
        writer
            .write(frame.view(), (0.0, 0.5), Numbers::default())
            .unwrap();
        let picture = image::open(tape.path().join("000000.png"))
            .unwrap()
            .into_rgb8();
        let pixel = picture.get_pixel(3, 3).0;
        match format {
            PixelFormat::Rgb8 => assert_eq!(pixel, [128; 3]),
            PixelFormat::Bgr8 => assert_eq!(pixel, [30, 20, 10]),
            // Luma 128 of 16 to 235, no colour.
            _ => assert!(
                pixel.iter().all(|&level| level.abs_diff(130) <= 1),
                "{pixel:?}"
            ),
        }
        let list = fs::read_to_string(tape.path().join("data.csv")).unwrap();
        let row: Vec<_> = list.lines().nth(1).unwrap().split(',').collect();
        assert_eq!(row[..3], ["000000.png", "12.000000", "0.000000"]);
    }
}

#[test]
fn a_recording_is_continued_and_never_shared_or_damaged() {
    let tape = folder();
    let first = open(&tape).unwrap();
    assert!(matches!(open(&tape), Err(FolderError::Taken(_))));
    let mut writer = first
        .of((PixelFormat::Rgb8, 16, 16), Mixer::simulated(), None)
        .unwrap();
    let frame = frame(PixelFormat::Rgb8, 9);
    writer
        .write(frame.view(), (0.0, 0.0), Numbers::default())
        .unwrap();
    drop(writer);
    let list = tape.path().join("data.csv");
    let whole = fs::read_to_string(&list).unwrap();
    // Cut off by a power failure; and a picture without a row.
    fs::write(&list, whole.clone() + "000001.pn").unwrap();
    fs::write(tape.path().join("000001.png"), "").unwrap();
    let again = open(&tape).unwrap();
    assert_eq!(fs::read_to_string(&list).unwrap(), whole);
    let mut writer = again
        .of((PixelFormat::Rgb8, 16, 16), Mixer::simulated(), None)
        .unwrap();
    writer
        .write(frame.view(), (0.0, 0.0), Numbers::default())
        .unwrap();
    let text = fs::read_to_string(&list).unwrap();
    assert!(
        text.lines().nth(2).unwrap().starts_with("000002.png,"),
        "{text}"
    );
    drop(writer);
    // A camera of another size.
    let again = open(&tape).unwrap();
    let other = again.of((PixelFormat::Rgb8, 32, 16), Mixer::simulated(), None);
    let error = other.err().unwrap();
    assert!(
        error.to_string().contains("is a recording of 16x16 pixels"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&list).unwrap(), text);

    // Cut off in its first line.
    let tape = folder();
    fs::write(tape.path().join("data.csv"), "image_na").unwrap();
    open(&tape).unwrap();
    for (name, text) in [
        ("notes.txt", "mine"),
        ("000000.jpg", "of another"),
        ("data.csv", "image_name,v,w,timestamp\n"),
        ("data.csv", "image_name;"),
    ] {
        let tape = folder();
        fs::write(tape.path().join(name), text).unwrap();
        assert!(open(&tape).is_err(), "{name}");
        let kept = fs::read_to_string(tape.path().join(name)).unwrap();
        assert_eq!(kept, text);
        assert_eq!(fs::read_dir(tape.path()).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn a_recording_says_which_car_it_is_of_and_is_not_continued_with_the_other() {
    let tape = folder();
    let (simulated, physical) = (Some(Domain::Simulated), Some(Domain::Physical));
    let of = |domain| open(&tape).unwrap().of_domain(domain);
    // A recording without a frame does not count.
    drop(of(physical).unwrap());
    let writer = of(simulated).unwrap();
    let mut writer = writer
        .of((PixelFormat::Rgb8, 16, 16), Mixer::simulated(), None)
        .unwrap();
    let frame = frame(PixelFormat::Rgb8, 9);
    writer
        .write(frame.view(), (0.0, 0.0), Numbers::default())
        .unwrap();
    drop(writer);
    assert_eq!(read_domain(tape.path()).unwrap(), simulated);
    let error = of(physical).unwrap_err();
    assert!(matches!(error, FolderError::Domain { .. }), "{error}");
    assert!(of(None).is_ok() && of(simulated).is_ok());
    // Of what was recorded before nothing is known.
    let older = folder();
    let list = "image_name,v,w,timestamp,steering,throttle\n000000.png,1,0,0,0,0\n";
    fs::write(older.path().join("data.csv"), list).unwrap();
    let picture = image::RgbImage::new(16, 16);
    picture.save(older.path().join("000000.png")).unwrap();
    open(&older).unwrap().of_domain(physical).unwrap();
    assert_eq!(read_domain(older.path()).unwrap(), None);
}

#[test]
fn rows_have_what_was_measured_and_commanded_unless_an_older_version_began_them() {
    let commands = Arc::new(Commands::any());
    commands.set("left").unwrap();
    let numbers = Numbers {
        measured: Measurements::new([Some(1.5), Some(-0.25), None, Some(f32::NAN)]),
        command: commands.place(),
        scan: None,
    };
    let last_row = |tape: &tempfile::TempDir, has_numbers| {
        let folder = open(tape).unwrap();
        assert_eq!(folder.has_numbers(), has_numbers);
        let form = (PixelFormat::Rgb8, 16, 16);
        let mut writer = folder
            .of(form, Mixer::simulated(), Some(Arc::clone(&commands)))
            .unwrap();
        let frame = frame(PixelFormat::Rgb8, 9);
        writer.write(frame.view(), (0.0, 0.0), numbers).unwrap();
        let text = fs::read_to_string(tape.path().join("data.csv")).unwrap();
        text.lines().last().unwrap().to_owned()
    };
    let tape = folder();
    let row = last_row(&tape, true);
    assert!(
        row.ends_with(",0.000000,0.000000,1.500000,-0.250000,,,left,"),
        "{row}"
    );
    let recording = Recording::open(tape.path()).unwrap();
    let record = &recording.records()[0];
    assert_eq!(record.measured.get(Measurement::YawRate), Some(-0.25));
    assert_eq!(record.measured.get(Measurement::LateralAcceleration), None);
    assert_eq!(record.command.as_deref(), Some("left"));

    let older = folder();
    let list = "image_name,v,w,timestamp,steering,throttle\n000000.png,1,0,0,0,0\n";
    fs::write(older.path().join("data.csv"), list).unwrap();
    let picture = image::RgbImage::new(16, 16);
    picture.save(older.path().join("000000.png")).unwrap();
    let row = last_row(&older, false);
    assert!(
        row.ends_with(",0.000000,0.000000") && row.split(',').count() == 6,
        "{row}"
    );
}

#[test]
fn rows_name_their_scans_and_those_without_are_removed_after_a_power_cut() {
    let scan = |distance| Scan {
        rays: Rays::new(4, -90.0, 90.0).unwrap(),
        millimetres: vec![distance; 4],
    };
    let tape = folder();
    let form = (PixelFormat::Rgb8, 16, 16);
    let record = |distances: &[u16]| {
        let mut writer = open(&tape)
            .unwrap()
            .of(form, Mixer::simulated(), None)
            .unwrap();
        for &distance in distances {
            let scan = scan(distance);
            let numbers = Numbers {
                scan: Some(&scan),
                ..Numbers::default()
            };
            let frame = frame(PixelFormat::Rgb8, 9);
            writer.write(frame.view(), (0.0, 0.0), numbers).unwrap();
        }
    };
    let recorded = || -> Vec<u16> {
        let recording = Recording::open(tape.path()).unwrap();
        let records = recording.records().iter();
        records
            .map(|it| it.scan.as_ref().unwrap().millimetres[3])
            .collect()
    };
    record(&[7, 7, 8, 9]);
    assert_eq!(recorded(), [7, 7, 8, 9]);
    // The last scan and a part of the one before are lost.
    let path = tape.path().join("scans.bin");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    record(&[5]);
    assert_eq!(recorded(), [7, 7, 5]);
}

#[test]
fn nothing_is_left_of_a_recording_without_a_frame() {
    let tape = folder();
    let new = tape.path().join("monday");
    let open = |path: &Path| Folder::open(path, Encoding::Png).unwrap();
    drop(open(&new).of_domain(Some(Domain::Physical)).unwrap());
    assert!(!new.exists());
    // A folder that was there stays.
    drop(open(tape.path()).of_domain(Some(Domain::Physical)).unwrap());
    assert_eq!(fs::read_dir(tape.path()).unwrap().count(), 0);
}

#[test]
fn numbers_that_would_run_out_are_refused() {
    let tape = folder();
    drop(open(&tape).unwrap());
    let last = tape.path().join(format!("{}.png", u64::MAX));
    fs::write(&last, "of another").unwrap();
    assert!(matches!(open(&tape), Err(FolderError::Foreign(_))));
    assert_eq!(fs::read(&last).unwrap(), b"of another");
}

#[test]
fn last_rows_without_a_whole_picture_are_removed() {
    let tape = folder();
    let mut writer = open(&tape)
        .unwrap()
        .of((PixelFormat::Rgb8, 16, 16), Mixer::simulated(), None)
        .unwrap();
    for value in 0..6 {
        let frame = frame(PixelFormat::Rgb8, value);
        writer
            .write(frame.view(), (0.0, 0.0), Numbers::default())
            .unwrap();
    }
    drop(writer);
    // What a power cut leaves of pictures that were not yet on the disk.
    let place = |index: usize| tape.path().join(format!("{index:06}.png"));
    let cut = fs::read(place(3)).unwrap();
    fs::write(place(3), &cut[..cut.len() / 2]).unwrap();
    fs::write(place(4), "").unwrap();
    fs::remove_file(place(5)).unwrap();
    drop(open(&tape).unwrap());
    let list = fs::read_to_string(tape.path().join("data.csv")).unwrap();
    let names: Vec<_> = list.lines().skip(1).map(|row| &row[..10]).collect();
    assert_eq!(names, ["000000.png", "000001.png", "000002.png"]);
}

/// 256 MiB, beyond which rows were once lost. The file is sparse but for its ends.
#[test]
fn a_long_recording_is_continued_without_a_loss() {
    use std::io::{Seek, SeekFrom, Write};

    let tape = folder();
    let mut writer = open(&tape)
        .unwrap()
        .of((PixelFormat::Rgb8, 16, 16), Mixer::simulated(), None)
        .unwrap();
    let frame = frame(PixelFormat::Rgb8, 1);
    writer
        .write(frame.view(), (0.0, 0.0), Numbers::default())
        .unwrap();
    drop(writer);
    let path = tape.path().join("data.csv");
    let mut list = fs::OpenOptions::new().write(true).open(&path).unwrap();
    list.seek(SeekFrom::Start(300 << 20)).unwrap();
    let rows = "\n000000.png,1,0,3,0,0\n000000.png,1,0,4,0,0\n";
    list.write_all(rows.as_bytes()).unwrap();
    list.write_all(b"000001.pn").unwrap();
    drop(list);
    drop(open(&tape).unwrap());
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(length, (300 << 20) + rows.len() as u64);
}

/// A camera that never waits, and sometimes fails.
struct Fast {
    next: u64,
    frames: u64,
}

impl Camera for Fast {
    fn describe(&self) -> String {
        "fast".to_owned()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        (PixelFormat::Rgb8, 320, 240)
    }

    fn frame_period(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        self.next += 1;
        if self.next > self.frames {
            return Err(CameraError::Ended {
                folder: PathBuf::new(),
                pictures: self.frames as usize,
            });
        }
        if self.next % 100 == 50 {
            let reason = "unplugged".to_owned();
            return Err(CameraError::Reopening { reason });
        }
        frame.sequence = self.next;
        frame.captured = Time::from_nanos(self.next);
        // Noise, which does not compress well.
        let mut noise = self.next as u32;
        for byte in frame.data_mut() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (noise >> 24) as u8;
        }
        Ok(())
    }
}

#[test]
fn a_disk_too_slow_costs_frames_that_are_counted() {
    let tape = folder();
    let camera = Box::new(Fast {
        next: 0,
        frames: 400,
    });
    let steered = Arc::new(Steered::new(false));
    steered.set(true, 0.5, 0.1);
    let mixer = Mixer::simulated();
    let taker = FrameTaker::start(
        camera,
        open(&tape).unwrap(),
        mixer,
        (None, None),
        steered,
        |_| (),
    )
    .unwrap();
    while !taker.ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let report = taker.finish();
    let counts = report.counts;
    assert_eq!(report.folder, tape.path());
    assert_eq!(counts.written + counts.dropped, 396, "{counts:?}");
    assert!(counts.written >= BUFFERS as u64, "{counts:?}");
    assert!(counts.dropped > 0, "{counts:?}");
    let list = fs::read_to_string(tape.path().join("data.csv")).unwrap();
    assert_eq!(list.lines().count() as u64, 1 + counts.written);
    assert_eq!(
        fs::read_dir(tape.path()).unwrap().count() as u64,
        1 + counts.written
    );
}

/// A lidar that sees a wall.
struct Wall;

impl Sensors for Wall {
    fn describe(&self) -> String {
        "wall".to_owned()
    }

    fn measures(&self, _: Measurement) -> bool {
        false
    }

    fn read(&mut self) -> (Measurements, Duration) {
        Default::default()
    }

    fn scan(&mut self, scan: &mut Scan) -> Duration {
        scan.rays = Rays::new(2, -1.0, 1.0).unwrap();
        scan.millimetres.clear();
        scan.millimetres.extend([700, 700]);
        Duration::ZERO
    }
}

/// A camera that waits until it is released.
struct Held(Fast, Arc<AtomicBool>);

impl Camera for Held {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn format(&self) -> (PixelFormat, u32, u32) {
        self.0.format()
    }

    fn frame_period(&self) -> Duration {
        self.0.frame_period()
    }

    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError> {
        while !self.1.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.next(frame)
    }
}

#[test]
fn no_more_frames_are_written_than_are_wanted() {
    let tape = folder();
    let released = Arc::new(AtomicBool::new(false));
    let fast = Fast {
        next: 0,
        frames: 400,
    };
    let camera = Box::new(Held(fast, Arc::clone(&released)));
    let steered = Arc::new(Steered::new(false));
    steered.set(true, 0.5, 0.1);
    let (folder, mixer) = (open(&tape).unwrap(), Mixer::simulated());
    let numbers = (None, Some(Box::new(Wall) as Box<dyn Sensors + Send>));
    let taker = FrameTaker::start(camera, folder, mixer, numbers, steered, |_| ()).unwrap();
    let taker = taker.keep(Some(3));
    released.store(true, Ordering::Release);
    while !taker.ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let counts = taker.finish().counts;
    assert_eq!((counts.written, counts.failed), (3, 0), "{counts:?}");
    let list = fs::read_to_string(tape.path().join("data.csv")).unwrap();
    assert_eq!(list.lines().count() as u64, 1 + counts.written);
    for record in Recording::open(tape.path()).unwrap().records() {
        assert_eq!(record.scan.as_ref().unwrap().millimetres, [700, 700]);
    }
}
