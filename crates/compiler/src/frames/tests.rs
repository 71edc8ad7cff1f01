use std::fs;

use image::RgbImage;
use pilotage_vision::{Crop, Layout};
use tempfile::TempDir;

use super::*;

const CROP: Crop = Crop {
    x: 0,
    y: 12,
    width: 32,
    height: 12,
};

fn input() -> Preprocess {
    Preprocess {
        crop: Some(CROP),
        layout: Layout::Nchw,
        ..Preprocess::new(8, 4)
    }
}

/// An image of one colour, except for the red of its lower left pixel.
fn picture(path: &Path, width: u32, height: u32, level: u8) {
    let mut picture = RgbImage::from_pixel(width, height, image::Rgb([level, 20, 30]));
    picture.put_pixel(0, height - 1, image::Rgb([255, 20, 30]));
    picture.save(path).unwrap();
}

fn error(folder: &TempDir) -> String {
    let message = Frames::read(folder.path(), &input())
        .unwrap_err()
        .to_string();
    message.replace(&format!("{}", folder.path().display()), "FRAMES")
}

#[test]
fn camera_frames_are_cropped_and_input_sized_images_are_not() {
    let folder = TempDir::new().unwrap();
    picture(&folder.path().join("1.png"), 32, 24, 10);
    picture(&folder.path().join("2.PNG"), 8, 4, 11);
    fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();
    let frames = Frames::read(folder.path(), &input()).unwrap();
    assert_eq!(frames.pixels.len(), 2);
    // Interleaved for every layout of the recipe. The marked pixel is in the lower left corner.
    assert_eq!(frames.pixels[1][..3], [11, 20, 30]);
    assert_eq!(frames.pixels[1][3 * 8 * 3..][..3], [255, 20, 30]);
    let camera = &frames.pixels[0];
    assert_eq!(camera.len(), 8 * 4 * 3);
    assert_eq!(camera[..3], [10, 20, 30]);
    assert!(camera[3 * 8 * 3] > 10, "the marked pixel lies in the crop");
    // The camera's frames are larger than the second picture.
    assert_eq!(frames.size, None);
    picture(&folder.path().join("2.PNG"), 32, 24, 11);
    let size = FrameSize {
        width: 32,
        height: 24,
    };
    let frames = Frames::read(folder.path(), &input()).unwrap();
    assert_eq!(frames.size, Some(size));
}

#[test]
fn data_csv_selects_and_orders_the_images() {
    let folder = TempDir::new().unwrap();
    for (name, level) in [("a.png", 1), ("b.png", 2), ("c.png", 3)] {
        picture(&folder.path().join(name), 8, 4, level);
    }
    let list = "image_name,v,w,timestamp\nc.png,1,2,3\n\na.png,4,5,6\n";
    fs::write(folder.path().join("data.csv"), list).unwrap();
    let frames = Frames::read(folder.path(), &input()).unwrap();
    let firsts: Vec<u8> = frames.pixels.iter().map(|frame| frame[0]).collect();
    assert_eq!(firsts, [3, 1]);

    fs::write(folder.path().join("data.csv"), "name,v\na.png,1\n").unwrap();
    assert!(
        error(&folder).starts_with("FRAMES/data.csv, line 1: no column `image_name`"),
        "{}",
        error(&folder)
    );
    let list = "image_name,v\na.png,1\nlost.png,1\n";
    fs::write(folder.path().join("data.csv"), list).unwrap();
    assert!(
        error(&folder).contains("1 of 2 pictures cannot be used, more than 5 %: lost.png does"),
        "{}",
        error(&folder)
    );
}

#[test]
fn a_few_bad_pictures_are_passed_over_with_a_note() {
    let folder = TempDir::new().unwrap();
    for index in 0..20 {
        picture(&folder.path().join(format!("{index}.png")), 8, 4, index);
    }
    fs::write(folder.path().join("9.png"), "").unwrap();
    let frames = Frames::read(folder.path(), &input()).unwrap();
    let firsts: Vec<u8> = frames.pixels.iter().map(|frame| frame[0]).collect();
    // In natural order.
    let expected: Vec<u8> = (0..20).filter(|&level| level != 9).collect();
    assert_eq!(firsts, expected);
    let [note] = &frames.notes[..] else {
        panic!("{:?}", frames.notes);
    };
    assert!(
        note.contains("1 of 20 pictures cannot be used and are passed over"),
        "{note}"
    );
}

#[test]
fn of_many_pictures_a_thousand_are_chosen_evenly() {
    let folder = TempDir::new().unwrap();
    let mut list = "image_name\n".to_owned();
    for level in 0..100 {
        picture(&folder.path().join(format!("{level}.png")), 8, 4, level);
    }
    for row in 0..5000 {
        list += &format!("{}.png\n", row / 50);
    }
    fs::write(folder.path().join("data.csv"), list).unwrap();
    let frames = Frames::read(folder.path(), &input()).unwrap();
    assert_eq!(frames.pixels.len(), 1000);
    for (index, frame) in frames.pixels.iter().enumerate() {
        assert_eq!(usize::from(frame[0]), index / 10);
    }
    assert!(
        frames.notes[0].contains("1000 of 5000 pictures are used, evenly chosen (`max_frames`"),
        "{:?}",
        frames.notes
    );
}

#[test]
fn unusable_folders_are_errors_with_the_reason() {
    let folder = TempDir::new().unwrap();
    assert!(error(&folder).starts_with("FRAMES: no pictures"));
    picture(&folder.path().join("1.png"), 8, 4, 7);
    assert!(error(&folder).starts_with("FRAMES: 1 picture(s) are too few"));
    picture(&folder.path().join("2.png"), 8, 4, 7);
    assert!(error(&folder).starts_with("FRAMES: all 2 pictures or scans are the same"));
    picture(&folder.path().join("3.png"), 16, 10, 7);
    let size = error(&folder);
    assert!(
        size.starts_with("FRAMES/3.png: 16 x 10 pixels") && size.contains("nor 8 x 4"),
        "{size}"
    );
    fs::write(folder.path().join("3.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let broken = error(&folder);
    assert!(
        broken.contains(": 3.png is ") && broken.contains("remove them"),
        "{broken}"
    );
    let missing_folder = Frames::read(&folder.path().join("missing_folder"), &input()).unwrap_err();
    assert!(
        missing_folder.to_string().contains("missing_folder"),
        "{missing_folder}"
    );
}

#[test]
fn every_ninth_frame_is_held_back() {
    let frames = Frames {
        pixels: (0..20).map(|level| vec![level]).collect(),
        ..Frames::default()
    };
    let (calibration, held_back) = frames.split();
    assert_eq!(held_back, [[8], [17]]);
    assert_eq!(calibration.len(), 18);
    // With fewer than nine frames, one is still held back.
    let frames = Frames {
        pixels: vec![vec![1], vec![2]],
        ..Frames::default()
    };
    let (calibration, held_back) = frames.split();
    assert_eq!((calibration.len(), held_back.len()), (1, 1));
}
