//! An engine in a process of its own.
//!
//! A driver can hang in the kernel, where not even a signal ends its caller, crash its process, or
//! fail so that only a new process can use the device. None of that reaches the pilot: it shares no
//! more than a memory with the engine's process, and starts another one.
//!
//! - `memory` has the tensors, a request and its result. Each side sets a flag and wakes the other.
//! - `keeper` is the pilot's thread that starts and ends processes.
//! - `child` runs in the process, `message` is what both send each other at the start.

mod child;
mod keeper;
mod memory;
mod message;

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pilotage_engine::{Engine, EngineError, Port, TensorMut, TensorRef, Timing};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use tensorrt_rs::Wait;

pub use child::serve;
use keeper::{Keeper, Made, Order};
use memory::{CHILD, END as NO_MORE, PARENT, Request, Tensors};
use message::About;

/// An engine in a process of its own. A call into its driver that never returns does not block the
/// caller, and neither a crash nor an error that only a new process heals ends it: the caller gets an
/// error, and the process is replaced while the caller goes on.
///
/// After [`Engine::prepare`], [`Engine::infer`] allocates nothing as long as the engine answers.
pub struct ProcessEngine {
    about: About,
    limits: Limits,
    state: State,
    orders: SyncSender<Order>,
    /// Wakes the keeper for an order.
    wake: Arc<OwnedFd>,
    made: Receiver<Made>,
    keeper: Option<JoinHandle<()>>,
}

/// How long and how the caller waits for the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Limit for the start of a process until its engine is ready, and for each [`Engine::prepare`].
    pub start: Duration,
    /// Limit for an answer. The engine's own limit should be a little shorter, because the engine
    /// knows better why there is no answer.
    pub answer: Duration,
    /// What the caller does while it waits.
    pub wait: Wait,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The engine's construction failed.
    #[error("{0}")]
    Failed(String),
    /// The engine was not ready in time.
    #[error(
        "a call into the GPU's driver or TensorRT has not come back within {:.0} s \
         (`gpu_start_s` in car.toml); where it never does, restart the machine and look at \
         `sudo dmesg`", .0.as_secs_f64()
    )]
    Stuck(Duration),
    /// The process ended before its engine was ready.
    #[error(
        "the process of the GPU's engine has ended ({0}) before the engine was ready; see above"
    )]
    Ended(String),
    /// An earlier process of the engine has been killed, and has not ended.
    #[error(
        "the last process of the GPU's engine does not end, so it hangs in the GPU's driver: restart \
         the machine and look at `sudo dmesg`"
    )]
    NotEnded,
    /// An engine that was started again has other inputs or outputs than before.
    #[error("the GPU's engine has other inputs or outputs than before: restart Pilotage")]
    OtherPorts,
    /// The system has no process, thread, memory or descriptor left, or a message is malformed.
    #[error("the process of the GPU's engine cannot be started: {0}")]
    System(io::Error),
}

enum State {
    Running(Running),
    /// The keeper starts a process.
    Starting,
}

/// An engine's process that is ready.
struct Running {
    tensors: Arc<Tensors>,
    /// Of the last request.
    number: u32,
    /// When the last request was sent, if no answer to it has been seen.
    outstanding: Option<Instant>,
}

/// Why there is no answer.
enum Unanswered {
    /// Not within the limit.
    Late,
    /// The process has ended.
    Ended,
}

/// How long the caller polls before it blocks, as [`Wait::Spin`] does for the GPU.
const SPIN: Duration = Duration::from_micros(500);
/// How long a process in which no call is outstanding may take to release its device and to end.
const END: Duration = Duration::from_secs(1);
/// A process whose call has not come back after this long is replaced at the next request.
const HUNG: Duration = Duration::from_millis(500);

impl ProcessEngine {
    /// Starts a process and waits until its engine is ready. `command` makes the command that runs
    /// [`serve`], for this process and those that replace it; `order` and `file` (the engine file)
    /// are what `serve` passes to its caller.
    ///
    /// # Errors
    /// Fails if the engine is not ready within the limit. Nothing waits for its process then.
    pub fn start(
        command: impl Fn() -> Command + Send + 'static,
        order: String,
        file: &[u8],
        limits: Limits,
    ) -> Result<Self, NotStarted> {
        let file = sealed(file).map_err(NotStarted::System)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(|error| NotStarted::System(error.into()))?;
        let wake = Arc::new(wake);
        let (orders, requests) = sync_channel(4);
        let (sender, made) = sync_channel(4);
        let keeper = Keeper {
            command: Box::new(command),
            order,
            file,
            limit: limits.start,
            orders: requests,
            wake: Arc::clone(&wake),
            made: sender,
            about: None,
            current: None,
            dying: None,
        };
        // The kernel ends the process when the thread that started it ends, so that thread lives as
        // long as the engine.
        let thread = thread::Builder::new().name("engine".to_owned());
        let keeper = thread
            .spawn(move || keeper.run())
            .map_err(NotStarted::System)?;
        let mut engine = Self {
            about: About {
                description: String::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
            limits,
            state: State::Starting,
            orders,
            wake,
            made,
            keeper: Some(keeper),
        };
        // The keeper reports the limit itself.
        let made = match engine.made.recv_timeout(limits.start + END) {
            Ok(made) => made?,
            Err(RecvTimeoutError::Timeout) => return Err(NotStarted::Stuck(limits.start)),
            Err(RecvTimeoutError::Disconnected) => {
                let error = io::Error::other("the thread that starts it has ended");
                return Err(NotStarted::System(error));
            }
        };
        let (tensors, about) = made;
        engine.about = about;
        engine.state = State::Running(Running::new(tensors));
        Ok(engine)
    }

    fn order(&self, order: Order) {
        // There is room: each order but the last waits for a result of the one before.
        let _ = self.orders.try_send(order);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Replaces the process.
    fn replace(&mut self) {
        self.state = State::Starting;
        self.order(Order::Replace);
    }

    /// The memory of the process, if it is ready and has answered all requests: its flag is then the
    /// number of the last one. A late answer is ignored.
    fn idle(&mut self) -> Result<Arc<Tensors>, EngineError> {
        if matches!(self.state, State::Starting) {
            match self.made.try_recv() {
                Ok(Ok((tensors, _))) => self.state = State::Running(Running::new(tensors)),
                Ok(Err(error)) => {
                    self.replace();
                    let reason = error.to_string();
                    return Err(EngineError::Device { reason });
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(keeper_ended()),
            }
        }
        let State::Running(running) = &mut self.state else {
            return Err(starting());
        };
        let error = match (running.tensors.memory().value(CHILD), running.outstanding) {
            (NO_MORE, _) => ended(),
            (found, _) if found == running.number => {
                running.outstanding = None;
                return Ok(Arc::clone(&running.tensors));
            }
            (_, Some(since)) => {
                let limit = self.limits.answer;
                if since.elapsed() < HUNG {
                    return Err(EngineError::Stuck { limit });
                }
                EngineError::Stuck { limit }
            }
            (_, None) => EngineError::Device {
                reason: "the process of the GPU's engine has answered without a request".to_owned(),
            },
        };
        self.replace();
        Err(error)
    }

    /// Sends a request and waits for the result. After [`idle`](Self::idle) only.
    fn ask(&mut self, request: Request, limit: Duration) -> Result<Timing, EngineError> {
        let State::Running(running) = &mut self.state else {
            return Err(starting());
        };
        let error = match running.ask(request, limit, self.limits.wait) {
            Ok(()) => match running.tensors.result() {
                // Only another process can use the device again.
                Err(EngineError::Lost { reason }) => EngineError::Device { reason },
                result => return result,
            },
            // It may come back: see `idle`.
            Err(Unanswered::Late) => return Err(EngineError::Stuck { limit }),
            Err(Unanswered::Ended) => ended(),
        };
        self.replace();
        Err(error)
    }
}

impl Running {
    const fn new(tensors: Arc<Tensors>) -> Self {
        Self {
            tensors,
            number: 0,
            outstanding: None,
        }
    }

    fn ask(&mut self, request: Request, limit: Duration, wait: Wait) -> Result<(), Unanswered> {
        let memory = self.tensors.memory();
        // Not the flag's present value: the process may have ended since `idle` looked at it.
        let before = self.number;
        // 0 is the number before the first request.
        self.number = match self.number + 1 {
            NO_MORE => 1,
            number => number,
        };
        self.tensors.write_request(request);
        let start = Instant::now();
        self.outstanding = Some(start);
        memory.set(PARENT, self.number);
        let mut found = before;
        while found == before && wait == Wait::Spin && start.elapsed() < SPIN.min(limit) {
            // The process may have been woken on this core.
            thread::yield_now();
            found = memory.value(CHILD);
        }
        if found == before {
            let left = limit.saturating_sub(start.elapsed());
            found = memory.wait_while(CHILD, before, Some(left));
        }
        match found {
            _ if found == self.number => {
                self.outstanding = None;
                Ok(())
            }
            NO_MORE => Err(Unanswered::Ended),
            _ => Err(Unanswered::Late),
        }
    }
}

impl Engine for ProcessEngine {
    fn describe(&self) -> String {
        self.about.description.clone()
    }

    fn inputs(&self) -> &[Port] {
        &self.about.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.about.outputs
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        self.idle()?;
        self.ask(Request::Prepare, self.limits.start).map(drop)
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.about.inputs, inputs)?;
        EngineError::check_outputs(&self.about.outputs, outputs)?;
        let start = Instant::now();
        let tensors = self.idle()?;
        for (index, &tensor) in inputs.iter().enumerate() {
            tensors.write_input(index, tensor);
        }
        let timing = self.ask(Request::Infer, self.limits.answer)?;
        for (index, tensor) in outputs.iter_mut().enumerate() {
            tensors.read_output(index, tensor);
        }
        Ok(Timing {
            total: start.elapsed(),
            ..timing
        })
    }
}

impl Drop for ProcessEngine {
    fn drop(&mut self) {
        // A process in a call is not waited for: the call may never return.
        let at_once = match &self.state {
            State::Running(running) => {
                running.outstanding.is_some()
                    && running.tensors.memory().value(CHILD) != running.number
            }
            State::Starting => true,
        };
        self.order(Order::End { at_once });
        let until = Instant::now() + END + END / 10;
        if let Some(keeper) = self.keeper.take() {
            while !keeper.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn ended() -> EngineError {
    EngineError::Device {
        reason: "the process of the GPU's engine has ended".to_owned(),
    }
}

fn starting() -> EngineError {
    EngineError::Device {
        reason: "the process of the GPU's engine is being started again".to_owned(),
    }
}

fn keeper_ended() -> EngineError {
    EngineError::Device {
        reason: "the thread that starts the GPU's engine has ended: restart Pilotage".to_owned(),
    }
}

/// A memory with `content` that cannot be changed.
fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("pilotage-engine-file", flags)?;
    let mut left = content;
    while !left.is_empty() {
        let written = rustix::io::write(&memory, left)?;
        left = &left[written..];
    }
    // "Busy" while the kernel itself looks at a page of the file, for which it waits for 0.15 s
    // (`memfd_wait_for_pins` in its mm/memfd.c).
    let mut tries = 4;
    loop {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        match rustix::fs::fcntl_add_seals(&memory, seals) {
            Err(Errno::BUSY) if tries > 0 => tries -= 1,
            sealed => return Ok(sealed.map(|()| memory)?),
        }
    }
}

#[cfg(test)]
mod tests;
