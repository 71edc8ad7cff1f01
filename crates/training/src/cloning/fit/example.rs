//! The examples that a network learns from.

use pilotage_learning::Example;
use pilotage_simulator::Random;

use super::Task;
use crate::cloning::augment::{Change, Slot};

impl Task<'_> {
    /// Height, width and channels of a picture.
    fn picture(&self) -> [usize; 3] {
        let input = &self.recipe.input;
        let [width, height] = [input.width, input.height].map(|side| side as usize);
        [height, width, input.colour.channels()]
    }

    /// Writes a frame's picture and those before it, the oldest first, all with the same change, and
    /// what sensors measured.
    pub(super) fn write_inputs(&self, frame: usize, change: &Change, inputs: &mut [&mut [f32]]) {
        let Some((out, inputs)) = inputs.split_first_mut() else {
            return;
        };
        let numbers = self.numbers.iter().zip(self.frames.numbers(frame));
        for ((number, &measured), input) in numbers.zip(inputs) {
            input.fill(number.element(measured, change.is_mirrored()));
        }
        let count = self.recipe.memory.pictures;
        for index in 0..count {
            let picture = self
                .frames
                .picture(self.frames.before(frame, count - 1 - index));
            let slot = Slot {
                layout: self.recipe.input.layout,
                index,
                count,
            };
            change.write(slot, picture, self.picture(), &self.values, out);
        }
    }

    /// Fills an example with a randomly changed frame.
    pub(super) fn example(&self, frame: usize, random: &mut Random, example: &mut Example<'_>) {
        let [height, width, _] = self.picture();
        let change = Change::draw(&self.recipe.augment, [height, width], random);
        self.write_inputs(frame, &change, &mut example.inputs);
        // Numbers of the network that are not learned do not count.
        example.weights.fill(0.0);
        let labels = self.frames.label(frame).iter().zip(&self.outputs);
        let ports = self.ports.iter().zip(self.importance());
        for ((&label, output), (port, importance)) in labels.zip(ports) {
            let control = change.control(output, label, self.per_width, width);
            example.targets[port.element] = (control - output.offset) / output.scale;
            example.weights[port.element] = importance;
        }
        example.seed = random.bits();
    }
}
