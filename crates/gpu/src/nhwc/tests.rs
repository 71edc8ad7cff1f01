use pilotage_engine::AxisOrder;

use super::*;

/// An engine whose outputs are copies of input elements: output `i` starts at element `2 * i`.
#[derive(Debug)]
struct Echo {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

fn port(name: &str, shape: &[usize], element_type: ElementType) -> Port {
    Port {
        name: name.into(),
        shape: shape.to_vec(),
        element_type,
        layout: AxisOrder::Model,
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
        for (index, output) in outputs.iter_mut().enumerate() {
            let TensorMut::F32(output) = output else {
                panic!("not an f32 output")
            };
            for (to, element) in output.iter_mut().zip(index * 2..) {
                *to = match inputs[0] {
                    TensorRef::F32(picture) => picture[element],
                    TensorRef::I8(picture) => f32::from(picture[element]),
                    _ => panic!("not a picture"),
                };
            }
        }
        Ok(Timing::default())
    }
}

/// A picture of 2 pixels by 3 channels, planar for the engine, and two outputs in reverse order.
fn adapter(
    port_type: ElementType,
    engine_type: ElementType,
) -> Result<NhwcAdapter<Echo>, PortMismatch> {
    let output = |name, length| port(name, &[1, length], ElementType::F32);
    let engine = Echo {
        inputs: vec![port("input", &[1, 3, 1, 2], engine_type)],
        outputs: vec![output("yaw", 1), output("speed", 2)],
    };
    let input = port("pixels", &[1, 1, 2, 3], port_type);
    NhwcAdapter::new(engine, &[input], &[output("speed", 2), output("yaw", 1)])
}

/// The same with a state, which the engine has as its first input.
#[test]
fn other_inputs_are_matched_by_name() {
    let engine = |state: &str, length: usize| Echo {
        inputs: vec![
            port(state, &[1, length], ElementType::F32),
            port("input", &[1, 3, 1, 2], ElementType::I8),
        ],
        outputs: vec![port("next", &[1, 2], ElementType::F32)],
    };
    let ports = [
        port("pixels", &[1, 1, 2, 3], ElementType::I8),
        port("h", &[1, 2], ElementType::F32),
    ];
    let outputs = [port("next", &[1, 2], ElementType::F32)];
    let mut adapted = NhwcAdapter::new(engine("h", 2), &ports, &outputs).unwrap();
    let tensors = [TensorRef::I8(&[0; 6]), TensorRef::F32(&[0.5, -0.25])];
    let mut next = [0.0; 2];
    let answer = adapted.infer(&tensors, &mut [TensorMut::F32(&mut next)]);
    assert!(answer.is_ok());
    // `Echo` copies its first input.
    assert_eq!(next, [0.5, -0.25]);

    for (state, length, reason) in [("hh", 2, "other names"), ("h", 3, "h is 3 of")] {
        let refused = NhwcAdapter::new(engine(state, length), &ports, &outputs);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn an_input_that_the_network_does_not_read_may_be_absent() {
    let ports = [
        port("no picture", &[1, 1, 1, 1], ElementType::I8),
        port("scan", &[1, 4], ElementType::F32),
    ];
    let outputs = [port("steering", &[1, 2], ElementType::F32)];
    let engine = Echo {
        inputs: vec![port("scan", &[1, 4], ElementType::F32)],
        outputs: outputs.to_vec(),
    };
    let mut adapter = NhwcAdapter::new(engine, &ports, &outputs).unwrap();
    assert_eq!(adapter.inputs(), ports);
    let (scan, mut answer) = ([3.0, 4.0, 5.0, 6.0], [0.0; 2]);
    let inputs = [TensorRef::I8(&[9]), TensorRef::F32(&scan)];
    let result = adapter.infer(&inputs, &mut [TensorMut::F32(&mut answer)]);
    result.unwrap();
    assert_eq!(answer, [3.0, 4.0]);
}

#[test]
fn the_input_is_deinterleaved_and_outputs_are_matched_by_name() {
    let quantized = [10, 20, 30, 11, 21, 31_i8];
    let floats = quantized.map(f32::from);
    for (port_type, engine_type, picture) in [
        (ElementType::I8, ElementType::I8, TensorRef::I8(&quantized)),
        (ElementType::I8, ElementType::F32, TensorRef::I8(&quantized)),
        (ElementType::F32, ElementType::F32, TensorRef::F32(&floats)),
    ] {
        let mut engine = adapter(port_type, engine_type).unwrap();
        assert_eq!(engine.inputs()[0].shape, [1, 1, 2, 3]);
        assert_eq!(engine.outputs()[0].name, "speed");
        for _ in 0..2 {
            let (mut speed, mut yaw) = ([0.0; 2], [0.0; 1]);
            let mut outputs = [TensorMut::F32(&mut speed), TensorMut::F32(&mut yaw)];
            engine.infer(&[picture], &mut outputs).unwrap();
            // The engine's first output starts at element 0 of the planar input, the second at 2.
            assert_eq!(
                (yaw, speed),
                ([10.0], [20.0, 21.0]),
                "{port_type:?} {engine_type:?}"
            );
        }
    }
}

#[test]
fn mismatched_tensors_are_rejected_by_name() {
    let message =
        |result: Result<NhwcAdapter<Echo>, PortMismatch>| result.err().unwrap().to_string();
    assert!(
        message(adapter(ElementType::F32, ElementType::I8)).contains("the input is I8, not F32")
    );
    let output = |name, length| port(name, &[1, length], ElementType::F32);
    let input = port("pixels", &[1, 1, 2, 3], ElementType::I8);
    let reason = |inputs: &[Port], outputs: Vec<Port>| {
        let engine = Echo {
            inputs: inputs.to_vec(),
            outputs,
        };
        message(NhwcAdapter::new(
            engine,
            std::slice::from_ref(&input),
            &[output("speed", 2)],
        ))
    };
    let fits = [input.clone()];
    assert!(reason(&fits, vec![output("other", 2)]).contains("the output other"));
    assert!(reason(&fits, vec![output("speed", 3)]).contains("speed is 3 of F32"));
    assert!(reason(&fits, vec![]).contains("0 outputs"));
    assert!(reason(&[], vec![output("speed", 2)]).contains("0 inputs, not 1"));
    let smaller = [port("pixels", &[1, 3, 1, 1], ElementType::I8)];
    assert!(reason(&smaller, vec![output("speed", 2)]).contains("[1, 3, 1, 1]"));
}
