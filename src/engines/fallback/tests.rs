use std::cell::Cell;
use std::rc::Rc;

use pilotage_engine::{ElementType, Layout};

use super::*;

/// What an engine does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Answer(f32),
    Fail,
    Vanish,
}

/// An engine that does as it is told, and counts.
struct Told {
    ports: [Port; 1],
    does: Rc<Cell<Does>>,
    asked: Rc<Cell<usize>>,
}

/// An engine, what it does, and how often it was asked.
type Watched = (Box<dyn Engine>, Rc<Cell<Does>>, Rc<Cell<usize>>);

fn told(does: Does) -> Watched {
    let (does, asked) = (Rc::new(Cell::new(does)), Rc::new(Cell::new(0)));
    let port = Port {
        name: "x".into(),
        shape: vec![1],
        element_type: ElementType::F32,
        layout: Layout::Plain,
    };
    let engine = Told {
        ports: [port],
        does: Rc::clone(&does),
        asked: Rc::clone(&asked),
    };
    (Box::new(engine), does, asked)
}

impl Engine for Told {
    fn describe(&self) -> String {
        "told".into()
    }
    fn inputs(&self) -> &[Port] {
        &self.ports
    }
    fn outputs(&self) -> &[Port] {
        &self.ports
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        match self.does.get() {
            Does::Answer(_) => Ok(()),
            Does::Fail => Err(EngineError::Late {
                limit: Duration::ZERO,
            }),
            Does::Vanish => Err(EngineError::Lost {
                reason: "an illegal address".into(),
            }),
        }
    }
    fn infer(
        &mut self,
        _: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        self.asked.set(self.asked.get() + 1);
        self.prepare()?;
        if let (Does::Answer(x), TensorMut::F32(output)) = (self.does.get(), &mut outputs[0]) {
            output[0] = x;
        }
        Ok(Timing::default())
    }
}

const SOON: Backoff = Backoff {
    first: Duration::ZERO,
    most: Duration::ZERO,
    forget: Duration::ZERO,
};
const LATER: Backoff = Backoff {
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
fn the_second_answers_the_very_frame_that_the_first_does_not() {
    let (first, does, asked) = told(Does::Answer(1.0));
    let (second, ..) = told(Does::Answer(2.0));
    let mut engine = Fallback::new(first, second, LATER).unwrap();
    engine.prepare().unwrap();
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
    for wrong in [
        Does::Fail,
        Does::Answer(f32::NAN),
        Does::Answer(f32::INFINITY),
    ] {
        let (first, ..) = told(wrong);
        let (second, ..) = told(Does::Answer(2.0));
        let mut engine = Fallback::new(first, second, LATER).unwrap();
        assert_eq!(ask(&mut engine), Ok((2.0, true)));
    }
    does.set(Does::Fail);
    assert_eq!(ask(&mut engine), Ok((2.0, true)));
    // It is left alone, well or not.
    does.set(Does::Answer(1.0));
    for _ in 0..10 {
        assert_eq!(ask(&mut engine), Ok((2.0, true)));
    }
    assert_eq!(asked.get(), 2);
}

#[test]
fn the_first_is_asked_again_after_its_while() {
    let (first, does, _) = told(Does::Fail);
    let (second, ..) = told(Does::Answer(2.0));
    let mut engine = Fallback::new(first, second, SOON).unwrap();
    engine.prepare().unwrap();
    assert_eq!(ask(&mut engine), Ok((2.0, true)));
    does.set(Does::Answer(1.0));
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
}

#[test]
fn each_failure_doubles_the_while_up_to_the_most() {
    let (first, ..) = told(Does::Fail);
    let (second, ..) = told(Does::Answer(2.0));
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
fn where_both_fail_it_says_so() {
    let (first, ..) = told(Does::Fail);
    let (second, does, _) = told(Does::Answer(2.0));
    let mut engine = Fallback::new(first, second, SOON).unwrap();
    does.set(Does::Fail);
    assert!(matches!(ask(&mut engine), Err(EngineError::Late { .. })));
    assert!(engine.prepare().is_err());
}

#[test]
fn what_does_not_match_the_ports_is_no_failure_of_the_first() {
    let (first, _, asked) = told(Does::Answer(1.0));
    let (second, ..) = told(Does::Answer(2.0));
    let mut engine = Fallback::new(first, second, LATER).unwrap();
    let refused = engine.infer(&[], &mut []);
    assert!(matches!(refused, Err(EngineError::PortCount { .. })));
    assert_eq!(asked.get(), 0);
    assert_eq!(ask(&mut engine), Ok((1.0, false)));
}

#[test]
fn engines_of_other_ports_are_not_joined() {
    let (first, ..) = told(Does::Answer(1.0));
    let mut other = Told {
        ports: [first.inputs()[0].clone()],
        does: Rc::new(Cell::new(Does::Fail)),
        asked: Rc::new(Cell::new(0)),
    };
    other.ports[0].shape = vec![2];
    assert!(Fallback::new(first, Box::new(other), SOON).is_err());
}

#[test]
fn what_is_lost_is_not_tried_again() {
    let (first, does, asked) = told(Does::Vanish);
    let (second, ..) = told(Does::Answer(2.0));
    let mut engine = Fallback::new(first, second, SOON).unwrap();
    assert_eq!(ask(&mut engine), Ok((2.0, true)));
    does.set(Does::Answer(1.0));
    for _ in 0..3 {
        assert_eq!(ask(&mut engine), Ok((2.0, true)));
    }
    assert_eq!(asked.get(), 1);
}
