use pilotage_engine::Layout;

use super::*;

/// Gives back the first pixels it is given, as one output each.
struct Echo {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

fn port(name: &str, shape: &[usize], element_type: ElementType) -> Port {
    Port {
        name: name.into(),
        shape: shape.to_vec(),
        element_type,
        layout: Layout::Plain,
    }
}

impl Engine for Echo {
    fn describe(&self) -> String {
        "echo".into()
    }
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }
    fn outputs(&self) -> &[Port] {
        &self.outputs
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        for (place, output) in outputs.iter_mut().enumerate() {
            let TensorMut::F32(output) = output else {
                panic!("not an f32 output")
            };
            for (to, place) in output.iter_mut().zip(place * 2..) {
                *to = match inputs[0] {
                    TensorRef::F32(picture) => picture[place],
                    TensorRef::I8(picture) => f32::from(picture[place]),
                    _ => panic!("not a picture"),
                };
            }
        }
        Ok(Timing::default())
    }
}

/// A picture of 2 pixels by 3 channels, planar for the engine; two outputs, which the
/// engine has the other way round.
fn made(of: ElementType, theirs: ElementType) -> Result<Interleaved<Echo>, OtherTensors> {
    let output = |name, length| port(name, &[1, length], ElementType::F32);
    let engine = Echo {
        inputs: vec![port("input", &[1, 3, 1, 2], theirs)],
        outputs: vec![output("yaw", 1), output("speed", 2)],
    };
    let input = port("pixels", &[1, 1, 2, 3], of);
    Interleaved::new(engine, &[input], &[output("speed", 2), output("yaw", 1)])
}

#[test]
fn planes_are_parted_and_outputs_find_their_places() {
    let levels = [10, 20, 30, 11, 21, 31_i8];
    let values = levels.map(f32::from);
    for (of, theirs, picture) in [
        (ElementType::I8, ElementType::I8, TensorRef::I8(&levels)),
        (ElementType::I8, ElementType::F32, TensorRef::I8(&levels)),
        (ElementType::F32, ElementType::F32, TensorRef::F32(&values)),
    ] {
        let mut engine = made(of, theirs).unwrap();
        assert_eq!(engine.inputs()[0].shape, [1, 1, 2, 3]);
        assert_eq!(engine.outputs()[0].name, "speed");
        for _ in 0..2 {
            let (mut speed, mut yaw) = ([0.0; 2], [0.0; 1]);
            let mut outputs = [TensorMut::F32(&mut speed), TensorMut::F32(&mut yaw)];
            engine.infer(&[picture], &mut outputs).unwrap();
            // The engine's first output begins at its picture's element 0, the second at 2.
            assert_eq!((yaw, speed), ([10.0], [20.0, 21.0]), "{of:?} {theirs:?}");
        }
    }
}

#[test]
fn other_tensors_are_refused_by_name() {
    let said = |made: Result<Interleaved<Echo>, OtherTensors>| made.err().unwrap().to_string();
    assert!(said(made(ElementType::F32, ElementType::I8)).contains("the input is I8, not F32"));
    let output = |name, length| port(name, &[1, length], ElementType::F32);
    let input = port("pixels", &[1, 1, 2, 3], ElementType::I8);
    let other = |inputs: &[Port], outputs: Vec<Port>| {
        let engine = Echo {
            inputs: inputs.to_vec(),
            outputs,
        };
        said(Interleaved::new(
            engine,
            std::slice::from_ref(&input),
            &[output("speed", 2)],
        ))
    };
    let fits = [input.clone()];
    assert!(other(&fits, vec![output("other", 2)]).contains("the output other"));
    assert!(other(&fits, vec![output("speed", 3)]).contains("speed is 3 of F32"));
    assert!(other(&fits, vec![]).contains("0 outputs"));
    assert!(other(&[], vec![output("speed", 2)]).contains("not one input"));
    let smaller = [port("pixels", &[1, 3, 1, 1], ElementType::I8)];
    assert!(other(&smaller, vec![output("speed", 2)]).contains("[1, 3, 1, 1]"));
}
