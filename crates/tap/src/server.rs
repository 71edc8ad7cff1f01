//! The pilot's thread that passes the memory to observers, and stores their requests.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::protocol::MAX_OBSERVERS;
use crate::protocol::{BYTES, Invalid, Reply, Request};
use crate::requests::MAX_PICTURES_PER_SECOND;
use crate::{ServeError, Source};

/// How long a request for pictures is valid.
pub(crate) const PICTURES_HOLD: Duration = Duration::from_secs(2);
/// How long the thread sleeps at most.
const LONGEST_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};
/// The pause after messages: it limits a flood of them to 200 rounds per second.
const PAUSE: Duration = Duration::from_millis(5);
/// The largest number of messages of an observer that are read in one round.
const MAX_MESSAGES: usize = 4;

/// Serves a drive's memory to observers, in a thread of its own. When this is dropped, the thread
/// ends and the socket's path is removed.
///
/// It must be started before the pilot's thread requests real-time priority, which a new thread
/// inherits.
#[derive(Debug)]
pub struct TapServer {
    path: Option<PathBuf>,
    end: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl TapServer {
    /// Serves `source` to the observers at the other ends of `connections`, and to those that
    /// connect to `path`. Who may connect is decided by the permissions of its folder; the socket
    /// itself is open to the user and the group.
    ///
    /// # Errors
    /// When the socket cannot be made, another pilot serves it, or no thread can be started.
    pub fn start(
        source: Source,
        path: Option<&Path>,
        connections: Vec<OwnedFd>,
    ) -> Result<Self, ServeError> {
        let listener = path.map(listen).transpose()?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let system = |error: Errno| ServeError::System(error.into());
        let wake = Arc::new(wake.map_err(system)?);
        let end = Arc::new(AtomicBool::new(false));
        let mut serving = Serving {
            source,
            listener,
            clients: connections.into_iter().map(Client::new).collect(),
            wake: Arc::clone(&wake),
            end: Arc::clone(&end),
        };
        let thread = std::thread::Builder::new().name("tap".to_owned());
        let thread = thread
            .spawn(move || serving.run())
            .map_err(ServeError::System)?;
        Ok(Self {
            path: path.map(Path::to_owned),
            end,
            wake,
            thread: Some(thread),
        })
    }

    /// A pair of connected sockets: one end for `connections` of [`start`](Self::start), the other
    /// for the observer, as its standard input.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let kind = SocketType::SEQPACKET;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok(pair)
    }
}

impl Drop for TapServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn listen(path: &Path) -> Result<OwnedFd, ServeError> {
    let failed = |reason: Errno| ServeError::Listen {
        path: path.to_owned(),
        reason: reason.into(),
    };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let listener = socket().map_err(failed)?;
    let mut bound = rustix::net::bind(&listener, &address);
    if bound == Err(Errno::ADDRINUSE) {
        // A pilot that was killed leaves its socket behind.
        let probe = socket().map_err(failed)?;
        if rustix::net::connect(&probe, &address) != Err(Errno::CONNREFUSED) {
            let path = path.to_owned();
            return Err(ServeError::InUse { path });
        }
        let _ = fs::remove_file(path);
        bound = rustix::net::bind(&listener, &address);
    }
    bound.map_err(failed)?;
    let open_to_group = fs::Permissions::from_mode(0o660);
    fs::set_permissions(path, open_to_group).map_err(|reason| ServeError::Listen {
        path: path.to_owned(),
        reason,
    })?;
    rustix::net::listen(&listener, MAX_OBSERVERS as i32).map_err(failed)?;
    Ok(listener)
}

struct Client {
    connection: OwnedFd,
    /// Whether it has received the memory.
    admitted: bool,
    /// The requested time from one picture to the next, and until when the request is valid.
    pictures: Option<(Duration, Instant)>,
}

/// Whether a client stays connected after a message.
#[derive(PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

impl Client {
    fn new(connection: OwnedFd) -> Self {
        Self {
            connection,
            admitted: false,
            pictures: None,
        }
    }
}

struct Serving {
    source: Source,
    listener: Option<OwnedFd>,
    clients: Vec<Client>,
    wake: Arc<OwnedFd>,
    end: Arc<AtomicBool>,
}

impl Serving {
    fn run(&mut self) {
        while !self.end.load(Ordering::Acquire) {
            let active = self.wait();
            self.read_all();
            self.accept_all();
            let now = Instant::now();
            let held = self.clients.iter().filter_map(|client| client.pictures);
            let held = held.filter(|(_, until)| now < *until);
            let interval = held.map(|(interval, _)| interval).min();
            self.source.requests.set_picture_interval(interval);
            if active {
                std::thread::sleep(PAUSE);
            }
        }
        self.source.requests.set_picture_interval(None);
    }

    /// Waits for a message or a connection. Returns whether there is one.
    fn wait(&self) -> bool {
        let mut sources = Vec::with_capacity(2 + self.clients.len());
        sources.push(PollFd::new(&*self.wake, PollFlags::IN));
        if let Some(listener) = &self.listener {
            sources.push(PollFd::new(listener, PollFlags::IN));
        }
        for client in &self.clients {
            sources.push(PollFd::new(&client.connection, PollFlags::IN));
        }
        poll(&mut sources, Some(&LONGEST_WAIT)).is_ok_and(|ready| ready > 0)
    }

    fn accept_all(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..MAX_OBSERVERS {
            // If no descriptor is free, the next round tries again.
            let Ok(connection) = rustix::net::accept_with(listener, flags) else {
                return;
            };
            if self.clients.len() < MAX_OBSERVERS {
                self.clients.push(Client::new(connection));
            } else {
                let _ = send(&connection, Reply::TooMany, &[]);
            }
        }
    }

    fn read_all(&mut self) {
        let source = &self.source;
        self.clients
            .retain_mut(|client| read(client, source) == Then::Keep);
    }
}

/// Reads the messages of a client.
fn read(client: &mut Client, source: &Source) -> Then {
    for _ in 0..MAX_MESSAGES {
        // One byte more than a message, so that a longer packet is recognized.
        let mut bytes = [0; BYTES + 1];
        let received = rustix::net::recv(&client.connection, &mut bytes, RecvFlags::DONTWAIT);
        let length = match received {
            Ok((_, 0)) => return Then::Close,
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Then::Keep,
            Err(_) => return Then::Close,
        };
        let request = Request::read(bytes.get(..length).unwrap_or_default());
        if handle(client, source, request) == Then::Close {
            return Then::Close;
        }
    }
    Then::Keep
}

fn handle(client: &mut Client, source: &Source, request: Result<Request, Invalid>) -> Then {
    match request {
        Ok(Request::Hello) if !client.admitted => {
            let memory = [source.memory.as_fd()];
            if send(&client.connection, Reply::Memory, &memory).is_err() {
                return Then::Close;
            }
            client.admitted = true;
            Then::Keep
        }
        Ok(Request::Pictures(per_second)) if client.admitted => {
            client.pictures = (per_second > 0).then(|| {
                let rate = per_second.min(MAX_PICTURES_PER_SECOND);
                (
                    Duration::from_secs(1) / rate,
                    Instant::now() + PICTURES_HOLD,
                )
            });
            Then::Keep
        }
        // Every observer may stop the car: a stop is always allowed.
        Ok(Request::Stop) if client.admitted => {
            source.requests.request_stop();
            Then::Keep
        }
        // Every message contains the sender's version; here it is sent without the memory.
        Err(Invalid::Version(_)) => {
            let _ = send(&client.connection, Reply::Memory, &[]);
            Then::Close
        }
        Ok(_) | Err(Invalid::Malformed) => Then::Close,
    }
}

/// Sends a reply with a descriptor or without, and never waits.
fn send(
    connection: &OwnedFd,
    reply: Reply,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let bytes = reply.write();
    let parts = [io::IoSlice::new(&bytes)];
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(connection, &parts, &mut ancillary, flags)?;
    Ok(())
}
