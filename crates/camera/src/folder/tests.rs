use std::fs;
use std::path::Path;

use super::*;
use crate::config::Source;

fn config(folder: &Path, repeat: bool) -> (FolderSource, CameraConfig) {
    let source = FolderSource {
        folder: folder.to_owned(),
        repeat,
    };
    let config = CameraConfig {
        source: Source::Folder(source.clone()),
        width: 32,
        height: 16,
        rate: 50.0,
        timeout: Duration::from_millis(100),
        first_frame: None,
        frozen_frames: 0,
        black_frames: 0,
    };
    (source, config)
}

fn picture(folder: &Path, name: &str, level: u8, width: u32) {
    let picture = image::RgbImage::from_pixel(width, 16, image::Rgb([level; 3]));
    picture.save(folder.join(name)).unwrap();
}

fn frame() -> Frame {
    Frame::new(PixelFormat::Rgb8, 32, 16).unwrap()
}

#[test]
fn pictures_are_shown_once_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [("10.png", 2), ("9.png", 1), ("c.JPG", 30)] {
        picture(folder.path(), name, level, 32);
    }
    are_shown_once(folder.path());
}

#[test]
fn a_recording_is_shown_in_the_order_of_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [("b.png", 1), ("a.png", 2), ("c.JPG", 30), ("d.png", 40)] {
        picture(folder.path(), name, level, 32);
    }
    let list = "image_name,v\nb.png,1\na.png,1\nc.JPG,1\n";
    fs::write(folder.path().join("data.csv"), list).unwrap();
    are_shown_once(folder.path());
}

/// Checks that pictures of the levels 1, 2 and 30 are shown, and no others.
fn are_shown_once(folder: &Path) {
    let (source, config) = config(folder, false);
    let mut camera = FolderCamera::open(&source, &config).unwrap();
    let mut frame = frame();
    let mut seen = Vec::new();
    let error = loop {
        match camera.next(&mut frame) {
            Ok(()) => seen.push((frame.sequence, frame.data()[0])),
            Err(error) => break error,
        }
    };
    // A busy machine may skip pictures, but counts them.
    let all = [(0, 1), (1, 2), (2, 30)];
    assert!(seen.iter().all(|frame| all.contains(frame)), "{seen:?}");
    assert_eq!(seen[0], all[0]);
    assert!(
        matches!(error, CameraError::Ended { pictures: 3, .. }),
        "{error}"
    );
}

#[test]
fn pictures_repeat_if_configured() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", 1, 32);
    picture(folder.path(), "b.png", 2, 32);
    let (source, config) = config(folder.path(), true);
    let mut camera = FolderCamera::open(&source, &config).unwrap();
    let mut frame = frame();
    for _ in 0..5 {
        camera.next(&mut frame).unwrap();
        let expected = [1, 2][frame.sequence as usize % 2];
        assert_eq!(frame.data()[0], expected);
    }
}

#[test]
fn unusable_pictures_are_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (source, config) = config(folder.path(), false);
    let message = |camera: Result<FolderCamera, CameraError>| match camera {
        Ok(mut camera) => camera.next(&mut frame()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let none = message(FolderCamera::open(&source, &config));
    assert!(
        none.contains("no pictures (.png, .jpg, .jpeg) there"),
        "{none}"
    );

    picture(folder.path(), "wide.png", 1, 30);
    let wide = message(FolderCamera::open(&source, &config));
    assert!(wide.ends_with("is 30x16 pixels, but `camera.width` and `camera.height` say 32x16"));

    fs::write(folder.path().join("a.png"), "no picture").unwrap();
    let garbage = message(FolderCamera::open(&source, &config));
    assert!(garbage.contains("a.png: "), "{garbage}");

    let nowhere = FolderSource {
        folder: folder.path().join("nowhere"),
        ..source
    };
    let nowhere = message(FolderCamera::open(&nowhere, &config));
    assert!(nowhere.contains("nowhere: No such file"), "{nowhere}");
}
