//! Listens for clients: each has a thread and a car.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::SessionError;
use crate::message::{Reply, Request};
use crate::reader::{Reader, ReaderError};
use crate::session::{Options, Session};

/// The most clients at one time.
const MOST_CLIENTS: usize = 16;
/// The pause after a connection that could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// A client that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two greetings of a client that has not asked for anything. gym-donkeycar passes over
/// one that comes before it has stored its connection.
const GREETING: Duration = Duration::from_millis(300);
/// With [`Pace::Fast`], the time without a command after which the picture is sent again.
const REPEAT: Duration = Duration::from_millis(100);

/// When the car moves on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pace {
    /// By the clock, whether commands come or not, as a real car does
    #[default]
    Real,
    /// By one picture for each command, as fast as the client sends them: for reinforcement learning
    Fast,
}

/// A server of cars.
pub struct Server {
    listener: TcpListener,
    options: Options,
    pace: Pace,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client has gone")]
    Gone,
    #[error(transparent)]
    Connection(io::Error),
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Reply(#[from] serde_json::Error),
}

impl Server {
    /// Listens at an address.
    ///
    /// # Errors
    /// If nothing can listen there.
    pub fn new(address: impl ToSocketAddrs, options: Options, pace: Pace) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address)?,
            options,
            pace,
        })
    }

    /// The address, whose port is one that is free if port 0 was asked for.
    ///
    /// # Errors
    /// If the system does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the process ends.
    pub fn run(&self) -> ! {
        let clients = Arc::new(AtomicUsize::new(0));
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                // Such as too many open files: the cars that drive go on.
                Err(error) => {
                    pilotage_console::say(format_args!("no client can connect: {error}"));
                    thread::sleep(ACCEPT_AGAIN);
                    continue;
                }
            };
            if clients.fetch_add(1, Ordering::AcqRel) >= MOST_CLIENTS {
                clients.fetch_sub(1, Ordering::AcqRel);
                let text = format_args!("{peer}: refused, as there are {MOST_CLIENTS} clients");
                pilotage_console::say(text);
                continue;
            }
            let (options, pace) = (self.options.clone(), self.pace);
            let place = Place(Arc::clone(&clients));
            let started = thread::Builder::new().spawn(move || {
                let _place = place;
                pilotage_console::say_always(format_args!("{peer}: connected"));
                if let Err(ended) = serve(stream, Session::new(options), pace) {
                    pilotage_console::say_always(format_args!("{peer}: {ended}"));
                }
            });
            if let Err(error) = started {
                pilotage_console::say(format_args!("{peer}: refused: {error}"));
            }
        }
    }
}

/// A client's place among those that are served, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A client's connection.
struct Connection {
    stream: TcpStream,
    reader: Reader,
    requests: Vec<Request>,
    line: Vec<u8>,
}

impl Connection {
    /// Waits for messages, at most until `end`. Returns false when the time is over.
    fn wait(&mut self, end: Instant) -> Result<bool, Ended> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.stream
            .set_read_timeout(Some(left))
            .map_err(Ended::Connection)?;
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Ended::Gone),
            Ok(count) => {
                self.reader.read(&bytes[..count], &mut self.requests)?;
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::ConnectionReset => Err(Ended::Gone),
                _ => Err(Ended::Connection(error)),
            },
        }
    }

    /// Answers the messages that have come. Returns whether there is a command among them.
    fn answer(&mut self, session: &mut Session) -> Result<bool, Ended> {
        let (mut replies, mut is_commanded) = (Vec::new(), false);
        for request in self.requests.drain(..) {
            is_commanded |= matches!(request, Request::Control(_));
            session.handle(request, &mut replies)?;
        }
        self.send(&mut replies)?;
        Ok(is_commanded)
    }

    fn send(&mut self, replies: &mut Vec<Reply>) -> Result<(), Ended> {
        for reply in replies.drain(..) {
            self.line.clear();
            serde_json::to_writer(&mut self.line, &reply)?;
            self.line.push(b'\n');
            match self.stream.write_all(&self.line) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(Ended::Gone),
                Err(error) => return Err(Ended::Connection(error)),
            }
        }
        Ok(())
    }
}

fn serve(stream: TcpStream, mut session: Session, pace: Pace) -> Result<(), Ended> {
    stream.set_nodelay(true).map_err(Ended::Connection)?;
    let patience = Some(PATIENCE);
    (stream.set_write_timeout(patience)).map_err(Ended::Connection)?;
    let mut connection = Connection {
        stream,
        reader: Reader::default(),
        requests: Vec::new(),
        line: Vec::new(),
    };
    let mut replies = Vec::new();
    while connection.requests.is_empty() {
        replies.push(session.greeting());
        connection.send(&mut replies)?;
        connection.wait(Instant::now() + GREETING)?;
    }
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        next = match pace {
            // A car that could not be drawn in time does not catch up.
            Pace::Real => (next + session.period()).max(now),
            Pace::Fast => now + REPEAT,
        };
        let mut is_commanded = connection.answer(&mut session)?;
        while !(is_commanded && pace == Pace::Fast) && connection.wait(next)? {
            is_commanded = connection.answer(&mut session)?;
        }
        if session.has_ended() {
            return Ok(());
        }
        match pace == Pace::Fast && !is_commanded {
            true => session.look(&mut replies)?,
            false => session.advance(&mut replies)?,
        }
        connection.send(&mut replies)?;
    }
}
