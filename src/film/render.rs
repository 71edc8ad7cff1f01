//! Draws the frames of a film.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use pilotage_dataset::{BadPicture, BadPictures, DatasetError};

use super::FilmError;
use super::footage::Footage;
use super::saliency::Saliency;
use crate::plot::{FilmPanel, Gauge, Tone, film_panel, film_panel_height};

/// Draws frames: a picture, scaled to the film's width, and the panel below it.
pub(super) struct Renderer<'a> {
    footage: &'a Footage,
    /// Of the picture.
    size: (u32, u32),
    /// The newest picture that can be used, and its place.
    picture: RgbImage,
    place: Option<usize>,
    saliency: Option<Saliency>,
    bad: BadPictures,
}

impl<'a> Renderer<'a> {
    /// For a film that is `width` pixels wide; all pictures get the size of the first.
    pub fn new(
        footage: &'a Footage,
        width: u32,
        saliency: Option<Saliency>,
    ) -> Result<Self, FilmError> {
        let first = footage.first_picture()?;
        let height = u64::from(width) * u64::from(first.height()) / u64::from(first.width().max(1));
        // A video has even sizes. A picture may be a column of pixels.
        let height = (height as u32 / 2 * 2).clamp(16, 2 * width);
        let bad = BadPictures {
            folder: footage.path().to_owned(),
            ..BadPictures::default()
        };
        Ok(Self {
            footage,
            size: (width, height),
            picture: RgbImage::new(width, height),
            place: None,
            saliency,
            bad,
        })
    }

    /// The size of a frame.
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = self.size;
        (width, height + film_panel_height(width))
    }

    /// Forgets the pictures that were drawn: a pass over all frames begins.
    pub fn restart(&mut self) {
        self.place = None;
        self.picture = RgbImage::new(self.size.0, self.size.1);
        self.bad.of = 0;
        self.bad.bad.clear();
    }

    /// Draws what was at `time`, seconds from the first picture. A bad picture is passed over: the one
    /// before it stays.
    pub fn draw(&mut self, time: f64) -> anyhow::Result<RgbImage> {
        let (place, age) = self.footage.picture_at(time);
        if self.place != Some(place) {
            self.place = Some(place);
            self.bad.of += 1;
            match self.footage.decode(place) {
                Ok(picture) => self.show(&picture)?,
                Err(problem) => self.bad.bad.push(BadPicture {
                    picture: self.footage.name(place),
                    problem,
                }),
            }
        }
        let panel = match self.footage.state_at(time) {
            Some(state) => state.panel(time, age),
            None => unknown(time),
        };
        let (width, height) = self.size();
        let mut frame = RgbImage::new(width, height);
        imageops::replace(&mut frame, &self.picture, 0, 0);
        let panel = film_panel(width, &panel)?;
        imageops::replace(&mut frame, &panel, 0, i64::from(self.size.1));
        Ok(frame)
    }

    /// Scales a picture, without distortion, and colours what steers.
    fn show(&mut self, picture: &RgbImage) -> anyhow::Result<()> {
        let (width, height) = self.size;
        let across = f64::from(width) / f64::from(picture.width().max(1));
        let down = f64::from(height) / f64::from(picture.height().max(1));
        let scale = across.min(down);
        // A size that is rounded to an even one is no other shape.
        let scaled = |side: u32, whole: u32| {
            let side = (f64::from(side) * scale).round() as u32;
            if whole.abs_diff(side) <= 2 {
                whole
            } else {
                side.clamp(1, whole)
            }
        };
        let inner = (
            scaled(picture.width(), width),
            scaled(picture.height(), height),
        );
        let mut small = imageops::resize(picture, inner.0, inner.1, FilterType::Triangle);
        if let Some(saliency) = &mut self.saliency {
            saliency.colour(picture, &mut small)?;
        }
        let mut shown = RgbImage::from_pixel(width, height, Rgb([0; 3]));
        let left = i64::from((width - inner.0) / 2);
        let top = i64::from((height - inner.1) / 2);
        imageops::replace(&mut shown, &small, left, top);
        self.picture = shown;
        Ok(())
    }

    /// Warns of bad pictures, and refuses many.
    ///
    /// # Errors
    /// When more pictures are bad than any reader of recordings accepts.
    pub fn check(self) -> Result<(), DatasetError> {
        if !self.bad.tolerable() {
            return Err(DatasetError::BadPictures(self.bad));
        }
        if !self.bad.bad.is_empty() {
            let note = pilotage_dataset::Note::BadPictures(self.bad);
            pilotage_console::say(format_args!("warning: {note}"));
        }
        Ok(())
    }
}

/// The panel before the first state.
fn unknown(time: f64) -> FilmPanel {
    let gauge = Gauge {
        asked: None,
        given: None,
    };
    FilmPanel {
        status: "not known yet".to_owned(),
        tone: Tone::Idle,
        time,
        speed: None,
        missing: None,
        steering: gauge,
        throttle: gauge,
        is_guarded: true,
    }
}
