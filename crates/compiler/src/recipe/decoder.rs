//! `[decoder]`: a path among the model's outputs, and how the car follows it.

mod check;

use pilotage_engine::{
    GroundCamera, Mask, Meaning, Output, PathDecoder, PathForm, PathLimits, PathSpeed, PointOrder,
    Points, Pursuit,
};
use pilotage_vision::{Crop, Layout, Preprocess};
use serde::{Deserialize, Serialize};

/// `[decoder]` as written in a recipe. docs/recipes.md explains every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderRecipe {
    /// What the model answers with.
    pub kind: DecoderKind,
    /// The model's name for the output. Optional if the model has only one output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The index of the path's first element in the output.
    #[serde(default)]
    pub index: usize,
    /// The number of points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<usize>,
    /// How their coordinates follow one another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<DecoderOrder>,
    /// Way-points of which the model answers with the lateral coordinate only: metres ahead of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<Vec<f32>>,
    /// Lane points of which the model answers with the column only: the row of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<f32>>,
    /// Which of the lane points is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<DecoderFirst>,
    /// Factor of the first coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_x: Option<f32>,
    /// Factor of the second coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_y: Option<f32>,
    /// Added to the first coordinate after its factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_x: Option<f32>,
    /// Added to the second coordinate after its factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_y: Option<f32>,
    /// Where the classes of a mask are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The class of a mask that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<usize>,
    /// What a pixel of the class is above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Fewer pixels of the class side by side are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_pixels: Option<usize>,
    /// The road's width, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub road_width: Option<f32>,
    /// The camera that lane points and masks are seen with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<DecoderCamera>,
    /// The look-ahead distance, metres.
    pub look_ahead: f32,
    /// How much it grows with the speed, metres for each m/s.
    #[serde(default)]
    pub look_ahead_time: f32,
    /// How many points ahead of the car a path must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_points: Option<usize>,
    /// The speed, m/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f32>,
    /// The time from a way-point to the next, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<f32>,
    /// The largest allowed errors against fp32.
    #[serde(default)]
    pub gate: PathLimits,
}

/// What a model answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// Points on the ground.
    Waypoints,
    /// Points in the picture.
    Lane,
    /// A picture of what is road, or line.
    Mask,
}

/// How the coordinates of points follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderOrder {
    /// Both of the first point, both of the second, and so on.
    Pairs,
    /// The first of all points, then the second of all.
    Separate,
}

/// Which of the points is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderFirst {
    /// The nearest.
    Near,
    /// The farthest.
    Far,
}

/// The camera that lane points and masks are seen with: a pinhole above a plane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderCamera {
    /// Width of its frames, pixels.
    pub width: u32,
    /// Height of its frames, pixels.
    pub height: u32,
    /// The angle between the left and right edges of the frame, radians.
    pub horizontal_fov: f32,
    /// Height above the ground, metres.
    pub up: f32,
    /// Tilted down, radians.
    #[serde(default)]
    pub pitch: f32,
    /// Ahead of the rear axle, metres.
    pub forward: f32,
    /// To the left of the car's middle, metres.
    #[serde(default)]
    pub left: f32,
}

impl DecoderCamera {
    pub(super) fn on_ground(&self, input: &Preprocess) -> GroundCamera {
        let crop = input.crop.unwrap_or(Crop {
            x: 0,
            y: 0,
            width: self.width,
            height: self.height,
        });
        let numbers = |pixels: u32| pixels as f32;
        GroundCamera {
            frame: [self.width, self.height].map(numbers),
            crop: [crop.x, crop.y, crop.width, crop.height].map(numbers),
            horizontal_fov: self.horizontal_fov,
            up: self.up,
            forward: self.forward,
            left: self.left,
            pitch: self.pitch,
        }
    }
}

impl DecoderRecipe {
    /// The number of points; 0 for a mask.
    pub(crate) fn count(&self) -> usize {
        let fixed = self.x.as_ref().or(self.rows.as_ref());
        fixed.map_or(self.points.unwrap_or(0), Vec::len)
    }

    /// The decoder for the output `name` of the model, with the shape of a mask: height, width, the
    /// number of classes. `outputs` are those that the recipe names.
    pub(crate) fn decoder(
        &self,
        name: &str,
        shape: [usize; 3],
        outputs: &[Output],
        input: &Preprocess,
    ) -> PathDecoder {
        let camera = self.camera.map(|camera| camera.on_ground(input));
        let [height, width, channels] = shape;
        let path = match (self.kind, camera) {
            (DecoderKind::Lane, Some(camera)) => PathForm::Lane {
                points: self.points_of(),
                camera,
            },
            (DecoderKind::Mask, Some(camera)) => PathForm::Mask {
                mask: Mask {
                    width,
                    height,
                    channels,
                    channel: self.channel.unwrap_or(0),
                    interleaved: self.layout == Some(Layout::Nhwc),
                    threshold: self.threshold,
                    least_pixels: self.least_pixels.unwrap_or(1),
                    road_width: self.road_width,
                },
                camera,
            },
            _ => PathForm::Waypoints {
                points: self.points_of(),
            },
        };
        let own = outputs.iter().find(|it| it.meaning == Meaning::Speed);
        let speed = match (self.speed, self.period, own) {
            (_, _, Some(output)) => PathSpeed::Output(output.clone()),
            (_, Some(period), _) => PathSpeed::Period(period),
            (speed, None, None) => PathSpeed::Fixed(speed.unwrap_or(0.0)),
        };
        PathDecoder {
            name: name.to_owned(),
            index: self.index,
            path,
            pursuit: Pursuit {
                look_ahead: self.look_ahead,
                look_ahead_time: self.look_ahead_time,
                least_points: self.least_points.unwrap_or_else(|| self.default_points()),
            },
            speed,
        }
    }

    /// Two points show a direction. A mask's row may be noise.
    fn default_points(&self) -> usize {
        match self.kind {
            DecoderKind::Mask => 3,
            DecoderKind::Waypoints | DecoderKind::Lane => self.count().clamp(1, 2),
        }
    }

    fn points_of(&self) -> Points {
        let order = match (&self.x, &self.rows, self.order) {
            (Some(x), _, _) => PointOrder::First(x.clone()),
            (_, Some(rows), _) => PointOrder::Second(rows.clone()),
            (_, _, Some(DecoderOrder::Separate)) => PointOrder::Separate,
            _ => PointOrder::Pairs,
        };
        // Rows are counted downwards.
        let rising = |rows: &[f32]| rows.first() < rows.last();
        let far_first = match &self.rows {
            Some(rows) => rising(rows),
            None => self.first == Some(DecoderFirst::Far),
        };
        Points {
            count: self.count(),
            order,
            scale: [self.scale_x, self.scale_y].map(|it| it.unwrap_or(1.0)),
            offset: [self.offset_x, self.offset_y].map(|it| it.unwrap_or(0.0)),
            far_first,
        }
    }
}

#[cfg(test)]
mod tests;
