//! An engine on a thread of its own.

use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use pilotage_engine::{ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};
use rustix::thread::set_current_timer_slack;
use tensorrt_rs::Wait;

/// An engine on a thread of its own. A call into its driver that never returns does not block the
/// caller: the caller gets an error after a limit, and the thread gets a new request only after the
/// call has returned.
///
/// Input and output tensors are moved to the thread and back, so no memory is shared and no lock is
/// held while the engine works. After [`Engine::prepare`] nothing is allocated.
pub struct ThreadedEngine {
    description: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    limits: Limits,
    /// `None` when the thread shall end.
    orders: Option<SyncSender<Box<Order>>>,
    answers: Receiver<Box<Order>>,
    /// `None` while the thread has it.
    order: Option<Box<Order>>,
}

/// How long and how the caller waits for the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Limit for the engine's construction, and for each [`Engine::prepare`].
    pub start: Duration,
    /// Limit for an answer. The engine's own limit should be a little shorter, because the engine
    /// knows better why there is no answer.
    pub answer: Duration,
    /// What the caller does while it waits.
    pub wait: Wait,
}

/// Why the engine did not start.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted<E> {
    /// The engine's construction failed.
    #[error(transparent)]
    Failed(E),
    /// The engine's construction has not finished in time, and may never finish.
    #[error(
        "a call into the GPU's driver or TensorRT has not come back within {:.0} s \
         (`gpu_start_s` in car.toml); where it never does, restart the machine and look at \
         `sudo dmesg`", .0.as_secs_f64()
    )]
    Stuck(Duration),
    /// The system could not create a thread, or the thread panicked.
    #[error("the GPU's engine has no thread; see above")]
    NoThread,
}

/// A request that goes to the thread and comes back with the result.
struct Order {
    prepare: bool,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    done: Result<Timing, EngineError>,
}

/// A tensor of a request.
enum Tensor {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
}

/// Description, inputs and outputs of the engine that the thread has made.
type About = (String, Vec<Port>, Vec<Port>);

/// How long the caller polls before it blocks, as [`Wait::Spin`] does for the GPU.
const SPIN: Duration = Duration::from_micros(500);
/// Longer than a channel spins before it blocks.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// The largest number of inputs, and of outputs.
const MOST_PORTS: usize = 8;
/// How long the caller waits for the thread to end and to release its resources.
const END: Duration = Duration::from_secs(1);

impl ThreadedEngine {
    /// Makes an engine on a thread of its own.
    ///
    /// # Errors
    /// Fails if the engine is not made within the limit. A late thread continues and ends by
    /// itself.
    pub fn start<E, X>(
        make: impl FnOnce() -> Result<E, X> + Send + 'static,
        limits: Limits,
    ) -> Result<Self, NotStarted<X>>
    where
        E: Engine,
        X: Send + 'static,
    {
        let (made_sender, made_receiver) = sync_channel::<Result<About, X>>(1);
        let (orders, requests) = sync_channel::<Box<Order>>(1);
        let (done, answers) = sync_channel::<Box<Order>>(1);
        let thread = thread::Builder::new().name("engine".into());
        let started = thread.spawn(move || {
            // The kernel adds up to 50 microseconds to the end of each sleep of a thread, as long as
            // an engine's pauses between two looks at its device. If this fails, answers are only
            // noticed that much later.
            let _ = set_current_timer_slack(NonZeroU64::new(1));
            let mut engine = match make() {
                Ok(engine) => engine,
                Err(error) => {
                    let _ = made_sender.send(Err(error));
                    return;
                }
            };
            let ports = |ports: &[Port]| ports.to_vec();
            let about = (
                engine.describe(),
                ports(engine.inputs()),
                ports(engine.outputs()),
            );
            let _ = made_sender.send(Ok(about));
            drop(made_sender);
            serve(&mut engine, &requests, &done);
            // Drop the engine before the channel, whose end `ThreadedEngine::drop` waits for.
            drop(engine);
            drop(done);
        });
        started.map_err(|_| NotStarted::NoThread)?;
        let (description, inputs, outputs) = match made_receiver.recv_timeout(limits.start) {
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

    /// The order, if it is here or has come back by now. An answer in it is too late, and is
    /// ignored.
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

    /// Sends the order to the thread, and waits for the answer.
    fn order(&mut self, order: Box<Order>, limit: Duration) -> Result<Box<Order>, EngineError> {
        let gone = EngineError::ThreadPanicked;
        let orders = self.orders.as_ref().ok_or(EngineError::ThreadPanicked)?;
        let start = Instant::now();
        // The channel has room: there is only one order, and it was here until now.
        orders.send(order).map_err(|_| gone)?;
        while self.limits.wait == Wait::Spin && start.elapsed() < SPIN.min(limit) {
            match self.answers.try_recv() {
                Ok(order) => return Ok(order),
                // The thread may have been woken on this core.
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

/// The thread's loop, until the channel of orders is closed.
fn serve(engine: &mut impl Engine, requests: &Receiver<Box<Order>>, done: &SyncSender<Box<Order>>) {
    while let Ok(mut order) = requests.recv() {
        let Order {
            prepare,
            inputs,
            outputs,
            done: result,
        } = &mut *order;
        *result = if *prepare {
            engine.prepare().map(|()| Timing::default())
        } else {
            // If an engine has more ports, it returns an error about the missing ones.
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

impl Engine for ThreadedEngine {
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
        // A channel allocates at its first wait: allocate here, and not in a late frame.
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
        for (tensor, given) in order.inputs.iter_mut().zip(inputs) {
            tensor.take(*given);
        }
        let order = self.order(order, self.limits.answer)?;
        for (tensor, given) in order.outputs.iter().zip(outputs) {
            tensor.give(given);
        }
        let done = order.done.clone();
        self.order = Some(order);
        Ok(Timing {
            total: start.elapsed(),
            ..done?
        })
    }
}

impl Drop for ThreadedEngine {
    fn drop(&mut self) {
        self.orders = None;
        // Wait until the engine has released the device before the process ends. A stuck thread
        // cannot release it.
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

    /// Copies an input; type and length have been checked.
    fn take(&mut self, given: TensorRef<'_>) {
        match (self, given) {
            (Self::F32(own), TensorRef::F32(given)) => own.copy_from_slice(given),
            (Self::I64(own), TensorRef::I64(given)) => own.copy_from_slice(given),
            (Self::I32(own), TensorRef::I32(given)) => own.copy_from_slice(given),
            (Self::U8(own), TensorRef::U8(given)) => own.copy_from_slice(given),
            (Self::I8(own), TensorRef::I8(given)) => own.copy_from_slice(given),
            _ => {}
        }
    }

    /// Copies to an output; type and length have been checked.
    fn give(&self, given: &mut TensorMut<'_>) {
        match (self, given) {
            (Self::F32(own), TensorMut::F32(given)) => given.copy_from_slice(own),
            (Self::I64(own), TensorMut::I64(given)) => given.copy_from_slice(own),
            (Self::I32(own), TensorMut::I32(given)) => given.copy_from_slice(own),
            (Self::U8(own), TensorMut::U8(given)) => given.copy_from_slice(own),
            (Self::I8(own), TensorMut::I8(given)) => given.copy_from_slice(own),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
