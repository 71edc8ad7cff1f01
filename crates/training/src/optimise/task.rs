//! What is learned and measured: frames, the controls that were recorded, the model's elements.

use pilotage_compiler::SourceModel;
use pilotage_dataset::Record;
use pilotage_engine::{Meaning, Output};
use pilotage_graph::Graph;
use pilotage_learning::Network;
use pilotage_simulator::Random;
use pilotage_vision::Preprocess;

use super::recipe::{OptimiseRecipe, Settings};
use crate::cloning::augment::{Change, Slot, Values, per_width};
use crate::cloning::fit::{LEAST_DEVIATION, values};
use crate::cloning::frames::Frames;
use crate::cloning::recipe::LearnedOutput;
use crate::cloning::split::Split;
use crate::imitate::by_speed;

/// One number that the car uses.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The control.
    pub output: Output,
    /// The index of its first element in the answers of the trained model, in which all outputs are
    /// concatenated.
    pub place: usize,
    /// The index of its recorded values in the frames' labels, if they were recorded.
    pub label: Option<usize>,
}

impl Wanted {
    fn learned(&self) -> LearnedOutput {
        learned(&self.output)
    }

    /// The control in an answer whose elements of this control begin at `place`, in the car's unit.
    fn control(&self, answer: &[f32], place: usize) -> f32 {
        let number = self.output.number(answer.get(place..).unwrap_or_default());
        number * self.output.scale + self.output.offset
    }

    /// Whether recorded values can be learned: the control is one element of the answer.
    fn is_learned(&self) -> bool {
        self.label.is_some() && self.output.bins.is_none()
    }
}

/// The control of a model's output.
fn learned(output: &Output) -> LearnedOutput {
    LearnedOutput {
        meaning: output.meaning,
        scale: output.scale,
        offset: output.offset,
    }
}

/// The numbers of a model, and the outputs that most of `records` have values for, as labels.
pub fn wanted<'a>(
    model: &SourceModel,
    records: impl Iterator<Item = &'a Record> + Clone,
) -> (Vec<Wanted>, Vec<LearnedOutput>) {
    let mut labels = Vec::new();
    let of_output = |output: &Output| {
        let control = learned(output);
        let (mut with, mut all) = (0, 0);
        for record in records.clone() {
            with += usize::from(control.of_record(record).is_some());
            all += 1;
        }
        let label = (with * 2 >= all && all > 0).then(|| {
            labels.push(control);
            labels.len() - 1
        });
        Wanted {
            place: place(&model.graph, output),
            output: output.clone(),
            label,
        }
    };
    let wanted = model.outputs.iter().map(of_output).collect();
    (wanted, labels)
}

/// The index of an output's first element in the concatenated outputs of `graph`.
fn place(graph: &Graph, output: &Output) -> usize {
    let values = graph.outputs.iter().map(|&value| graph.value(value));
    let before = values.take_while(|value| value.name != output.name);
    let elements = before.map(|value| value.shape.iter().product::<usize>());
    elements.sum::<usize>() + output.index
}

/// What is learned and measured.
#[derive(Debug)]
pub struct Task<'a> {
    /// The recipe.
    pub recipe: &'a OptimiseRecipe,
    /// The course of the training: the recipe's, unless it is changed.
    pub settings: Settings,
    /// All frames.
    pub frames: &'a Frames,
    /// Which of them are learned and held back.
    pub split: &'a Split,
    /// The numbers that the car uses.
    pub wanted: Vec<Wanted>,
    per_width: f64,
    /// For each held-back frame and number, the control that the error is measured against, in the
    /// car's unit, and the deviation of each.
    expected: Vec<f32>,
    deviation: Vec<f64>,
    own_error: f64,
}

impl<'a> Task<'a> {
    /// The task of `recipe`. The trained `model` answers where nothing was recorded.
    pub fn new(
        recipe: &'a OptimiseRecipe,
        (frames, split): (&'a Frames, &'a Split),
        wanted: Vec<Wanted>,
        model: &mut Network,
    ) -> Self {
        let turning = wanted.iter().find(|w| w.learned().turns());
        let turning = turning.and_then(|wanted| wanted.label);
        let steering = split.learned.iter().map(|&index| match turning {
            Some(label) => frames.label(index)[label],
            None => 0.0,
        });
        let steering: Vec<f32> = steering.collect();
        let mut task = Self {
            recipe,
            settings: recipe.settings,
            frames,
            split,
            per_width: per_width(&recipe.augment, deviation(&steering)),
            expected: Vec::new(),
            deviation: Vec::new(),
            own_error: 0.0,
            wanted,
        };
        let answers = task.answers(model, &task.normalised(), &split.held_back);
        let places: Vec<usize> = task.wanted.iter().map(|wanted| wanted.place).collect();
        let mut expected = task.controls(&answers, &places);
        let count = task.wanted.len();
        for (row, &index) in expected
            .chunks_exact_mut(count.max(1))
            .zip(&split.held_back)
        {
            for (control, wanted) in row.iter_mut().zip(&task.wanted) {
                if let Some(label) = wanted.label {
                    *control = frames.label(index)[label];
                }
            }
        }
        task.deviation = (0..count)
            .map(|number| {
                let column: Vec<f32> = expected
                    .iter()
                    .skip(number)
                    .step_by(count)
                    .copied()
                    .collect();
                deviation(&column).max(LEAST_DEVIATION)
            })
            .collect();
        task.expected = expected;
        task.own_error = task.error(&answers, &places);
        task
    }

    /// The error of the trained model; see [`error`](Self::error).
    pub fn own_error(&self) -> f64 {
        self.own_error
    }

    /// The input of the trained model for every byte, by channel.
    pub fn normalised(&self) -> Values {
        values(&self.recipe.compile.input)
    }

    /// The input of a network that takes pixels minus 128.
    pub fn pixels(&self) -> Values {
        let channels = self.recipe.compile.input.colour.channels();
        vec![std::array::from_fn(|byte| byte as f32 - 128.0); channels]
    }

    /// At most `most` of the learned frames' pictures, evenly chosen.
    pub fn learned_pictures(&self, most: usize) -> Vec<&[u8]> {
        let learned = &self.split.learned;
        let chosen = pilotage_dataset::evenly(learned.len(), most).into_iter();
        chosen.map(|at| self.frames.picture(learned[at])).collect()
    }

    /// The indices of the learned frames of one pass, in random order. Each is used once: drawing
    /// bends more often, as the training of a new network does, would shift the answers of one that
    /// has learned.
    pub fn draw(&self, random: &mut Random) -> Vec<usize> {
        let mut drawn = self.split.learned.clone();
        random.shuffle(&mut drawn);
        drawn
    }

    /// Writes a changed frame to a network's input, with `values` for its bytes.
    pub fn write(&self, frame: usize, change: &Change, values: &Values, input: &mut [f32]) {
        let preprocess = &self.recipe.compile.input;
        let (picture, layout) = (self.frames.picture(frame), preprocess.layout);
        change.write(
            Slot::only(layout),
            picture,
            shape(preprocess),
            values,
            input,
        );
    }

    /// The random changes of one use of a frame.
    pub fn change(&self, random: &mut Random) -> Change {
        let [height, width, _] = shape(&self.recipe.compile.input);
        Change::draw(&self.recipe.augment, [height, width], random)
    }

    /// Writes what a network is to answer for a changed frame, and the weight of each element's
    /// error. `teacher` is the trained model's answer, `share` its share; `places` has the first
    /// element of each number in the network's answer.
    pub fn targets(
        &self,
        (frame, change): (usize, &Change),
        (teacher, share): (&[f32], f32),
        places: &[usize],
        (targets, weights): (&mut [f32], &mut [f32]),
    ) {
        let [_, width, _] = shape(&self.recipe.compile.input);
        weights.fill(0.0);
        let numbers = self.wanted.iter().zip(places).zip(&self.deviation);
        for ((wanted, &place), deviation) in numbers {
            let elements = wanted.output.elements();
            let from = &teacher[wanted.place..][..elements];
            targets[place..][..elements].copy_from_slice(from);
            if let (true, Some(label)) = (wanted.is_learned(), wanted.label) {
                let recorded = self.frames.label(frame)[label];
                let learned = wanted.learned();
                let control = change.control(&learned, recorded, self.per_width, width);
                let number = (control - learned.offset) / learned.scale;
                targets[place] = share * from[0] + (1.0 - share) * number;
            }
            let weight = match &wanted.output.bins {
                Some(_) => 1.0,
                None => {
                    let ratio = f64::from(wanted.output.scale) / deviation;
                    (ratio * ratio) as f32
                }
            };
            let weight = match wanted.output.meaning {
                Meaning::YawRate => weight * self.steering_weight(frame),
                _ => weight,
            };
            weights[place..][..elements].fill(weight);
        }
    }

    /// The weight of an error of the yaw rate in a frame, by the recorded speed; see
    /// [`crate::imitate::importance`].
    fn steering_weight(&self, frame: usize) -> f32 {
        let mut speeds = self
            .wanted
            .iter()
            .filter(|it| it.output.meaning == Meaning::Speed);
        let label = speeds.next().and_then(|speed| speed.label);
        label.map_or(1.0, |label| by_speed(self.frames.label(frame)[label]))
    }

    /// The mean of the expected values of each number, before its scale and offset.
    pub fn means(&self) -> Vec<f32> {
        let count = self.wanted.len().max(1);
        let numbers = self.wanted.iter().enumerate().map(|(number, wanted)| {
            let column = self.expected.iter().skip(number).step_by(count);
            let frames = (self.expected.len() / count).max(1) as f64;
            let mean = column.map(|&x| f64::from(x)).sum::<f64>() / frames;
            (mean as f32 - wanted.output.offset) / wanted.output.scale
        });
        numbers.collect()
    }

    /// Whether some number can only be learned from the trained model.
    pub fn needs_teacher(&self) -> bool {
        !self.wanted.iter().all(Wanted::is_learned)
    }

    /// A network's answers for frames, one after the other.
    pub fn answers(&self, network: &mut Network, values: &Values, frames: &[usize]) -> Vec<f32> {
        let unchanged = Change::none();
        network.answers(frames.len(), &|index, example| {
            if let Some(input) = example.inputs.first_mut() {
                self.write(frames[index], &unchanged, values, input);
            }
        })
    }

    /// The mean over the numbers of the mean squared error of `answers` on the held-back frames,
    /// divided by the variance of the expected values: 1 is that of the mean.
    pub fn error(&self, answers: &[f32], places: &[usize]) -> f64 {
        let controls = self.controls(answers, places);
        let count = self.wanted.len().max(1);
        let squares = controls.iter().zip(&self.expected).enumerate();
        let sum: f64 = squares
            .map(|(at, (&control, &expected))| {
                let error = f64::from(control - expected) / self.deviation[at % count];
                error * error
            })
            .sum();
        sum / self.expected.len().max(1) as f64
    }

    /// The controls in the answers for held-back frames, in the car's units.
    fn controls(&self, answers: &[f32], places: &[usize]) -> Vec<f32> {
        let frames = self.split.held_back.len().max(1);
        let rows = answers.chunks_exact((answers.len() / frames).max(1));
        let numbers = |row| {
            let wanted = self.wanted.iter().zip(places);
            wanted.map(move |(wanted, &place)| wanted.control(row, place))
        };
        rows.flat_map(numbers).collect()
    }
}

/// Height, width and channels.
pub fn shape(input: &Preprocess) -> [usize; 3] {
    let (height, width) = (input.height as usize, input.width as usize);
    [height, width, input.colour.channels()]
}

fn deviation(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}
