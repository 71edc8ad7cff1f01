//! Tests recordings on disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::num::NonZeroUsize;

use pilotage_dataset::{DatasetError, Recording};
use pilotage_training::dataset::{Dataset, Place, physical};
use pilotage_training::network::PICTURE;
use pilotage_training::recording::{Encoding, RecordingError, read, write};
use pilotage_vehicle::{Domain, Measurement, Measurements};

fn folder_with(csv: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.csv"), csv).unwrap();
    folder
}

#[test]
fn a_data_set_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Dataset::default();
    for index in 0..3usize {
        let picture: Vec<u8> = (0..PICTURE)
            .map(|i| (i * (index + 3) % 251) as u8)
            .collect();
        data.push(&picture, [0.1 * index as f32, 0.5 - 0.1 * index as f32]);
    }
    write(folder.path(), &data, Encoding::Png, None).unwrap();
    let csv = fs::read_to_string(folder.path().join("data.csv")).unwrap();
    assert!(
        csv.starts_with("image_name,v,w,timestamp\n000000.png,6.5,0,0.000\n"),
        "{csv}"
    );

    let mut back = Dataset::default();
    assert_eq!(read(folder.path(), &mut back).unwrap().frames, 3);
    assert_eq!(back.pictures(), data.pictures());
    for index in 0..3 {
        let (expected, got) = (physical(data.label(index)), physical(back.label(index)));
        assert!((expected.0 - got.0).abs() < 1e-5 && (expected.1 - got.1).abs() < 1e-5);
    }
}

/// Neighbouring pixels of red and blue: with halved colour resolution, both would become purple.
#[test]
fn jpeg_keeps_the_colours_of_single_columns() {
    let folder = tempfile::tempdir().unwrap();
    let picture: Vec<u8> = (0..PICTURE / 3)
        .flat_map(|pixel| [[200, 40, 40], [40, 40, 200]][pixel % 2])
        .collect();
    let mut data = Dataset::default();
    data.push(&picture, [0.2, 0.5]);
    write(folder.path(), &data, Encoding::Jpeg(90), None).unwrap();
    assert!(folder.path().join("000000.jpg").is_file());

    let mut back = Dataset::default();
    assert_eq!(read(folder.path(), &mut back).unwrap().frames, 1);
    let furthest = (back.picture(0).iter().zip(&picture))
        .map(|(&back, &was)| back.abs_diff(was))
        .max();
    assert!(furthest.unwrap() < 24, "{furthest:?}");
}

/// Many cars drive at once, but a recording has one drive after another, with a pause between.
#[test]
fn drives_are_written_one_after_another() {
    let mut data = Dataset::default();
    for frame in 0..5 {
        for drive in [7, 8] {
            // The second drive loses a frame.
            if (drive, frame) != (8, 2) {
                let level = (10 * (drive - 7) + frame) as u8;
                let place = Place {
                    drive,
                    frame: frame as usize,
                };
                let label = [f32::from(level), 0.5];
                let measured = Measurements::default();
                data.push_at(place, &vec![level; PICTURE], label, measured);
            }
        }
    }
    let levels = |every: usize| -> Vec<u8> {
        let kept = data.by_drive(NonZeroUsize::new(every).unwrap());
        (0..kept.len())
            .map(|index| kept.picture(index)[0])
            .collect()
    };
    assert_eq!(levels(1), [0, 1, 2, 3, 4, 10, 11, 13, 14]);
    assert_eq!(levels(3), [0, 3, 11]);

    let folder = tempfile::tempdir().unwrap();
    let whole = data.by_drive(NonZeroUsize::MIN);
    write(folder.path(), &whole, Encoding::Jpeg(90), None).unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    assert_eq!(recording.domain(), Some(Domain::Simulated));
    let times: Vec<f64> = (recording.records().iter())
        .filter_map(|record| record.time)
        .collect();
    let expected = [0.0, 0.05, 0.1, 0.15, 0.2, 10.2, 10.25, 10.35, 10.4];
    assert_eq!(times, expected);
}

/// What sensors measured has a column where every picture has it, and so has a command.
#[test]
fn measured_numbers_are_read_back_as_they_were_written() {
    let measured = |number: f32| {
        let mut measured = Measurements::default();
        measured.set(Measurement::Speed, Some(number));
        measured.set(Measurement::YawRate, Some(-0.1 * number));
        measured
    };
    let mut data = Dataset::default();
    for frame in 0..3usize {
        let mut measured = measured(1.1 * frame as f32);
        let acceleration = (frame > 0).then_some(4.0);
        measured.set(Measurement::Acceleration, acceleration);
        let place = Place { drive: 1, frame };
        data.push_at(place, &vec![0; PICTURE], [0.5; 2], measured);
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &data, Encoding::Png, Some("left")).unwrap();
    let csv = fs::read_to_string(folder.path().join("data.csv")).unwrap();
    let header = "image_name,v,w,timestamp,measured_speed,measured_yaw_rate,command\n";
    assert!(csv.starts_with(header), "{csv}");
    let recording = Recording::open(folder.path()).unwrap();
    let mut records = recording.records().iter();
    assert!(records.all(|record| record.command.as_deref() == Some("left")));
    let mut back = Dataset::default();
    read(folder.path(), &mut back).unwrap();
    for frame in 0..3 {
        assert_eq!(back.measured(frame), measured(1.1 * frame as f32));
    }
    assert!(back.has(Measurement::Speed) && !back.has(Measurement::Acceleration));
}

#[test]
fn runs_are_consecutive_pictures_of_the_latest() {
    let mut data = Dataset::default();
    for frame in 0..60usize {
        for drive in [2, 1] {
            let place = Place { drive, frame };
            data.push_at(place, &vec![0; PICTURE], [0.5; 2], Measurements::default());
        }
    }
    let places = |latest, count, run| -> Vec<(u64, usize)> {
        let kept = data.runs(latest, count, NonZeroUsize::new(run).unwrap());
        let places = (0..kept.len()).map(|index| kept.place(index));
        places.map(|place| (place.drive, place.frame)).collect()
    };
    // Of the drives' last 10 frames, one of every 5 pictures.
    assert_eq!(places(20, 4, 1), [(1, 50), (1, 55), (2, 50), (2, 55)]);
    assert_eq!(places(20, 8, 2).len(), 10);
    assert_eq!(places(20, 4, 2), [(1, 50), (1, 51), (2, 50), (2, 51)]);
    assert_eq!(places(500, 1000, 1).len(), 120);
}

/// A camera's frame: the lower half is resized, and the upper half is not used.
#[test]
fn whole_frames_are_cropped_and_resized() {
    let folder = folder_with("image_name,v,w,timestamp\nframe.png,6.5,0.0,0\n");
    let frame = image::RgbImage::from_fn(640, 480, |_, y| {
        image::Rgb(if y < 240 {
            [255, 0, 255]
        } else {
            [10, 200, 30]
        })
    });
    frame.save(folder.path().join("frame.png")).unwrap();
    let mut data = Dataset::default();
    read(folder.path(), &mut data).unwrap();
    assert!(
        data.picture(0)
            .chunks(3)
            .all(|pixel| pixel == [10, 200, 30])
    );
    assert!((data.label(0)[0]).abs() < 1e-6 && (data.label(0)[1] - 0.5).abs() < 1e-6);
}

#[test]
fn errors_state_file_and_line() {
    let bad = |csv: &str| {
        let error = read(folder_with(csv).path(), &mut Dataset::default()).unwrap_err();
        error.to_string()
    };
    let header = "image_name,v,w,timestamp\n";
    assert!(bad("name,speed\n").contains("no column `image_name`"));
    for line in [
        "a.png",
        "a.png,fast,0,0",
        "a.png,1,NaN,0",
        ",1,1,0",
        "../a.png,1,1,0",
    ] {
        let error = bad(&format!("{header}\n{line}\n"));
        assert!(error.contains("data.csv, line 3"), "{line}: {error}");
    }
    let missing = bad(&format!("{header}none.png,1,0,0\n"));
    assert!(missing.contains("none.png does not exist"), "{missing}");
    let unlabelled = bad("image_name,v\na.png,1\n");
    assert!(
        unlabelled.contains("the record of a.png has no w"),
        "{unlabelled}"
    );
    let nothing = tempfile::tempdir().unwrap();
    let error = read(nothing.path(), &mut Dataset::default()).unwrap_err();
    assert!(error.to_string().contains("data.csv"), "{error}");
}

#[test]
fn a_broken_image_is_an_error() {
    let folder = folder_with("image_name,v,w,timestamp\na.png,1,0,0\n");
    fs::write(folder.path().join("a.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    let error = read(folder.path(), &mut Dataset::default()).unwrap_err();
    let RecordingError::Recording(DatasetError::BadPictures(bad)) = error else {
        panic!("{error}");
    };
    assert_eq!((bad.bad.len(), bad.of), (1, 1));
}
