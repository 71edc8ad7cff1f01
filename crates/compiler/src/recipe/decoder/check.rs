//! The rules that a recipe's `[decoder]` must fulfil.

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{GateLimits, Meaning};
use pilotage_vision::Preprocess;

use super::{DecoderKind, DecoderRecipe};
use crate::recipe::{Precision, Recipe};

/// The most points of a path.
const MOST_POINTS: usize = 1_000;

/// An error of the key `decoder.KEY`.
fn wrong(source: &Source<'_>, key: &str, reason: impl std::fmt::Display) -> ConfigError {
    source.error(&format!("decoder.{key}"), reason)
}

impl Recipe {
    /// Checks `[decoder]`, if there is one, and that the other outputs go with it.
    pub(in crate::recipe) fn check_decoder(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let Some(decoder) = &self.decoder else {
            return Ok(());
        };
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        if self.precision == Precision::Int8Integer {
            return wrong(
                "kind",
                "a path needs outputs in floating point: use precision \"int8\"",
            );
        }
        if self.throttle.is_some() {
            return Err(source.error(
                "throttle",
                "a [decoder] commands a speed: leave the constant throttle out, and state `speed` in \
                 [decoder]",
            ));
        }
        if let Some((key, kinds)) = decoder.misplaced() {
            return wrong(key, &format!("is a key of the kinds {kinds} only"));
        }
        decoder.check_speed(&self.output_meanings(), source)?;
        match decoder.kind {
            DecoderKind::Mask => decoder.check_mask(source)?,
            _ => decoder.check_points(source)?,
        }
        decoder.check_pursuit(source)?;
        if decoder.kind != DecoderKind::Waypoints {
            decoder.check_camera(&self.input, source)?;
        }
        let limits = [
            ("curvature", decoder.gate.curvature),
            ("speed", decoder.gate.speed),
            ("path", decoder.gate.path),
        ];
        for (part, GateLimits { mse, worst }) in limits {
            for (key, limit) in [("mse", mse), ("worst", worst)] {
                if limit.is_some_and(|limit| !(limit.is_finite() && limit >= 0.0)) {
                    let key = format!("gate.{part}.{key}");
                    return wrong(&key, "must be a finite number, 0 or more");
                }
            }
        }
        Ok(())
    }

    fn output_meanings(&self) -> Vec<Meaning> {
        self.output.iter().map(|output| output.meaning).collect()
    }
}

impl DecoderRecipe {
    /// The keys that are written and belong to other kinds.
    fn misplaced(&self) -> Option<(&'static str, &'static str)> {
        let (points, lane, mask) = ("\"waypoints\" and \"lane\"", "\"lane\"", "\"mask\"");
        let is = |kind| self.kind == kind;
        let on_points = is(DecoderKind::Waypoints) || is(DecoderKind::Lane);
        let seen = is(DecoderKind::Lane) || is(DecoderKind::Mask);
        let waypoints = "\"waypoints\"";
        [
            ("points", self.points.is_some(), on_points, points),
            ("order", self.order.is_some(), on_points, points),
            ("scale_x", self.scale_x.is_some(), on_points, points),
            ("scale_y", self.scale_y.is_some(), on_points, points),
            ("offset_x", self.offset_x.is_some(), on_points, points),
            ("offset_y", self.offset_y.is_some(), on_points, points),
            ("x", self.x.is_some(), is(DecoderKind::Waypoints), waypoints),
            (
                "period",
                self.period.is_some(),
                is(DecoderKind::Waypoints),
                waypoints,
            ),
            ("rows", self.rows.is_some(), is(DecoderKind::Lane), lane),
            ("first", self.first.is_some(), is(DecoderKind::Lane), lane),
            ("layout", self.layout.is_some(), is(DecoderKind::Mask), mask),
            (
                "channel",
                self.channel.is_some(),
                is(DecoderKind::Mask),
                mask,
            ),
            (
                "threshold",
                self.threshold.is_some(),
                is(DecoderKind::Mask),
                mask,
            ),
            (
                "least_pixels",
                self.least_pixels.is_some(),
                is(DecoderKind::Mask),
                mask,
            ),
            (
                "road_width",
                self.road_width.is_some(),
                is(DecoderKind::Mask),
                mask,
            ),
            (
                "camera",
                self.camera.is_some(),
                seen,
                "\"lane\" and \"mask\"",
            ),
        ]
        .into_iter()
        .find(|(_, written, belongs, _)| *written && !belongs)
        .map(|(key, _, _, kinds)| (key, kinds))
    }

    fn check_speed(&self, outputs: &[Meaning], source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        if outputs.iter().any(|&meaning| meaning != Meaning::Speed) {
            return Err(source.error(
                "output",
                "with a [decoder], the only [[output]] there can be is the \"speed\": the path steers",
            ));
        }
        let own = !outputs.is_empty();
        match (self.speed, self.period, own) {
            (None, None, false) => wrong(
                "speed",
                "is missing: state the speed to drive with, in m/s, or name the model's own as an \
                 [[output]] with meaning \"speed\", or for way-points the `period` between them",
            ),
            (Some(_), Some(_), _) => wrong(
                "period",
                "gives the speed, and so does `speed`: leave one out",
            ),
            (Some(_), _, true) => wrong(
                "speed",
                "is the model's own [[output]] already: leave one out",
            ),
            (_, Some(_), true) => wrong(
                "period",
                "gives the speed, and so does [[output]]: leave one out",
            ),
            (Some(speed), _, _) if !(speed > 0.0 && speed <= 50.0) => {
                wrong("speed", "must be above 0 and at most 50 m/s")
            }
            (_, Some(period), _) if !(0.001..=10.0).contains(&period) => {
                wrong("period", "must be 0.001 to 10 seconds")
            }
            (_, Some(_), _) if self.count() < 2 => wrong("period", "needs two points at least"),
            _ => Ok(()),
        }
    }

    fn check_points(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        let fixed = [("x", &self.x), ("rows", &self.rows)];
        let fixed = fixed
            .into_iter()
            .find_map(|(key, it)| Some((key, it.as_ref()?)));
        let number = match fixed {
            Some((key, places)) => {
                if self.points.is_some() {
                    return wrong("points", &format!("follows from `{key}`: leave it out"));
                }
                if self.order.is_some() {
                    return wrong(
                        "order",
                        &format!(
                            "with `{key}` the model answers with one coordinate: leave it out"
                        ),
                    );
                }
                self.check_places(key, places, source)?;
                key
            }
            None => "points",
        };
        if !(1..=MOST_POINTS).contains(&self.count()) {
            let reason = format!("must be 1 to {MOST_POINTS}");
            return wrong(number, &reason);
        }
        let scales = [("scale_x", self.scale_x), ("scale_y", self.scale_y)];
        for (key, scale) in scales {
            if scale.is_some_and(|it| !(it.is_finite() && it != 0.0)) {
                return wrong(key, "must be a finite number other than 0");
            }
        }
        let offsets = [("offset_x", self.offset_x), ("offset_y", self.offset_y)];
        for (key, offset) in offsets {
            if offset.is_some_and(|it| !it.is_finite()) {
                return wrong(key, "must be finite");
            }
        }
        let unused = match number {
            "x" => [("scale_x", self.scale_x), ("offset_x", self.offset_x)],
            "rows" => [("scale_y", self.scale_y), ("offset_y", self.offset_y)],
            _ => [("scale_x", None), ("offset_x", None)],
        };
        if let Some((key, _)) = unused.into_iter().find(|(_, it)| it.is_some()) {
            return wrong(key, &format!("has no effect on `{number}`: leave it out"));
        }
        Ok(())
    }

    fn check_places(
        &self,
        key: &str,
        places: &[f32],
        source: &Source<'_>,
    ) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        let rises = places.windows(2).all(|pair| pair[0] < pair[1]);
        let falls = places.windows(2).all(|pair| pair[0] > pair[1]);
        if !places.iter().all(|it| it.is_finite()) {
            return wrong(key, "must be finite");
        }
        match key {
            "x" if !rises => wrong(key, "must rise: the nearest point first"),
            "rows" if !(rises || falls) => wrong(key, "must rise or fall"),
            "rows" if !places.iter().all(|it| (0.0..=1.0).contains(it)) => wrong(
                key,
                "must be fractions of the input's height, 0 (the upper edge) to 1",
            ),
            "rows" if self.first.is_some() => wrong("first", "follows from `rows`: leave it out"),
            _ => Ok(()),
        }
    }

    fn check_mask(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        if self.index != 0 {
            return wrong("index", "a mask is a whole output: leave it out");
        }
        if self.threshold.is_some_and(|it| !it.is_finite()) {
            return wrong("threshold", "must be finite");
        }
        if self.least_pixels == Some(0) {
            return wrong("least_pixels", "must be at least 1");
        }
        match self.road_width {
            Some(width) if !(0.01..=100.0).contains(&width) => {
                wrong("road_width", "must be 0.01 to 100 m")
            }
            _ => Ok(()),
        }
    }

    fn check_pursuit(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        if !(0.01..=100.0).contains(&self.look_ahead) {
            return wrong("look_ahead", "must be 0.01 to 100 m");
        }
        if !(0.0..=10.0).contains(&self.look_ahead_time) {
            return wrong("look_ahead_time", "must be 0 to 10 seconds");
        }
        let most = match self.kind {
            DecoderKind::Mask => MOST_POINTS,
            _ => self.count(),
        };
        match self.least_points {
            Some(least) if !(1..=most).contains(&least) => {
                wrong("least_points", &format!("must be 1 to {most}"))
            }
            _ => Ok(()),
        }
    }

    fn check_camera(&self, input: &Preprocess, source: &Source<'_>) -> Result<(), ConfigError> {
        let wrong = |key: &str, reason: &str| Err(wrong(source, key, reason));
        let Some(camera) = &self.camera else {
            return wrong(
                "camera",
                "is missing: its width, height, horizontal_fov, up, pitch and forward say where the \
                 picture's points lie on the ground",
            );
        };
        let ranges = [
            ("horizontal_fov", camera.horizontal_fov, 0.2, 2.8),
            ("up", camera.up, 0.02, 5.0),
            ("pitch", camera.pitch, -1.5, 1.5),
            ("forward", camera.forward, -5.0, 5.0),
            ("left", camera.left, -5.0, 5.0),
        ];
        for (key, number, least, most) in ranges {
            if !(least..=most).contains(&number) {
                return wrong(
                    &format!("camera.{key}"),
                    &format!("must be {least} to {most}"),
                );
            }
        }
        let size = (camera.width, camera.height);
        if size.0 == 0 || size.1 == 0 {
            return wrong("camera.width", "width and height must be at least 1");
        }
        if let Some(crop) = input.crop
            && !crop.lies_within(size)
        {
            return wrong(
                "camera.width",
                &format!(
                    "the crop of [input] does not lie within frames of {}x{}",
                    size.0, size.1
                ),
            );
        }
        match camera.on_ground(input).sees_ground() {
            true => Ok(()),
            false => wrong(
                "camera.pitch",
                "the camera sees only what lies above the horizon: tilted down is positive, in radians",
            ),
        }
    }
}
