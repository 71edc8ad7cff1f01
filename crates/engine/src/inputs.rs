//! The input tensors of an engine from frame to frame.

mod bind;

use std::time::Duration;

use arrayvec::ArrayVec;
use pilotage_vehicle::{Measurement, Measurements, Rays, Scan};

use crate::memory::{AfterGap, PictureAxis};
use crate::rules::{CommandEncoding, InputRules, ScanRule};
use crate::{Buffer, ElementType, Output, Port, TensorMut, TensorRef};

use bind::{commanded, measured, scanned, signals, states, wrong};

/// The largest number of inputs of a driving policy.
pub const MOST_INPUTS: usize = 8;

/// Why inputs do not fit an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// The first input is not the pictures.
    #[error(
        "the engine's first input must have {expected} f32 or i8 elements (what its recipe's \
         `[input]` and `[memory]` make), but is {found}; compile it again"
    )]
    Picture {
        /// The number of elements of all pictures.
        expected: usize,
        /// The input.
        found: String,
    },
    /// An input has no rule, or a rule no input, or their sizes differ.
    #[error("the engine's input or output `{name}` {reason}; compile it again")]
    Port {
        /// The port.
        name: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// There are too many.
    #[error("the engine has {0} inputs, more than the {MOST_INPUTS} a driving policy may have")]
    TooMany(usize),
    /// A stored sample has another length.
    #[error("{found} bytes are not a sample of {expected}")]
    Sample {
        /// The length.
        expected: usize,
        /// What there is.
        found: usize,
    },
}

/// A picture, as the network's input has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureForm {
    /// Elements of one picture.
    pub len: usize,
    /// The number of channels.
    pub channels: usize,
    /// Whether the channels of a pixel are adjacent; else every channel is a plane.
    pub interleaved: bool,
}

/// A state: the place of the output among all outputs, concatenated, and its start value.
#[derive(Debug, Clone)]
struct State {
    input: usize,
    place: usize,
    start: Vec<f32>,
}

/// A signal: an element of an input, and how it is computed from the answers.
#[derive(Debug, Clone)]
struct Signal {
    input: usize,
    element: usize,
    output: Output,
    place: usize,
    scale: f32,
    offset: f32,
}

/// An element that is a number measured on the car.
#[derive(Debug, Clone)]
struct Measured {
    input: usize,
    element: usize,
    measurement: Measurement,
    scale: f32,
    offset: f32,
    /// What stands for a missing number; `None` if the car stops.
    missing: Option<f32>,
    max_age: Duration,
}

/// The input of a high-level command.
#[derive(Debug, Clone)]
struct Commanded {
    input: usize,
    encoding: CommandEncoding,
}

/// The input of a lidar's scan.
#[derive(Debug, Clone)]
struct Scanned {
    input: usize,
    rays: Rays,
    rule: ScanRule,
}

/// The network needs a scan, and the lidar gives none that is whole and recent enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoScan {
    /// The latest scan's age, if there is one that is too old.
    pub age: Option<Duration>,
}

/// A number that the network needs, and the sensors do not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmeasured {
    /// The number.
    pub measurement: Measurement,
    /// Its age, if it was measured, but too long ago.
    pub age: Option<Duration>,
}

/// The input tensors of an engine from frame to frame, by its [`InputRules`]. Nothing but
/// [`Inputs::new`] allocates.
///
/// For each frame: [`picture`](Self::picture) is written, and [`measure`](Self::measure),
/// [`command`](Self::command) and [`scan`](Self::scan) where the network has such inputs; [`advance`](Self::advance) completes
/// the inputs, [`tensors`](Self::tensors) are what the engine reads, and [`remember`](Self::remember)
/// takes its answers.
#[derive(Debug, Clone)]
pub struct Inputs {
    form: PictureForm,
    count: usize,
    after_gap: AfterGap,
    /// The pictures, the oldest first.
    history: Buffer,
    /// The first input, where its elements have another order than the pictures one after the other.
    woven: Option<Buffer>,
    /// The other inputs.
    others: Vec<Buffer>,
    states: Vec<State>,
    signals: Vec<Signal>,
    measured: Vec<Measured>,
    commanded: Option<Commanded>,
    scanned: Option<Scanned>,
    /// Whether no frame was seen since the start.
    fresh: bool,
    lacking: Lacking,
}

/// What the network gets, and was missing for the latest frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Numbers that were missing or too old, in the order of [`Measurement::ALL`].
    pub measured: [bool; Measurement::ALL.len()],
    /// The scan was missing or too old.
    pub scan: bool,
    /// Frames were missed, and a network with a memory went on so.
    pub after_gap: Option<AfterGap>,
}

impl Inputs {
    /// The inputs of an engine with these ports. `form` is that of one picture, and `outputs` are
    /// what the network's outputs mean.
    ///
    /// # Errors
    /// If the ports do not fit the rules.
    pub fn new(
        rules: &InputRules,
        form: PictureForm,
        (inputs, outputs): (&[Port], &[Port]),
        meanings: &[Output],
    ) -> Result<Self, InputsError> {
        if inputs.len() > MOST_INPUTS {
            return Err(InputsError::TooMany(inputs.len()));
        }
        let memory = &rules.memory;
        let count = memory.pictures.max(1);
        let expected = form.len.saturating_mul(count);
        let first = inputs.first().filter(|port| {
            port.len() == expected
                && matches!(port.element_type, ElementType::F32 | ElementType::I8)
        });
        let Some((first, others)) = first.zip(inputs.get(1..)) else {
            let found = inputs.first().map_or("missing".to_owned(), |port| {
                format!("`{}`, {} {:?}", port.name, port.element_type, port.shape)
            });
            return Err(InputsError::Picture { expected, found });
        };
        let weaves = count > 1 && form.interleaved && memory.axis == PictureAxis::Channels;
        let mut made = Self {
            form,
            count,
            after_gap: memory.after_gap,
            history: Buffer::zeros(first),
            woven: weaves.then(|| Buffer::zeros(first)),
            others: others.iter().map(Buffer::zeros).collect(),
            states: states(memory, others, outputs)?,
            signals: signals(memory, others, outputs, meanings)?,
            measured: measured(&rules.measurements, others)?,
            commanded: commanded(rules, others)?,
            scanned: scanned(rules, others)?,
            fresh: true,
            lacking: Lacking::default(),
        };
        for port in others {
            if port.element_type != ElementType::F32 {
                return Err(wrong(&port.name, "is not float32"));
            }
            if !rules.names().any(|name| name == port.name) {
                return Err(wrong(&port.name, "has no rule in the recipe"));
            }
        }
        if let Some(rule) = &rules.command {
            made.command(rule.place(&rule.default).unwrap_or(0));
        }
        made.reset();
        Ok(made)
    }

    /// Forgets everything: the next frame is the first.
    pub fn reset(&mut self) {
        self.fresh = true;
        for signal in &self.signals {
            if let Some(Buffer::F32(values)) = self.others.get_mut(signal.input) {
                values[signal.element] = signal.offset;
            }
        }
    }

    /// The place of the next picture.
    pub fn picture(&mut self) -> TensorMut<'_> {
        let last = (self.count - 1) * self.form.len;
        match &mut self.history {
            Buffer::F32(history) => TensorMut::F32(&mut shifted(history, self.form.len)[last..]),
            Buffer::I8(history) => TensorMut::I8(&mut shifted(history, self.form.len)[last..]),
            // `new` accepts no other type.
            _ => TensorMut::F32(&mut []),
        }
    }

    /// Sets the inputs that are measured on the car to what was measured `age` ago.
    ///
    /// # Errors
    /// The first number that is missing or too old, if the car must stop for it.
    pub fn measure(&mut self, measured: &Measurements, age: Duration) -> Result<(), Unmeasured> {
        let mut missing = Ok(());
        self.lacking = Lacking::default();
        for rule in &self.measured {
            let known = measured.get(rule.measurement);
            let fresh = known.filter(|_| age <= rule.max_age);
            for (lacking, it) in self.lacking.measured.iter_mut().zip(Measurement::ALL) {
                *lacking |= it == rule.measurement && fresh.is_none();
            }
            let Some(number) = fresh.or(rule.missing) else {
                missing = missing.and(Err(Unmeasured {
                    measurement: rule.measurement,
                    age: known.map(|_| age),
                }));
                continue;
            };
            if let Some(Buffer::F32(values)) = self.others.get_mut(rule.input) {
                values[rule.element] = rule.scale * number + rule.offset;
            }
        }
        missing
    }

    /// Sets the high-level command to the value at this place of the rule's values, until another is
    /// set.
    pub fn command(&mut self, place: usize) {
        let Some(rule) = &self.commanded else {
            return;
        };
        let Some(Buffer::F32(values)) = self.others.get_mut(rule.input) else {
            return;
        };
        match rule.encoding {
            CommandEncoding::OneHot => {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = if at == place { 1.0 } else { 0.0 };
                }
            }
            // There are few values.
            CommandEncoding::Index => values.fill(place as f32),
        }
    }

    /// Sets the input of a lidar's scan to the one that was complete `age` ago. For each direction of
    /// the rule the nearest ray counts. A direction that no ray is near has no echo.
    ///
    /// # Errors
    /// If the scan is not whole or too old, and the car must stop for it.
    pub fn scan(&mut self, scan: &Scan, age: Duration) -> Result<(), NoScan> {
        let Some(Scanned { input, rays, rule }) = &self.scanned else {
            return Ok(());
        };
        let Some(Buffer::F32(values)) = self.others.get_mut(*input) else {
            return Ok(());
        };
        let is_whole = scan.is_whole();
        if !is_whole || age > rule.max_age() {
            self.lacking.scan = true;
            let none = NoScan {
                age: is_whole.then_some(age),
            };
            let metres = rule.missing.number().ok_or(none)?;
            values.fill(rule.scaled(metres));
            return Ok(());
        }
        for (ray, value) in values.iter_mut().enumerate() {
            let nearest = scan.rays.nearest(rays.angle(ray));
            let found = nearest.and_then(|it| scan.millimetres.get(it));
            *value = rule.number(found.copied().unwrap_or(0));
        }
        Ok(())
    }

    /// Completes the inputs after the picture was written. `gap` says that frames were missed since
    /// the one before. Returns false if the car must stop for it.
    pub fn advance(&mut self, gap: bool) -> bool {
        let gap = gap && !self.fresh;
        let remembers = self.count > 1 || !self.states.is_empty() || !self.signals.is_empty();
        self.lacking.after_gap = (gap && remembers).then_some(self.after_gap);
        if self.fresh || (gap && self.after_gap == AfterGap::Reset) {
            self.fresh = false;
            let (len, last) = (self.form.len, (self.count - 1) * self.form.len);
            for at in 0..self.count - 1 {
                match &mut self.history {
                    Buffer::F32(history) => history.copy_within(last.., at * len),
                    Buffer::I8(history) => history.copy_within(last.., at * len),
                    _ => {}
                }
            }
            for state in &self.states {
                if let Some(Buffer::F32(values)) = self.others.get_mut(state.input) {
                    values.copy_from_slice(&state.start);
                }
            }
        }
        self.weave();
        !(gap && self.after_gap == AfterGap::Stop)
    }

    /// Puts the channels of all pictures of a pixel side by side.
    fn weave(&mut self) {
        let Some(woven) = &mut self.woven else {
            return;
        };
        let (count, channels, len) = (self.count, self.form.channels, self.form.len);
        match (&self.history, woven) {
            (Buffer::F32(history), Buffer::F32(woven)) => {
                weave(history, woven, (count, channels, len));
            }
            (Buffer::I8(history), Buffer::I8(woven)) => {
                weave(history, woven, (count, channels, len));
            }
            _ => {}
        }
    }

    /// What was missing for the latest frame, since [`measure`](Self::measure).
    pub const fn lacking(&self) -> Lacking {
        self.lacking
    }

    /// The tensors that the engine reads, in the order of its inputs.
    pub fn tensors(&self) -> ArrayVec<TensorRef<'_>, MOST_INPUTS> {
        let first = self.woven.as_ref().unwrap_or(&self.history);
        let all = [first].into_iter().chain(&self.others);
        all.map(Buffer::as_ref).collect()
    }

    /// Keeps of the network's answers, all outputs concatenated, what the next frame's inputs need.
    /// Returns false if that is not finite, and forgets everything then: such a state would spoil all
    /// answers that follow.
    pub fn remember(&mut self, answers: &[f32]) -> bool {
        let mut finite = true;
        for state in &self.states {
            let values = self.others.get_mut(state.input);
            let answer = answers.get(state.place..state.place + state.start.len());
            if let (Some(Buffer::F32(values)), Some(answer)) = (values, answer) {
                values.copy_from_slice(answer);
                finite &= answer.iter().all(|x| x.is_finite());
            }
        }
        for signal in &self.signals {
            let elements = answers.get(signal.place..).unwrap_or_default();
            let output = &signal.output;
            let number = output.scale * output.number(elements) + output.offset;
            if let Some(Buffer::F32(values)) = self.others.get_mut(signal.input) {
                values[signal.element] = signal.scale * number + signal.offset;
                finite &= number.is_finite();
            }
        }
        if !finite {
            self.reset();
        }
        finite
    }

    /// The inputs other than pictures as bytes: the second part of a sample.
    pub fn other_bytes(&self) -> Vec<u8> {
        let others = self.others.iter().filter_map(|other| match other {
            Buffer::F32(values) => Some(values),
            _ => None,
        });
        others.flatten().flat_map(|x| x.to_le_bytes()).collect()
    }
}

/// The pictures, with the oldest one dropped.
fn shifted<T: Copy>(history: &mut [T], len: usize) -> &mut [T] {
    if history.len() > len {
        history.copy_within(len.., 0);
    }
    history
}

fn weave<T: Copy>(history: &[T], woven: &mut [T], (count, channels, len): (usize, usize, usize)) {
    for (at, picture) in history.chunks_exact(len.max(1)).enumerate() {
        let pixels = picture.chunks_exact(channels.max(1));
        let places = woven.chunks_exact_mut((count * channels).max(1));
        for (pixel, place) in pixels.zip(places) {
            place[at * channels..][..channels].copy_from_slice(pixel);
        }
    }
}

#[cfg(test)]
mod tests;
