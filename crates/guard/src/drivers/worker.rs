//! An actuator on a separate thread.
//!
//! A transfer on a stuck I2C bus can take longer than a guard's tick and its deadline, because not
//! every adapter's driver keeps to the kernel's limit (I2C_TIMEOUT). The guard's thread therefore
//! makes no transfers. It passes its newest output to the worker thread, and waits a bounded time
//! for the outcome. Of the outputs that wait, only the newest is written when the bus is free
//! again. If the car was stopped meanwhile, that output is failsafe.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_vehicle::Time;

use super::open_error::OpenError;
use super::output_enable::OutputEnable;
use crate::{Actuator, ActuatorError, Output, PRIORITY};

/// Small, because memory is locked, including a thread's stack.
const STACK: usize = 256 * 1024;
/// Timeout of the first write, which sets up the device. Nothing moves before it, so it may take
/// longer.
const SETUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest timeout of a write: the value of I2C_TIMEOUT.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// A write's timeout is the deadline divided by this: 10 ms for a deadline of 150 ms.
const DEADLINE_SHARE: u32 = 15;
/// How long to wait for the end of an actuator that hangs.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// Writes to an actuator on a separate thread.
///
/// Normally [`write`](Actuator::write) behaves like the actuator's own: it returns the same result,
/// with the output in force. An actuator that hangs delays one write by the timeout. After that
/// each write fails at once, until the hang has ended.
pub struct Worker<A> {
    name: &'static str,
    device: Arc<str>,
    shared: Arc<Shared<A>>,
    timeout: Duration,
    thread: Option<JoinHandle<()>>,
    /// Disables the outputs while the actuator hangs.
    output_enable: Option<Box<dyn OutputEnable + Send>>,
    /// Whether the pin disables the outputs whatever is written.
    held_back: bool,
    /// Whether a write has succeeded or timed out before.
    started: bool,
    /// Whether the actuator is known to hang.
    stuck: bool,
    /// Whether the last write that ended has failed.
    failed: bool,
}

type Adjust<A> = Box<dyn FnOnce(&mut A) + Send>;

struct Shared<A> {
    slot: Mutex<Slot<A>>,
    changed: Condvar,
}

/// The state that the two threads share.
struct Slot<A> {
    /// The newest output, until its write begins.
    pending: Option<(Time, Output)>,
    /// A change to make before the next write.
    adjust: Option<Adjust<A>>,
    /// The number of submitted outputs.
    submitted: u64,
    /// When the current write began.
    began: Option<Instant>,
    /// The number of the last written output; `outcome` is its result.
    done: u64,
    outcome: Option<Result<(), ActuatorError>>,
    /// No more outputs will be submitted.
    closed: bool,
    /// The actuator has been dropped.
    ended: bool,
}

impl<A> Shared<A> {
    fn slot(&self) -> MutexGuard<'_, Slot<A>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, slot: MutexGuard<'a, Slot<A>>) -> MutexGuard<'a, Slot<A>> {
        let woken = self.changed.wait(slot);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(
        &self,
        slot: MutexGuard<'a, Slot<A>>,
        time: Duration,
    ) -> MutexGuard<'a, Slot<A>> {
        let woken = self.changed.wait_timeout(slot, time);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<A: Actuator + 'static> Worker<A> {
    /// Starts a thread, and calls `build` there to create the actuator. `device` is named in
    /// errors.
    ///
    /// # Errors
    /// The error of `build`, or `Thread` if no thread can be started.
    pub fn start(
        name: &'static str,
        device: impl Into<Arc<str>>,
        build: impl FnOnce() -> Result<A, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        // The guard's only other threads are started later.
        pilotage_linux::limit_to_one_heap();
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot {
                pending: None,
                adjust: None,
                submitted: 0,
                began: None,
                done: 0,
                outcome: None,
                closed: false,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let (built, opened) = mpsc::sync_channel(1);
        let worker_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                // If the priority is refused here, it is also refused to the guard's thread, which
                // logs that.
                let _ = pilotage_linux::real_time(PRIORITY);
                let _abort_on_panic = AbortOnPanic;
                let result = build().map(|actuator| serve(&worker_shared, actuator, &built));
                if let Err(error) = result {
                    let _ = built.send(Err(error));
                }
            })
            .map_err(OpenError::Thread)?;
        let lost = || OpenError::Thread(io::ErrorKind::BrokenPipe.into());
        opened.recv().map_err(|_| lost())??;
        Ok(Self {
            name,
            device: device.into(),
            shared,
            timeout: SHORTEST_TIMEOUT,
            thread: Some(thread),
            output_enable: None,
            held_back: false,
            started: false,
            stuck: false,
            failed: false,
        })
    }

    /// Sets the pin that disables the outputs while the actuator hangs. The pin does not need the
    /// bus.
    pub fn with_output_enable(mut self, pin: impl OutputEnable + Send + 'static) -> Self {
        self.output_enable = Some(Box::new(pin));
        self
    }

    /// Sets the write timeout for a guard with this `deadline`: a fifteenth of it, at least 10 ms.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.timeout = (deadline / DEADLINE_SHARE).max(SHORTEST_TIMEOUT);
    }

    /// Changes the actuator before its next write. Of several pending changes only the last is
    /// made.
    pub fn adjust(&mut self, change: impl FnOnce(&mut A) + Send + 'static) {
        self.shared.slot().adjust = Some(Box::new(change));
    }

    /// With true, the pin disables the outputs whatever is written, until it is called with false: so
    /// that an operator sees whether it does.
    pub fn hold_back(&mut self, held_back: bool) {
        let ended = self.held_back && !held_back;
        self.held_back = held_back;
        // While the actuator hangs they stay disabled: the end of the hang enables them. After a
        // write that failed, the driver does, when it sets its device up anew.
        if ended && !self.stuck && !self.failed {
            self.set_output_enable(true);
        }
    }

    /// Enables the outputs, unless they are held back, or disables them. Returns whether there is a
    /// pin that could be set.
    fn set_output_enable(&mut self, through: bool) -> bool {
        let through = through && !self.held_back;
        let pin = self.output_enable.as_mut();
        pin.is_some_and(|pin| pin.set(through).is_ok())
    }

    /// Submits `output` and waits for its outcome. On a timeout, returns how long the current write
    /// has taken.
    fn pass(&self, now: Time, output: Output) -> Result<Result<(), ActuatorError>, Duration> {
        let timeout = if self.started {
            self.timeout
        } else {
            SETUP_TIMEOUT
        };
        let mut slot = self.shared.slot();
        slot.submitted += 1;
        let number = slot.submitted;
        slot.pending = Some((now, output));
        self.shared.changed.notify_all();
        // A write that has already timed out is not waited for again.
        let began = slot.began.unwrap_or_else(Instant::now);
        loop {
            if slot.done == number
                && let Some(outcome) = slot.outcome.take()
            {
                return Ok(outcome);
            }
            let left = timeout.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(slot.began.unwrap_or(began).elapsed());
            }
            slot = self.shared.wait_for(slot, left);
        }
    }
}

/// Aborts the process when this thread panics. The guard's watcher then writes failsafe.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Writes the submitted outputs, until the worker is closed.
fn serve<A: Actuator>(
    shared: &Shared<A>,
    mut actuator: A,
    built: &mpsc::SyncSender<Result<(), OpenError>>,
) {
    let _ = built.send(Ok(()));
    let mut slot = shared.slot();
    loop {
        if let Some((now, output)) = slot.pending.take() {
            let (number, adjust) = (slot.submitted, slot.adjust.take());
            slot.began = Some(Instant::now());
            drop(slot);
            if let Some(adjust) = adjust {
                adjust(&mut actuator);
            }
            let outcome = actuator.write(now, &output);
            slot = shared.slot();
            (slot.done, slot.outcome, slot.began) = (number, Some(outcome), None);
            shared.changed.notify_all();
        } else if slot.closed {
            break;
        } else {
            slot = shared.wait(slot);
        }
    }
    drop(slot);
    drop(actuator);
    shared.slot().ended = true;
    shared.changed.notify_all();
}

impl<A: Actuator + 'static> Actuator for Worker<A> {
    fn name(&self) -> &str {
        self.name
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        match self.pass(now, *output) {
            Ok(outcome) => {
                if self.stuck {
                    log::warn!("{}: the transfer that was stuck has ended", self.device);
                    // If this write failed, the outputs stay disabled.
                    self.set_output_enable(outcome.is_ok());
                }
                self.stuck = false;
                self.failed = outcome.is_err();
                self.started |= outcome.is_ok();
                outcome?;
                let held_back = self.held_back;
                let set = self.output_enable.as_mut().map(|pin| match held_back {
                    true => pin.set(false),
                    false => pin.beat(),
                });
                match set {
                    Some(Err(reason)) => Err(ActuatorError::Write {
                        device: Arc::clone(&self.device),
                        reason,
                    }),
                    _ => Ok(()),
                }
            }
            Err(time) => {
                let error = ActuatorError::Stuck {
                    device: Arc::clone(&self.device),
                    millis: time.as_millis() as u64,
                };
                if !self.stuck {
                    let held_back = match self.set_output_enable(false) {
                        true => "; its outputs are held back",
                        false => "",
                    };
                    log::error!("{error}{held_back}");
                }
                (self.stuck, self.started) = (true, true);
                Err(error)
            }
        }
    }
}

impl<A> Drop for Worker<A> {
    /// Writes the pending output and releases the device, unless the actuator hangs.
    fn drop(&mut self) {
        let began = Instant::now();
        let mut slot = self.shared.slot();
        slot.closed = true;
        self.shared.changed.notify_all();
        while !slot.ended {
            let left = SHUTDOWN_TIMEOUT.saturating_sub(began.elapsed());
            if left.is_zero() {
                // The thread ends with the process.
                return;
            }
            slot = self.shared.wait_for(slot, left);
        }
        drop(slot);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
