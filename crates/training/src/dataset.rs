//! Pictures with the expected controls for each.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use pilotage_vehicle::{Measurement, Measurements};

use crate::network::{OUTPUTS, PICTURE};

/// The normalised controls (a, b) of a speed v (m/s) and a yaw rate w (rad/s): v = 17.5 a + 6.5, w
/// = 14.2 b - 7.1.
pub fn normalised(speed: f64, yaw_rate: f64) -> [f32; OUTPUTS] {
    [
        ((speed - 6.5) / 17.5) as f32,
        ((yaw_rate + 7.1) / 14.2) as f32,
    ]
}

/// The speed (m/s) and yaw rate (rad/s) of normalised controls.
pub fn physical([a, b]: [f32; OUTPUTS]) -> (f32, f32) {
    (17.5 * a + 6.5, 14.2 * b - 7.1)
}

/// A training picture, unchanged or mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The index of the picture in the [`Dataset`].
    pub index: usize,
    /// Whether left and right are exchanged, in the picture and in the controls.
    pub mirrored: bool,
}

/// Where a picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The drive.
    pub drive: u64,
    /// The frame of the drive.
    pub frame: usize,
}

/// Pictures of the network's input size, before normalization, with their labels and what sensors
/// measured when they were taken.
#[derive(Debug, Default)]
pub struct Dataset {
    pictures: Vec<u8>,
    labels: Vec<[f32; OUTPUTS]>,
    measured: Vec<Measurements>,
    places: Vec<Place>,
    /// For each picture, the one before it of the same drive, or itself.
    previous: Vec<usize>,
    /// The latest picture of each drive.
    latest: BTreeMap<u64, usize>,
}

impl Dataset {
    /// An empty data set with room for `count` pictures.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            pictures: Vec::with_capacity(count * PICTURE),
            labels: Vec::with_capacity(count),
            measured: Vec::with_capacity(count),
            places: Vec::with_capacity(count),
            previous: Vec::with_capacity(count),
            latest: BTreeMap::new(),
        }
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Adds a picture of 66 rows of 200 RGB pixels with its normalised controls, as the next frame of
    /// the first drive. Nothing was measured.
    pub fn push(&mut self, picture: &[u8], label: [f32; OUTPUTS]) {
        let (drive, frame) = (0, self.len());
        self.push_at(
            Place { drive, frame },
            picture,
            label,
            Measurements::default(),
        );
    }

    /// Adds a picture that was taken at `place`, after all others of the same drive.
    pub fn push_at(
        &mut self,
        place: Place,
        picture: &[u8],
        label: [f32; OUTPUTS],
        measured: Measurements,
    ) {
        debug_assert_eq!(picture.len(), PICTURE);
        let index = self.len();
        let before = self.latest.insert(place.drive, index);
        self.previous.push(before.unwrap_or(index));
        self.pictures.extend_from_slice(picture);
        self.labels.push(label);
        self.measured.push(measured);
        self.places.push(place);
    }

    /// The drives one after another, with one of every `every` pictures, beginning with the first.
    pub fn by_drive(&self, every: NonZeroUsize) -> Self {
        self.of(self.order(0).into_iter().step_by(every.get()))
    }

    /// About `count` of the `latest` pictures, the drives one after another, in runs of `run`
    /// consecutive pictures.
    pub fn runs(&self, latest: usize, count: usize, run: NonZeroUsize) -> Self {
        let order = self.order(self.len().saturating_sub(latest));
        let every = (order.len() / count.max(1)).max(1);
        let runs = order.chunks(run.get()).step_by(every);
        self.of(runs.flatten().copied())
    }

    /// The pictures from the index `first` on, one drive after another.
    fn order(&self, first: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (first..self.len()).collect();
        order.sort_by_key(|&index| self.places[index]);
        order
    }

    /// The pictures with these indices.
    fn of(&self, indices: impl Iterator<Item = usize>) -> Self {
        let mut kept = Self::with_capacity(indices.size_hint().0);
        for index in indices {
            kept.push_at(
                self.places[index],
                self.picture(index),
                self.label(index),
                self.measured(index),
            );
        }
        kept
    }

    /// What sensors measured when the picture `index` was taken.
    pub fn measured(&self, index: usize) -> Measurements {
        self.measured[index]
    }

    /// Whether every picture has the number.
    pub fn has(&self, measurement: Measurement) -> bool {
        let mut each = self.measured.iter();
        each.all(|measured| measured.get(measurement).is_some())
    }

    /// Where the picture with the index `index` was taken.
    pub fn place(&self, index: usize) -> Place {
        self.places[index]
    }

    /// The picture with the index `index`.
    pub fn picture(&self, index: usize) -> &[u8] {
        &self.pictures[index * PICTURE..(index + 1) * PICTURE]
    }

    /// The picture `count` pictures before one in its drive, or the first of the drive.
    pub fn before(&self, index: usize, count: usize) -> usize {
        (0..count).fold(index, |index, _| self.previous[index])
    }

    /// All pictures, one after another.
    pub fn pictures(&self) -> &[u8] {
        &self.pictures
    }

    /// The expected normalised controls for picture `index`.
    pub fn label(&self, index: usize) -> [f32; OUTPUTS] {
        self.labels[index]
    }

    /// The expected controls for `sample`.
    pub fn wanted(&self, sample: &Sample) -> [f32; OUTPUTS] {
        let [a, b] = self.labels[sample.index];
        [a, if sample.mirrored { 1.0 - b } else { b }]
    }
}
