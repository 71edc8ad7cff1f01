//! An engine on a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use pilotage_engine::{ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};
use pilotage_tensorrt::Wait;

/// An engine that lives on a thread of its own, so that a call into its driver that never
/// comes back takes no one along: the caller is told so after a limit, and the thread is asked
/// again only when it has come back.
///
/// Picture and answer change hands as a whole, so no memory is shared and no lock is held
/// while the engine works. After [`Engine::prepare`] nothing is allocated.
pub struct Apart {
    description: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    limits: Limits,
    /// None once the thread is to end.
    orders: Option<SyncSender<Box<Order>>>,
    answers: Receiver<Box<Order>>,
    /// None while the thread has it.
    order: Option<Box<Order>>,
}

/// How long the thread is waited for, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the engine is made, and for each [`Engine::prepare`].
    pub start: Duration,
    /// For an answer. The engine's own limit should be a little shorter: it knows better why
    /// there is none.
    pub answer: Duration,
    /// What the caller does meanwhile.
    pub wait: Wait,
}

/// Why there is no engine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted<E> {
    /// It could not be made.
    #[error(transparent)]
    Failed(E),
    /// It is not made yet, and may never be.
    #[error(
        "a call into the GPU's driver or TensorRT has not come back within {:.0} s \
         (`gpu_start_s` in car.toml); where it never does, restart the machine and look at \
         `sudo dmesg`", .0.as_secs_f64()
    )]
    Stuck(Duration),
    /// The system gives no thread, or the thread has panicked.
    #[error("the GPU's engine has no thread; see above")]
    NoThread,
}

/// What goes to the thread and comes back.
struct Order {
    prepare: bool,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    done: Result<Timing, EngineError>,
}

/// A tensor that goes along.
enum Tensor {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
}

/// What the thread tells of the engine it has made.
type About = (String, Vec<Port>, Vec<Port>);

/// Looked at all the time for so long, as by [`Wait::Spin`] of the GPU's own.
const SPIN: Duration = Duration::from_micros(500);
/// Longer than a channel looks before it waits.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// Ports of either side.
const MOST_PORTS: usize = 8;
/// How long a thread that is told to end is waited for: what it holds is given back by then.
const END: Duration = Duration::from_secs(1);

impl Apart {
    /// Makes an engine on a thread of its own.
    ///
    /// # Errors
    /// When it cannot be made within the limit. A thread that is late goes on and ends by
    /// itself.
    pub fn start<E, X>(
        make: impl FnOnce() -> Result<E, X> + Send + 'static,
        limits: Limits,
    ) -> Result<Self, NotStarted<X>>
    where
        E: Engine,
        X: Send + 'static,
    {
        let (tell, told) = sync_channel::<Result<About, X>>(1);
        let (orders, to_do) = sync_channel::<Box<Order>>(1);
        let (done, answers) = sync_channel::<Box<Order>>(1);
        let thread = thread::Builder::new().name("engine".into());
        let started = thread.spawn(move || {
            let mut engine = match make() {
                Ok(engine) => engine,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let ports = |ports: &[Port]| ports.to_vec();
            let about = (
                engine.describe(),
                ports(engine.inputs()),
                ports(engine.outputs()),
            );
            let _ = tell.send(Ok(about));
            drop(tell);
            serve(&mut engine, &to_do, &done);
            // Before the last line to whoever waits for the end.
            drop(engine);
            drop(done);
        });
        started.map_err(|_| NotStarted::NoThread)?;
        let (description, inputs, outputs) = match told.recv_timeout(limits.start) {
            Ok(made) => made.map_err(NotStarted::Failed)?,
            Err(RecvTimeoutError::Timeout) => return Err(NotStarted::Stuck(limits.start)),
            Err(RecvTimeoutError::Disconnected) => return Err(NotStarted::NoThread),
        };
        let order = Order {
            prepare: false,
            inputs: inputs.iter().map(Tensor::zeros).collect(),
            outputs: outputs.iter().map(Tensor::zeros).collect(),
            done: Ok(Timing::default()),
        };
        Ok(Self {
            description,
            inputs,
            outputs,
            limits,
            orders: Some(orders),
            answers,
            order: Some(Box::new(order)),
        })
    }

    /// The order, if it is here or has come back by now; an answer in it is too late.
    fn idle(&mut self) -> Result<Box<Order>, EngineError> {
        if let Some(order) = self.order.take() {
            return Ok(order);
        }
        match self.answers.try_recv() {
            Ok(order) => Ok(order),
            Err(TryRecvError::Empty) => Err(EngineError::Stuck {
                limit: self.limits.answer,
            }),
            Err(TryRecvError::Disconnected) => Err(EngineError::ThreadPanicked),
        }
    }

    /// Has the thread do it.
    fn order(&mut self, order: Box<Order>, limit: Duration) -> Result<Box<Order>, EngineError> {
        let gone = EngineError::ThreadPanicked;
        let orders = self.orders.as_ref().ok_or(EngineError::ThreadPanicked)?;
        let start = Instant::now();
        // There is room: the one order that there is has just been here.
        orders.send(order).map_err(|_| gone)?;
        while self.limits.wait == Wait::Spin && start.elapsed() < SPIN.min(limit) {
            match self.answers.try_recv() {
                Ok(order) => return Ok(order),
                // The thread may have been woken on this very core.
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(TryRecvError::Disconnected) => return Err(EngineError::ThreadPanicked),
            }
        }
        let left = limit.saturating_sub(start.elapsed());
        self.answers
            .recv_timeout(left)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => EngineError::Stuck { limit },
                RecvTimeoutError::Disconnected => EngineError::ThreadPanicked,
            })
    }
}

/// What the thread does until nobody can order any more.
fn serve(engine: &mut impl Engine, to_do: &Receiver<Box<Order>>, done: &SyncSender<Box<Order>>) {
    while let Ok(mut order) = to_do.recv() {
        let Order {
            prepare,
            inputs,
            outputs,
            done: result,
        } = &mut *order;
        *result = if *prepare {
            engine.prepare().map(|()| Timing::default())
        } else {
            // An engine with more ports says that it was lent too few.
            let inputs = inputs.iter().map(Tensor::as_ref).take(MOST_PORTS);
            let outputs = outputs.iter_mut().map(Tensor::as_mut).take(MOST_PORTS);
            let inputs: ArrayVec<_, MOST_PORTS> = inputs.collect();
            let mut outputs: ArrayVec<_, MOST_PORTS> = outputs.collect();
            engine.infer(&inputs, &mut outputs)
        };
        if done.send(order).is_err() {
            return;
        }
    }
}

impl Engine for Apart {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        let mut order = self.idle()?;
        // A channel takes room for who waits at its first wait: here, not in a late frame.
        let _ = self.answers.recv_timeout(FIRST_WAIT);
        order.prepare = true;
        let order = self.order(order, self.limits.start)?;
        let done = order.done.clone();
        self.order = Some(order);
        done.map(drop)
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        let start = Instant::now();
        let mut order = self.idle()?;
        order.prepare = false;
        for (tensor, lent) in order.inputs.iter_mut().zip(inputs) {
            tensor.take(*lent);
        }
        let order = self.order(order, self.limits.answer)?;
        for (tensor, lent) in order.outputs.iter().zip(outputs) {
            tensor.give(lent);
        }
        let done = order.done.clone();
        self.order = Some(order);
        Ok(Timing {
            total: start.elapsed(),
            ..done?
        })
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.orders = None;
        // What the engine holds of the device is given back before the process ends, unless the
        // thread is stuck: then nothing can be.
        let until = Instant::now() + END;
        while self
            .answers
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
    }
}

impl Tensor {
    fn zeros(port: &Port) -> Self {
        let length = port.len();
        match port.element_type {
            // No port is F16.
            ElementType::F32 | ElementType::F16 => Self::F32(vec![0.0; length]),
            ElementType::I64 => Self::I64(vec![0; length]),
            ElementType::I32 => Self::I32(vec![0; length]),
            ElementType::U8 | ElementType::Bool => Self::U8(vec![0; length]),
            ElementType::I8 => Self::I8(vec![0; length]),
        }
    }

    fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::I64(data) => TensorRef::I64(data),
            Self::I32(data) => TensorRef::I32(data),
            Self::U8(data) => TensorRef::U8(data),
            Self::I8(data) => TensorRef::I8(data),
        }
    }

    fn as_mut(&mut self) -> TensorMut<'_> {
        match self {
            Self::F32(data) => TensorMut::F32(data),
            Self::I64(data) => TensorMut::I64(data),
            Self::I32(data) => TensorMut::I32(data),
            Self::U8(data) => TensorMut::U8(data),
            Self::I8(data) => TensorMut::I8(data),
        }
    }

    /// Copies what is lent; type and length have been compared.
    fn take(&mut self, lent: TensorRef<'_>) {
        match (self, lent) {
            (Self::F32(own), TensorRef::F32(lent)) => own.copy_from_slice(lent),
            (Self::I64(own), TensorRef::I64(lent)) => own.copy_from_slice(lent),
            (Self::I32(own), TensorRef::I32(lent)) => own.copy_from_slice(lent),
            (Self::U8(own), TensorRef::U8(lent)) => own.copy_from_slice(lent),
            (Self::I8(own), TensorRef::I8(lent)) => own.copy_from_slice(lent),
            _ => {}
        }
    }

    /// The other way.
    fn give(&self, lent: &mut TensorMut<'_>) {
        match (self, lent) {
            (Self::F32(own), TensorMut::F32(lent)) => lent.copy_from_slice(own),
            (Self::I64(own), TensorMut::I64(lent)) => lent.copy_from_slice(own),
            (Self::I32(own), TensorMut::I32(lent)) => lent.copy_from_slice(own),
            (Self::U8(own), TensorMut::U8(lent)) => lent.copy_from_slice(own),
            (Self::I8(own), TensorMut::I8(lent)) => lent.copy_from_slice(own),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
