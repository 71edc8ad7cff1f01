//! The process of an engine: what runs in it.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use arrayvec::ArrayVec;
use pilotage_engine::{ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};
use rustix::process::Signal;
use rustix::thread::set_current_timer_slack;

use super::END;
use super::memory::{CHILD, END as NO_MORE, MOST_PORTS, PARENT, Request, Tensors};
use super::message::{About, ToChild, ToParent, invalid, receive, send};

/// Runs as the process of an engine, which [`super::ProcessEngine`] starts with its socket as standard
/// input: makes the engine and answers the pilot's requests until the pilot ends. `make` gets the
/// pilot's order and the engine file's bytes, and returns an engine that needs no further
/// preparation, or the reason why there is none.
///
/// # Errors
/// When the process was not started by a pilot, or the system fails.
pub fn serve<E: Engine>(
    make: impl FnOnce(&str, Vec<u8>) -> Result<E, String>,
) -> io::Result<ExitCode> {
    // Leave the pilot's terminal, whose keys are not for this process.
    pilotage_guard::leave_session();
    // A pilot that ends takes this process with it, also while it is suspended or in a call that
    // does not return.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // No other signal than SIGKILL ends it: the service manager signals all processes of the unit, and
    // the pilot still drives until it has stopped the car.
    pilotage_linux::signals::catch()?;
    let _ = rustix::thread::set_name(c"pilotage-gpu");
    // As for a thread that waits for a device: the kernel would add up to 50 microseconds to the end
    // of each sleep.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let socket = Arc::new(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((ToChild::Start { order }, Some(file))) = receive(&socket)? else {
        return Err(invalid("the pilot has sent no engine"));
    };
    let shared = Arc::new(OnceLock::new());
    let memories = watch(&socket, &shared)?;
    let mut engine = match make(&order, read(file)?) {
        Ok(engine) => engine,
        Err(reason) => {
            send(&socket, &ToParent::Failed { reason }, None)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let about = About {
        description: engine.describe(),
        inputs: engine.inputs().to_vec(),
        outputs: engine.outputs().to_vec(),
    };
    send(&socket, &ToParent::Ready(about), None)?;
    // Without a memory the pilot has ended.
    if let Ok(file) = memories.recv() {
        let tensors = Tensors::open(file, engine.inputs(), engine.outputs())?;
        let tensors = shared.get_or_init(|| tensors);
        answer(&mut engine, tensors);
    }
    drop(engine);
    Ok(ExitCode::SUCCESS)
}

/// The bytes of the engine file. Its position is shared with earlier processes, so it is not used.
fn read(file: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| invalid("too long"))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Starts the thread that receives the memory, and ends the process after the pilot has closed the
/// socket: in order if the engine is idle, and else by force.
fn watch(socket: &Arc<OwnedFd>, shared: &Arc<OnceLock<Tensors>>) -> io::Result<Receiver<OwnedFd>> {
    let (sender, memories): (SyncSender<OwnedFd>, _) = sync_channel(1);
    let (socket, shared) = (Arc::clone(socket), Arc::clone(shared));
    thread::Builder::new()
        .name("pilot".to_owned())
        .spawn(move || {
            while let Ok(Some((message, file))) = receive(&socket) {
                if let (ToChild::Memory, Some(file)) = (message, file) {
                    let _ = sender.try_send(file);
                }
            }
            drop(sender);
            if let Some(tensors) = shared.get() {
                tensors.memory().set(PARENT, NO_MORE);
                thread::sleep(END);
            }
            // Not by `exit`, which runs the destructors of libraries that are still in a call.
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        })?;
    Ok(memories)
}

/// Answers requests until there are no more.
fn answer(engine: &mut impl Engine, tensors: &Tensors) {
    let mut inputs: Vec<Tensor> = engine.inputs().iter().map(Tensor::zeros).collect();
    let mut outputs: Vec<Tensor> = engine.outputs().iter().map(Tensor::zeros).collect();
    let mut number = 0;
    loop {
        number = tensors.memory().wait_while(PARENT, number, None);
        if number == NO_MORE {
            return;
        }
        let result = match tensors.request() {
            Request::Prepare => engine.prepare().map(|()| Timing::default()),
            Request::Infer => infer(engine, tensors, &mut inputs, &mut outputs),
        };
        tensors.write_result(&result);
        tensors.memory().set(CHILD, number);
    }
}

fn infer(
    engine: &mut impl Engine,
    tensors: &Tensors,
    inputs: &mut [Tensor],
    outputs: &mut [Tensor],
) -> Result<Timing, EngineError> {
    for (index, tensor) in inputs.iter_mut().enumerate() {
        tensors.read_input(index, &mut tensor.as_mut());
    }
    let given: ArrayVec<_, MOST_PORTS> = inputs.iter().map(Tensor::as_ref).collect();
    let mut answers: ArrayVec<_, MOST_PORTS> = outputs.iter_mut().map(Tensor::as_mut).collect();
    let timing = engine.infer(&given, &mut answers)?;
    drop(answers);
    for (index, tensor) in outputs.iter().enumerate() {
        tensors.write_output(index, tensor.as_ref());
    }
    Ok(timing)
}

/// A tensor of a request, in this process's own memory.
enum Tensor {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
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
}
