//! A guard that runs in a thread of its own, and the link of its pilot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pilotage_guard::conformance::LinkRig;
use pilotage_guard::{
    ArmRequest, CommandLink, Identification, Limits, Mode, OperatorLink, Output, SocketLink,
};
use pilotage_vehicle::{Command, Domain, Time};

use crate::{Shared, pair, server};

/// A guard's thread, and the pilot's connection to it.
pub(crate) struct Rig {
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) polls: Arc<AtomicU64>,
    pub(crate) end: Arc<AtomicBool>,
    pub(crate) held: Shared,
    pub(crate) link: SocketLink,
    pub(crate) thread: Option<JoinHandle<()>>,
}

impl Rig {
    /// Starts a guard. With `pilot`, the link declares itself as the pilot, with an engine from
    /// that domain.
    pub(crate) fn start(limits: Limits, pilot: Option<Domain>) -> Self {
        let (pilot_end, guard_end) = pair();
        let held = Shared::default();
        // Not zero, so that an unset time can be distinguished.
        let clock = Arc::new(AtomicU64::new(1_000_000_000));
        let (polls, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = {
            let (held, clock) = (held.clone(), Arc::clone(&clock));
            let (polls, end) = (Arc::clone(&polls), Arc::clone(&end));
            std::thread::spawn(move || {
                let now = || Time::from_nanos(clock.load(Ordering::SeqCst));
                let mut server = server(limits, held, now(), None, guard_end);
                while !end.load(Ordering::SeqCst) && !server.orphaned() {
                    server.poll(now);
                    polls.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(50));
                }
                polls.store(u64::MAX / 2, Ordering::SeqCst);
            })
        };
        let mut rig = Self {
            clock,
            polls,
            end,
            held,
            link: SocketLink::over(pilot_end),
            thread: Some(thread),
        };
        if let Some(domain) = pilot {
            let car = Identification::of_limits(&limits);
            rig.link.hello(domain, &car).unwrap();
        }
        rig.settle();
        rig
    }

    /// Waits for a complete poll of the guard.
    pub(crate) fn settle(&self) {
        let before = self.polls.load(Ordering::SeqCst);
        while self.polls.load(Ordering::SeqCst) < before + 2 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    pub(crate) fn held(&self) -> Output {
        self.held.0.lock().unwrap().unwrap()
    }

    pub(crate) fn command(&self, sequence: u64) -> Command {
        Command {
            steering: 0.5,
            throttle: 0.25,
            captured: self.now(),
            sequence,
        }
    }

    pub(crate) fn drive(&mut self) {
        let now = self.now();
        let request = ArmRequest {
            engine: Domain::Simulated,
        };
        self.link.arm(now, request).unwrap();
        self.link.send_at(now, self.command(1)).unwrap();
        self.wait(Duration::from_millis(20));
        assert_eq!(self.held().mode, Mode::Drive);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl LinkRig for Rig {
    type Link = SocketLink;

    fn link(&mut self) -> &mut SocketLink {
        &mut self.link
    }

    fn now(&self) -> Time {
        Time::from_nanos(self.clock.load(Ordering::SeqCst))
    }

    fn wait(&mut self, duration: Duration) {
        // What has been sent is received before time passes.
        self.settle();
        let nanos = u64::try_from(duration.as_nanos()).unwrap();
        self.clock.fetch_add(nanos, Ordering::SeqCst);
        self.settle();
        self.link.refresh().unwrap();
    }

    fn in_force(&mut self) -> Output {
        self.held()
    }

    fn slack(&self) -> Duration {
        Duration::ZERO
    }
}
