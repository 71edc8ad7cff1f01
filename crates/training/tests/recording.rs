//! Tests recordings on disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure is a panic")]

use std::fs;
use std::num::NonZeroUsize;

use pilotage_dataset::DatasetError;
use pilotage_training::dataset::{Dataset, physical};
use pilotage_training::network::PICTURE;
use pilotage_training::recording::{Encoding, RecordingError, read, write};

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
    write(folder.path(), &data, 0.05, Encoding::Png).unwrap();
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
    write(folder.path(), &data, 0.05, Encoding::Jpeg(90)).unwrap();
    assert!(folder.path().join("000000.jpg").is_file());

    let mut back = Dataset::default();
    assert_eq!(read(folder.path(), &mut back).unwrap().frames, 1);
    let furthest = (back.picture(0).iter().zip(&picture))
        .map(|(&back, &was)| back.abs_diff(was))
        .max();
    assert!(furthest.unwrap() < 24, "{furthest:?}");
}

#[test]
fn thinning_keeps_every_third_picture() {
    let mut data = Dataset::default();
    for index in 0..8u8 {
        data.push(&vec![index; PICTURE], [f32::from(index), 0.5]);
    }
    let thin = data.thinned(NonZeroUsize::new(3).unwrap());
    let kept: Vec<u8> = (0..thin.len())
        .map(|index| thin.picture(index)[0])
        .collect();
    assert_eq!(kept, [0, 3, 6]);
    assert_eq!(thin.label(2), [6.0, 0.5]);
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
