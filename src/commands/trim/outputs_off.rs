//! The step of `pilotage trim` that tries the OE pin.

use std::sync::mpsc::Receiver;

use pilotage_console::print;
use pilotage_guard::Point;

use super::Session;

/// What is printed when the outputs stay on.
const NO_EFFECT: &str = "\
OE does not turn the outputs off: check its wire, the line in `output_enable` and the pull-down on the
chip's board (docs/hardware.md). Until it does, only a switch stops this car while its bus hangs.";

impl Session<'_> {
    /// Turns the outputs off by the OE pin, and asks whether the servo goes limp. The pin is no value of
    /// the file, so nothing is written. Returns false if the operator quits.
    pub(super) fn ask_outputs_off(
        &mut self,
        typed: &Receiver<Option<String>>,
    ) -> anyhow::Result<bool> {
        let question = "the outputs are off by OE: can you turn the front wheels by hand? y, n";
        let advice = "y, n if the servo holds them, = to try once more, or q";
        let answer = self.ask((Point::OutputsOff, 1), question, advice, typed)?;
        if answer == Some(false) {
            print(NO_EFFECT);
        }
        Ok(answer.is_some())
    }
}
