//! An actuator on a thread of its own.
//!
//! A transfer on a stuck I2C bus can take longer than a guard's tick, and longer than its
//! deadline: the kernel's own limit (I2C_TIMEOUT) is not kept by each adapter's driver. So a
//! guard does not transfer itself. It passes its newest output on and waits a bounded time for
//! what becomes of it. Of outputs that wait only the newest is written, as soon as the bus is
//! free again: of a car that was stopped meanwhile, that is failsafe.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_vehicle::Time;

use super::open::OpenError;
use super::output_enable::OutputEnable;
use crate::{Actuator, ActuatorError, Output, sys};

/// As the guard's own thread, which waits for this one.
const PRIORITY: i32 = 40;
/// Memory is locked, a thread's stack too.
const STACK: usize = 256 * 1024;
/// The first write sets the device up. Nothing moves yet, so there is time.
const START: Duration = Duration::from_secs(1);
/// The shortest wait for a write: what I2C_TIMEOUT is where a driver keeps to it.
const WAIT: Duration = Duration::from_millis(10);
/// The share of a deadline that may be waited: 10 ms of the usual 150 ms.
const SHARE: u32 = 15;
/// The end of an actuator that hangs is not waited for longer.
const END: Duration = Duration::from_millis(200);

/// Writes to an actuator on a thread of its own.
///
/// In order, [`write`](Actuator::write) is as the actuator's own: it returns what that
/// returned, with the output in force. An actuator that hangs delays it by the wait, once;
/// after that each write fails at once, until the hang has ended.
pub struct Worker<A> {
    name: &'static str,
    device: Arc<str>,
    shared: Arc<Shared<A>>,
    wait: Duration,
    thread: Option<JoinHandle<()>>,
    /// Holds the outputs back while it hangs.
    output_enable: Option<Box<dyn OutputEnable + Send>>,
    /// Whether a write has been taken yet.
    started: bool,
    /// Whether it is known that it hangs.
    stuck: bool,
}

type Adjust<A> = Box<dyn FnOnce(&mut A) + Send>;

struct Shared<A> {
    slot: Mutex<Slot<A>>,
    changed: Condvar,
}

/// What the two threads pass to each other.
struct Slot<A> {
    /// The newest output, until it is begun.
    order: Option<(Time, Output)>,
    /// To be done before it.
    adjust: Option<Adjust<A>>,
    /// How many were ordered.
    ordered: u64,
    /// When the write that runs began.
    began: Option<Instant>,
    /// The last that was written, and what became of it.
    done: u64,
    outcome: Option<Result<(), ActuatorError>>,
    /// No more will be ordered.
    closed: bool,
    /// The actuator is gone.
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
    /// Starts a thread, and on it the actuator that `build` makes there. `device` is for its
    /// errors.
    ///
    /// # Errors
    /// `build`'s, or `Thread` where there is none to be had.
    pub fn start(
        name: &'static str,
        device: impl Into<Arc<str>>,
        build: impl FnOnce() -> Result<A, OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        sys::one_heap();
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot {
                order: None,
                adjust: None,
                ordered: 0,
                began: None,
                done: 0,
                outcome: None,
                closed: false,
                ended: false,
            }),
            changed: Condvar::new(),
        });
        let (built, opened) = mpsc::sync_channel(1);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                // Where it is refused, so it is to the guard's own thread, which says so.
                let _ = sys::real_time(PRIORITY);
                let _together = Together;
                let result = build().map(|actuator| serve(&theirs, actuator, &built));
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
            wait: WAIT,
            thread: Some(thread),
            output_enable: None,
            started: false,
            stuck: false,
        })
    }

    /// While the actuator hangs `pin` holds its outputs back: it needs no bus.
    pub fn held_back_by(mut self, pin: impl OutputEnable + Send + 'static) -> Self {
        self.output_enable = Some(Box::new(pin));
        self
    }

    /// Fits the wait to a guard of this `deadline`: a fifteenth of it, and at least 10 ms.
    pub fn keep_to(&mut self, deadline: Duration) {
        self.wait = (deadline / SHARE).max(WAIT);
    }

    /// Changes the actuator before its next write. Of several such changes the last one is made.
    pub fn adjust(&mut self, change: impl FnOnce(&mut A) + Send + 'static) {
        self.shared.slot().adjust = Some(Box::new(change));
    }

    /// Whether there is a pin that did it.
    fn let_through(&mut self, through: bool) -> bool {
        let pin = self.output_enable.as_mut();
        pin.is_some_and(|pin| pin.set(through).is_ok())
    }

    /// Passes `output` on; the outcome, unless it takes too long: then for how long it has.
    fn pass(&self, now: Time, output: Output) -> Result<Result<(), ActuatorError>, Duration> {
        let patience = if self.started { self.wait } else { START };
        let mut slot = self.shared.slot();
        slot.ordered += 1;
        let ours = slot.ordered;
        slot.order = Some((now, output));
        self.shared.changed.notify_all();
        // A write that has had its time is not waited for again.
        let began = slot.began.unwrap_or_else(Instant::now);
        loop {
            if slot.done == ours
                && let Some(outcome) = slot.outcome.take()
            {
                return Ok(outcome);
            }
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(slot.began.unwrap_or(began).elapsed());
            }
            slot = self.shared.wait_for(slot, left);
        }
    }
}

/// A panic of this thread is one of the guard: what watches over that writes failsafe.
struct Together;

impl Drop for Together {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Writes what is ordered, until no more will be.
fn serve<A: Actuator>(
    shared: &Shared<A>,
    mut actuator: A,
    built: &mpsc::SyncSender<Result<(), OpenError>>,
) {
    let _ = built.send(Ok(()));
    let mut slot = shared.slot();
    loop {
        if let Some((now, output)) = slot.order.take() {
            let (number, adjust) = (slot.ordered, slot.adjust.take());
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
                    // Where this output was not taken, the actuator holds back by itself.
                    self.let_through(outcome.is_ok());
                }
                self.stuck = false;
                self.started |= outcome.is_ok();
                outcome
            }
            Err(time) => {
                let error = ActuatorError::Stuck {
                    device: Arc::clone(&self.device),
                    millis: time.as_millis() as u64,
                };
                if !self.stuck {
                    let held_back = match self.let_through(false) {
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
    /// What was ordered is still written, and the device released, unless it hangs.
    fn drop(&mut self) {
        let began = Instant::now();
        let mut slot = self.shared.slot();
        slot.closed = true;
        self.shared.changed.notify_all();
        while !slot.ended {
            let left = END.saturating_sub(began.elapsed());
            if left.is_zero() {
                // The process's end ends it.
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
