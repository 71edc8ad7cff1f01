//! Learns a gamepad's mapping by asking for each control. Pure: time is passed as an argument.

use std::fmt;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::axis::Range;
use super::hand::Input;
use super::mapping::{Axis, AxisName, Button, Mapping, Rest};

/// A question to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Move every axis, release all of them, then press any button.
    Rest,
    /// The axis that steers.
    Steering,
    /// The axis of the throttle.
    Throttle,
    /// The dead-man button.
    DeadMan,
    /// The button that arms.
    Arm,
    /// The button that stops.
    Stop,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => {
                "move each stick and trigger once, release them all, then press any button"
            }
            Self::Steering => "move the steering stick fully left, and release it",
            Self::Throttle => {
                "move the throttle fully ahead (push the stick, or pull the trigger), and release \
                 it"
            }
            Self::DeadMan => "press the dead-man button: the car moves only while it is held",
            Self::Arm => "press the arm button",
            Self::Stop => "press the stop button",
        })
    }
}

/// The effect of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The question is answered, and the next one follows.
    Next(Question),
    /// The answer cannot be used, for this reason; the same question remains.
    Refused(&'static str),
    /// All questions are answered.
    Learned(Mapping),
}

/// This long after the latest press or release of a button, the axes are assumed to be at rest.
const SETTLED: Duration = Duration::from_millis(500);
/// The share of the travel from rest to the farther end that counts as full deflection.
const FULLY: f32 = 0.7;
/// The share of that travel within which an axis counts as released.
const RELEASED: f32 = 0.2;
/// An axis is a stick if its rest position, as a share of its range, is in this interval.
const MIDDLE: std::ops::RangeInclusive<f32> = 0.25..=0.75;
/// ABS_HAT0X: this axis and those after it are directional pads and other unsuitable controls.
const FIRST_HAT: u16 = 0x10;

/// An axis whose value is known. Positions are shares of its range, from 0 to 1.
#[derive(Debug, Clone, Copy)]
struct Seen {
    axis: AxisName,
    now: f32,
    rest: f32,
    /// The largest deviation from rest since the question was asked, with its sign.
    farthest: f32,
}

impl Seen {
    /// A deviation as a share of the travel from rest to the farther end.
    fn travel(&self, deviation: f32) -> f32 {
        deviation / self.rest.max(1.0 - self.rest)
    }
}

/// The current question, and the answers so far.
#[derive(Debug, Clone)]
pub struct Lesson {
    question: Question,
    axes: Vec<Seen>,
    last_button: Option<Time>,
    mapping: Mapping,
}

impl Default for Lesson {
    fn default() -> Self {
        Self {
            question: Question::Rest,
            axes: Vec::new(),
            last_button: None,
            mapping: Mapping::default(),
        }
    }
}

impl Lesson {
    /// The current question.
    pub const fn question(&self) -> Question {
        self.question
    }

    /// Takes an input that arrived at `now`; `range` gives the range of an axis.
    pub fn take(
        &mut self,
        now: Time,
        input: Input,
        range: impl Fn(AxisName) -> Range,
    ) -> Option<Step> {
        match input {
            Input::Axis { code, value } => {
                let axis = AxisName(code);
                if code >= FIRST_HAT || !axis.has_name() {
                    return None;
                }
                self.set(axis, share(value, range(axis))?);
                self.moved()
            }
            Input::Button { code, pressed } => {
                self.last_button = Some(now);
                let button = Button(code);
                (pressed && button.has_name()).then(|| self.pressed(button))?
            }
            Input::Other | Input::Report | Input::Dropped => None,
        }
    }

    /// Advances the time.
    pub fn tick(&mut self, now: Time) -> Option<Step> {
        let pressed = self.last_button.is_some_and(|at| now.since(at) >= SETTLED);
        (self.question == Question::Rest && pressed).then(|| {
            for axis in &mut self.axes {
                axis.rest = axis.now;
            }
            self.ask(Question::Steering)
        })
    }

    fn ask(&mut self, question: Question) -> Step {
        self.question = question;
        for axis in &mut self.axes {
            axis.farthest = 0.0;
        }
        Step::Next(question)
    }

    fn set(&mut self, axis: AxisName, now: f32) {
        match self.axes.iter_mut().find(|seen| seen.axis == axis) {
            Some(seen) => {
                seen.now = now;
                let deviation = now - seen.rest;
                if deviation.abs() > seen.farthest.abs() {
                    seen.farthest = deviation;
                }
            }
            // The rest position is not known yet: assume that of a stick.
            None => self.axes.push(Seen {
                axis,
                now,
                rest: 0.5,
                farthest: now - 0.5,
            }),
        }
    }

    /// Evaluates an axis movement. The axis with the largest deviation answers the question once it
    /// is released; until then the result is `None`.
    fn moved(&mut self) -> Option<Step> {
        if !matches!(self.question, Question::Steering | Question::Throttle) {
            return None;
        }
        let far = |seen: &Seen| seen.travel(seen.farthest).abs();
        let seen = *self.axes.iter().max_by(|a, b| far(a).total_cmp(&far(b)))?;
        let released = seen.travel(seen.now - seen.rest).abs() < RELEASED;
        if far(&seen) < FULLY || !released {
            return None;
        }
        let middle = MIDDLE.contains(&seen.rest);
        let refused = |lesson: &mut Self, why| {
            lesson.ask(lesson.question);
            Some(Step::Refused(why))
        };
        if self.question == Question::Steering {
            if !middle {
                return refused(self, "that is a trigger, which cannot steer: use a stick");
            }
            self.mapping.steering = Axis {
                axis: seen.axis,
                rest: Rest::Middle,
                // The kernel's axis values increase to the right.
                inverted: seen.farthest > 0.0,
            };
            return Some(self.ask(Question::Throttle));
        }
        if seen.axis == self.mapping.steering.axis {
            return refused(self, "that axis steers already: use another one");
        }
        if seen.rest > *MIDDLE.end() {
            return refused(
                self,
                "that axis rests at its greatest value, which [gamepad] cannot say: use another \
                 one",
            );
        }
        self.mapping.throttle = Axis {
            axis: seen.axis,
            rest: if middle { Rest::Middle } else { Rest::End },
            // The kernel's values of a stick increase towards the operator, those of a trigger
            // when it is pulled.
            inverted: middle && seen.farthest > 0.0,
        };
        Some(self.ask(Question::DeadMan))
    }

    fn pressed(&mut self, button: Button) -> Option<Step> {
        let taken = Step::Refused("that button is taken already: use another one");
        match self.question {
            Question::Rest | Question::Steering | Question::Throttle => None,
            Question::DeadMan => {
                self.mapping.dead_man = button;
                Some(self.ask(Question::Arm))
            }
            Question::Arm if button == self.mapping.dead_man => Some(taken),
            Question::Arm => {
                self.mapping.arm = button;
                Some(self.ask(Question::Stop))
            }
            Question::Stop if [self.mapping.dead_man, self.mapping.arm].contains(&button) => {
                Some(taken)
            }
            Question::Stop => {
                self.mapping.stop = button;
                Some(Step::Learned(self.mapping))
            }
        }
    }
}

/// The position of a value in its range, 0 to 1; `None` if the range is empty.
fn share(value: i32, range: Range) -> Option<f32> {
    let (least, most) = (f64::from(range.least), f64::from(range.most));
    let share = (f64::from(value) - least) / (most - least);
    (most > least).then_some(share.clamp(0.0, 1.0) as f32)
}
