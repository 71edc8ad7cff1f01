//! Small recordings of a drive: a white lane mark on a dark road, whose position is the steering.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pilotage_dataset::write_domain;
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::{Plan, Target};
use pilotage_vehicle::Domain;

/// Width and height of the camera's frames.
pub const CAMERA: (u32, u32) = (48, 40);

/// The steering of frame `index`: a slow weave, mostly to the left.
pub fn steering(index: usize) -> f64 {
    0.2 + 0.7 * (index as f64 * 0.21).sin()
}

/// A frame in which the lane's mark lies to the left for steering to the left, with a tree in the
/// upper third, which a crop leaves out.
pub fn frame(index: usize) -> Vec<u8> {
    let (width, height) = CAMERA;
    let mark = (1.0 - steering(index)) / 2.0 * f64::from(width);
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let near = (f64::from(x) - mark).abs() < 4.0;
            let pixel = match (y < height / 3, near) {
                (true, _) => [10 + (index * 7 % 90) as u8, 90, 20],
                (false, true) => [220, 210, 60 + (y * 3) as u8],
                (false, false) => [40, 45, 60],
            };
            pixels.extend(pixel);
        }
    }
    pixels
}

/// Writes a data.csv folder of `frames` frames with these columns after the picture's name.
pub fn recording(folder: &Path, frames: usize, columns: &str, row: impl Fn(usize) -> String) {
    fs::create_dir_all(folder).unwrap();
    let mut csv = format!("image_name,{columns}\n");
    for index in 0..frames {
        let name = format!("{index:04}.png");
        let file = fs::File::create(folder.join(&name)).unwrap();
        let (width, height) = CAMERA;
        PngEncoder::new(file)
            .write_image(&frame(index), width, height, ExtendedColorType::Rgb8)
            .unwrap();
        csv += &format!("{name},{}\n", row(index));
    }
    fs::write(folder.join("data.csv"), csv).unwrap();
    write_domain(folder, Domain::Physical).unwrap();
}

/// A recording with steering, throttle and times at 20 Hz.
pub fn pedals(folder: &Path, frames: usize) {
    recording(folder, frames, "steering,throttle,timestamp", |index| {
        let steering = steering(index).clamp(-1.0, 1.0);
        format!(
            "{steering},{},{:.3}",
            0.5 - 0.2 * steering.abs(),
            index as f64 * 0.05
        )
    });
}

/// A training recipe for the small network on the lower part of the frames, without the tree.
pub const RECIPE: &str = r#"
network = "small"

[input]
crop = { x = 0, y = 14, width = 48, height = 26 }
width = 40
height = 28

[augment]
shift = 0.02

[training]
epochs = 3
batch = 16
block_s = 0.5
"#;

/// A plan to train `recipe` on `data` to `folder`/`name`.
pub fn plan(data: &Path, recipe: &str, folder: &Path, name: &str) -> Plan {
    Plan {
        data: vec![data.to_owned()],
        validation: Vec::new(),
        recipe: TrainingRecipe::parse("training.toml", recipe).unwrap(),
        target: Target::new(&folder.join(name), None, false, true).unwrap(),
        resume: true,
    }
}

/// The bytes of a trained model.
pub fn model(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(path(folder, name)).unwrap()
}

pub fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.onnx"))
}
