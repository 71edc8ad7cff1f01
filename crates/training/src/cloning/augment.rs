//! Random changes of a training picture, and what they change of its controls.

use pilotage_simulator::Random;
use pilotage_vision::Layout;

use super::recipe::{Augment, LearnedOutput};
use crate::augment::levels;

/// The share of uses with a shadow.
const SHADOWS: f64 = 0.3;
/// The change of the turning control for a shift by the whole width, in deviations of the learned
/// values, where the recipe has none. It scales with the car, whose full steering may be far from
/// what a drive uses. A shift by the width is a heading error of the camera's field of view, some
/// 1 rad, and a curvature of 2 / look-ahead per radian brings the car back. In the simulator, 6 and
/// 10 deviations left the road where 20 drove a lap (docs/training.md).
const DEVIATIONS_PER_WIDTH: f64 = 20.0;

/// The network's input for every byte, by channel.
pub type Values = Vec<[f32; 256]>;

/// The changes of one use of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    mirrored: bool,
    levels: Option<[[u8; 256]; 3]>,
    /// Pixels to the right and downwards.
    shift: [isize; 2],
    shadow: Option<Shadow>,
}

/// A shadow: pixels on one side of a line are darker.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shadow {
    /// The line's column at the top and at the bottom, as shares of the width.
    top: f64,
    bottom: f64,
    /// Whether the left side is dark.
    left: bool,
    /// The light that is left, as a share.
    light: f32,
}

/// Where a picture lies in an input of `count` pictures, one behind the other along the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The order of the input's axes.
    pub layout: Layout,
    /// The picture's index.
    pub index: usize,
    /// The number of pictures.
    pub count: usize,
}

impl Slot {
    /// The only picture of an input.
    pub const fn only(layout: Layout) -> Self {
        Self {
            layout,
            index: 0,
            count: 1,
        }
    }
}

impl Change {
    /// Draws the changes of one use of a picture of `height` x `width` pixels.
    pub fn draw(augment: &Augment, [height, width]: [usize; 2], random: &mut Random) -> Self {
        let mirrored = augment.mirror && random.chance(0.5);
        let levels = match augment.light {
            true => levels(random),
            false => None,
        };
        let mut shift = |size: usize| {
            let share = random.range(-augment.shift, augment.shift);
            libm::round(share * size as f64) as isize
        };
        let shift = [shift(width), shift(height)];
        let shadow = (augment.shadow && random.chance(SHADOWS)).then(|| Shadow {
            top: random.range(-0.2, 1.2),
            bottom: random.range(-0.2, 1.2),
            left: random.chance(0.5),
            light: random.range(0.4, 0.8) as f32,
        });
        Self {
            mirrored,
            levels,
            shift,
            shadow,
        }
    }

    /// No change.
    pub fn none() -> Self {
        Self {
            mirrored: false,
            levels: None,
            shift: [0, 0],
            shadow: None,
        }
    }

    /// Whether left and right are exchanged.
    pub fn is_mirrored(&self) -> bool {
        self.mirrored
    }

    /// The control for the changed picture, in the car's units. A shift to the right is as if the
    /// car had turned to the left, so that it has to steer to the right.
    pub fn control(
        &self,
        output: &LearnedOutput,
        recorded: f32,
        per_width: f64,
        width: usize,
    ) -> f32 {
        if !output.turns() {
            return recorded;
        }
        let change = per_width * self.shift[0] as f64 / width as f64;
        let control = f64::from(recorded) - change;
        // An actuator has no more than full steering.
        let control = match output.meaning {
            pilotage_engine::Meaning::Steering => control.clamp(-1.0, 1.0),
            _ => control,
        };
        (if self.mirrored { -control } else { control }) as f32
    }

    /// Writes the changed picture with the values of its bytes to its `slot` in the network's input.
    /// `shape` is height, width and channels. Pixels that a shift uncovers repeat the edge.
    pub fn write(
        &self,
        slot: Slot,
        picture: &[u8],
        shape: [usize; 3],
        values: &Values,
        out: &mut [f32],
    ) {
        let [height, width, channels] = shape;
        // The distance between the values of two channels, and of two pixels.
        let (plane, step) = match slot.layout {
            Layout::Nchw => (height * width, 1),
            Layout::Nhwc => (1, channels * slot.count),
        };
        let first = slot.index * channels;
        for y in 0..height {
            let from = source(y, self.shift[1], height) * width;
            let edge = self.shadow.map(|shadow| {
                let share = (y as f64 + 0.5) / height as f64;
                let edge = shadow.top + share * (shadow.bottom - shadow.top);
                (edge * width as f64, shadow)
            });
            for x in 0..width {
                let unmirrored = if self.mirrored { width - 1 - x } else { x };
                let column = source(unmirrored, self.shift[0], width);
                let light = match edge {
                    Some((edge, shadow)) if ((unmirrored as f64) < edge) == shadow.left => {
                        shadow.light
                    }
                    _ => 1.0,
                };
                let bytes = &picture[(from + column) * channels..][..channels];
                let pixel = (y * width + x) * step;
                for (channel, &byte) in bytes.iter().enumerate() {
                    let mut byte = byte;
                    if let Some(levels) = &self.levels {
                        byte = levels[channel][usize::from(byte)];
                    }
                    if light < 1.0 {
                        byte = libm::roundf(f32::from(byte) * light) as u8;
                    }
                    out[(first + channel) * plane + pixel] = values[channel][usize::from(byte)];
                }
            }
        }
    }
}

/// The place that a shift by `shift` moves to `place`, at most the edge.
fn source(place: usize, shift: isize, size: usize) -> usize {
    let from = place as isize - shift;
    from.clamp(0, size as isize - 1) as usize
}

/// The change of the turning control for a shift by the whole width: the recipe's, or one that
/// follows from the deviation of the learned values. Both in the control's unit.
pub fn per_width(augment: &Augment, deviation: f64) -> f64 {
    let followed = DEVIATIONS_PER_WIDTH * deviation;
    augment.shift_correction.unwrap_or(followed)
}

#[cfg(test)]
mod tests {
    use pilotage_engine::Meaning;

    use super::*;

    /// 2 rows of 4 grey pixels, and the values of a table that keeps the bytes.
    fn written(change: &Change) -> Vec<f32> {
        let picture = [0, 10, 20, 30, 40, 50, 60, 70];
        let values = vec![std::array::from_fn(|byte| byte as f32)];
        let mut out = vec![0.0; 8];
        change.write(
            Slot::only(Layout::Nhwc),
            &picture,
            [2, 4, 1],
            &values,
            &mut out,
        );
        out
    }

    #[test]
    fn channels_are_written_in_the_layout() {
        let picture = [0, 1, 2, 10, 11, 12];
        let values = vec![std::array::from_fn(|byte| byte as f32); 3];
        let written = |layout| {
            let mut out = vec![0.0; 6];
            Change::none().write(Slot::only(layout), &picture, [2, 1, 3], &values, &mut out);
            out
        };
        assert_eq!(written(Layout::Nhwc), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        assert_eq!(written(Layout::Nchw), [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
    }

    fn output(meaning: Meaning) -> LearnedOutput {
        LearnedOutput {
            meaning,
            scale: 1.0,
            offset: 0.0,
        }
    }

    #[test]
    fn a_shift_moves_the_picture_and_corrects_the_steering() {
        let none = Change::none();
        assert_eq!(
            written(&none),
            [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
        );
        let right = Change {
            shift: [1, 0],
            ..none.clone()
        };
        assert_eq!(
            written(&right),
            [0.0, 0.0, 10.0, 20.0, 40.0, 40.0, 50.0, 60.0]
        );
        // The road moved to the right by a quarter of the width: steer right, which is negative.
        let steering = output(Meaning::Steering);
        assert!((right.control(&steering, 0.1, 0.8, 4) - -0.1).abs() < 1e-6);
        assert_eq!(right.control(&steering, -0.9, 0.8, 4), -1.0);
        assert_eq!(right.control(&output(Meaning::Throttle), 0.3, 0.8, 4), 0.3);
        assert!((right.control(&output(Meaning::YawRate), -3.0, 0.8, 4) - -3.2).abs() < 1e-6);
        let down = Change {
            shift: [0, 1],
            ..none
        };
        assert_eq!(
            written(&down),
            [0.0, 10.0, 20.0, 30.0, 0.0, 10.0, 20.0, 30.0]
        );
    }

    #[test]
    fn a_mirrored_picture_is_that_of_the_mirrored_drive() {
        let change = Change {
            mirrored: true,
            shift: [1, 0],
            ..Change::none()
        };
        assert_eq!(
            written(&change),
            [20.0, 10.0, 0.0, 0.0, 60.0, 50.0, 40.0, 40.0]
        );
        assert!((change.control(&output(Meaning::Steering), 0.3, 0.8, 4) - -0.1).abs() < 1e-6);
    }

    #[test]
    fn a_shadow_darkens_one_side_only() {
        let change = Change {
            shadow: Some(Shadow {
                top: 0.5,
                bottom: 0.5,
                left: true,
                light: 0.5,
            }),
            ..Change::none()
        };
        assert_eq!(
            written(&change),
            [0.0, 5.0, 20.0, 30.0, 20.0, 25.0, 60.0, 70.0]
        );
    }

    #[test]
    fn what_is_switched_off_is_not_drawn() {
        let off = Augment {
            mirror: false,
            light: false,
            shadow: false,
            shift: 0.0,
            side_cameras: None,
            shift_correction: None,
        };
        for seed in 0..50 {
            let change = Change::draw(&off, [66, 200], &mut Random::new(seed));
            assert_eq!(change, Change::none());
            let change = Change::draw(&Augment::default(), [66, 200], &mut Random::new(seed));
            assert!(change.shift[0].abs() <= 8 && change.shift[1].abs() <= 3);
        }
        assert_eq!(per_width(&off, 0.1), DEVIATIONS_PER_WIDTH * 0.1);
    }
}
