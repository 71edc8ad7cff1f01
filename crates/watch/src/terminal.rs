//! The terminal view: the same numbers as the page, for a connection by ssh.

mod screen;
mod seen;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilotage_tap::{NumberedScan, ObserveError, Observer};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{Brake, BrakeError, CarBrake, Live};
use seen::{Notice, Seen};

/// From picture to picture of the screen.
const INTERVAL: Duration = Duration::from_millis(100);
/// The time from one attempt to find a pilot to the next.
const RETRY: Duration = Duration::from_secs(1);

/// Shows the pilot that serves the socket `tap` until the operator quits. STOP stops the car of `car`; without a
/// file the installed one, and while a simulated car drives, that.
///
/// # Errors
/// When standard input and output are no terminal.
pub fn terminal(tap: PathBuf, car: Option<PathBuf>) -> std::io::Result<()> {
    let mut screen = ratatui::try_init()?;
    let live = Arc::new(Live::default());
    let mut view = View {
        tap,
        brake: Arc::new(CarBrake {
            file: car,
            live: Arc::clone(&live),
        }),
        live,
        observer: None,
        tried: None,
        stopping: None,
        stops: Vec::new(),
        seen: Seen::default(),
    };
    let result = view.run(&mut screen);
    ratatui::restore();
    // A stop that is under way must not be cut off; each takes a bounded time.
    for stop in view.stops {
        let _ = stop.join();
    }
    result
}

struct View {
    tap: PathBuf,
    brake: Arc<dyn Brake>,
    live: Arc<Live>,
    observer: Option<Observer>,
    tried: Option<Instant>,
    /// The result of a stop that is under way.
    stopping: Option<Receiver<Result<String, BrakeError>>>,
    /// The threads of all stops.
    stops: Vec<JoinHandle<()>>,
    seen: Seen,
}

impl View {
    fn run(&mut self, screen: &mut DefaultTerminal) -> std::io::Result<()> {
        loop {
            self.observe();
            self.stopped();
            screen.draw(|frame| screen::draw(frame, &self.seen, Instant::now()))?;
            let until = Instant::now() + INTERVAL;
            // All keys that wait; then the next picture of the screen.
            while event::poll(until.saturating_duration_since(Instant::now()))? {
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => match wanted(key) {
                        Some(Wanted::Stop) => {
                            self.stop();
                            break;
                        }
                        Some(Wanted::Quit) => return Ok(()),
                        None => {}
                    },
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
        }
    }

    /// Reads what the pilot has written since the last time, or looks for a pilot.
    fn observe(&mut self) {
        let Some(observer) = &mut self.observer else {
            if self.tried.is_none_or(|at| at.elapsed() >= RETRY) {
                self.tried = Some(Instant::now());
                self.connect();
            }
            return;
        };
        let ended = observer.has_ended();
        let mut scan = NumberedScan::default();
        // Bounded, whatever the pilot writes.
        for _ in 0..256 {
            if !observer.next_scan(&mut scan) {
                break;
            }
            self.seen.scan(&scan);
        }
        for _ in 0..4096 {
            let Some(record) = observer.next_record() else {
                break;
            };
            self.seen.frame(record);
        }
        self.seen.lost = observer.lost();
        if ended {
            self.seen.without("the pilot has ended");
            self.live.set_stopper(None);
            self.observer = None;
        }
    }

    fn connect(&mut self) {
        let connected = Observer::connect(&self.tap).and_then(|observer| {
            let simulated = observer.drive().simulated;
            let stopper = simulated.then(|| observer.stopper()).transpose()?;
            Ok((observer, stopper))
        });
        match connected {
            Ok((observer, stopper)) => {
                self.live.set_stopper(stopper);
                self.seen = Seen::of(observer.drive());
                self.observer = Some(observer);
            }
            // An ended drive stays on the screen while no other begins.
            Err(ObserveError::Unreachable { .. }) if self.seen.has_drive() => {}
            Err(error) => self.seen.without(&error.to_string()),
        }
    }

    /// Stops the car, on a thread: it may take seconds. A stop that is under way is not begun again.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let (send, receive) = channel();
        let brake = Arc::clone(&self.brake);
        let started = std::thread::Builder::new().spawn(move || {
            // The view may have been closed meanwhile.
            let _ = send.send(brake.stop());
        });
        self.seen.notice = Some(match started {
            Ok(thread) => {
                self.stops.push(thread);
                Notice::good("STOP ...")
            }
            Err(error) => Notice::bad(&format!("STOP failed ({error}): use `pilotage stop`")),
        });
        self.stopping = Some(receive);
    }

    /// Shows the result of a stop.
    fn stopped(&mut self) {
        let result = self.stopping.as_ref().map(Receiver::try_recv);
        let notice = match result {
            None | Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(Ok(text))) => Notice::good(&format!("STOP: {text}")),
            Some(Ok(Err(error))) => Notice::bad(&format!("STOP: {error}")),
            Some(Err(TryRecvError::Disconnected)) => {
                Notice::bad("STOP failed: use `pilotage stop`")
            }
        };
        self.seen.notice = Some(notice);
        self.stopping = None;
    }
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Stop,
    Quit,
}

fn wanted(key: KeyEvent) -> Option<Wanted> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wanted::Quit),
        KeyCode::Char(' ' | 's' | 'S') | KeyCode::Esc => Some(Wanted::Stop),
        KeyCode::Char('q' | 'Q') => Some(Wanted::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
