use std::cell::Cell;
use std::rc::Rc;

use pilotage_engine::{AxisOrder, ElementType};

use super::*;

/// What a scripted engine does when it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behaviour {
    Answer(f32),
    Fail,
}

/// An engine that follows a script, and counts its calls.
struct ScriptedEngine {
    ports: [Port; 1],
    behaviour: Rc<Cell<Behaviour>>,
    calls: Rc<Cell<usize>>,
}

/// An engine, its behaviour, and its number of calls.
type Observed = (Box<dyn Engine>, Rc<Cell<Behaviour>>, Rc<Cell<usize>>);

fn scripted(behaviour: Behaviour) -> Observed {
    let (behaviour, calls) = (Rc::new(Cell::new(behaviour)), Rc::new(Cell::new(0)));
    let port = Port {
        name: "x".into(),
        shape: vec![1],
        element_type: ElementType::F32,
        layout: AxisOrder::Model,
    };
    let engine = ScriptedEngine {
        ports: [port],
        behaviour: Rc::clone(&behaviour),
        calls: Rc::clone(&calls),
    };
    (Box::new(engine), behaviour, calls)
}

impl Engine for ScriptedEngine {
    fn describe(&self) -> String {
        "scripted".into()
    }
    fn inputs(&self) -> &[Port] {
        &self.ports
    }
    fn outputs(&self) -> &[Port] {
        &self.ports
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        match self.behaviour.get() {
            Behaviour::Answer(_) => Ok(()),
            Behaviour::Fail => Err(EngineError::Late {
                limit: Duration::ZERO,
            }),
        }
    }
    fn infer(
        &mut self,
        _: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        self.calls.set(self.calls.get() + 1);
        self.prepare()?;
        if let (Behaviour::Answer(x), TensorMut::F32(output)) =
            (self.behaviour.get(), &mut outputs[0])
        {
            output[0] = x;
        }
        Ok(Timing::default())
    }
}

const NO_DELAY: Backoff = Backoff {
    first: Duration::ZERO,
    most: Duration::ZERO,
    forget: Duration::ZERO,
};
const LONG_DELAY: Backoff = Backoff {
    first: Duration::from_secs(3600),
    most: Duration::from_secs(3600),
    forget: Duration::from_secs(3600),
};

fn ask(engine: &mut Fallback) -> Result<(f32, bool), EngineError> {
    let mut output = [0.0];
    let timing = engine.infer(
        &[TensorRef::F32(&[0.0])],
        &mut [TensorMut::F32(&mut output)],
    )?;
    Ok((output[0], timing.fallback))
}

#[test]
fn the_second_answers_the_same_frame_when_the_first_fails() {
    let (first, behaviour, calls) = scripted(Behaviour::Answer(1.0));
    let (second, ..) = scripted(Behaviour::Answer(2.0));
    let mut engine = Fallback::new(first, second, LONG_DELAY).unwrap();
    engine.prepare().unwrap();
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
    for wrong in [
        Behaviour::Fail,
        Behaviour::Answer(f32::NAN),
        Behaviour::Answer(f32::INFINITY),
    ] {
        let (first, ..) = scripted(wrong);
        let (second, ..) = scripted(Behaviour::Answer(2.0));
        let mut engine = Fallback::new(first, second, LONG_DELAY).unwrap();
        assert_eq!(ask(&mut engine), Ok((2.0, true)));
    }
    behaviour.set(Behaviour::Fail);
    assert_eq!(ask(&mut engine), Ok((2.0, true)));
    // The first engine is not used for the delay, although it works again.
    behaviour.set(Behaviour::Answer(1.0));
    for _ in 0..10 {
        assert_eq!(ask(&mut engine), Ok((2.0, true)));
    }
    assert_eq!(calls.get(), 2);
}

#[test]
fn the_first_is_tried_again_after_the_delay() {
    let (first, behaviour, _) = scripted(Behaviour::Fail);
    let (second, ..) = scripted(Behaviour::Answer(2.0));
    let mut engine = Fallback::new(first, second, NO_DELAY).unwrap();
    engine.prepare().unwrap();
    assert_eq!(ask(&mut engine), Ok((2.0, true)));
    behaviour.set(Behaviour::Answer(1.0));
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
}

#[test]
fn each_failure_doubles_the_delay_up_to_the_limit() {
    let (first, ..) = scripted(Behaviour::Fail);
    let (second, ..) = scripted(Behaviour::Answer(2.0));
    let mut engine = Fallback::new(
        first,
        second,
        Backoff {
            first: Duration::from_nanos(1),
            most: Duration::from_nanos(5),
            forget: Duration::from_secs(3600),
        },
    )
    .unwrap();
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(engine.wait.as_nanos());
        engine.failed(&EngineError::NotFinite);
    }
    assert_eq!(waits, [1, 2, 4, 5, 5]);
}

#[test]
fn an_error_is_returned_when_both_fail() {
    let (first, ..) = scripted(Behaviour::Fail);
    let (second, behaviour, _) = scripted(Behaviour::Answer(2.0));
    let mut engine = Fallback::new(first, second, NO_DELAY).unwrap();
    behaviour.set(Behaviour::Fail);
    assert!(matches!(ask(&mut engine), Err(EngineError::Late { .. })));
    assert!(engine.prepare().is_err());
}

#[test]
fn a_port_mismatch_does_not_count_as_a_failure_of_the_first() {
    let (first, _, calls) = scripted(Behaviour::Answer(1.0));
    let (second, ..) = scripted(Behaviour::Answer(2.0));
    let mut engine = Fallback::new(first, second, LONG_DELAY).unwrap();
    let refused = engine.infer(&[], &mut []);
    assert!(matches!(refused, Err(EngineError::PortCount { .. })));
    assert_eq!(calls.get(), 0);
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
}

#[test]
fn engines_with_different_ports_are_not_joined() {
    let (first, ..) = scripted(Behaviour::Answer(1.0));
    let mut other = ScriptedEngine {
        ports: [first.inputs()[0].clone()],
        behaviour: Rc::new(Cell::new(Behaviour::Fail)),
        calls: Rc::new(Cell::new(0)),
    };
    other.ports[0].shape = vec![2];
    assert!(Fallback::new(first, Box::new(other), NO_DELAY).is_err());
}
