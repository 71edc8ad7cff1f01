//! The tensors of an engine, and what it is asked and answers, in memory that two processes share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pilotage_engine::{ElementType, EngineError, Port, TensorMut, TensorRef, Timing};
use pilotage_linux::{Exchange, Side};

use super::message::{invalid, one_line};

/// The pilot's process, which sets its flag to the number of a request.
pub(super) const PARENT: Side = Side::Maker;
/// The engine's process, which sets its flag to the number of the request that it has answered.
pub(super) const CHILD: Side = Side::Opener;
/// Instead of a number: this side takes no part any more.
pub(super) const END: u32 = u32::MAX;

/// The largest number of inputs, and of outputs.
pub(super) const MOST_PORTS: usize = 8;
/// The longest text of an error, words.
const TEXT_WORDS: usize = 64;

/// The first words of the memory.
mod at {
    pub(super) const REQUEST: usize = 0;
    pub(super) const RESULT: usize = 1;
    pub(super) const LIMIT: usize = 2;
    pub(super) const DEVICE: usize = 3;
    pub(super) const TEXT_LENGTH: usize = 4;
    pub(super) const TEXT: usize = 8;
    pub(super) const TENSORS: usize = TEXT + super::TEXT_WORDS;
}

/// What an engine is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Prepare,
    Infer,
}

/// How an engine answered, as a number in the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Code {
    Done,
    Device,
    NotFinite,
    Late,
    Lost,
    Panicked,
}

/// An engine's tensors in a memory.
#[derive(Debug)]
pub(super) struct Tensors {
    memory: Exchange,
    inputs: Vec<Place>,
    outputs: Vec<Place>,
}

/// The words of a tensor.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    words: usize,
}

/// The places of all tensors, and the number of words.
fn places(inputs: &[Port], outputs: &[Port]) -> Option<(Vec<Place>, Vec<Place>, usize)> {
    if inputs.len() > MOST_PORTS || outputs.len() > MOST_PORTS {
        return None;
    }
    let mut first = at::TENSORS;
    let mut place = |port: &Port| {
        let mut bytes = element_bytes(port.element_type);
        for &size in &port.shape {
            bytes = bytes.checked_mul(size)?;
        }
        let place = Place {
            first,
            words: bytes.div_ceil(8),
        };
        // Each tensor has cache lines of its own.
        first = first.checked_add(place.words.next_multiple_of(8))?;
        Some(place)
    };
    let inputs = inputs.iter().map(&mut place).collect::<Option<_>>()?;
    let outputs = outputs.iter().map(&mut place).collect::<Option<_>>()?;
    Some((inputs, outputs, first))
}

const fn element_bytes(element_type: ElementType) -> usize {
    match element_type {
        // No port is F16.
        ElementType::F32 | ElementType::F16 | ElementType::I32 => 4,
        ElementType::I64 => 8,
        ElementType::U8 | ElementType::Bool | ElementType::I8 => 1,
    }
}

impl Tensors {
    /// Makes a memory for the tensors of these ports.
    pub(super) fn create(inputs: &[Port], outputs: &[Port]) -> io::Result<Self> {
        let (inputs, outputs, words) =
            places(inputs, outputs).ok_or_else(|| invalid("its tensors are too large"))?;
        Ok(Self {
            memory: Exchange::create("pilotage-engine", words)?,
            inputs,
            outputs,
        })
    }

    /// Maps the memory that the other process made for the same ports.
    pub(super) fn open(file: OwnedFd, inputs: &[Port], outputs: &[Port]) -> io::Result<Self> {
        let (inputs, outputs, words) =
            places(inputs, outputs).ok_or_else(|| invalid("its tensors are too large"))?;
        let memory = Exchange::open(file)?;
        if memory.words().len() < words {
            return Err(invalid("the memory is smaller than the tensors"));
        }
        // Map every page now, and not in the first frame.
        for word in memory.words() {
            word.load(Ordering::Relaxed);
        }
        Ok(Self {
            memory,
            inputs,
            outputs,
        })
    }

    /// The memory with its flags.
    pub(super) const fn memory(&self) -> &Exchange {
        &self.memory
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.memory.words()[index]
    }

    fn words(&self, place: Place) -> &[AtomicU64] {
        &self.memory.words()[place.first..place.first + place.words]
    }

    /// Writes the request. It is valid once the flag is set.
    pub(super) fn write_request(&self, request: Request) {
        let request = u64::from(request == Request::Infer);
        self.word(at::REQUEST).store(request, Ordering::Relaxed);
    }

    pub(super) fn request(&self) -> Request {
        match self.word(at::REQUEST).load(Ordering::Relaxed) {
            0 => Request::Prepare,
            _ => Request::Infer,
        }
    }

    pub(super) fn write_input(&self, index: usize, tensor: TensorRef<'_>) {
        store(self.words(self.inputs[index]), tensor);
    }

    pub(super) fn read_input(&self, index: usize, tensor: &mut TensorMut<'_>) {
        load(self.words(self.inputs[index]), tensor);
    }

    pub(super) fn write_output(&self, index: usize, tensor: TensorRef<'_>) {
        store(self.words(self.outputs[index]), tensor);
    }

    pub(super) fn read_output(&self, index: usize, tensor: &mut TensorMut<'_>) {
        load(self.words(self.outputs[index]), tensor);
    }

    /// Writes the engine's result.
    pub(super) fn write_result(&self, result: &Result<Timing, EngineError>) {
        let mut device = 0;
        let mut limit = Duration::ZERO;
        let mut text = "";
        let other;
        let code = match result {
            Ok(timing) => {
                device = timing.device.map_or(0, |device| nanos(device) + 1);
                Code::Done
            }
            Err(EngineError::NotFinite) => Code::NotFinite,
            Err(EngineError::ThreadPanicked) => Code::Panicked,
            Err(EngineError::Late { limit: passed }) => {
                limit = *passed;
                Code::Late
            }
            Err(EngineError::Lost { reason }) => {
                text = reason;
                Code::Lost
            }
            Err(error) => {
                other = error.to_string();
                text = &other;
                Code::Device
            }
        };
        let put = |index, value| self.word(index).store(value, Ordering::Relaxed);
        put(at::RESULT, code as u64);
        put(at::LIMIT, nanos(limit));
        put(at::DEVICE, device);
        let text = &text.as_bytes()[..text.len().min(TEXT_WORDS * 8)];
        put(at::TEXT_LENGTH, text.len() as u64);
        let words = &self.memory.words()[at::TEXT..at::TENSORS];
        store(words, TensorRef::U8(text));
    }

    /// Reads the engine's result. Of the time, only that on the device is known.
    pub(super) fn result(&self) -> Result<Timing, EngineError> {
        let get = |index| self.word(index).load(Ordering::Relaxed);
        let limit = Duration::from_nanos(get(at::LIMIT));
        let code = get(at::RESULT);
        if code == Code::Done as u64 {
            let device = get(at::DEVICE).checked_sub(1).map(Duration::from_nanos);
            return Ok(Timing {
                device,
                ..Timing::default()
            });
        }
        Err(match code {
            code if code == Code::NotFinite as u64 => EngineError::NotFinite,
            code if code == Code::Panicked as u64 => EngineError::ThreadPanicked,
            code if code == Code::Late as u64 => EngineError::Late { limit },
            code if code == Code::Lost as u64 => EngineError::Lost {
                reason: self.text(),
            },
            _ => EngineError::Device {
                reason: self.text(),
            },
        })
    }

    fn text(&self) -> String {
        let length = self.word(at::TEXT_LENGTH).load(Ordering::Relaxed);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(TEXT_WORDS * 8)];
        let words = &self.memory.words()[at::TEXT..at::TENSORS];
        load(words, &mut TensorMut::U8(&mut bytes));
        one_line(&String::from_utf8_lossy(&bytes))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// Copies a tensor to words. Its bytes are in the processor's order, as both processes run here.
fn store(words: &[AtomicU64], tensor: TensorRef<'_>) {
    fn pack<T: Copy + Default, const N: usize>(
        words: &[AtomicU64],
        data: &[T],
        pack: impl Fn([T; N]) -> u64,
    ) {
        let (whole, rest) = data.as_chunks::<N>();
        for (word, &elements) in words.iter().zip(whole) {
            word.store(pack(elements), Ordering::Relaxed);
        }
        if let (Some(word), false) = (words.get(whole.len()), rest.is_empty()) {
            let mut last = [T::default(); N];
            last[..rest.len()].copy_from_slice(rest);
            word.store(pack(last), Ordering::Relaxed);
        }
    }
    match tensor {
        TensorRef::F32(data) => pack(words, data, |[a, b]: [f32; 2]| {
            u64::from(a.to_bits()) | u64::from(b.to_bits()) << 32
        }),
        TensorRef::I32(data) => pack(words, data, |[a, b]: [i32; 2]| {
            u64::from(a.cast_unsigned()) | u64::from(b.cast_unsigned()) << 32
        }),
        TensorRef::I64(data) => pack(words, data, |[a]: [i64; 1]| a.cast_unsigned()),
        TensorRef::U8(data) => pack(words, data, u64::from_le_bytes),
        TensorRef::I8(data) => pack(words, data, |elements: [i8; 8]| {
            u64::from_le_bytes(elements.map(i8::cast_unsigned))
        }),
    }
}

/// Copies words to a tensor.
fn load(words: &[AtomicU64], tensor: &mut TensorMut<'_>) {
    fn unpack<T: Copy, const N: usize>(
        words: &[AtomicU64],
        data: &mut [T],
        unpack: impl Fn(u64) -> [T; N],
    ) {
        let (whole, rest) = data.as_chunks_mut::<N>();
        let count = whole.len();
        for (word, elements) in words.iter().zip(whole) {
            *elements = unpack(word.load(Ordering::Relaxed));
        }
        if let (Some(word), false) = (words.get(count), rest.is_empty()) {
            let last = unpack(word.load(Ordering::Relaxed));
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
    /// The two halves of a word.
    const fn halves(word: u64) -> [u32; 2] {
        [word as u32, (word >> 32) as u32]
    }
    match tensor {
        TensorMut::F32(data) => unpack(words, data, |word| halves(word).map(f32::from_bits)),
        TensorMut::I32(data) => unpack(words, data, |word| halves(word).map(u32::cast_signed)),
        TensorMut::I64(data) => unpack(words, data, |word| [word.cast_signed()]),
        TensorMut::U8(data) => unpack(words, data, u64::to_le_bytes),
        TensorMut::I8(data) => unpack(words, data, |word| word.to_le_bytes().map(u8::cast_signed)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..40).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    proptest! {
        #[test]
        fn tensors_of_each_type_and_length_come_back(
            bytes in prop::collection::vec(any::<i8>(), 0..40),
            floats in prop::collection::vec(any::<u32>(), 0..40),
            long in prop::collection::vec(any::<i64>(), 0..40),
        ) {
            let words = words();
            let mut found = vec![0; bytes.len()];
            store(&words, TensorRef::I8(&bytes));
            load(&words, &mut TensorMut::I8(&mut found));
            prop_assert_eq!(&found, &bytes);
            let unsigned: Vec<u8> = bytes.iter().map(|byte| byte.cast_unsigned()).collect();
            let mut found = vec![0; bytes.len()];
            store(&words, TensorRef::U8(&unsigned));
            load(&words, &mut TensorMut::U8(&mut found));
            prop_assert_eq!(found, unsigned);
            // As bits: a NaN comes back as well.
            let given: Vec<f32> = floats.iter().map(|&bits| f32::from_bits(bits)).collect();
            let mut found = vec![0.0; floats.len()];
            store(&words, TensorRef::F32(&given));
            load(&words, &mut TensorMut::F32(&mut found));
            let found: Vec<u32> = found.iter().map(|float| float.to_bits()).collect();
            prop_assert_eq!(found, floats);
            let mut found = vec![0; long.len()];
            store(&words, TensorRef::I64(&long));
            load(&words, &mut TensorMut::I64(&mut found));
            prop_assert_eq!(&found, &long);
            let halves: Vec<i32> = long.iter().map(|&number| number as i32).collect();
            let mut found = vec![0; long.len()];
            store(&words, TensorRef::I32(&halves));
            load(&words, &mut TensorMut::I32(&mut found));
            prop_assert_eq!(found, halves);
        }
    }

    #[test]
    fn each_result_comes_back_and_a_long_text_is_cut() {
        let tensors = Tensors::create(&[], &[]).unwrap();
        let limit = Duration::from_millis(25);
        let timing = Timing {
            device: Some(Duration::from_nanos(7)),
            ..Timing::default()
        };
        let reason = || "an illegal address".to_owned();
        for result in [
            Ok(timing),
            Ok(Timing::default()),
            Err(EngineError::NotFinite),
            Err(EngineError::ThreadPanicked),
            Err(EngineError::Late { limit }),
            Err(EngineError::Lost { reason: reason() }),
            Err(EngineError::Device { reason: reason() }),
        ] {
            tensors.write_result(&result);
            assert_eq!(tensors.result(), result);
        }
        let reason = "x\n".repeat(1000);
        tensors.write_result(&Err(EngineError::Device { reason }));
        let reason = "x ".repeat(256);
        assert_eq!(tensors.result(), Err(EngineError::Device { reason }));
    }
}
