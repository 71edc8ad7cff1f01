//! The live line on a terminal, printed by a thread of its own: the loop only
//! stores numbers.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the line shows. Each number stands alone: a torn line is of no consequence.
#[derive(Debug, Default)]
struct Shared {
    lap: AtomicU32,
    speed: AtomicU32,
    deviation: AtomicU32,
    inference: AtomicU32,
    loop_p99: AtomicU32,
    fallback: AtomicBool,
    done: AtomicBool,
}

/// Numbers for the line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    /// Share of the lap done, 0 to 1.
    pub lap: f32,
    /// Metres per second.
    pub speed: f32,
    /// Metres from the line, left positive.
    pub deviation: f32,
    /// Microseconds.
    pub inference: f32,
    /// Microseconds.
    pub loop_p99: f32,
    /// The fallback answers in the engine's place.
    pub fallback: bool,
}

/// Shows one line on standard error while it lives; nothing where that is no terminal.
#[derive(Debug)]
pub struct LiveLine {
    shared: Arc<Shared>,
    printer: Option<JoinHandle<()>>,
}

impl LiveLine {
    /// Starts the line if `wanted` and standard error is a terminal.
    pub fn start(wanted: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let printer = (wanted && std::io::stderr().is_terminal()).then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || print(&shared))
        });
        Self { shared, printer }
    }

    /// Stores what the line shows next.
    pub fn show(&self, numbers: Numbers) {
        let store = |slot: &AtomicU32, value: f32| slot.store(value.to_bits(), Ordering::Relaxed);
        store(&self.shared.lap, numbers.lap);
        store(&self.shared.speed, numbers.speed);
        store(&self.shared.deviation, numbers.deviation);
        store(&self.shared.inference, numbers.inference);
        store(&self.shared.loop_p99, numbers.loop_p99);
        let fallback = &self.shared.fallback;
        fallback.store(numbers.fallback, Ordering::Relaxed);
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::Relaxed);
        if let Some(printer) = self.printer.take() {
            printer.thread().unpark();
            let _ = printer.join();
        }
    }
}

const EVERY: Duration = Duration::from_millis(100);

fn print(shared: &Shared) {
    let load = |slot: &AtomicU32| f32::from_bits(slot.load(Ordering::Relaxed));
    let mut error = std::io::stderr();
    while !shared.done.load(Ordering::Relaxed) {
        let _ = write!(
            error,
            "\r\x1b[2Klap {:5.1} %   {:5.2} m/s   {:+.3} m off the line   {} {:4.0} us   \
             loop p99 {:5.0} us",
            load(&shared.lap) * 100.0,
            load(&shared.speed),
            load(&shared.deviation),
            match shared.fallback.load(Ordering::Relaxed) {
                true => "FALLBACK",
                false => "engine",
            },
            load(&shared.inference),
            load(&shared.loop_p99),
        );
        let _ = error.flush();
        std::thread::park_timeout(EVERY);
    }
    let _ = write!(error, "\r\x1b[2K");
    let _ = error.flush();
}
