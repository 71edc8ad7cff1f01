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
    assert!(
        wide.contains("1 of 1 pictures have another size")
            && wide.contains("32x16; the first is wide.png, 30x16"),
        "{wide}"
    );

    fs::write(folder.path().join("a.png"), "no picture").unwrap();
    let garbage = message(FolderCamera::open(&source, &config));
    assert!(
        garbage.contains("1 of 2 pictures cannot be used, more than 5 %: a.png is neither"),
        "{garbage}"
    );

    let nowhere = FolderSource {
        folder: folder.path().join("nowhere"),
        ..source
    };
    let nowhere = message(FolderCamera::open(&nowhere, &config));
    assert!(nowhere.contains("nowhere: No such file"), "{nowhere}");
}

#[test]
fn few_unusable_pictures_are_passed_over_and_many_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut list = "image_name,v\n".to_owned();
    for index in 0..60 {
        let name = format!("{index:02}.png");
        list += &format!("{name},1\n");
        match index {
            0 => fs::write(folder.path().join(name), "").unwrap(),
            1 => {}
            2 => picture(folder.path(), &name, 1, 30),
            _ => picture(folder.path(), &name, 1, 32),
        }
    }
    fs::write(folder.path().join("data.csv"), list).unwrap();
    let (source, mut config) = config(folder.path(), true);
    config.rate = 200.0;
    let mut camera = FolderCamera::open(&source, &config).unwrap();
    camera.check().unwrap();
    let mut frame = frame();
    camera.next(&mut frame).unwrap();
    assert_eq!(frame.sequence, 3);
    assert_eq!(camera.counters().broken, 3);

    for name in ["03.png", "04.png"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let camera = FolderCamera::open(&source, &config).unwrap();
    let many = camera.check().unwrap_err().to_string();
    assert!(
        many.contains("4 of 60 pictures cannot be used, more than 5 %: 00.png is empty")
            && many.contains("`pilotage data clean`"),
        "{many}"
    );
}
