//! The status line on a terminal. A separate thread prints it: the loop only stores numbers.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_console::write_to_stderr;
use pilotage_guard::State;

use crate::high_level::Commands;

/// The values that the line shows. They are stored independently: a mix of old and new values does
/// no harm.
#[derive(Debug, Default)]
struct Shared {
    /// The kind of [`Progress`], and for a physical car the state of its guard.
    what: AtomicU8,
    progress: [AtomicU32; 3],
    /// The kind of [`Source`], as an index of [`SOURCES`].
    source: AtomicU8,
    inference: AtomicU32,
    loop_p99: AtomicU32,
    /// The high-level commands, if there are any.
    commands: Option<Arc<Commands>>,
    done: AtomicBool,
}

/// What the line shows.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The progress of the drive.
    pub progress: Progress,
    /// Where the commands come from.
    pub source: Source,
}

/// The progress of a drive.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// The progress of the simulated car.
    Lap {
        /// Share of the lap done, 0 to 1.
        lap: f32,
        /// Metres per second.
        speed: f32,
        /// Metres from the line, left positive.
        deviation: f32,
    },
    /// The state of a physical car.
    Command {
        /// The guard's state.
        state: State,
        /// -1 (full right) to 1 (full left).
        steering: f32,
        /// -1 to 1.
        throttle: f32,
    },
}

/// Where the commands come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// An engine.
    Engine {
        /// Microseconds.
        inference: f32,
        /// Microseconds.
        loop_p99: f32,
        /// The fallback answers in the engine's place.
        fallback: bool,
    },
    /// An operator.
    Hand {
        /// The dead-man button is held.
        driven: bool,
        /// The stop button was pressed since the gamepad was opened.
        stop_tested: bool,
    },
}

const STATES: [&str; 5] = ["disarmed", "armed", "DRIVING", "stopped", "trimming"];
const LAP: u8 = STATES.len() as u8;
/// The text for each source: an engine, its fallback, and by hand in each state of two buttons.
const SOURCES: [&str; 6] = [
    "engine",
    "FALLBACK",
    "by hand",
    "by hand, released",
    "by hand, stop button not tested",
    "by hand, released, stop button not tested",
];
/// The index of the first text for an operator.
const BY_HAND: u8 = 2;

/// Shows one line on standard error while it exists; nothing if standard error is no terminal.
#[derive(Debug)]
pub struct LiveLine {
    shared: Arc<Shared>,
    printer: Option<JoinHandle<()>>,
}

impl LiveLine {
    /// Starts the line if `enabled` and standard error is a terminal. It shows which of `commands` is
    /// set.
    pub fn start(enabled: bool, commands: Option<Arc<Commands>>) -> Self {
        let shared = Arc::new(Shared {
            commands,
            ..Shared::default()
        });
        let printer = (enabled && io::stderr().is_terminal()).then(|| {
            let shared = Arc::clone(&shared);
            // If the line cannot be shown any more, the drive continues.
            let work = move || drop(print(&shared, columns, write_to_stderr));
            let printer = std::thread::Builder::new().name("live line".to_owned());
            printer.spawn(work).ok()
        });
        Self {
            shared,
            printer: printer.flatten(),
        }
    }

    /// Stores what the line shows next.
    pub fn show(&self, view: View) {
        let store = |slot: &AtomicU32, value: f32| slot.store(value.to_bits(), Ordering::Relaxed);
        let (what, progress) = match view.progress {
            Progress::Lap {
                lap,
                speed,
                deviation,
            } => (LAP, [lap, speed, deviation]),
            Progress::Command {
                state,
                steering,
                throttle,
            } => (place(&state), [steering, throttle, 0.0]),
        };
        let source = match view.source {
            Source::Engine {
                inference,
                loop_p99,
                fallback,
            } => {
                store(&self.shared.inference, inference);
                store(&self.shared.loop_p99, loop_p99);
                u8::from(fallback)
            }
            Source::Hand {
                driven,
                stop_tested,
            } => BY_HAND + u8::from(!driven) + 2 * u8::from(!stop_tested),
        };
        self.shared.what.store(what, Ordering::Relaxed);
        self.shared.source.store(source, Ordering::Relaxed);
        for (slot, value) in self.shared.progress.iter().zip(progress) {
            store(slot, value);
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::Relaxed);
        if let Some(printer) = self.printer.take() {
            printer.thread().unpark();
            wait_for(&printer);
        }
    }
}

/// Moves to the start of the terminal's line and clears it, as a message does before its text: no
/// message shares a line with this one.
const CLEAR: &str = "\r\x1b[2K";
/// The width of a terminal that does not state its own.
const USUAL_WIDTH: usize = 80;
const EVERY: Duration = Duration::from_millis(100);
/// How long the end waits for a printer that a stalled terminal blocks.
const STALLED: Duration = Duration::from_millis(100);

fn wait_for(printer: &JoinHandle<()>) {
    let began = Instant::now();
    while !printer.is_finished() && began.elapsed() < STALLED {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Shows the line until it is done, or cannot be shown any more. Each line is one write.
fn print(
    shared: &Shared,
    width: impl Fn() -> usize,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = String::new();
    while !shared.done.load(Ordering::Relaxed) {
        line.clear();
        // Writing to a String does not fail.
        let _ = render(shared, width(), &mut line);
        write(line.as_bytes())?;
        std::thread::park_timeout(EVERY);
    }
    write(CLEAR.as_bytes())
}

/// The columns of the terminal; read each time, since a phone is turned.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    match size.map(|size| size.ws_col) {
        Ok(0) | Err(_) => USUAL_WIDTH,
        Ok(columns) => columns.into(),
    }
}

/// Clears the terminal's line and writes what is shown. The line never reaches the last column, where
/// some terminals begin another line: that one would stay.
fn render(shared: &Shared, width: usize, line: &mut String) -> std::fmt::Result {
    let load = |slot: &AtomicU32| f32::from_bits(slot.load(Ordering::Relaxed));
    let [first, second, third] = [0, 1, 2].map(|index| load(&shared.progress[index]));
    let what = shared.what.load(Ordering::Relaxed);
    let state = STATES.get(usize::from(what));
    let source = shared.source.load(Ordering::Relaxed);
    let by = SOURCES.get(usize::from(source)).copied().unwrap_or("");
    let (inference, p99) = (load(&shared.inference), load(&shared.loop_p99));
    let times = source < BY_HAND;

    let room = width.saturating_sub(1);
    line.push_str(CLEAR);
    let begin = line.len();
    match state {
        Some(state) => write!(
            line,
            "{state:<8}   steering {first:+.2}   throttle {second:+.2}"
        )?,
        None => write!(
            line,
            "lap {:5.1} %   {second:5.2} m/s   {third:+.3} m off the line",
            first * 100.0
        )?,
    }
    let command = shared.commands.as_ref().and_then(|it| it.present());
    if let Some(command) = command {
        write!(line, "   {command}")?;
    }
    write!(line, "   {by}")?;
    if times {
        write!(line, " {inference:4.0} us   loop p99 {p99:5.0} us")?;
    }
    if line.len() - begin <= room {
        return Ok(());
    }

    // The most important first; what does not fit is left out.
    line.truncate(begin);
    match state {
        Some(state) => line.push_str(state),
        None => write!(line, "{:.1} %", first * 100.0)?,
    }
    let numbers = match state {
        Some(_) => [
            format!("steer {first:+.2}"),
            format!("throttle {second:+.2}"),
        ],
        None => [format!("{second:.2} m/s"), format!("{third:+.2} m")],
    };
    let times = times.then(|| [format!("{inference:.0} us"), format!("p99 {p99:.0} us")]);
    let command = command.map(str::to_owned);
    let by = command.into_iter().chain([by.to_owned()]);
    for part in by.chain(numbers).chain(times.into_iter().flatten()) {
        let used = line.len() - begin;
        if used + 2 + part.len() > room {
            break;
        }
        line.push_str("  ");
        line.push_str(&part);
    }
    // All of it is ASCII.
    line.truncate(begin + room);
    Ok(())
}

fn place(state: &State) -> u8 {
    match state {
        State::Disarmed => 0,
        State::Armed(_) => 1,
        State::Driving(_) => 2,
        State::Stopped { .. } | State::Braking(_) => 3,
        State::Trimming(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_terminal_does_not_hold_up_the_end_of_the_live_line() {
        let shared = Arc::new(Shared::default());
        let (release, stalled) = std::sync::mpsc::channel::<()>();
        let printer = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let blocks = |_: &[u8]| {
                    let _ = stalled.recv();
                    Ok(())
                };
                drop(print(&shared, || 80, blocks));
            })
        };
        let line = LiveLine {
            shared,
            printer: Some(printer),
        };
        let began = Instant::now();
        drop(line);
        assert!(began.elapsed() < Duration::from_secs(2));
        drop(release);
    }

    #[test]
    fn a_write_that_fails_ends_the_live_line() {
        let shared = Shared::default();
        let mut writes = 0;
        let ended = print(
            &shared,
            || 80,
            |_| {
                writes += 1;
                Err(io::ErrorKind::BrokenPipe.into())
            },
        );
        assert_eq!((ended.is_err(), writes), (true, 1));
    }

    #[test]
    fn the_line_shows_what_was_stored() {
        let line = LiveLine::start(false, None);
        let shown = |view: View, width| {
            line.show(view);
            let mut text = String::new();
            render(&line.shared, width, &mut text).unwrap();
            text.strip_prefix(CLEAR).unwrap().to_owned()
        };
        let disarmed = Progress::Command {
            state: State::Disarmed,
            steering: 0.5,
            throttle: -0.25,
        };
        let lap = Progress::Lap {
            lap: 0.5,
            speed: 4.0,
            deviation: -0.1,
        };
        let fallback = Source::Engine {
            inference: 120.0,
            loop_p99: 900.0,
            fallback: true,
        };
        let hand = |driven, stop_tested| Source::Hand {
            driven,
            stop_tested,
        };
        for (progress, source, expected) in [
            (
                disarmed,
                fallback,
                "disarmed   steering +0.50   throttle -0.25   FALLBACK  120 us   loop p99   900 us",
            ),
            (disarmed, hand(true, true), "throttle -0.25   by hand"),
            (
                lap,
                hand(false, false),
                "lap  50.0 %    4.00 m/s   -0.100 m off the line   by hand, released, stop button \
                 not tested",
            ),
        ] {
            let view = View { progress, source };
            let text = shown(view, 120);
            assert!(text.ends_with(expected), "{text}");
            for width in 0..120 {
                let text = shown(view, width);
                assert!(text.len() < width.max(1), "{width}: {text}");
                assert!(!text.contains(['\n', '\r']), "{text}");
            }
        }
        let view = |progress, source| View { progress, source };
        let commanded = LiveLine::start(false, Some(Arc::new(Commands::any())));
        let commands = commanded.shared.commands.as_ref().unwrap();
        commands.set("left").unwrap();
        commanded.show(view(disarmed, fallback));
        for (width, expected) in [
            (
                120,
                "throttle -0.25   left   FALLBACK  120 us   loop p99   900 us",
            ),
            (40, "disarmed  left  FALLBACK  steer +0.50"),
        ] {
            let mut text = String::new();
            render(&commanded.shared, width, &mut text).unwrap();
            assert!(text.ends_with(expected), "{text}");
        }
        for (view, width, expected) in [
            (
                view(disarmed, fallback),
                40,
                "disarmed  FALLBACK  steer +0.50",
            ),
            (
                view(disarmed, fallback),
                48,
                "disarmed  FALLBACK  steer +0.50  throttle -0.25",
            ),
            (
                view(lap, fallback),
                48,
                "50.0 %  FALLBACK  4.00 m/s  -0.10 m  120 us",
            ),
            (view(lap, hand(true, true)), 10, "50.0 %"),
            (view(disarmed, fallback), 5, "disa"),
        ] {
            assert_eq!(shown(view, width), expected);
        }
    }
}
