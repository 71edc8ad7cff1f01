//! What it costs to have an engine in a process of its own, beside one on a thread of its own:
//! `cargo run --release --example engine_process`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement that drives no car"
)]

#[path = "../tests/support/in_turn.rs"]
mod in_turn;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use pilotage::engines;
use pilotage_engine::{
    Bundle, CpuEngine, CpuOptions, Engine, EngineError, Port, TensorMut, TensorRef, Timing,
};
use tensorrt_rs::Wait;

use in_turn::{ROLE, direct, in_own_process, measure, run_as_process};

fn main() {
    if std::env::var_os(ROLE).is_some() {
        return run_as_process();
    }
    for wait in [Wait::Spin, Wait::Sleep] {
        let mut engines = [direct(), on_own_thread(wait), in_own_process(wait, &[])];
        let names = ["directly", "own thread", "own process"];
        for (name, (times, _)) in names.iter().zip(measure(&mut engines, 5000)) {
            println!("{wait:?}, {name}: {times:?}");
        }
    }
}

/// An engine on a thread of its own, whose tensors are moved through channels: what it costs at
/// least to be independent of its calls.
struct OnThread {
    engine: CpuEngine,
    orders: SyncSender<Box<Order>>,
    answers: Receiver<Box<Order>>,
    order: Option<Box<Order>>,
    wait: Wait,
}

struct Order {
    picture: Vec<i8>,
    numbers: [f32; 2],
}

fn on_own_thread(wait: Wait) -> Box<dyn Engine> {
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let engine = || CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let (orders, requests) = sync_channel::<Box<Order>>(1);
    let (done, answers) = sync_channel(1);
    let mut own = engine();
    std::thread::spawn(move || {
        while let Ok(mut order) = requests.recv() {
            let Order { picture, numbers } = &mut *order;
            own.infer(&[TensorRef::I8(picture)], &mut [TensorMut::F32(numbers)])
                .unwrap();
            if done.send(order).is_err() {
                return;
            }
        }
    });
    let engine = engine();
    let picture = vec![0; engine.inputs()[0].len()];
    let order = Box::new(Order {
        picture,
        numbers: [0.0; 2],
    });
    Box::new(OnThread {
        engine,
        orders,
        answers,
        order: Some(order),
        wait,
    })
}

impl Engine for OnThread {
    fn describe(&self) -> String {
        self.engine.describe()
    }
    fn inputs(&self) -> &[Port] {
        self.engine.inputs()
    }
    fn outputs(&self) -> &[Port] {
        self.engine.outputs()
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        // A channel allocates at its first wait.
        let _ = self.answers.recv_timeout(Duration::from_millis(1));
        Ok(())
    }
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        let ([TensorRef::I8(picture)], [TensorMut::F32(numbers)]) = (inputs, outputs) else {
            panic!("one picture and two numbers")
        };
        let start = Instant::now();
        let mut order = self.order.take().unwrap();
        order.picture.copy_from_slice(picture);
        self.orders.send(order).unwrap();
        let mut answer = self.answers.try_recv();
        while answer.is_err()
            && self.wait == Wait::Spin
            && start.elapsed() < Duration::from_micros(500)
        {
            std::thread::yield_now();
            answer = self.answers.try_recv();
        }
        let order = answer.or_else(|_| self.answers.recv()).unwrap();
        numbers.copy_from_slice(&order.numbers);
        self.order = Some(order);
        Ok(Timing {
            total: start.elapsed(),
            ..Timing::default()
        })
    }
}
