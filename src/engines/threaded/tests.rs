use std::sync::{Arc, Condvar, Mutex};

use pilotage_engine::AxisOrder;

use super::*;

/// An engine that adds one, and waits while its gate is closed.
struct Gated {
    ports: [Port; 1],
    gate: Arc<Gate>,
}

/// While the gate is closed, `pass` waits.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    /// Set when the engine has been dropped.
    gone: Mutex<bool>,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }
    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }
    fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        *self.gate.gone.lock().unwrap() = true;
    }
}

impl Engine for Gated {
    fn describe(&self) -> String {
        "gated".into()
    }
    fn inputs(&self) -> &[Port] {
        &self.ports
    }
    fn outputs(&self) -> &[Port] {
        &self.ports
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        self.gate.pass();
        Ok(())
    }
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        self.gate.pass();
        let ([TensorRef::F32(given)], [TensorMut::F32(answer)]) = (inputs, outputs) else {
            panic!("the tensors have the types of the ports");
        };
        if given[0] < 0.0 {
            return Err(EngineError::NotFinite);
        }
        if given[0] > 1e6 {
            panic!("requested by the test");
        }
        answer[0] = given[0] + 1.0;
        Ok(Timing {
            device: Some(Duration::from_micros(7)),
            ..Timing::default()
        })
    }
}

fn limits(wait: Wait) -> Limits {
    Limits {
        start: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        wait,
    }
}

fn gated(limits: Limits) -> (ThreadedEngine, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let port = Port {
        name: "x".into(),
        shape: vec![1],
        element_type: ElementType::F32,
        layout: AxisOrder::Model,
    };
    let engine = Gated {
        ports: [port],
        gate: Arc::clone(&gate),
    };
    let apart = ThreadedEngine::start(move || Ok::<_, EngineError>(engine), limits);
    (apart.unwrap(), gate)
}

fn ask(engine: &mut ThreadedEngine, given: f32) -> Result<f32, EngineError> {
    let mut answer = [f32::NAN];
    let timing = engine.infer(
        &[TensorRef::F32(&[given])],
        &mut [TensorMut::F32(&mut answer)],
    )?;
    assert_eq!(timing.device, Some(Duration::from_micros(7)));
    Ok(answer[0])
}

#[test]
fn ports_answers_and_errors_are_forwarded() {
    for wait in [Wait::Spin, Wait::Sleep] {
        let (mut engine, gate) = gated(limits(wait));
        assert_eq!(engine.describe(), "gated");
        assert_eq!((engine.inputs().len(), engine.outputs().len()), (1, 1));
        engine.prepare().unwrap();
        for given in 0..100_u8 {
            let given = f32::from(given);
            assert_eq!(ask(&mut engine, given), Ok(given + 1.0));
        }
        assert_eq!(ask(&mut engine, -1.0), Err(EngineError::NotFinite));
        assert_eq!(ask(&mut engine, 1.0), Ok(2.0));
        let refused = engine.infer(&[], &mut []);
        assert!(matches!(refused, Err(EngineError::PortCount { .. })));
        // Dropping `ThreadedEngine` waits until the engine has been dropped.
        drop(engine);
        assert!(*gate.gone.lock().unwrap());
    }
}

#[test]
fn a_call_that_does_not_return_does_not_block_the_caller() {
    let short = Limits {
        answer: Duration::from_millis(20),
        ..limits(Wait::Spin)
    };
    let (mut engine, gate) = gated(short);
    assert_eq!(ask(&mut engine, 1.0), Ok(2.0));
    gate.close();
    let stuck = Err(EngineError::Stuck {
        limit: short.answer,
    });
    assert_eq!(ask(&mut engine, 3.0), stuck);
    // While the thread is stuck, further calls do not wait.
    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(ask(&mut engine, 4.0), stuck);
    }
    assert!(start.elapsed() < 1000 * short.answer);
    assert!(matches!(engine.prepare(), Err(EngineError::Stuck { .. })));
    gate.open();
    // The thread comes back, and its late answer is discarded.
    let answer = loop {
        match ask(&mut engine, 10.0) {
            Err(EngineError::Stuck { .. }) => thread::yield_now(),
            other => break other,
        }
    };
    assert_eq!(answer, Ok(11.0));
}

#[test]
fn an_engine_that_is_never_made_is_not_waited_for() {
    let gate = Arc::new(Gate::default());
    gate.close();
    let inside = Arc::clone(&gate);
    let short = Limits {
        start: Duration::from_millis(20),
        ..limits(Wait::Sleep)
    };
    let late = ThreadedEngine::start(
        move || {
            inside.pass();
            Err::<Gated, _>(EngineError::NotFinite)
        },
        short,
    );
    assert_eq!(late.err(), Some(NotStarted::Stuck(short.start)));
    gate.open();
    let refused = ThreadedEngine::start(
        || Err::<Gated, _>(EngineError::NotFinite),
        limits(Wait::Spin),
    );
    let reason = EngineError::NotFinite;
    assert_eq!(refused.err(), Some(NotStarted::Failed(reason)));
}

#[test]
fn a_panic_of_the_thread_is_an_error_now_and_later() {
    let (mut engine, _gate) = gated(limits(Wait::Sleep));
    for _ in 0..2 {
        assert_eq!(ask(&mut engine, 1e7), Err(EngineError::ThreadPanicked));
    }
    assert_eq!(engine.prepare(), Err(EngineError::ThreadPanicked));
}
