//! What an engine gets besides the present picture: part of a drive's description, written once.

use pilotage_linux::SharedView;
use pilotage_vehicle::{LONGEST_COMMAND, Measurement, Measurements, Rays};

use crate::layout::at;

/// The largest number of high-level commands of a drive.
pub const MAX_COMMANDS: usize = 16;
/// Words of a command's name.
const NAME_WORDS: usize = LONGEST_COMMAND / 8;
/// Words of the description.
const INPUT_WORDS: usize = 6 + MAX_COMMANDS * NAME_WORDS;

const _: () = assert!(at::INPUTS + INPUT_WORDS <= at::TRACK);

/// Bits of the first word: the numbers that the engine gets, and above them those that are replaced.
const GETS: u64 = 1;
const REPLACED: u64 = 1 << 4;
const MEMORY: u64 = 1 << 8;
const SCAN: u64 = 1 << 9;
const SCAN_REPLACED: u64 = 1 << 10;

/// What the engine of a drive gets besides the present picture. Nothing by hand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineInputs {
    /// Whether it gets each number, in the order of [`Measurement::ALL`].
    pub measured: [bool; Measurement::ALL.len()],
    /// What it gets for a number that is missing or too old; without one, the car stops.
    pub replacements: Measurements,
    /// The names of the high-level commands; those beyond [`MAX_COMMANDS`] are left out, and a name is cut
    /// after [`LONGEST_COMMAND`] bytes.
    pub commands: Vec<String>,
    /// The directions of the scan that it gets.
    pub scan: Option<Rays>,
    /// What it gets for each ray without a scan, metres; without it, the car stops.
    pub scan_replacement: Option<f32>,
    /// It remembers pictures, states or its own answers.
    pub memory: bool,
}

impl EngineInputs {
    /// Whether the engine gets this number.
    pub fn gets(&self, measurement: Measurement) -> bool {
        let mut all = Measurement::ALL.into_iter().zip(self.measured);
        all.any(|(it, gets)| it == measurement && gets)
    }

    pub(crate) fn words(&self) -> [u64; INPUT_WORDS] {
        let mut bits = 0;
        let mut set = |bit: u64, is_set: bool| bits |= if is_set { bit } else { 0 };
        let mut numbers = [0_u32; Measurement::ALL.len()];
        for (index, measurement) in Measurement::ALL.into_iter().enumerate() {
            let replacement = self.replacements.get(measurement);
            set(GETS << index, self.gets(measurement));
            set(REPLACED << index, replacement.is_some());
            numbers[index] = replacement.unwrap_or_default().to_bits();
        }
        set(MEMORY, self.memory);
        set(SCAN, self.scan.is_some());
        set(SCAN_REPLACED, self.scan_replacement.is_some());
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let rays = self.scan;
        let count = rays.map_or(0, |rays| rays.count() as u32);
        let angles = rays.map_or((0.0, 0.0), |rays| (rays.start(), rays.end()));
        let commands = self.commands.len().min(MAX_COMMANDS);
        let mut words = [0; INPUT_WORDS];
        words[0] = bits;
        words[1] = pair(numbers[0], numbers[1]);
        words[2] = pair(numbers[2], numbers[3]);
        let metres = self.scan_replacement.unwrap_or_default();
        words[3] = pair(metres.to_bits(), count);
        words[4] = pair(angles.0.to_bits(), angles.1.to_bits());
        words[5] = commands as u64;
        let names = words[6..].as_chunks_mut::<NAME_WORDS>().0;
        for (to, name) in names.iter_mut().zip(&self.commands) {
            let mut bytes = [0; LONGEST_COMMAND];
            for (to, from) in bytes.iter_mut().zip(name.bytes()) {
                *to = from;
            }
            *to = zerocopy::transmute!(bytes);
        }
        words
    }

    /// The description in a memory, which may contain anything.
    pub(crate) fn read(view: &SharedView) -> Self {
        let word = |index: usize| view.load(at::INPUTS + index);
        let bits = word(0);
        let has = |bit: u64| bits & bit != 0;
        let mut inputs = Self {
            memory: has(MEMORY),
            ..Self::default()
        };
        for (index, measurement) in Measurement::ALL.into_iter().enumerate() {
            inputs.measured[index] = has(GETS << index);
            let number = f32::from_bits((word(1 + index / 2) >> (32 * (index % 2))) as u32);
            let replacement = has(REPLACED << index).then_some(number);
            inputs.replacements.set(measurement, replacement);
        }
        let low = |word: u64| f32::from_bits(word as u32);
        let high = |word: u64| (word >> 32) as u32;
        if has(SCAN) {
            let end = f32::from_bits(high(word(4)));
            inputs.scan = Rays::new(high(word(3)) as usize, low(word(4)), end);
        }
        inputs.scan_replacement = has(SCAN_REPLACED).then_some(low(word(3)));
        for command in 0..(word(5) as usize).min(MAX_COMMANDS) {
            let words = [0, 1, 2].map(|index| word(6 + command * NAME_WORDS + index));
            let bytes: [u8; LONGEST_COMMAND] = zerocopy::transmute!(words);
            let end = bytes.iter().position(|&byte| byte == 0);
            let name = &bytes[..end.unwrap_or(LONGEST_COMMAND)];
            inputs
                .commands
                .push(String::from_utf8_lossy(name).into_owned());
        }
        inputs
    }
}
