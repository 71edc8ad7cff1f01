use super::*;
use crate::fill_inputs;
use crate::memory::{ElementNumbers, Memory, SignalRule, StateRule};
use crate::rules::{CommandRule, MeasurementRule, Missing};
use crate::{AxisOrder, Meaning};

fn port(name: &str, shape: &[usize], element_type: ElementType) -> Port {
    Port {
        name: name.into(),
        shape: shape.to_vec(),
        element_type,
        layout: AxisOrder::Model,
    }
}

fn steering() -> Output {
    Output {
        name: "controls".into(),
        index: 1,
        meaning: Meaning::Steering,
        scale: 2.0,
        offset: 0.5,
        bins: None,
    }
}

/// Two pixels of two channels.
const INTERLEAVED: PictureForm = PictureForm {
    len: 4,
    channels: 2,
    interleaved: true,
};

fn write(inputs: &mut Inputs, picture: [f32; 4]) {
    let TensorMut::F32(to) = inputs.picture() else {
        panic!("not f32");
    };
    to.copy_from_slice(&picture);
}

fn floats(tensor: TensorRef<'_>) -> Vec<f32> {
    match tensor {
        TensorRef::F32(values) => values.to_vec(),
        _ => panic!("not f32"),
    }
}

fn stack(axis: PictureAxis, after_gap: AfterGap, form: PictureForm) -> Inputs {
    let memory = Memory {
        pictures: 2,
        axis,
        after_gap,
        ..Memory::default()
    };
    let ports = [port("image", &[1, 8], ElementType::F32)];
    Inputs::new(&memory.into(), form, (&ports, &[]), &[]).unwrap()
}

#[test]
fn the_first_picture_stands_for_those_before_it_and_the_oldest_is_first() {
    let mut inputs = stack(PictureAxis::Time, AfterGap::Hold, INTERLEAVED);
    write(&mut inputs, [1.0, 2.0, 3.0, 4.0]);
    assert!(inputs.advance(false));
    let first = floats(inputs.tensors()[0]);
    assert_eq!(first, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    write(&mut inputs, [5.0, 6.0, 7.0, 8.0]);
    assert!(inputs.advance(false));
    let second = floats(inputs.tensors()[0]);
    assert_eq!(second, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn channels_of_a_pixel_lie_side_by_side_where_channels_are_last() {
    let mut inputs = stack(PictureAxis::Channels, AfterGap::Hold, INTERLEAVED);
    for picture in [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]] {
        write(&mut inputs, picture);
        inputs.advance(false);
    }
    let woven = [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0];
    assert_eq!(floats(inputs.tensors()[0]), woven);

    // Planes follow one another already.
    let planes = PictureForm {
        interleaved: false,
        ..INTERLEAVED
    };
    let mut inputs = stack(PictureAxis::Channels, AfterGap::Hold, planes);
    for picture in [[1.0, 3.0, 2.0, 4.0], [5.0, 7.0, 6.0, 8.0]] {
        write(&mut inputs, picture);
        inputs.advance(false);
    }
    let planar = [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0];
    assert_eq!(floats(inputs.tensors()[0]), planar);
}

#[test]
fn after_a_gap_the_rule_decides() {
    let show = |after_gap| {
        let mut inputs = stack(PictureAxis::Time, after_gap, INTERLEAVED);
        write(&mut inputs, [1.0; 4]);
        // Before the first frame there is nothing to miss.
        assert!(inputs.advance(true), "{after_gap:?}");
        write(&mut inputs, [2.0; 4]);
        let goes_on = inputs.advance(true);
        (goes_on, floats(inputs.tensors()[0])[0])
    };
    assert_eq!(show(AfterGap::Hold), (true, 1.0));
    assert_eq!(show(AfterGap::Reset), (true, 2.0));
    assert_eq!(show(AfterGap::Stop), (false, 1.0));
}

/// A state of two elements and a signal of one, with their ports.
fn recurrent() -> (Memory, [Port; 3], [Port; 2]) {
    let memory = Memory {
        after_gap: AfterGap::Reset,
        state: vec![StateRule {
            input: "h".into(),
            output: "h_next".into(),
            start: ElementNumbers::Each(vec![0.25, -0.25]),
        }],
        signal: vec![SignalRule {
            input: "car".into(),
            values: vec![Meaning::Steering],
            scale: 10.0,
            offset: 1.0,
        }],
        ..Memory::default()
    };
    let inputs = [
        port("image", &[1, 4], ElementType::I8),
        port("car", &[1, 1], ElementType::F32),
        port("h", &[1, 2], ElementType::F32),
    ];
    let outputs = [
        port("controls", &[1, 2], ElementType::F32),
        port("h_next", &[1, 2], ElementType::F32),
    ];
    (memory, inputs, outputs)
}

#[test]
fn states_and_signals_come_from_the_answers() {
    let (memory, ports, outputs) = recurrent();
    let made = Inputs::new(
        &memory.clone().into(),
        INTERLEAVED,
        (&ports, &outputs),
        &[steering()],
    );
    let mut inputs = made.unwrap();
    let others = |inputs: &Inputs| {
        let tensors = inputs.tensors();
        (floats(tensors[1]), floats(tensors[2]))
    };
    inputs.advance(false);
    assert_eq!(others(&inputs), (vec![1.0], vec![0.25, -0.25]));
    assert!(inputs.remember(&[9.0, 0.125, 7.0, 8.0]));
    inputs.advance(false);
    // 10 (2 * 0.125 + 0.5) + 1
    assert_eq!(others(&inputs), (vec![8.5], vec![7.0, 8.0]));
    // The state starts anew after a gap; what was answered stays a fact.
    inputs.advance(true);
    assert_eq!(others(&inputs), (vec![8.5], vec![0.25, -0.25]));
    // A state that is not finite is not kept.
    assert!(!inputs.remember(&[0.0, 0.0, f32::NAN, 0.0]));
    inputs.advance(false);
    assert_eq!(others(&inputs), (vec![1.0], vec![0.25, -0.25]));
}

#[test]
fn a_sample_fills_all_inputs() {
    let (memory, ports, outputs) = recurrent();
    let mut inputs: Vec<Buffer> = ports.iter().map(Buffer::zeros).collect();
    let mut sample = vec![0, 128, 255, 129];
    for number in [0.5_f32, -1.5, 3.0] {
        sample.extend(number.to_le_bytes());
    }
    assert_eq!(sample.len(), 4 + 3 * 4);
    fill_inputs(&sample, INTERLEAVED, 128, &mut inputs).unwrap();
    assert!(matches!(
        inputs[0].as_ref(),
        TensorRef::I8([-128, 0, 127, 1])
    ));
    assert_eq!(floats(inputs[1].as_ref()), [0.5]);
    assert_eq!(floats(inputs[2].as_ref()), [-1.5, 3.0]);
    assert!(fill_inputs(&sample[1..], INTERLEAVED, 128, &mut inputs).is_err());

    // The second part of a sample is what `Inputs` has at that frame.
    let made = Inputs::new(
        &memory.clone().into(),
        INTERLEAVED,
        (&ports, &outputs),
        &[steering()],
    );
    let mut made = made.unwrap();
    made.advance(false);
    assert!(made.remember(&[0.0, 0.0, -1.5, 3.0]));
    sample.truncate(4);
    sample.extend(made.other_bytes());
    fill_inputs(&sample, INTERLEAVED, 128, &mut inputs).unwrap();
    // 10 (2 * 0 + 0.5) + 1
    assert_eq!(floats(inputs[1].as_ref()), [6.0]);
    assert_eq!(floats(inputs[2].as_ref()), [-1.5, 3.0]);
}

#[test]
fn ports_that_do_not_fit_are_named() {
    let (memory, ports, outputs) = recurrent();
    let message = |memory: &Memory, ports: &[Port]| {
        Inputs::new(
            &memory.clone().into(),
            INTERLEAVED,
            (ports, &outputs),
            &[steering()],
        )
        .unwrap_err()
        .to_string()
    };
    assert!(message(&memory, &ports[..2]).contains("`h` is missing"));
    let unknown = Memory::default();
    assert!(message(&unknown, &ports).contains("`car` has no rule"));
    let two = Memory {
        pictures: 2,
        ..memory.clone()
    };
    assert!(message(&two, &ports).contains("must have 8"));
    let mut long = memory.clone();
    long.state[0].start = ElementNumbers::Each(vec![0.0]);
    assert!(message(&long, &ports).contains("`h` has another number"));
    let mut other = memory.clone();
    other.signal[0].values = vec![Meaning::Throttle];
    assert!(message(&other, &ports).contains("no output"));
    let many = vec![ports[0].clone(); 9];
    assert!(message(&memory, &many).contains("9 inputs"));
}

/// Speed and yaw rate, and a high-level command of three values.
fn numbers(missing: Missing, encoding: CommandEncoding) -> (InputRules, Vec<Port>) {
    let rules = InputRules {
        measurements: vec![MeasurementRule {
            input: "motion".into(),
            values: vec![Measurement::YawRate, Measurement::Speed],
            scale: ElementNumbers::Each(vec![0.5, 0.25]),
            offset: ElementNumbers::All(1.0),
            missing,
            max_age_ms: 100.0,
        }],
        command: Some(CommandRule {
            input: "turn".into(),
            values: ["left", "straight", "right"].map(str::to_owned).to_vec(),
            default: "straight".to_owned(),
            encoding,
        }),
        ..InputRules::default()
    };
    let elements = rules.command.as_ref().unwrap().elements();
    let ports = vec![
        port("image", &[1, 4], ElementType::I8),
        port("turn", &[1, elements], ElementType::F32),
        port("motion", &[1, 2], ElementType::F32),
    ];
    (rules, ports)
}

#[test]
fn measurements_and_commands_are_inputs() {
    let (rules, ports) = numbers(Missing::default(), CommandEncoding::OneHot);
    let mut inputs = Inputs::new(&rules, INTERLEAVED, (&ports, &[]), &[]).unwrap();
    let mut measured = Measurements::default();
    measured.set(Measurement::Speed, Some(4.0));
    measured.set(Measurement::YawRate, Some(-3.0));
    let age = Duration::from_millis(100);
    inputs.measure(&measured, age).unwrap();
    inputs.advance(false);
    assert_eq!(floats(inputs.tensors()[1]), [0.0, 1.0, 0.0]);
    assert_eq!(floats(inputs.tensors()[2]), [-0.5, 2.0]);
    inputs.command(2);
    // A memory that starts anew forgets neither.
    inputs.reset();
    inputs.advance(false);
    assert_eq!(floats(inputs.tensors()[1]), [0.0, 0.0, 1.0]);
    assert_eq!(floats(inputs.tensors()[2]), [-0.5, 2.0]);

    let (rules, ports) = numbers(Missing::default(), CommandEncoding::Index);
    let mut inputs = Inputs::new(&rules, INTERLEAVED, (&ports, &[]), &[]).unwrap();
    assert_eq!(floats(inputs.tensors()[1]), [1.0]);
    inputs.command(2);
    assert_eq!(floats(inputs.tensors()[1]), [2.0]);
}

#[test]
fn a_missing_measurement_follows_its_rule() {
    let (rules, ports) = numbers(Missing::default(), CommandEncoding::OneHot);
    let mut inputs = Inputs::new(&rules, INTERLEAVED, (&ports, &[]), &[]).unwrap();
    let mut measured = Measurements::default();
    measured.set(Measurement::YawRate, Some(-3.0));
    let unknown = Unmeasured {
        measurement: Measurement::Speed,
        age: None,
    };
    assert_eq!(inputs.measure(&measured, Duration::ZERO), Err(unknown));
    measured.set(Measurement::Speed, Some(f32::INFINITY));
    assert_eq!(inputs.measure(&measured, Duration::ZERO), Err(unknown));
    measured.set(Measurement::Speed, Some(4.0));
    let age = Duration::from_millis(101);
    let old = Unmeasured {
        measurement: Measurement::YawRate,
        age: Some(age),
    };
    assert_eq!(inputs.measure(&measured, age), Err(old));

    let (rules, ports) = numbers(Missing::Number(8.0), CommandEncoding::OneHot);
    let mut inputs = Inputs::new(&rules, INTERLEAVED, (&ports, &[]), &[]).unwrap();
    inputs.measure(&measured, age).unwrap();
    assert_eq!(floats(inputs.tensors()[2]), [5.0, 3.0]);
}

#[test]
fn rules_of_numbers_that_do_not_fit_are_named() {
    let (rules, ports) = numbers(Missing::default(), CommandEncoding::OneHot);
    let message = |rules: &InputRules, ports: &[Port]| {
        let made = Inputs::new(rules, INTERLEAVED, (ports, &[]), &[]);
        made.unwrap_err().to_string()
    };
    assert!(message(&rules, &ports[..2]).contains("`motion` is missing"));
    let mut other = rules.clone();
    other.measurements[0].values.pop();
    assert!(message(&other, &ports).contains("`motion` has another number"));
    let mut other = rules.clone();
    other.measurements[0].scale = ElementNumbers::Each(vec![1.0]);
    assert!(message(&other, &ports).contains("`motion` has another number"));
    let mut other = rules.clone();
    other.command.as_mut().unwrap().default = "back".to_owned();
    assert!(message(&other, &ports).contains("`turn` does not fit"));
    let mut other = rules.clone();
    other.command = None;
    assert!(message(&other, &ports).contains("`turn` has no rule"));
}
